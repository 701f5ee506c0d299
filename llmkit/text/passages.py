"""Cut texts into passages, and rank the passages for a question.

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

# Long enough for a fact and its context, short enough that several fit into a prompt.
PASSAGE_CHARACTERS = 1000
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?。！？।؟]\s*"), re.compile(r"\s+"))


@dataclass(frozen=True)
class ContextDocument:
    """A text to answer from, with the user's name for it."""

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def line(self, offset: int) -> int:
        """Return the line, counted from 1, of the character at `offset`."""
        return bisect_right(self._line_starts, offset)


@dataclass(frozen=True)
class Passage:
    """Characters `start` to `end` of a document."""

    document: ContextDocument
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.document.text[self.start : self.end]


def split_passages(text: str, size: int = PASSAGE_CHARACTERS) -> list[tuple[int, int]]:
    """Cut a text into (start, end) pieces of at most `size` characters that together cover it.

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
    """Documents, and a search index of their passages.

    Attributes:
        documents: the texts.
        size: most characters of a passage.
    """

    documents: Sequence[ContextDocument]
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
        """Return all passages, the best match of `question` first; ties keep their order."""
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
