import random
from pathlib import Path

import pytest

from mimrl.errors import ConfigError, MissingFileError
from mimrl.settings import load
from mimrl.tune.report import _yaml
from mimrl.tune.space import Choice, Range, build_space, read_space

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
KINDS = {
    "model.fusion.kind": ["cubemlp", "lmf", "crossmodal"],
    "model.fusion.rank": {"low": 2, "high": 16, "log": True},
    "model.fusion.heads": [2, 4],
    "model.encoders.*.kind": ["gru", "conv"],
    "model.encoders.*.layers": {"low": 1, "high": 3},
    "training.optimizer": [{"kind": "sgd", "momentum": 0.5}, "adamw"],
    "training.optimizer.rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "critics.bound.kind": ["infonce", "tuba"],
    "critics.bound.baseline": ["learned", {"kind": "constant", "value": 0.5}],
    "training.clip": ["none", "norm"],
    "training.patience": [None, 5],
}


def at_random(seed):
    """Draws values of a space by a generator of its own."""
    rng = random.Random(seed)

    def draw(item):
        if isinstance(item, Choice):
            return rng.choice([*item.options.values()])
        if item.integer:
            return rng.randint(int(item.low), int(item.high))
        return rng.uniform(item.low, item.high)

    return draw


@pytest.mark.parametrize(
    ("path", "fusion"),
    [
        *((path, "cubemlp") for path in CONFIGS),
        *((CONFIGS[0], fusion) for fusion in ("tfn", "lmf", "concat", "crossmodal")),
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_the_default_space_fits_every_configuration_and_fusion(path, fusion):
    base = load(path, [f"model.fusion={fusion}"])
    space = read_space(None, base)
    assert space.settings(at_random(0)) != base
    keys = set(space.as_dict())
    learns = any(one.kind == "transformer" for one in base.model.encoders.values())
    assert ("training.text_rate" in keys) == learns
    assert ("steering.default" in keys) == base.steered


def test_what_does_not_steer_is_not_searched():
    keys = read_space(None, load(None, ["steering.default=0"])).as_dict()
    assert not {"steering.default", "critics.rate", "training.warmup_epochs"} & set(keys)


@pytest.mark.parametrize("config", [None, ROOT / "configs" / "demo.yaml"], ids=["none", "demo"])
def test_written_as_key_value_a_combination_is_the_same_settings(config):
    """Kinds, stars, whole groups and conditional keys, against the loader of train.py."""
    base = load(config)
    space = build_space(KINDS, base)
    seen = set()
    for seed in range(12):
        settings = space.settings(at_random(seed))
        overrides = space.overrides(at_random(seed))
        assert load(config, [f"{k}={_yaml(v)}" for k, v in overrides.items()]) == settings
        seen |= {settings.model.fusion.kind, settings.model.encoders["audio"].kind}
        if settings.model.fusion.kind == "cubemlp":
            assert settings.model.fusion == base.model.fusion  # its own kind keeps its settings
    assert seen == {"cubemlp", "lmf", "crossmodal", "gru", "conv"}


def test_keys_of_a_kind_are_drawn_where_it_is_chosen_and_after_it():
    space = build_space(KINDS, load())
    asked = []

    def draw(item):
        asked.append(item.key)
        values = {"model.fusion.kind": "lmf", "model.fusion.rank": 3}
        return values.get(item.key, at_random(0)(item))

    assert space.settings(draw).model.fusion.rank == 3
    assert asked.index("model.fusion.kind") < asked.index("model.fusion.rank")
    assert "model.fusion.heads" not in asked


def test_a_star_is_one_value_for_every_modality():
    space = build_space({"model.encoders.*.dropout": {"low": 0.0, "high": 0.5}}, load())
    settings = space.settings(lambda item: 0.25)
    assert {one.dropout for one in settings.model.encoders.values()} == {0.25}
    assert len(settings.model.encoders) == 3


def test_whole_numbers_and_others():
    space = build_space(
        {
            "training.epochs": {"low": 10, "high": 20, "step": 5},
            "training.patience": {"low": 2, "high": 9},
            "steering.default": {"low": 0, "high": 1},
        },
        load(),
    )
    integer = {item.key: item.integer for item in space.items if isinstance(item, Range)}
    assert integer == {
        "training.epochs": True,
        "training.patience": True,  # integer or null
        "steering.default": False,  # though its bounds are written as integers
    }


def test_a_search_file_may_be_nested(tmp_path):
    file = tmp_path / "search.yaml"
    file.write_text(
        "training:\n  batch_size: [8, 16]\n  optimizer:\n    rate: {low: 1e-4, high: 1e-2}"
    )
    flat = {"training.batch_size": [8, 16], "training.optimizer.rate": {"low": 1e-4, "high": 1e-2}}
    assert read_space(file, load()).as_dict() == build_space(flat, load()).as_dict() == flat
    with pytest.raises(MissingFileError, match=r"search file .* does not exist"):
        read_space(tmp_path / "absent.yaml", load())


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("training.optimizer.rat", {"low": 1, "high": 2}, "did you mean rate"),
        ("nonsense", [1], "unknown key"),
        ("model.encoders.*.nonsense", [1], "unknown key"),
        ("training.*.rate", [1], r"\* stands for the modalities"),
        ("model.fusion.rank", [2, 4], "unknown key with kind=cubemlp"),
        ("model.fusion.kind", ["cubemlp", "magic"], "expected one of .* got magic"),
        ("steering.weights.nonsense", [0.1], "names .*nonsense"),
        ("steering.weights", [{"nonsense": 0.1}], "names .*nonsense"),
        ("training.batch_size", {"low": 64, "high": 32}, "low 64 must be below high 32"),
        ("training.batch_size", {"low": 1, "high": 32}, "greater than or equal to 2, got 1"),
        ("training.batch_size", {"low": 16.5, "high": 32}, "expected an integer, got 16.5"),
        ("training.batch_size", {"low": 16, "high": 32, "step": 0}, "step 0 must be above 0"),
        ("training.batch_size", {"low": 16, "high": 32, "step": 0.5}, "step: expected an integer"),
        ("training.batch_size", {"low": 16, "high": 99, "step": 32}, "set high to 80"),
        ("model.encoders.*.dropout", {"low": 0.1, "high": 0.6, "step": 0.2}, "set high to 0.5"),
        ("training.batch_size", ["many"], "expected an integer"),
        ("training.clip", {"low": 1, "high": 2}, "needs a setting that is a number"),
        ("training.optimizer.rate", {"low": 0, "high": 1, "log": True}, "needs low above 0"),
        ("training.optimizer.rate", {"low": 1e-3, "high": 1, "log": 1}, "expected true or false"),
        ("training.optimizer.rate", {"low": 1e-3, "hihg": 1}, "unknown hihg"),
        ("training.optimizer.rate", {"low": True, "high": 1}, "low: expected a number"),
        (
            "training.optimizer.rate",
            {"low": 0.1, "high": 1.0, "log": True, "step": 0.1},
            "exclude each other",
        ),
        ("training.optimizer", [{"rate": 0.1}], "names its kind"),
        ("training.optimizer", [{"kind": "adam", "rat": 0.1}], "unknown key"),
        ("model.encoders.audio.dropout", {"low": 0, "high": 1}, "less than 1"),
        ("training.batch_size", [], "a list of values"),
        ("training.batch_size", [16, 16], "twice"),
        ("training.batch_size", 16, "a list of values, got 16"),
        ("seed", [0, 1], "cannot be searched.*luck"),
        ("evaluation.missing_draws", [1, 2], "cannot be searched.*adds to the final report"),
        ("data.target", ["class"], "cannot be searched.*yardsticks"),
        ("data.planted.noise", [0.1, 0.2], "cannot be searched.*yardsticks"),
    ],
)
def test_wrong_entries_are_named(key, entry, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_space({key: entry}, load())
    assert f"- {key}: " in str(caught.value)
    assert "1 problem:" in str(caught.value)


def test_all_problems_in_one_message():
    raw = {"training.optimizer.rat": [1], "training.batch_size": [0], "seed": [1]}
    with pytest.raises(ConfigError, match="3 problems") as caught:
        build_space(raw, load())
    assert all(f"- {key}: " in str(caught.value) for key in raw)
    with pytest.raises(ConfigError, match="names no setting"):
        build_space({}, load())


@pytest.mark.parametrize("step", [0.05, 0.1, 0.07, 1 / 30])
def test_steps_lead_to_high_up_to_rounding(step):
    entry = {"low": 0.1, "high": 0.1 + 7 * step, "step": step}
    build_space({"training.clip_at": entry}, load())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training.clip_at: [1]\ntraining: {clip_at: [2]}\n",
            "training.clip_at: stands there twice",
        ),
        (
            "model.fusion: [lmf]\nmodel.fusion.kind: [tfn]\n",
            "model.fusion: model.fusion.kind chooses the same",
        ),
    ],
)
def test_what_would_undo_another_key_is_refused(tmp_path, text, message):
    file = tmp_path / "search.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_space(file, load())


def test_mappings_without_kinds_may_be_choices():
    weights = [{}, {"fusion_text": 0.1}]
    space = build_space({"steering.weights": weights}, load())
    assert space.settings(lambda item: weights[1]).steering.weights == weights[1]


def test_a_refused_combination_is_left_to_the_trials():
    space = build_space({"training.stage1_passes": [0, 1]}, load())
    with pytest.raises(ConfigError, match="stage1_passes=0 leaves the critics untrained"):
        space.settings(lambda item: 0)
