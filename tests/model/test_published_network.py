"""The published network's own numbers, from its own weights.

Only samples without padding can agree: the published code averages over padded steps, and its
padded frames are not zero after the LayerNorm.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mimrl.datasets.loading import Batch
from mimrl.model.model import MIMRL
from mimrl.settings.model import ModelSettings

pytestmark = pytest.mark.usefixtures("seeded")

AXES = {"l": "time", "k": "modality", "d": "feature"}
RENAMES = (
    (r"^module\.", ""),
    (r"^bertmodel\.", "encoders.text.transformer."),
    (r"^W_t\.", "encoders.text.projection."),
    (r"^rnn_(\w)\.", r"encoders.\1.recurrent."),
    (r"^conv_(\w)\.", r"encoders.\1.convolution."),
    (r"^ln_(\w)\.", r"encoders.\1.norm."),
    (r"^encoders\.a\.", "encoders.audio."),
    (r"^encoders\.v\.", "encoders.video."),
    (r"^mlp_encoder\.layers_stack\.", "fusion.blocks."),
    (r"\.mlp_([lkd])\.", r".\1."),
    (r"\.ln_([lkd])\.", r".\1.norm."),
    (r"\.res_projection_([lkd])\.", r".\1.residual."),
    (r"^(fusion\.blocks\.\d)\.([lkd])\.", lambda m: f"{m[1]}.{AXES[m[2]]}."),
    (r"^classifier\.0\.", "head."),
)


def our_name(name: str) -> str:
    for pattern, new in RENAMES:
        name = re.sub(pattern, new, name)
    return name


def published(folder: Path, kind: str) -> MIMRL:
    with np.load(folder / f"mimrl_{kind}_forward.npz") as file:
        config = json.loads(str(file["config"]))
    settings = ModelSettings.model_validate(
        {
            "width": config["d_common"],
            "encoders": {
                "text": {"kind": "transformer", "max_tokens": 12},
                "audio": {"kind": kind},
                "video": {"kind": kind},
            },
            "fusion": {
                "time_len": config["time_len"],
                "sizes": config["d_outs"],
                "hidden": config["d_hiddens"],
                "activation": config["activate"],
                "compose_modalities": config["features_compose_k"],
                "compose_time": config["features_compose_t"],
            },
        }
    )
    widths = {"audio": config["d_audio"], "video": config["d_video"]}
    bert = {"model_type": "bert", **config["bert"]}
    model = MIMRL(settings, ("text", "audio", "video"), widths, 1, text_config=bert)
    file = folder / f"mimrl_{kind}_best_valid_model.pth.tar"
    weights = torch.load(file, weights_only=True, map_location="cpu")["model"]
    renamed = {our_name(name): value for name, value in weights.items()}
    wanted = model.state_dict().keys()
    model.load_state_dict({name: renamed[name] for name in wanted})
    return model.eval()


@pytest.mark.parametrize("kind", ["gru", "conv"])
def test_the_published_forward_pass(kind: str, reference_root: Path) -> None:
    model = published(reference_root, kind)
    with np.load(reference_root / f"mimrl_{kind}_forward.npz") as file:
        numbers = {name: torch.from_numpy(file[name]) for name in file.files if name != "config"}
    frames = {name: numbers[name].abs().sum(-1).ne(0).sum(1) for name in ("audio", "video")}
    lengths = {"text": numbers["attention_mask"].sum(1), **frames}
    inputs = {"text": numbers["input_ids"], "audio": numbers["audio"], "video": numbers["video"]}
    whole = torch.stack([n == inputs[name].shape[1] for name, n in lengths.items()]).all(0)
    assert whole.any()
    output = model(Batch(torch.arange(6), inputs, lengths, torch.zeros(6)))
    for name, ours in (
        ("text", output.unimodal["text"]),
        ("audio_feature", output.unimodal["audio"]),
        ("video_feature", output.unimodal["video"]),
        ("fused", output.fused),
        ("prediction", output.prediction),
    ):
        # float32 through two transformer layers and six LayerNorms.
        torch.testing.assert_close(ours[whole], numbers[name][whole], rtol=0, atol=2e-5)
    # Each modality by itself, wherever it fills its rows.
    full = lengths["audio"] == inputs["audio"].shape[1]
    torch.testing.assert_close(
        output.unimodal["audio"][full], numbers["audio_feature"][full], rtol=0, atol=2e-5
    )
