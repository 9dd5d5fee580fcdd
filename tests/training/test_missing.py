"""Modalities that are missing: the law of the masks, the same as truly missing, the results."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from training.frozen_texts import CPU, make_data
from training.small import small_settings
from training.worker import interrupted, recorded

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.datasets.samples import Samples
from mimrl.datasets.views import narrowed
from mimrl.errors import ConfigError, ShapeError
from mimrl.model.model import MIMRL
from mimrl.settings import from_mapping, load
from mimrl.settings.model import ModelSettings
from mimrl.training import trainer
from mimrl.training.frozen import with_hidden_states
from mimrl.training.inference import encode
from mimrl.training.missing import (
    DEFINITION,
    draw_presence,
    evaluate_missing,
    expected_absence,
    held,
)
from mimrl.training.missing_report import MissingReport, draw_missing
from mimrl.training.randomness import Place, seeded
from mimrl.training.run import build_model, train
from mimrl.training.scoring import score
from mimrl.training.tracking import read_log

MANY = 20000


def drawn(has, rate, seed=0):
    return draw_presence(has, rate, torch.Generator().manual_seed(seed))


class TestMasks:
    @pytest.mark.parametrize("modalities", [2, 3, 5])
    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    def test_each_modality_is_absent_as_often_as_the_definition_says(self, modalities, rate):
        has = np.ones((MANY, modalities), bool)
        present = drawn(has, rate)
        share = rate - rate**modalities / modalities
        assert expected_absence(has, rate) == pytest.approx(share)
        error = np.sqrt(share * (1 - share) / MANY)
        assert np.abs((~present).mean(axis=0) - share).max() < 5 * error

    def test_absences_are_independent_but_for_the_one_that_is_kept(self):
        """Of three, P(first and second absent) = r^2 - r^3 + r^3 / 3: one of three comes back."""
        present = drawn(np.ones((MANY, 3), bool), 0.6)
        share = 0.6**2 - 0.6**3 + 0.6**3 / 3
        both = (~present[:, 0] & ~present[:, 1]).mean()
        assert abs(both - share) < 5 * np.sqrt(share * (1 - share) / MANY)

    def test_one_at_least_is_kept_of_what_a_clip_has(self):
        has = np.random.default_rng(0).random((MANY, 3)) < 0.5
        present = drawn(has, 0.9)
        any_held = has.any(axis=1)
        assert (present & has)[any_held].any(axis=1).all()
        lost = (has & ~present).sum() / has.sum()
        assert lost == pytest.approx(expected_absence(has, 0.9), abs=0.01)

    def test_at_rate_0_nothing_is_absent_and_the_same_seed_gives_the_same_masks(self):
        has = np.ones((50, 3), bool)
        assert drawn(has, 0.0).all()
        assert np.array_equal(drawn(has, 0.4), drawn(has, 0.4))
        assert not np.array_equal(drawn(has, 0.4), drawn(has, 0.4, seed=1))

    def test_what_cannot_be_drawn_is_refused(self):
        for rate in (-0.1, 1.0, float("nan")):
            with pytest.raises(ConfigError, match=r"expected a number in \[0, 1\)"):
                drawn(np.ones((2, 2), bool), rate)
        with pytest.raises(ShapeError, match=r"expected \(N, K\)"):
            drawn(np.ones(3, bool), 0.5)

    def test_no_modality_at_all_has_no_share(self):
        assert expected_absence(np.zeros((3, 2), bool), 0.5) == 0


def lacking(samples: Samples, present: np.ndarray) -> Samples:
    """The samples of a file that lacks what is absent."""
    inputs = {
        name: narrowed(sequences, lengths=np.where(there, sequences.lengths, 0))
        for (name, sequences), there in zip(samples.inputs.items(), present.T, strict=True)
    }
    return replace(samples, inputs=inputs)


def text_model(source: str, train_what: str) -> MIMRL:
    text = {"kind": "transformer", "source": source, "train": train_what, "max_tokens": 30}
    fusion = {"kind": "cubemlp", "time_len": 6, "sizes": ((4, 2, 8),)}
    settings = {"width": 8, "encoders": {"text": text, "audio": {"kind": "gru"}}, "fusion": fusion}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MIMRL(ModelSettings.model_validate(settings), ("text", "audio"), {"audio": 3}, 1)


class TestTrulyMissing:
    """A masked clip and one whose file lacks the modality give the same numbers, bit for bit."""

    @pytest.mark.parametrize("kind", ["linear", "gru", "lstm", "conv"])
    def test_feature_sequences(self, tmp_path, kind):
        names = ("text", "audio", "video")
        settings = small_settings(
            tmp_path, *(f"model.encoders.{n}={{kind: {kind}}}" for n in names)
        )
        data = prepare(open_corpus(settings.data), settings)
        with seeded(0, Place.INITIALISATION, 0):
            model = build_model(settings, data)
        self.check(model, data.splits["test"])

    @pytest.mark.parametrize("train_what", ["all", "none"])
    def test_token_ids(self, source, train_what):
        self.check(text_model(source, train_what), make_data().splits["valid"])

    def test_stored_states_of_a_frozen_text_encoder(self, source):
        model = text_model(source, "none")
        self.check(model, with_hidden_states(model, make_data(), CPU).splits["valid"])

    def test_stored_states_on_disk(self, source, large):
        model = text_model(source, "none")
        samples = with_hidden_states(model, make_data(), CPU).splits["valid"]
        assert not isinstance(samples.inputs["text"].values, np.ndarray)
        self.check(model, samples)

    @staticmethod
    def check(model, samples):
        has = held(samples)
        present = drawn(has, 0.6)
        assert (has & ~present).any(axis=0).all(), "each modality is absent somewhere"
        for size in (7, len(samples)):
            masked = encode(model, samples, batch_size=size, present=present)
            truly = encode(model, lacking(samples, present), batch_size=size)
            assert torch.equal(masked.prediction, truly.prediction)
            for name, values in masked.named().items():
                assert torch.equal(values, truly.named()[name]), name
        whole = encode(model, samples, batch_size=7)
        full = encode(model, samples, batch_size=7, present=np.ones_like(present))
        assert torch.equal(whole.prediction, full.prediction)
        assert not torch.equal(whole.prediction, masked.prediction)

    def test_words_that_are_blank(self, source):
        """An empty transcript is an empty sequence of ids, and gives what a masked one gives."""
        model, samples = text_model(source, "all"), make_data().splits["valid"]
        empty = np.flatnonzero(samples.inputs["text"].lengths == 0)
        assert len(empty)
        gone = np.tile([False, True], (len(samples), 1))
        without = encode(model, samples, batch_size=40, present=gone).unimodal["text"]
        assert torch.equal(without, without[:1].expand_as(without))
        whole = encode(model, samples, batch_size=40).unimodal["text"]
        assert torch.equal(whole[torch.from_numpy(empty)], without[: len(empty)])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Settings, an untrained model and the test split of a small planted data set."""
    settings = small_settings(tmp_path_factory.mktemp("parts"))
    data = prepare(open_corpus(settings.data), settings)
    with seeded(0, Place.INITIALISATION, 0):
        model = build_model(settings, data).eval()
    return settings, model, data.splits["test"]


