"""Stage 2 under critics that follow: windows, shares of the task's gradient, stopped gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training.small import small_settings

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import prepare
from mimrl.errors import EstimationWarning
from mimrl.model.masks import step_mask
from mimrl.settings import from_mapping
from mimrl.terms import LABEL
from mimrl.training import checkpoint
from mimrl.training.measures import compared
from mimrl.training.run import build_trainer, train
from mimrl.training.steering import LatestFeatures, label_entropy
from mimrl.training.tracking import Progress, read_log
from mimrl.training.trainer import Trainer

CPU = torch.device("cpu")
NO_DROPOUT = tuple(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestWindow:
    def latest(self, rows=20, window=8):
        variables = {"text": torch.zeros(rows, 2), LABEL: torch.arange(float(rows))[:, None]}
        return LatestFeatures(variables, window, generator())

    def step(self, latest, rows, value):
        rows = torch.tensor(rows)
        text = torch.full((len(rows), 2), float(value), requires_grad=True)
        return text, latest.window(rows, {"text": text, LABEL: rows.float()[:, None]})

    def test_the_batch_comes_first_then_the_rows_of_the_steps_before(self):
        latest = self.latest()
        self.step(latest, [1, 2, 3], 1)
        self.step(latest, [4, 5, 6], 2)
        text, found = self.step(latest, [7, 8, 9], 3)
        assert found[LABEL][:8, 0].tolist()[:3] == [7, 8, 9]
        assert found[LABEL][3:6, 0].tolist() == [4, 5, 6]
        assert set(found[LABEL][6:8, 0].tolist()) < {1, 2, 3}
        assert found["text"][:, 0].tolist() == [3, 3, 3, 2, 2, 2, 1, 1]
        found["text"].sum().backward()
        assert torch.equal(text.grad, torch.ones(3, 2))  # only the batch has gradients

    def test_no_sample_is_there_twice(self):
        latest, order = self.latest(), torch.randperm(20, generator=generator(1))
        for rows in order.split(3):
            _, found = self.step(latest, rows.tolist(), 0)
            assert len(found[LABEL].unique()) == 8

    def test_a_batch_of_its_size_is_the_window(self):
        latest = self.latest(window=3)
        _, found = self.step(latest, [7, 8, 9], 3)
        assert found[LABEL][:, 0].tolist() == [7, 8, 9]

    def test_a_split_smaller_than_the_window_is_the_window(self):
        latest = self.latest(rows=5, window=100)
        _, found = self.step(latest, [3, 1], 3)
        assert sorted(found[LABEL][:, 0].tolist()) == [0, 1, 2, 3, 4]


def a_step(folder, *overrides, values=None):
    """A trainer after stage 1, one batch's task loss and sequences, what steering makes of it.

    Args:
        values: term -> estimate that takes the place of the critics' own, with its gradient.
    """
    settings = small_settings(folder, *NO_DROPOUT, *overrides)
    data = prepare(open_corpus(settings.data), settings)
    trainer = build_trainer(settings, data, folder, CPU)
    bank = trainer._bank(trainer.critics, 2)
    trainer._fit_critics(trainer.critics, bank, 2, Progress(0, 0, "", shown=False))
    batch = next(iter(iterate(data.splits["train"], 32)))
    encoded = trainer.model.run_encoders(batch)
    encoded = replace(encoded, sequences={n: s * 1.0 for n, s in encoded.sequences.items()})
    output = trainer.model.fuse(encoded)
    task = trainer.loss(output.prediction, trainer.labels[batch.rows])
    steering = trainer._steering(trainer.critics, bank, generator())
    if values is not None:
        own = steering._estimates
        steering._estimates = lambda *args: {
            name: estimate - estimate.detach() + values.get(name, float(estimate))
            for name, estimate in own(*args).items()
        }
    return encoded, task, steering(task, output, encoded, batch.rows)


def shifted(loss, encoded):
    """The gradient with respect to a shift of all valid steps, flat."""
    sequences = list(encoded.sequences.values())
    found = torch.autograd.grad(loss, sequences, retain_graph=True)
    masks = [
        step_mask(n, s.shape[1]) for n, s in zip(encoded.lengths.values(), sequences, strict=True)
    ]
    return torch.cat(
        [(g * m[..., None]).sum(1).flatten() for g, m in zip(found, masks, strict=True)]
    )


@pytest.mark.parametrize("weight", [0.02, -0.5])
def test_the_steering_gradient_is_the_stated_share_of_the_task_s(tmp_path, weight):
    weights = ("steering.default=0", f"steering.weights.invariant={weight}")
    values = {"text_audio": 0.3, "text_video": 0.3}  # above 0: nothing is stopped
    encoded, task, found = a_step(tmp_path, *weights, values=values)
    of_task = shifted(task, encoded)
    steering = shifted(found.total, encoded) - of_task
    assert float(steering.norm()) == pytest.approx(abs(weight) * float(of_task.norm()), rel=1e-3)


def test_shares_of_several_quantities_add_up(tmp_path):
    weights = ("steering.default=0.01", "steering.weights.invariant=-0.02")
    encoded, task, found = a_step(tmp_path, *weights)
    of_task = shifted(task, encoded)
    steering = shifted(found.total, encoded) - of_task
    assert float(steering.norm()) == pytest.approx(0.09 * float(of_task.norm()), rel=1e-3)


def test_a_published_weight_is_a_factor(tmp_path):
    weights = ("steering.default=0", "steering.weights.invariant=0.3", "steering.scale=published")
    _, task, found = a_step(tmp_path, *weights)
    gain = 0.3 * (found.terms["text_audio"] + found.terms["text_video"])
    assert float(found.total) == pytest.approx(float(task - gain), rel=1e-5)


class TestStops:
    def test_what_is_pushed_down_gains_nothing_below_0(self, tmp_path):
        weights = ("steering.default=0", "steering.weights.invariant=-0.3")
        values = {"text_audio": -0.2, "text_video": -1e-6}
        encoded, task, found = a_step(tmp_path, *weights, values=values)
        assert {n: float(v) for n, v in found.stopped.items()} == dict.fromkeys(values, 1.0)
        assert float(found.terms["text_audio"]) == pytest.approx(-0.2)  # told as it is
        assert torch.equal(shifted(found.total, encoded), shifted(task, encoded))
        assert float(found.total) == float(task)

    def test_only_the_term_that_is_below_0_stops(self, tmp_path):
        weights = ("steering.default=0", "steering.weights.invariant=-0.3")
        values = {"text_audio": 0.2, "text_video": -0.1}
        encoded, task, found = a_step(tmp_path, *weights, values=values)
        assert {n: float(v) for n, v in found.stopped.items()} == {
            "text_audio": 0.0,
            "text_video": 1.0,
        }
        gradients = torch.autograd.grad(
            found.total - task, list(encoded.sequences.values()), allow_unused=True
        )
        moved = dict(zip(encoded.sequences, gradients, strict=True))
        assert float(moved["audio"].abs().max()) > 0
        assert moved["video"] is None or float(moved["video"].abs().max()) == 0

    @pytest.mark.parametrize(("above", "stopped"), [(0.01, 1.0), (-0.01, 0.0)])
    def test_what_is_pushed_up_gains_nothing_above_the_label_s_entropy(
        self, tmp_path, above, stopped
    ):
        entropy = label_entropy(np.array([0, 1]), 2)
        values = {"audio_label_given_text": entropy + above, "text_audio_given_label": 0.1}
        weights = ("steering.default=0", "steering.weights.specific_audio=0.3")
        more = ("data.planted.train_size=4000", "data.planted.seed=3")  # classes about even
        _, _, found = a_step(tmp_path, *weights, *more, values=values)
        assert float(found.stopped["audio_label_given_text"]) == stopped
        assert float(found.stopped["text_audio_given_label"]) == 0.0

    def test_ratings_have_no_ceiling(self):
        assert label_entropy(np.array([0.5, 1.5]), 1) == math.inf


def test_batches_are_shuffled_alike_with_and_without_steering(tmp_path, monkeypatch):
    seen, losses = [], Trainer._losses

    def watched(self, batch, *rest):
        seen.append(batch.rows.tolist())
        return losses(self, batch, *rest)

    monkeypatch.setattr(Trainer, "_losses", watched)
    for name, weight in (("steered", 0.1), ("unsteered", 0)):
        more = (f"name={name}", f"steering.default={weight}", "training.stage1_batch_size=48")
        train(small_settings(tmp_path, "training.epochs=2", *more), progress=False)
    half = len(seen) // 2
    assert seen[:half] == seen[half:]


def test_the_log_tells_what_stage_2_believed_what_stopped_and_how_far_it_is_off(tmp_path):
    settings = small_settings(tmp_path, "steering.default=-0.1", "training.epochs=2")
    log = read_log(train(settings, progress=False).folder)
    assert log[0]["difference"] == log[0]["stage2"]["stopped"] == {}
    second = log[1]
    assert second["difference"].keys() == second["stage2"]["terms"].keys()
    assert second["stage2"]["stopped"].keys() == second["stage2"]["terms"].keys()
    assert all(0 <= share <= 1 for share in second["stage2"]["stopped"].values())
    for name, value in second["difference"].items():
        expected = second["stage2"]["terms"][name] - second["valid"]["terms"][name]
        assert value == pytest.approx(expected, abs=1e-12)


def test_large_differences_are_warned_of_by_name():
    record = {
        "epoch": 7,
        "stage2": {"terms": {"text_audio": 1.0, "text_video": 0.5}},
        "valid": {"terms": {"text_audio": 0.5, "text_video": 0.4, "fused_text": 3.0}},
    }
    said = r"epoch 7: .*text_audio 1\.00 \(validation 0\.50\); lower"
    with pytest.warns(EstimationWarning, match=said) as warned:
        assert compared(record)["text_audio"] == 0.5
    assert "text_video" not in str(warned[0].message)
    assert compared(record, warn=False)["text_video"] == pytest.approx(0.1)


def of_before(settings):
    """The complete settings that a version before ``critics.update`` wrote."""
    tree = settings.model_dump(mode="json")
    del tree["critics"]["update"], tree["steering"]["scale"]
    return tree


def test_complete_settings_of_before_keep_their_meaning(tmp_path):
    written = of_before(small_settings(tmp_path, "critics.update=epoch"))
    found = from_mapping(written)
    assert (found.critics.update, found.steering.scale) == ("epoch", "published")
    few = from_mapping({"steering": {"default": 0.02}})  # not complete: written by hand
    assert (few.critics.update, few.steering.scale) == ("follow", "task")


def test_a_checkpoint_of_before_is_read(tmp_path, monkeypatch):
    more = ("critics.update=epoch", "steering.scale=published", "training.epochs=2")
    result = train(small_settings(tmp_path, *more, "training.controls=0"), progress=False)
    read = checkpoint.read

    def older(path, kind):
        tensors, header = read(path, kind)
        return tensors, {**header, "settings": of_before(from_mapping(header["settings"]))}

    expected = checkpoint.load_model(result.folder)
    monkeypatch.setattr(checkpoint, "read", older)
    found = checkpoint.load_model(result.folder)
    assert found.settings == expected.settings
    assert found.critics is not None
    assert not found.critics.follow
