"""Exact terms of planted laws: closed forms, laws of information, a slow independent quadrature."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from mimrl.datasets.ceilings import Ceilings, Exact, bit_pair_information, ceilings, label_entropy
from mimrl.datasets.latent import COMPONENTS, MODALITIES, LatentModel, Task
from mimrl.datasets.planted import latent_model
from mimrl.errors import ConfigError
from mimrl.settings import load
from mimrl.terms import FUSED, quantities, terms

ROOT = Path(__file__).parents[2]
LOG2 = np.log(2)
MIXED = dict.fromkeys(COMPONENTS, 0.2)
PAIRS = ("text_audio", "text_video")
ERROR = 0.002  # the largest standard error that the module promises
LAWS = {
    "mixed": LatentModel(MIXED, 0.5, 0.1, "classification", PAIRS, 0.1),
    "rating": LatentModel({"redundant": 0.5, "synergy": 0.5}, 0.7, 0.3, "regression", PAIRS[:1]),
    "unique": LatentModel({"unique_text": 0.6, "unique_video": 0.4}, 0.4, 0.0, "regression"),
    "soft": LatentModel({"redundant": 1.0}, 0.6, 1.5, "classification", ("audio_video",)),
}


@pytest.fixture(scope="module", params=LAWS)
def law(request: pytest.FixtureRequest) -> tuple[LatentModel, Ceilings]:
    model = LAWS[request.param]
    return model, ceilings(model)


def one(component: str, noise: float = 0.05, task: Task = "classification", **fields) -> Ceilings:
    return ceilings(LatentModel({component: 1.0}, noise, 0.0, task, **fields))


def entropy(p: float) -> float:
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


def value(exact: Exact | None) -> float:
    assert exact is not None
    return exact.value


@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0, 3.0])
def test_a_bit_seen_twice_has_the_information_of_its_densities(noise: float) -> None:
    """h(x1) + h(x2) - h(x1, x2) on a grid, with nothing of the module's formula."""
    x, step = np.linspace(-1 - 9 * noise, 1 + 9 * noise, 1201, retstep=True)
    plus, minus = norm.pdf(x, 1, noise), norm.pdf(x, -1, noise)
    joint = 0.5 * (np.outer(plus, plus) + np.outer(minus, minus))
    alone = 0.5 * (plus + minus)
    some = joint > 1e-300
    ratio = np.log(joint[some] / np.outer(alone, alone)[some])
    expected = np.sum(joint[some] * ratio) * step**2
    assert bit_pair_information(noise) == pytest.approx(expected, abs=1e-7)


def test_two_modalities_share_a_bit_for_each_nuisance_and_for_the_redundant_part() -> None:
    found = one("redundant", 0.5, nuisance=("text_audio", "audio_video"))
    bit = bit_pair_information(0.5)
    assert value(found.terms["text_audio"]) == pytest.approx(2 * bit, abs=1e-12)
    assert value(found.terms["text_video"]) == pytest.approx(bit, abs=1e-12)
    # the label is the shared bit: given it, the nuisance is all that is left
    assert value(found.terms["text_audio_given_label"]) == pytest.approx(bit, abs=ERROR)
    assert value(found.terms["text_video_given_label"]) == pytest.approx(0, abs=ERROR)
    audio = ceilings(
        LatentModel({"redundant": 1.0}, 0.5, 0.0, "classification", ("audio_video",)),
        ("audio", "video"),
    )
    assert value(audio.quantities["invariant"]) == pytest.approx(2 * bit, abs=1e-12)


@pytest.mark.parametrize("flips", [0.0, 0.1, 0.3])
def test_flips_are_a_binary_channel(flips: float) -> None:
    expected = LOG2 - entropy(flips) if flips else LOG2
    for component, who in (("redundant", ("text",)), ("synergy", ("text", "audio"))):
        found = one(component, label_flips=flips)
        assert value(found.label[who]) == pytest.approx(expected, abs=1e-6)
        assert found.label_entropy == pytest.approx(LOG2, abs=1e-12)


def test_synergy_given_the_label_is_a_shared_bit() -> None:
    found = one("synergy", 0.6)
    assert value(found.terms["text_audio"]) == 0
    given = value(found.terms["text_audio_given_label"])
    assert given == pytest.approx(bit_pair_information(0.6), abs=3 * ERROR)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_with_little_noise_what_is_said_of_the_label_is_that_of_the_bits(task: Task) -> None:
    model = LatentModel(MIXED, 0.05, 0.1, task, PAIRS, 0.2 if task == "classification" else 0)
    found = ceilings(model)
    for who, exact in found.label.items():
        assert exact.value == pytest.approx(model.total_bit_information(*who), abs=4 * ERROR)


def test_identities_hold_to_rounding(law: tuple[LatentModel, Ceilings]) -> None:
    _, found = law
    text, both = value(found.label["text",]), ("text", "audio")
    for other in ("audio", "video"):
        specific, alone = value(found.quantities[f"specific_{other}"]), value(found.label[other,])
        shared = value(found.terms[f"text_{other}"])
        assert specific == pytest.approx(alone - shared, abs=1e-9)
    total = value(found.quantities["invariant"]) + value(found.quantities["specific_text"])
    assert total == pytest.approx(2 * text, abs=1e-9)
    chain = text + value(found.terms["audio_label_given_text"])
    assert value(found.label[both]) == pytest.approx(chain, abs=1e-9)


