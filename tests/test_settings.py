"""Reading, checking, printing and explaining settings."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from mimrl.errors import ConfigError, MissingFileError
from mimrl.model.fusion import FUSIONS
from mimrl.settings import Settings, dump, from_mapping, load
from mimrl.settings.help import entries, render
from mimrl.settings.walk import groups, kinds, locate, paths

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
FILE = ["data.path=x.pkl"]


def problems(*overrides: str) -> list[str]:
    """The lines of the one message that refuses these overrides."""
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    head, *lines, last = str(caught.value).split("\n")
    assert head == f"settings: {len(lines)} problem{'s' if len(lines) > 1 else ''}:"
    assert last.startswith("'python train.py --help'")
    return [line.removeprefix("  - ") for line in lines]


def leaves(tree, prefix=()):
    """The keys of every value in nested mappings."""
    for key, value in tree.items():
        yield from leaves(value, (*prefix, key)) if isinstance(value, dict) else [(*prefix, key)]


def remove(tree, keys):
    """Takes the value at ``keys`` out of nested mappings."""
    for key in keys[:-1]:
        tree = tree[key]
    del tree[keys[-1]]


class TestFiles:
    def test_there_is_a_config_for_each_data_set(self):
        names = {path.stem for path in CONFIGS}
        assert {"demo", "mosi", "mosei", "humor", "sarcasm"} <= names
        assert {"mosi_official", "mosi_utterance", "sarcasm_clips", "pom", "misa_dev"} <= names

    @pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
    def test_config_loads_and_its_runs_have_its_name(self, path):
        settings = load(path)
        assert settings.name == path.stem
        assert from_mapping(yaml.safe_load(dump(settings))) == settings

    @pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
    def test_config_says_only_what_differs_from_the_defaults(self, path):
        settings = load(path)
        for keys in leaves(yaml.safe_load(path.read_text())):
            rest = yaml.safe_load(path.read_text())
            remove(rest, keys)
            try:
                without = from_mapping(rest)
            except ConfigError:
                continue  # another setting needs this one
            assert without != settings, f"{'.'.join(keys)} is the default"

    def test_missing_file(self, tmp_path):
        with pytest.raises(MissingFileError, match=r"nothing\.yaml does not exist"):
            load(tmp_path / "nothing.yaml")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("- a\n- b\n", "expected a mapping of settings, got list"),
            ("a: [1\n", "not YAML"),
            ("training:\n  epochs: 3\n  epochs: 4\n", "key epochs stands there twice"),
            ("!!python/object:os.system {}\n", "not YAML"),
        ],
    )
    def test_files_that_are_no_settings(self, tmp_path, text, message):
        path = tmp_path / "some.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load(path)

    def test_empty_file_means_the_defaults(self, tmp_path):
        path = tmp_path / "empty.yaml"
        path.write_text("# nothing\n")
        assert load(path) == load() == Settings()


class TestOverrides:
    def test_later_ones_win_over_earlier_ones_and_the_file(self):
        demo = CONFIGS[[path.stem for path in CONFIGS].index("demo")]
        settings = load(demo, ["training.epochs=3", "training.epochs=4", "model.width=16"])
        assert (settings.training.epochs, settings.model.width) == (4, 16)
        assert settings.name == "demo"

    @pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0e-3", ".1E-2"])
    def test_numbers_in_any_notation(self, text):
        assert load(None, [f"training.optimizer.rate={text}"]).training.optimizer.rate == 1e-3

    def test_a_kind_is_chosen_by_its_name_alone(self):
        settings = load(None, ["model.fusion=lmf", "model.fusion.rank=2"])
        assert settings.model.fusion.kind == "lmf"
        assert settings.model.fusion.rank == 2

    def test_a_group_without_kind_means_the_default_kind(self):
        assert load(None, ["training.optimizer.rate=0.5"]).training.optimizer.kind == "adam"

    def test_text_has_a_transformer_only_where_there_are_words(self):
        assert load(None, FILE).model.encoders["text"].kind == "transformer"
        assert load(None).model.encoders["text"].kind == "gru"


class TestKinds:
    @pytest.mark.parametrize(
        ("field", "kind"),
        [
            (f"{group}.{name}", kind)
            for group in ("model", "critics", "training")
            for name, field in groups(Settings.model_fields[group].annotation)[
                0
            ].model_fields.items()
            for kind in kinds(field.annotation)
        ],
    )
    def test_each_kind_survives_a_round_trip(self, field, kind):
        overrides = [f"{field}={kind}"]
        if kind in ("focal", "bce", "ce"):
            overrides.append("data.target=class")
        settings = load(None, overrides)
        assert from_mapping(yaml.safe_load(dump(settings))) == settings
        assert from_mapping(settings.model_dump()) == settings


class TestRefusals:
    @pytest.mark.parametrize(
        ("overrides", "line"),
        [
            (["training.epoch=5"], "training.epoch: unknown key; did you mean epochs?"),
            (["trainin.epochs=5"], "trainin: unknown key; did you mean training?"),
            (["batch_size=3"], "batch_size: unknown key here; did you mean training.batch_size?"),
            (
                ["model.fusion=lmf", "model.fusion.time_len=5"],
                "model.fusion.time_len: unknown key with kind=lmf; "
                "known here: kind, rank, width, dropout",
            ),
            (["training.epochs=0"], "training.epochs: expected greater than or equal to 1, got 0"),
            (["training.epochs=true"], "training.epochs: expected an integer, got true"),
            (["training.epochs='5'"], 'training.epochs: expected an integer, got "5"'),
            (["training.epochs=2.5"], "training.epochs: expected an integer, got 2.5"),
            (["training.clip_at=.nan"], "training.clip_at: expected a finite number, got NaN"),
            (
                ["training.modality_dropout=1"],
                "training.modality_dropout: expected less than 1, got 1",
            ),
            (
                ["evaluation.missing=true", "evaluation.missing_rates=[0.2,1.5]"],
                "evaluation.missing_rates.1: expected less than 1, got 1.5",
            ),
            (["training=5"], "training: expected a group of settings, got 5"),
            (["data.label=[1]"], "data.label: expected text or an integer, got [1]"),
            (
                ['performance.cache=""'],
                'performance.cache: expected text that is not empty, got ""',
            ),
            (
                ["name=../x"],
                "name: expected text matching '^[A-Za-z0-9][A-Za-z0-9._-]*$', got \"../x\"",
            ),
            (
                ["model.fusion=foo"],
                f"model.fusion: expected one of {', '.join(FUSIONS)}, got foo",
            ),
            (["model.fusion.sizes=[[1,2]]"], "model.fusion.sizes.0.2: a value is missing"),
            (
                ["model.fusion.sizes=[]"],
                "model.fusion.sizes: expected at least 1 values, got 0",
            ),
            (
                ["training.loss=ce"],
                "training.loss ce does not fit data.target regression; "
                "expected one of mae, mse, rmse, ccc",
            ),
            (
                ["model.encoders.smell=gru"],
                "model.encoders names ['smell'], not among data.modalities "
                "['text', 'audio', 'video']",
            ),
            (
                ["training.epochs"],
                "'training.epochs': expected group.key=value, e.g. training.epochs=5",
            ),
        ],
    )
    def test_one_problem(self, overrides, line):
        assert problems(*overrides) == [line]

    def test_unknown_term_and_quantity_name_what_is_known(self):
        found = problems("critics.weights.foo=1", "steering.weights.bar=1")
        assert found[0].startswith("critics.weights names ['foo']; expected some of fused_text, ")
        assert found[1].startswith("steering.weights names ['bar']; expected some of fusion_text")

    def test_all_problems_are_in_one_message(self):
        found = problems(
            "training.epoch=5",
            "training.batch_size=x",
            "model.encoders.text.max_tokens=1",
            "data.split_by_group=[0.5,0.5]",
            "steering.weights.foo=1",
            "broken",
        )
        assert [line.split(" ")[0].rstrip(":") for line in found] == [
            "'broken'",
            "data.split_by_group.2",
            "model.encoders.text.max_tokens",
            "training.batch_size",
            "training.epoch",
            "steering.weights",
        ]

    def test_what_follows_from_another_problem_is_not_reported(self):
        """With data.target lost to a misspelling, loss=ce would not fit its default."""
        assert problems("data.targt=class", "training.loss=ce") == [
            "data.targt: unknown key; did you mean target?"
        ]

    def test_nothing_is_ignored_silently(self):
        without_critics = ["training.stage1_passes=0", "steering.default=0"]
        load(None, without_critics)
        for overrides in (
            ["data.path=x.pkl", "data.planted.noise=2"],
            ["data.layout=planted", "data.path=x.pkl"],
            ["training.clip=none", "training.clip_at=2"],
            ["training.stage1_passes=0"],
            [*without_critics, "performance.bank_size=100"],
            [*without_critics, "performance.bank_dtype=float16"],
            ["evaluation.missing_draws=3"],
            ["evaluation.missing_rates=[0.5]"],
            ["evaluation.missing=true", "evaluation.missing_rates=[0.5,0.5]"],
            ["evaluation.missing=true", "data.modalities=[audio]"],
            ["training.modality_dropout=0.1", "data.modalities=[audio]"],
            ["training.text_layer_decay=0.9"],
            ["data.planted.interaction=synergy", "data.planted.shares.synergy=1"],
            ["data.planted.label_flips=0.1"],
            ["data.planted.nuisance.audio_text=0.1"],
            ["data.planted.nuisance.text_audio=0"],
            ["data.planted.amplitude.fused=1"],
        ):
            assert len(problems(*overrides)) == 1, overrides


class TestHelp:
    def test_names_every_setting_with_a_text(self):
        found = {entry.key.replace(".<modality>", ""): entry for entry in entries()}
        headings = {"data", "data.planted", "model", "critics", "critics.conditional"}
        headings |= {"steering", "training", "performance", "evaluation"}
        every = {path for path in paths(Settings) if not path.endswith(".kind")}
        assert every - headings <= set(found)
        assert "critics.kind" in found
        assert all(entry.text and entry.values and entry.default for entry in entries())

    @pytest.mark.parametrize("width", [60, 100, 140])
    def test_keeps_to_the_width(self, width):
        lines = render(width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any(line != line.rstrip() for line in lines)

    def test_default_in_the_text_is_the_default_of_the_settings(self):
        tree = yaml.safe_load(dump(Settings()))
        for entry in itertools.takewhile(lambda e: not e.key.startswith("model"), entries()):
            node = tree
            for key in entry.key.split("."):
                node = node[key]
            if entry.key != "data.layout":  # auto, which becomes planted without a path
                assert yaml.safe_load(entry.default) == node, entry.key


def test_locations_lose_the_parts_that_nobody_wrote():
    place = locate(Settings, ("model", "fusion", "cubemlp", "sizes", 0, 2))
    assert place.keys == ("model", "fusion", "sizes", 0, 2)
    place = locate(Settings, ("model", "encoders", "text", "gru", "foo"))
    assert (place.keys, place.kind) == (("model", "encoders", "text", "foo"), "gru")
    assert locate(Settings, ("data", "label", "str")).keys == ("data", "label")