def evaluated(parts, **more):
    options = {"rates": (0.0, 0.5), "draws": 3, "seed": 0, "device": CPU, "batch_size": 32}
    return evaluate_missing(*parts, **{**options, **more})


class TestEvaluation:
    def test_all_modalities_are_the_ordinary_metrics(self, parts):
        settings, model, samples = parts
        ordinary = score(settings, encode(model, samples, batch_size=32))
        found = evaluated(parts)
        assert found.subsets["text+audio+video"] == ordinary
        assert found.rates[0.0] == (ordinary,) * 3
        assert list(found.subsets) == [
            *("text+audio+video", "text+audio", "text+video", "audio+video"),
            *("text", "audio", "video"),
        ]

    def test_a_draw_is_what_the_model_says_under_its_mask(self, parts):
        """The picked predictions are those of a pass with the mask, to rounding in its batches."""
        settings, model, samples = parts
        found = evaluated(parts)
        for draw in range(3):
            with seeded(0, Place.MISSING, draw, 500_000_000) as generator:
                present = draw_presence(held(samples), 0.5, generator)
            features = encode(model, samples, batch_size=32, present=present)
            assert found.rates[0.5][draw] == pytest.approx(score(settings, features), abs=1e-6)

    def test_same_seed_same_numbers_whatever_else_is_asked_for(self, parts):
        one, other = evaluated(parts), evaluated(parts, rates=(0.5, 0.7), draws=2)
        assert one == evaluated(parts)
        assert one.rates[0.5][:2] == other.rates[0.5]
        assert one.rates[0.5] != evaluated(parts, seed=1).rates[0.5]
        assert len({metrics["auc"] for metrics in one.rates[0.5]}) == 3

    def test_mean_and_deviation_over_draws(self, parts):
        found = evaluated(parts)
        values = [metrics["auc"] for metrics in found.rates[0.5]]
        written = found.as_dict()["rates"]["0.5"]
        assert written["mean"]["auc"] == pytest.approx(np.mean(values))
        assert written["standard_deviation"]["auc"] == pytest.approx(np.std(values, ddof=1))
        assert written["absent"] == pytest.approx(0.5 - 0.5**3 / 3)
        assert json.loads(json.dumps(found.as_dict()))["subsets"].keys() == found.subsets.keys()

    def test_one_modality_or_no_draw_is_refused(self, parts):
        with pytest.raises(ConfigError, match=r"got 3 \(text, audio, video\) and 0"):
            evaluated(parts, draws=0)
        settings, model, samples = parts
        alone = replace(samples, inputs={"text": samples.inputs["text"]})
        with pytest.raises(ConfigError, match=r"got 1 \(text\) and 3"):
            evaluated((settings, model, alone))


