"""Texts cut into passages, and the passages that fit a question best.

Ranking is BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009), in
Lucene's form, by the bm25s library.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmkit.text.words import search_terms

# Long enough to hold a fact with what it refers to, short enough that several fit into a prompt.
PASSAGE_CHARACTERS = 1000
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?。！？।؟]\s*"), re.compile(r"\s+"))


@dataclass(frozen=True)
class Document:
    """A text to answer from, under the name by which the user knows it."""

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def line(self, offset: int) -> int:
        """The line, counted from 1, that the character at `offset` stands in."""
        return bisect_right(self._line_starts, offset)


@dataclass(frozen=True)
class Passage:
    """Characters `start` to `end` of a document."""

    document: Document
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.document.text[self.start : self.end]


def split_passages(text: str, size: int = PASSAGE_CHARACTERS) -> list[tuple[int, int]]:
    """Cut a text into (start, end) pieces of at most `size` characters that together are all of it.

    A piece ends after the last blank line in its second half, else after the last line, sentence or word
    there, else at `size`.
    """
    pieces = []
    start = 0
    while len(text) - start > size:
        end = next(
            (cut for cut in (_last_break(pattern, text, start, size) for pattern in _BREAKS) if cut),
            start + size,
        )
        pieces.append((start, end))
        start = end
    return [*pieces, (start, len(text))] if start < len(text) else pieces


def _last_break(pattern: re.Pattern[str], text: str, start: int, size: int) -> int | None:
    ends = [match.end() for match in pattern.finditer(text, start + size // 2, start + size)]
    return ends[-1] if ends else None


@dataclass
class Library:
    """Documents whose passages a question ranks.

    Attributes:
        documents: the texts.
        size: most characters of a passage.
    """

    documents: Sequence[Document]
    size: int = PASSAGE_CHARACTERS
    passages: list[Passage] = field(init=False)

    def __post_init__(self) -> None:
        self.passages = [
            Passage(document, start, end)
            for document in self.documents
            for start, end in split_passages(document.text, self.size)
            if document.text[start:end].strip()
        ]

    def best(self, question: str) -> list[Passage]:
        """All passages, the one that fits `question` best first; equals stay in their own order."""
        terms = search_terms(question)
        if not terms or len(self.passages) < 2:
            return list(self.passages)
        import numpy as np

        order = np.argsort(-self._index.get_scores(terms), kind="stable")
        return [self.passages[i] for i in order]

    @cached_property
    def _index(self) -> Any:
        from bm25s import BM25

        index = BM25()
        index.index([search_terms(passage.text) for passage in self.passages], show_progress=False)
        return index
