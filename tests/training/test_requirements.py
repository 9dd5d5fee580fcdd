"""What is refused before a training begins: banks that are too small, too many workers."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from training.small import small_settings as small

from mimrl.command import main
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.errors import ConfigError, EstimationError, TrainingWarning
from mimrl.mi.bank import Bank, Given, Product
from mimrl.settings import dump, load
from mimrl.terms import LABEL
from mimrl.training import requirements
from mimrl.training.checkpoint import build_critics
from mimrl.training.controls import read_terms
from mimrl.training.inference import encode
from mimrl.training.requirements import Draws, require_banks, require_shares, require_workers
from mimrl.training.run import build_model, build_trainer, train
from mimrl.training.team import Team
from mimrl.tune.command import main as tune

ROWS = 24
BATCH_ANCHORS = ("critics.conditional.anchors=batch",)


def small_settings(folder, *overrides):
    """Critics that draw product samples from a bank."""
    return small(folder, "critics.update=epoch", *overrides)


def drawn(draws: Draws, size: int) -> bool:
    """Whether a bank of 24 rows, ``size`` of them searched, gives what is asked for.

    The number of samples is that of :meth:`mimrl.training.critics.Critics.samples`.
    """
    generator = torch.Generator().manual_seed(size)
    classes = torch.arange(ROWS) % max(draws.classes, 1)
    variables = {
        "x": torch.randn(ROWS, 2, generator=generator),
        "near": torch.randn(ROWS, 2, generator=generator),
        LABEL: torch.eye(max(draws.classes, 1))[classes],
    }
    wanted = {}
    if draws.near:
        wanted["near"] = Product("x", LABEL, "near")
    if draws.classes:
        wanted["class"] = Product("x", "near", LABEL)
    bank = Bank(variables, wanted, discrete=[LABEL], size=size, generator=generator)
    count, given = draws.rows, None
    if draws.given:
        rows = torch.arange(draws.rows)
        given = Given(bank.rows(rows), rows)
    else:
        count = min(count, max(bank.size * draws.neighbours // (draws.neighbours + 1), 1))
    try:
        found = bank.draw(list(wanted), count, draws.neighbours, generator, given=given)
    except EstimationError:
        return False
    return all(len(product.x) == count for product in found.values())


@pytest.mark.parametrize("given", [False, True], ids=["bank", "batch"])
@pytest.mark.parametrize("classes", [0, 2, 5])
def test_the_rule_is_that_of_the_bank(classes, given):
    """Below two rows a class it depends on which rows are kept; the rule wants all to do."""
    seen = set()
    for rows, neighbours, size in itertools.product((2, 7, 16, ROWS), (1, 2, 3, 7), range(2, 25)):
        for near in (True, False) if classes else (True,):
            draws = Draws(rows, neighbours, classes, near, given)
            fits = draws.fit(size, ROWS)
            if fits or size >= 2 * classes:
                assert drawn(draws, size) == fits, (draws, size)
            seen.add(fits)
    assert seen == {True, False}


def prepared(settings):
    return prepare(open_corpus(settings.data), settings)


@pytest.mark.parametrize(
    ("overrides", "least"),
    [
        (("performance.bank_size=2",), 3),
        (("performance.bank_size=17", *BATCH_ANCHORS), 18),  # 16 anchors and 2 neighbours
        (("performance.bank_size=4", "critics.conditional.neighbours=4"), 5),
        (("performance.bank_size=2", "data.target=regression", "training.loss=mae"), 3),
    ],
    ids=["neighbours", "anchors of the batch", "4 neighbours", "ratings"],
)
def test_a_bank_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys, overrides, least
):
    monkeypatch.setattr(
        "mimrl.training.run.with_hidden_states", lambda *_, **__: pytest.fail("texts were encoded")
    )
    file = tmp_path / "settings.yaml"
    file.write_text(dump(small_settings(tmp_path / "runs", *overrides)))
    assert main(["--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: performance.bank_size: expected {least} or more, or null")
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert tune(["--config", str(file), "--trials", "1"]) == 2
    assert "refused" in (said := capsys.readouterr().err)
    assert "performance.bank_size: expected" in said


@pytest.mark.parametrize(
    "overrides", [("performance.bank_size=3",), ("performance.bank_size=18", *BATCH_ANCHORS)]
)
def test_the_least_that_the_message_names_is_enough(tmp_path, overrides):
    settings = small_settings(tmp_path, "training.epochs=2", "training.controls=0", *overrides)
    assert train(settings, progress=False).epoch in (1, 2)


@pytest.mark.parametrize(
    ("overrides", "idle", "why"),
    [
        (("performance.bank_size=2", "training.epochs=1"), "bank_size", "leaves no critics"),
        (
            ("performance.bank_dtype=float16", "training.warmup_epochs=5"),
            "bank_dtype",
            "training.warmup_epochs=5 of training.epochs=3 leaves no critics",
        ),
        (
            ("performance.bank_size=2", "data.modalities=[text]", "model.encoders={}"),
            "bank_size",
            "one modality has no term",
        ),
    ],
)
def test_settings_of_a_bank_that_is_not_there_are_told_of(tmp_path, overrides, idle, why):
    settings = small_settings(tmp_path, "training.epochs=3", *overrides)
    with pytest.warns(TrainingWarning, match=f"performance.{idle} has no effect: .*{why}"):
        require_banks(settings, prepared(settings))


def test_a_bank_of_one_modality_is_kept_as_asked_for(tmp_path):
    only = "data.modalities=[text]", "model.encoders={}", "performance.bank_dtype=float16"
    settings = small_settings(tmp_path, "training.epochs=3", *only)
    require_banks(settings, prepared(settings))


def test_the_batches_of_all_processes_together_count(tmp_path):
    settings = small_settings(tmp_path, "performance.bank_size=20", *BATCH_ANCHORS)
    require_banks(settings, prepared(settings))
    with pytest.raises(ConfigError, match=r"expected 34 or more, or null .*batches of 64"):
        require_banks(settings, prepared(settings), Team(0, 2))


def test_a_split_that_cannot_be_shared_out_is_refused_before_training(tmp_path):
    settings = small_settings(tmp_path, "training.stage1_passes=0", "steering.default=0")
    data = prepared(settings)
    few = {**data.splits, "test": data.splits["test"].select(np.arange(3))}
    data = replace(data, splits=few)
    for size in (1, 3):
        require_shares(data, Team(0, size))
    with pytest.raises(ConfigError, match=r"4 processes: expected 4 samples .* got test 3; start"):
        build_trainer(settings, data, tmp_path, torch.device("cpu"), Team(0, 4))


def test_a_split_that_is_too_small_is_named(tmp_path):
    settings = small_settings(tmp_path, "critics.conditional.neighbours=9")
    data = prepared(settings)
    few = {**data.splits, "valid": data.splits["valid"].select(np.arange(9))}
    data = replace(data, splits=few)
    with pytest.raises(ConfigError, match="the split valid is too small: 9 samples"):
        require_banks(settings, data)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("enough", [True, False])
def test_a_test_split_for_the_controls_is_looked_at_before_training(tmp_path, enough):
    """Two classes and one neighbour: one anchor besides a row of each class."""
    settings = small_settings(tmp_path, "training.epochs=2")
    data = prepared(settings)
    held_out = data.splits["test"]
    rows = [int(np.flatnonzero(held_out.labels == label)[0]) for label in (0, 1)]
    rows += [int(np.flatnonzero(held_out.labels == 1)[1])] if enough else []
    data = replace(data, splits={**data.splits, "test": held_out.select(rows)})
    if not enough:
        with pytest.raises(ConfigError, match="the split test is too small: 2 samples"):
            require_banks(settings, data)
        require_banks(small_settings(tmp_path, "training.controls=0"), data)
        return
    require_banks(settings, data)
    critics, banks = trained_critics(settings, data)
    read_terms(settings, critics, banks, 1)


def trained_critics(settings, data):
    """Critics as they are after no step, and what they read of each split."""
    model = build_model(settings, data)
    critics = build_critics(settings, model, data.num_classes)
    banks = {
        name: encode(model, split, batch_size=32).variables(data.num_classes)
        for name, split in data.splits.items()
    }
    return critics, banks


def test_a_class_of_one_sample_cannot_be_anchored_in_the_batch(tmp_path):
    settings = small_settings(tmp_path, *BATCH_ANCHORS)
    data = prepared(settings)
    train_split = data.splits["train"]
    first = int(np.flatnonzero(train_split.labels == 0)[0])
    others = np.flatnonzero(train_split.labels != 0)
    data = replace(data, splits={**data.splits, "train": train_split.select([first, *others])})
    with pytest.raises(ConfigError, match=f"got one of {data.class_names[0]}; leave the class out"):
        require_banks(settings, data)
    require_banks(small_settings(tmp_path), data)


@pytest.mark.parametrize(("cores", "most"), [(1, 4), (2, 4), (8, 16)])
def test_more_workers_than_the_machine_serves_are_refused(monkeypatch, cores, most):
    monkeypatch.setattr(requirements.os, "sched_getaffinity", lambda _: range(cores))
    require_workers(load(None, [f"performance.loader_workers={most}"]).performance)
    with pytest.raises(
        ConfigError, match=rf"expected at most {most} here, got 500; .*{cores} core"
    ):
        require_workers(load(None, ["performance.loader_workers=500"]).performance)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loader_workers: 5000", "performance.loader_workers: expected at most"),
        ("precision: fp16", "performance.precision fp16 needs a GPU"),
        ("compile: true", "performance.compile needs a C++ compiler"),
    ],
)
def test_what_the_machine_lacks_is_refused_before_data_are_read(
    tmp_path, capsys, monkeypatch, setting, message
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    file = tmp_path / "settings.yaml"
    file.write_text(f"performance: {{{setting}}}\ndata: {{path: absent.pkl}}\n")
    for command in (main, tune):
        assert command(["--config", str(file), f"output={tmp_path / 'runs'}", "device=cpu"]) == 2
        assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (tmp_path / "runs").exists()
