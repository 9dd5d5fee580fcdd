"""Transcripts as token ids of the text encoder's own vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mimrl.datasets.features import IntArray, Ragged, Split
from mimrl.errors import DataError

BERT_UNCASED_VOCABULARY = 30522
BERT_CLS, BERT_SEP = 101, 102


def token_ids(split: Split, tokenizer: Any, *, max_tokens: int, name: str = "split") -> Ragged:
    """Token ids of a split for one encoder, special tokens included.

    The transcripts are used where the file has them. The file's own ids (MMSA's ``text_bert``)
    are bert-base-uncased's, so they serve only an encoder with that vocabulary.

    Args:
        split: samples with ``raw_text`` or ``token_ids``.
        tokenizer: of the encoder, as :func:`mimrl.pretrained.load_tokenizer` gives it.
        max_tokens: longer sequences are cut to this length; the last token stays [SEP].
        name: what to call the split in an error.

    Returns:
        Ragged int64 ids, one sequence a sample; an empty text gives an empty sequence.

    Raises:
        DataError: neither text nor ids, or ids of another vocabulary than the encoder's.
    """
    if split.raw_text is not None:
        return tokenize(split.raw_text, tokenizer, max_tokens=max_tokens)
    if split.token_ids is None:
        raise DataError(
            f"{name}: a transformer text encoder needs transcripts (raw_text) or token ids "
            "(text_bert), and the file has neither; set model.encoders.text to gru, lstm, conv or "
            "linear to use its text features"
        )
    if not has_bert_uncased_vocabulary(tokenizer):
        raise DataError(
            f"{name}: the file has bert-base-uncased token ids ({BERT_UNCASED_VOCABULARY} words) "
            f"and no transcripts, but the text encoder's vocabulary has {tokenizer.vocab_size} "
            "words; choose an encoder with bert-base-uncased's vocabulary"
        )
    return _joined([cut(np.asarray(ids), max_tokens) for ids in split.token_ids])


def tokenize(texts: Sequence[str], tokenizer: Any, *, max_tokens: int) -> Ragged:
    """Texts -> ragged int64 ids with special tokens, at most ``max_tokens`` each.

    Args:
        texts: ``N`` texts; one of blanks only gives an empty sequence (no text modality).
        tokenizer: a transformers tokenizer.
        max_tokens: includes the special tokens.
    """
    filled = [i for i, text in enumerate(texts) if text.strip()]
    sequences: list[IntArray] = [np.zeros(0, np.int64) for _ in texts]
    if filled:
        encoded = tokenizer(
            [texts[i] for i in filled], truncation=True, max_length=max_tokens, padding=False
        )["input_ids"]
        for i, ids in zip(filled, encoded, strict=True):
            sequences[i] = np.asarray(ids, dtype=np.int64)
    return _joined(sequences)


def cut(ids: IntArray, max_tokens: int) -> IntArray:
    """``[CLS] .. [SEP]`` cut to ``max_tokens``, both kept; without a word between them: empty.

    >>> cut(np.array([101, 7, 8, 9, 102]), 4).tolist()
    [101, 7, 8, 102]
    """
    words = int(np.sum((ids != BERT_CLS) & (ids != BERT_SEP)))
    if words == 0:
        return ids[:0]
    return ids if len(ids) <= max_tokens else np.concatenate([ids[: max_tokens - 1], ids[-1:]])


def has_bert_uncased_vocabulary(tokenizer: Any) -> bool:
    """Whether a tokenizer's size and special tokens are those of bert-base-uncased."""
    return (
        tokenizer.vocab_size == BERT_UNCASED_VOCABULARY
        and tokenizer.cls_token_id == BERT_CLS
        and tokenizer.sep_token_id == BERT_SEP
    )


def _joined(sequences: list[IntArray]) -> Ragged:
    lengths = [len(ids) for ids in sequences]
    values = np.concatenate(sequences) if sequences else np.zeros(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(values.astype(np.int64), offsets)
