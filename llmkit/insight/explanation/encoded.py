"""Texts as tokens with their characters, for fast and slow tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.insight.explanation.case import Branch
from llmkit.insight.explanation.units import TokenSpan, find_units

_BEGINNINGS = "▁Ġ"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class EncodedText:
    """A text as tokens.

    Attributes:
        ids: token ids, special tokens included.
        offsets: (start, end) of each in characters of the text; empty spans for special tokens.
        special: True for tokens that the tokenizer added.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    special: tuple[bool, ...]

    def spans(self, start: int, end: int) -> list[TokenSpan]:
        """Return the tokens of the characters from `start` to `end`, counted from `start`."""
        return [
            TokenSpan(i, max(a, start) - start, min(b, end) - start)
            for i, ((a, b), special) in enumerate(zip(self.offsets, self.special, strict=True))
            if not special and a < b and b > start and a < end
        ]

    @property
    def body(self) -> tuple[int, ...]:
        """Return the ids without the special tokens that end the text."""
        count = len(self.ids)
        while count and self.special[count - 1]:
            count -= 1
        return self.ids[:count]


def encode(tokenizer: Any, text: str, *, special: bool = True) -> EncodedText:
    """Tokenize a text.

    Args:
        tokenizer: of the model.
        text: the text.
        special: let the tokenizer add its special tokens.
    """
    encoding = tokenizer([text], add_special_tokens=special, verbose=False)
    ids = tuple(encoding["input_ids"][0])
    if encoding.encodings:
        found = encoding.encodings[0]
        return EncodedText(ids, tuple(found.offsets), tuple(bool(one) for one in found.special_tokens_mask))
    marks = tokenizer.get_special_tokens_mask(list(ids), already_has_special_tokens=True)
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    offsets = _aligned(text, pieces, marks)
    return EncodedText(ids, tuple(offsets), tuple(bool(one) for one in marks))


def _aligned(text: str, pieces: Sequence[str], marks: Sequence[int]) -> list[tuple[int, int]]:
    """Find the pieces of a slow tokenizer in the text, one at a time.

    A piece that normalization changed takes the next character.
    """
    offsets, at = [], 0
    for piece, mark in zip(pieces, marks, strict=True):
        plain = piece.lstrip(_BEGINNINGS)
        if mark:
            offsets.append((at, at))
            continue
        while at < len(text) and text[at].isspace():
            at += 1
        found = text.find(plain, at, at + len(plain) + 2) if plain else at
        start = found if found >= 0 else at
        end = start + len(plain) if found >= 0 else min(at + 1, len(text))
        offsets.append((start, end))
        at = end
    return offsets


def branch_of(tokenizer: Any, ids: Sequence[int], kind: str) -> Branch:
    """Return a target from its ids, with its tokens grouped into parts.

    Args:
        tokenizer: of the model.
        ids: token ids; at least one.
        kind: ``token``, ``word`` or ``sentence``; pieces of one character always belong together.
    """
    text, spans, done = "", [], 0
    for i in range(len(ids)):
        text = tokenizer.decode(list(ids[: i + 1]), clean_up_tokenization_spaces=False)
        complete = not text.endswith(_REPLACEMENT)
        end = len(text) if complete else done + 1
        spans.append(TokenSpan(i, done, max(end, done + 1) if text else end))
        done = end if complete else done
    # A target of one sentence has one row; words say more.
    groups = find_units(text, spans, "word" if kind == "sentence" else kind)
    tokens = tuple(tokenizer.decode([one], clean_up_tokenization_spaces=False) for one in ids)
    return Branch(tuple(ids), text, tokens, tuple(groups))
