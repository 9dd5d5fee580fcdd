"""A network with the names and the forward pass of the original code, written for the tests alone.

It uses nothing of mimrl; what it does follows the description of the original's modules.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as f

TILED = 128


@dataclass(frozen=True)
class Form:
    """The original's options, small."""

    encoders: str = "gru"
    width: int = 8
    bert_width: int = 64
    audio: int = 3
    video: int = 4
    time_len: int = 6
    hidden: tuple[tuple[int, int, int], ...] = ((5, 4, 7), (2, 3, 8))
    outs: tuple[tuple[int, int, int], ...] = ((4, 3, 6), (3, 2, 8))
    project: tuple[bool, ...] = (True, True)
    activate: str = "gelu"
    bias: bool = True
    ln_first: bool = False
    compose_k: str = "mean"
    compose_t: str = "mean"
    outputs: int = 1
    vocabulary: int = 31
    heads: int | None = None
    critic: str = "separate"


class Mlp(nn.Module):
    def __init__(self, form: Form, sizes: Sequence[int]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes[0], sizes[1], bias=form.bias)
        self.fc2 = nn.Linear(sizes[1], sizes[2], bias=form.bias)
        self.activation = nn.PReLU() if form.activate == "prelu" else getattr(f, form.activate)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, form: Form, ins: Any, hidden: Any, outs: Any, project: bool) -> None:
        super().__init__()
        self.first = form.ln_first
        for place, axis in enumerate("lkd"):
            sizes = ins[place], hidden[place], outs[place]
            setattr(self, f"mlp_{axis}", Mlp(form, sizes))
            norm = nn.LayerNorm(ins[place] if form.ln_first else outs[place], eps=1e-6)
            nn.init.normal_(norm.weight, 1, 0.3)
            nn.init.normal_(norm.bias, 0, 0.3)
            setattr(self, f"ln_{axis}", norm)
            if project:
                setattr(
                    self, f"res_projection_{axis}", nn.Linear(ins[place], outs[place], bias=False)
                )

    def forward(self, x: Tensor) -> Tensor:
        for place, axis in enumerate("lkd"):
            x = x.movedim(place + 1, 3)
            mlp, norm = getattr(self, f"mlp_{axis}"), getattr(self, f"ln_{axis}")
            residual = getattr(self, f"res_projection_{axis}", nn.Identity())(x)
            x = mlp(norm(x)) + residual if self.first else norm(mlp(x) + residual)
            x = x.movedim(3, place + 1)
        return x


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Critic(nn.Module):
    """``scores[j, i] = f(x_i, y_j)`` if separate, the transpose of that if not."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        if kind == "separate":
            self.MLP_g, self.MLP_h = mlp(width, 9, 9, 9, 5), mlp(width, 9, 9, 9, 5)
        else:
            self.MLP_f = mlp(2 * width, 9, 9, 9, 1)
        self.kind = kind

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self.kind == "separate":
            return self.MLP_h(y) @ self.MLP_g(x).T
        rows = [[self.MLP_f(torch.cat([one, other])) for other in y] for one in x]
        return torch.cat([torch.stack(row, 1) for row in rows])


class Estimator(nn.Module):
    def __init__(self, critic: nn.Module | None = None) -> None:
        super().__init__()
        if critic is not None:
            self.critic_model = critic
        else:
            self.classifier = nn.Module()
            self.classifier.mlp = mlp(3 * TILED, 9, 9, 9, 2)

    def gamma(self, *variables: Tensor) -> Tensor:
        tiled = [v.repeat(1, TILED // v.shape[1]) for v in variables]
        return self.classifier.mlp(torch.cat(tiled, dim=1)).clamp(-10, 10).sigmoid()


class Published(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        d = form.width
        self.bertmodel = transformers.BertModel(
            transformers.BertConfig(
                vocab_size=form.vocabulary,
                hidden_size=form.bert_width,
                num_hidden_layers=2,
                num_attention_heads=form.heads or form.bert_width // 64,
                intermediate_size=48,
                max_position_embeddings=20,
            )
        )
        for letter, features in (("v", form.video), ("a", form.audio)):
            if form.encoders == "conv":
                setattr(self, f"conv_{letter}", nn.Conv1d(features, d, 3, padding=1))
            else:
                kind, layers = {"gru": (nn.GRU, 2), "lstm": (nn.LSTM, 1)}[form.encoders]
                rnn = kind(features, d, layers, bidirectional=True, batch_first=True)
                setattr(self, f"rnn_{letter}", rnn)
        self.ln_a, self.ln_v = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        nn.init.normal_(self.ln_a.bias)  # otherwise padded frames were zero
        nn.init.normal_(self.ln_v.bias)
        self.W_t = nn.Linear(form.bert_width, d, bias=False)
        before = ((form.time_len, 3, d), *form.outs[:-1])
        self.mlp_encoder = nn.Module()
        self.mlp_encoder.layers_stack = nn.ModuleList(
            Block(form, *sizes)
            for sizes in zip(before, form.hidden, form.outs, form.project, strict=True)
        )
        time, count, width = form.outs[-1]
        fused = width * (count if form.compose_k == "cat" else 1)
        fused *= time if form.compose_t == "cat" else 1
        self.classifier = nn.Sequential(nn.Linear(fused, form.outputs))
        if fused > 128:
            self.classifier = nn.Sequential(
                nn.Linear(fused, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, form.outputs)
            )
        for name in ("f_t", "f_a", "f_v", "t_a", "t_v"):
            setattr(self, f"vmi_estimator_{name}", Estimator(Critic(form.critic, d)))
        for name in ("ac_t", "ta_c", "vc_t", "tv_c", "tc_a", "tc_v"):
            setattr(self, f"vcmi_estimator_{name}", Estimator())

    def forward(self, ids: Tensor, mask: Tensor, a: Tensor, v: Tensor) -> dict[str, Tensor]:
        form = self.form
        t = self.W_t(self.bertmodel(input_ids=ids, attention_mask=mask)[0])
        a, v = self.frames("a", a), self.frames("v", v)
        found = {"text": t.mean(1), "audio": a.mean(1), "video": v.mean(1)}
        cut = [f.pad(x, (0, 0, 0, form.time_len - x.shape[1])) for x in (t, a, v)]
        x = torch.stack(cut, dim=2)
        for block in self.mlp_encoder.layers_stack:
            x = block(x)
        x = join(join(x, form.compose_k, 2), form.compose_t, 1)
        return {**found, "fused": x, "prediction": self.classifier(x)}

    def frames(self, letter: str, x: Tensor) -> Tensor:
        if self.form.encoders == "conv":
            y = getattr(self, f"conv_{letter}")(x.mT).mT
        else:
            y = x.new_zeros(*x.shape[:2], self.form.width)
            for row, sequence in enumerate(x):
                length = max(1, int((sequence != 0).any(1).sum()))
                states = getattr(self, f"rnn_{letter}")(sequence[None, :length])[0][0]
                y[row, :length] = states[:, : self.form.width] + states[:, self.form.width :]
        return getattr(self, f"ln_{letter}")(y).relu()


def join(x: Tensor, how: str, axis: int) -> Tensor:
    if how == "cat":
        return torch.cat(x.unbind(axis), dim=-1)
    return getattr(x, how)(axis)


def build(form: Form, seed: int = 0) -> Published:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Published(form).eval()


def checkpoint(model: nn.Module, *, prefix: str = "module.", epoch: int = 3) -> dict[str, Any]:
    """What the original saves, optimisers included."""
    main, critics = (torch.optim.Adam(model.parameters(), lr=1e-3) for _ in range(2))
    return {
        "epoch": epoch,
        "model": {prefix + name: value for name, value in model.state_dict().items()},
        "optim_main": main.state_dict(),
        "optim_vmi": critics.state_dict(),
    }


def inputs(form: Form, *, seed: int = 1) -> dict[str, Tensor]:
    """Four samples with padding, an interior frame of zeros, and one without audio."""
    generator = torch.Generator().manual_seed(seed)
    tokens, frames = torch.tensor([7, 3, 5, 7]), torch.tensor([9, 4, 0, 2])
    ids = torch.randint(5, form.vocabulary, (4, 7), generator=generator)
    audio = torch.randn(4, 9, form.audio, generator=generator)
    video = torch.randn(4, 5, form.video, generator=generator)
    mask = torch.arange(7) < tokens[:, None]
    audio *= (torch.arange(9) < frames[:, None])[..., None]
    audio[0, 3] = 0
    return {"ids": ids * mask, "mask": mask.long(), "a": audio, "v": video}


def save_run(folder: Path, batches: Sequence[dict[str, Tensor]], targets: Any) -> Path:
    """The folder of a run with --save_best_features; every split gets the same values, scaled."""
    for scale, split, target in ((1, "val", "val"), (2, "test", "test"), (3, "test_for_valid", "")):
        found = [[scale * b[n] for n in ("fused", "text", "audio", "video")] for b in batches]
        predictions = torch.cat([scale * b["prediction"] for b in batches]).tolist()
        with (folder / f"features_{split}.pkl").open("wb") as file:
            pickle.dump(found, file)
        np.save(folder / f"predictions_{split}.npy", np.array(predictions))
        if target:
            np.save(folder / f"targets_{target}.npy", np.array(targets))
    return folder
