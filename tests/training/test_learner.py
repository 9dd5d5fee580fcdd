"""One optimiser step: what it clips, what a multiple of 0 freezes, and what fp16 needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimrl.model.model import MIMRL
from mimrl.settings.model import ConcatFusionSettings, ModelSettings, TransformerSettings
from mimrl.settings.training import TrainingSettings
from mimrl.training.optimisation import Learner, model_groups

OPTIMIZERS = ["adam", "adamw", "sgd"]


def settings_of(**changes):
    return TrainingSettings.model_validate(
        {"optimizer": {"kind": "adam", "rate": 0.1}, "schedule": {"kind": "cosine"}} | changes
    )


def parameter(*values):
    return nn.Parameter(torch.tensor(values))


def scaler():
    return torch.amp.GradScaler("cpu", init_scale=2.0**10)


@pytest.fixture
def model(seeded):
    """Text alone, by a BERT of three layers."""
    text = TransformerSettings(max_tokens=12)
    settings = ModelSettings(width=4, encoders={"text": text}, fusion=ConcatFusionSettings(width=4))
    sizes = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    config = {"model_type": "bert", "num_hidden_layers": 3, **sizes}
    return MIMRL(settings, ("text",), {"text": 0}, 1, text_config=config)


class TestFrozenGroups:
    def test_they_neither_move_nor_count_in_the_norm(self):
        """Their gradients would pile up, since nothing sets them back, and shrink all others."""
        free, frozen = parameter(1.0), parameter(1.0)
        settings = settings_of(
            optimizer={"kind": "sgd", "rate": 1.0, "momentum": 0},
            schedule="constant",
            clip="norm",
            clip_at=0.5,
        )
        learner = Learner({"main": ([free], 1.0), "text": ([frozen], 0.0)}, settings, 3)
        for _ in range(3):
            learner.step(free.sum() + 100 * frozen.sum())
        assert frozen.item() == 1.0
        assert frozen.grad is None
        assert free.item() == pytest.approx(1.0 - 3 * 0.5, abs=1e-5)  # PyTorch adds 1e-6 to norms

    def test_nothing_is_asked_of_them(self):
        frozen = parameter(1.0)
        Learner({"main": ([parameter(1.0)], 1.0), "text": ([frozen], 0.0)}, settings_of(), 1)
        assert not frozen.requires_grad


class TestDecayOverLayers:
    def test_each_layer_learns_slower_than_the_one_above(self, model):
        groups = model_groups(model, settings_of(text_rate=0.5, text_layer_decay=0.8))
        rates = {name: rate for name, (_, rate) in groups.items()}
        layers = {f"text_layer{i}": 0.5 * 0.8 ** (2 - i) for i in range(3)}
        assert rates == pytest.approx({**layers, "text_embeddings": 0.5 * 0.8**3, "main": 1.0})
        top = model.text_encoder.transformer.encoder.layer[2]
        assert [id(p) for p in groups["text_layer2"][0]] == [id(p) for p in top.parameters()]

    @pytest.mark.parametrize("decay", [0.5, 1.0])
    def test_every_parameter_is_in_one_group(self, model, decay):
        groups = model_groups(model, settings_of(text_layer_decay=decay))
        found = [id(p) for parameters, _ in groups.values() for p in parameters]
        assert sorted(found) == sorted(id(p) for p in model.parameters())
        assert ("text" in groups) == (decay == 1)

    def test_a_first_step_of_adam_has_the_size_of_the_rate(self, model):
        settings = settings_of(
            optimizer={"kind": "adam", "rate": 0.1},
            schedule="constant",
            text_rate=0.1,
            text_layer_decay=0.5,
            clip="none",
        )
        learner = Learner(model_groups(model, settings), settings, 1)
        layers = model.text_encoder.transformer.encoder.layer
        before = [layer.output.dense.bias.detach().clone() for layer in layers]
        learner.step(sum(p.sum() for p in model.parameters()))
        moved = [
            (old - layer.output.dense.bias).mean().item()
            for old, layer in zip(before, layers, strict=True)
        ]
        # of weights of order one float32 keeps 1e-7
        assert moved == pytest.approx([0.0025, 0.005, 0.01], abs=1e-6)
        assert learner.rates()["text_layer0"] == pytest.approx(0.0025)


class TestScaledGradients:
    @pytest.mark.parametrize("clip", ["value", "norm", "none"])
    @pytest.mark.parametrize("kind", OPTIMIZERS)
    def test_steps_are_those_without_scaling(self, kind, clip):
        """Clipped after the scale is taken out again; a power of two rounds nothing."""
        found = []
        for used in (None, scaler()):
            weights = parameter(1.0, -2.0, 3.0)
            settings = settings_of(optimizer={"kind": kind}, clip=clip)
            learner = Learner({"main": ([weights], 1.0)}, settings, 4, scaler=used)
            for step in range(4):
                learner.step((weights.square() * (step + 1)).sum())
            found.append(weights.detach())
        assert torch.equal(*found)

    @pytest.mark.parametrize("kind", OPTIMIZERS)
    def test_a_step_that_overflows_is_left_out_and_counted(self, kind):
        weights = parameter(1.0, 2.0)
        used = scaler()
        settings = settings_of(optimizer={"kind": kind}, clip="norm")
        learner = Learner({"main": ([weights], 1.0)}, settings, 10, scaler=used)
        learner.step(weights.square().sum())
        before = weights.detach().clone()
        kept = {name: value.clone() for name, value in learner.tensors().items()}
        rate = learner.rates()["main"]
        learner.step((weights * torch.tensor([1.0, 3e38])).sum())  # finite, but not times 1024
        assert torch.equal(weights, before)
        assert learner.scaling()["scale"] == 2.0**9
        for name, value in learner.tensors().items():
            assert torch.equal(value, kept[name]), name  # Adam's count of steps too
        assert learner.schedule.state()["step"] == 2
        assert learner.rates()["main"] != rate
        learner.step(weights.square().sum())
        assert not torch.equal(weights, before)

    def test_the_scale_is_kept_with_the_state(self):
        weights = parameter(1.0)
        learner = Learner({"main": ([weights], 1.0)}, settings_of(), 4, scaler=scaler())
        learner.step(weights.sum() * 3e38)
        assert learner.scaling()["scale"] == 2.0**9
        other = Learner({"main": ([parameter(1.0)], 1.0)}, settings_of(), 4, scaler=scaler())
        other.load(learner.tensors(), learner.schedule.state(), learner.scaling())
        assert other.scaling() == learner.scaling()