def test_data_processing(law: tuple[LatentModel, Ceilings]) -> None:
    """More modalities say no less of the label, none more than the label has; ranges hold values.

    The value of the inputs is one choice of features, constant ones are another.
    """
    model, found = law
    for who, exact in found.label.items():
        assert exact.value > -3 * ERROR
        assert model.task == "regression" or exact.value < found.label_entropy + 3 * ERROR
        for size in range(1, len(who)):
            assert all(value(found.label[s]) < exact.value + ERROR for s in combinations(who, size))
    for exact in (*found.terms.values(), *found.quantities.values()):
        if exact is not None:
            assert exact.floor - 3 * ERROR < exact.value < exact.ceiling + 3 * ERROR
            assert exact.floor <= 0 <= exact.ceiling
            assert exact.error < ERROR


def test_features_that_drop_parts_stay_within_the_range(
    law: tuple[LatentModel, Ceilings],
) -> None:
    """A modality of the law with more noise is a feature of that with less."""
    model, found = law
    worse = ceilings(
        LatentModel(
            model.shares,
            2 * model.noise,
            model.label_noise,
            model.task,
            model.nuisance[:1],
            model.label_flips,
        )
    )
    for mine, bound in ((worse.terms, found.terms), (worse.quantities, found.quantities)):
        for name, exact in mine.items():
            limit = bound[name]
            if exact is not None and limit is not None:
                assert limit.floor - 3 * ERROR < exact.value < limit.ceiling + 3 * ERROR


def test_reached_ceilings_of_specific_information() -> None:
    """Constant text leaves I(audio; label), constant others leave 2 I(text; label)."""
    found = ceilings(LAWS["mixed"])
    specific = found.quantities
    assert specific["specific_audio"].ceiling == value(found.label["audio",])  # type: ignore[union-attr]
    assert specific["specific_text"].ceiling == 2 * value(found.label["text",])  # type: ignore[union-attr]
    shared = value(found.terms["text_audio"]), value(found.terms["text_audio_given_label"])
    assert specific["specific_audio"].floor == -min(shared)  # type: ignore[union-attr]


def test_soft_classes_against_a_grid() -> None:
    """p(x_text, x_audio | class) on a grid for one redundant bit behind a noisy threshold."""
    model = LAWS["soft"]
    found = ceilings(model, ("text", "audio"))
    chance = norm.cdf(2 / model.label_noise)  # of class 1, given the bit is +1
    x, step = np.linspace(-7, 7, 1001, retstep=True)
    plus, minus = norm.pdf(x, 1, model.noise), norm.pdf(x, -1, model.noise)
    joint = chance * np.outer(plus, plus) + (1 - chance) * np.outer(minus, minus)
    alone = joint.sum(axis=0) * step
    given = np.sum(joint * np.log(joint / np.outer(alone, alone))) * step**2
    assert value(found.terms["text_audio_given_label"]) == pytest.approx(given, abs=3 * ERROR)
    text = np.sum(alone * np.log(alone / (0.5 * (plus + minus)))) * step
    assert value(found.label["text",]) == pytest.approx(text, abs=3 * ERROR)


@pytest.mark.parametrize("name", LAWS)
def test_the_mean_of_drawn_samples_agrees(name: str) -> None:
    """Plain Monte Carlo through ``draw`` and ``information``, the flips among them."""
    model = LAWS[name]
    found, draw = ceilings(model), model.draw(20_000, np.random.default_rng(0))
    for who in (("text",), ("text", "video"), MODALITIES):
        i = model.information({m: draw.latents[m] for m in who}, draw.labels)
        assert value(found.label[who]) == pytest.approx(
            i.mean(), abs=4 * i.std() / np.sqrt(len(i)) + ERROR
        )


def test_label_entropies() -> None:
    assert label_entropy(LAWS["unique"]) == pytest.approx(2 * LOG2, abs=1e-12)
    y, step = np.linspace(-5, 5, 20_001, retstep=True)
    density = sum(w * norm.pdf(y, m, 0.3) for m, w in ((-2, 0.25), (0, 0.5), (2, 0.25)))
    expected = -np.sum(density * np.log(density)) * step
    assert label_entropy(LAWS["rating"]) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("names", [("text",), ("video", "text"), ("audio", "video", "text")])
def test_any_modalities_have_the_table_of_terms(names: tuple[str, ...]) -> None:
    found = ceilings(LAWS["unique"], names)
    assert list(found.terms) == [term.name for term in terms(names)]
    assert list(found.quantities) == [quantity.name for quantity in quantities(names)]
    unbounded = {n for n, e in (*found.terms.items(), *found.quantities.items()) if e is None}
    fused = {t.name for t in terms(names) if FUSED in (t.x, t.y)}
    assert unbounded == fused | {f"fusion_{name}" for name in names}
    assert len(found.label) == 2 ** len(names) - 1


@pytest.mark.parametrize("names", [(), ("text", "text"), ("text", "fused")])
def test_other_modalities_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="ceilings need some of text, audio, video"):
        ceilings(LAWS["unique"], names)


def test_the_room_of_the_steering_configuration_is_as_the_method_page_says() -> None:
    settings = load(ROOT / "configs" / "steering.yaml")
    found = ceilings(latent_model(settings.data.planted, settings.task), settings.data.modalities)
    page = (ROOT / "docs" / "method.md").read_text()
    table = {"I(A;C)": found.label["audio",], "I(V;C)": found.label["video",]}
    table |= {f"`{name}`": found.quantities[name] for name in ("invariant", "complementary")}
    table |= {"I(T;A)": found.terms["text_audio"], "I(T;V)": found.terms["text_video"]}
    for name, exact in table.items():
        printed = re.search(rf"^\| {re.escape(name)} \| (\d\.\d+) \|", page, re.M)
        assert exact is not None, name
        assert printed is not None, name
        assert float(printed[1]) == pytest.approx(exact.ceiling, abs=ERROR)