class TestReport:
    def test_over_seeds_a_rate_has_the_deviation_of_the_draws_means(self, parts):
        seeds = tuple(evaluated(parts, seed=seed) for seed in (0, 1))
        report = MissingReport("accuracy", {"one": seeds[:1], "two": seeds})
        means = [one.over_draws(0.5).mean["auc"] for one in seeds]
        assert report.rates("two")[0.5].mean["auc"] == pytest.approx(np.mean(means))
        assert report.rates("two")[0.5].deviation["auc"] == pytest.approx(np.std(means, ddof=1))
        assert report.rates("one")[0.5] == seeds[0].over_draws(0.5)
        text = report.text()
        assert " ".join(text.split()).startswith(DEFINITION)
        assert "two: 32 samples; present in all of them, mean (standard deviation) over 2" in text
        assert len(report.csv().splitlines()) == 1 + 3 * (7 + 2 * 3)

    def test_models_of_other_data_are_not_compared(self, parts):
        one, other = evaluated(parts), evaluated(parts, rates=(0.1,))
        with pytest.raises(ConfigError, match=r"models to compare \(a, b\)"):
            MissingReport("accuracy", {"a": (one,), "b": (other,)})

    def test_picture_has_a_line_and_points_for_each_model(self, parts, tmp_path):
        found = evaluated(parts)
        report = MissingReport("accuracy", {"a": (found,), "b": (found, found)})
        figure = draw_missing(report, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 10_000
        left, right = figure.axes[:2]
        assert [line.get_label().split(" ")[0] for line in left.lines] == ["a", "b"]
        assert left.get_title() == "accuracy (higher is better)"
        assert [label.get_text() for label in right.get_yticklabels()][:2] == [
            *("text + audio + video", "text + audio"),
        ]


class TestRuns:
    def test_a_run_reports_them_when_asked(self, tmp_path):
        asked = ("evaluation.missing=true", "evaluation.missing_draws=2", "training.epochs=1")
        settings = small_settings(tmp_path, *asked, "evaluation.missing_rates=[0,0.5]")
        folder = train(settings, progress=False).folder
        report = json.loads((folder / "metrics.json").read_text())
        assert (folder / "missing.png").is_file()
        assert report["missing"]["definition"] == DEFINITION
        for split in ("valid", "test"):
            found = report["missing"][split]
            assert found["subsets"]["text+audio+video"] == report[split]
            assert found["rates"]["0.0"]["mean"] == pytest.approx(report[split])
            assert len(found["rates"]["0.5"]["draws"]) == 2

    def test_settings_written_before_still_load(self):
        tree = load(None).model_dump(mode="json")
        del tree["evaluation"], tree["training"]["modality_dropout"]
        assert from_mapping(tree) == load(None)


class TestModalityDropout:
    FEW = ("training.epochs=3", "training.controls=0")

    def test_without_it_nothing_is_drawn(self, tmp_path, monkeypatch):
        monkeypatch.setattr(trainer, "draw_presence", None)
        given = []
        iterate = trainer.iterate
        monkeypatch.setattr(
            trainer, "iterate", lambda *a, **k: given.append(k["present"]) or iterate(*a, **k)
        )
        train(small_settings(tmp_path, *self.FEW), progress=False)
        assert given == [None] * 3

    def test_stage_2_loses_modalities_and_bank_and_validation_do_not(self, tmp_path, monkeypatch):
        seen = {True: [], False: []}
        encode = MIMRL.run_encoders

        def watched(self, batch):
            lengths = torch.stack(list(batch.lengths.values()), dim=1)
            seen[self.training].append(lengths > 0)
            return encode(self, batch)

        monkeypatch.setattr(MIMRL, "run_encoders", watched)
        train(small_settings(tmp_path, *self.FEW, "training.modality_dropout=0.7"), progress=False)
        assert torch.cat(seen[False]).all()
        epochs = torch.cat(seen[True]).view(3, 96, 3)
        assert epochs.any(dim=2).all()
        share = 0.7 - 0.7**3 / 3
        error = 5 * np.sqrt(share * (1 - share) / 96)
        for epoch in epochs:
            assert ((~epoch).double().mean(dim=0) - share).abs().max() < error

    def test_batches_are_those_of_a_training_without_it(self, tmp_path, monkeypatch):
        rows = []
        losses = trainer.Trainer._losses

        def watched(self, batch, *rest):
            rows.append(batch.rows.tolist())
            return losses(self, batch, *rest)

        monkeypatch.setattr(trainer.Trainer, "_losses", watched)
        for rate in (0.0, 0.5):
            more = (f"training.modality_dropout={rate}", f"name=r{rate}")
            train(small_settings(tmp_path, *self.FEW, *more), progress=False)
        assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]

    def test_interrupted_and_resumed_to_the_last_bit(self, tmp_path):
        more = (*self.FEW, "training.modality_dropout=0.4")
        whole = recorded(small_settings(tmp_path, *more, "name=whole"))
        settings = small_settings(tmp_path, *more, "name=parts")
        interrupted(settings)
        rest = recorded(settings, resume=True)
        assert 0 < len(rest["losses"]) < len(whole["losses"])
        assert rest["losses"] == whole["losses"][-len(rest["losses"]) :]
        assert rest["weights"] == whole["weights"]
        assert rest["metrics"] == whole["metrics"]
        logs = [read_log(tmp_path / name / "seed0") for name in ("whole", "parts")]
        assert [r["stage2"] for r in logs[0]] == [r["stage2"] for r in logs[1]]

    def test_loader_workers_give_the_same_losses(self, tmp_path):
        found = [
            recorded(
                small_settings(
                    tmp_path,
                    *("training.epochs=2", "training.controls=0", "training.modality_dropout=0.4"),
                    *(f"performance.loader_workers={workers}", f"name=w{workers}"),
                )
            )
            for workers in (0, 1)
        ]
        assert found[0]["losses"] == found[1]["losses"]
