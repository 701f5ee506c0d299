"""Cut texts into passages, and rank the passages for a question.

Ranking is BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009), in
Lucene's form, by the bm25s library. With the vectors of an encoder, the score of a passage is the weighted
mean of its BM25 score and its cosine, each scaled from its minimum to the largest of the question
(TM2C2 in Bruch, Gai and Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 42, 2023,
https://doi.org/10.1145/3596512).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.text.words import search_terms

if TYPE_CHECKING:
    import numpy as np

    Embed = Callable[[Sequence[str]], np.ndarray]

# Long enough for a fact and its context, short enough that several fit into a prompt.
PASSAGE_CHARACTERS = 1000
ENCODER_SHARE = 0.8
"""Weight of the cosine. Scaled cosines of different passages differ little, so both scores count about the
same. `python -m tests.benchmarks rank` compares weights."""
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?。！？।؟]\s*"), re.compile(r"\s+"))


@dataclass(frozen=True)
class ContextDocument:
    """A text to answer from.

    Attributes:
        name: the user's name for it.
        text: the text.
        places: (offset, place) where each place of a document begins, such as ``p. 12``, in order; empty for
            plain text, whose places are lines.
    """

    name: str
    text: str
    places: tuple[tuple[int, str], ...] = ()

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def place(self, offset: int) -> str:
        """Return the place of the character at `offset`: ``line 3``, ``p. 12`` or ``paragraph 7``."""
        if not self.places:
            return f"line {bisect_right(self._line_starts, offset)}"
        return self.places[max(bisect_right(self.places, offset, key=lambda one: one[0]) - 1, 0)][1]

    def line(self, offset: int) -> int | None:
        """Return the line, counted from 1, of the character at `offset`; None in a document without lines."""
        found = re.fullmatch(r"line (\d+)", self.place(offset))
        return int(found.group(1)) if found else None


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
    """Split a text into (start, end) pieces of at most `size` characters that cover it.

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


def _normalized(scores: np.ndarray, least: float) -> np.ndarray:
    """Return scores scaled so that `least`, their theoretical minimum, is 0 and the largest one 1."""
    most = float(scores.max())
    return (scores - least) / (most - least) if most > least else scores * 0.0


@dataclass
class Library:
    """Documents, and a search index of their passages.

    Attributes:
        documents: the texts.
        size: most characters of a passage.
        embed: returns unit vectors of texts, [texts, dimensions]; None ranks by BM25 alone.
    """

    documents: Sequence[ContextDocument]
    size: int = PASSAGE_CHARACTERS
    embed: Embed | None = None
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
        if len(self.passages) < 2:
            return list(self.passages)
        import numpy as np

        terms = search_terms(question)
        searched = bool(terms) and self._index is not None
        scores = self._index.get_scores(terms) if searched else np.zeros(len(self.passages))
        if self.embed is not None:
            (wanted,) = self.embed([question])
            near = _normalized(self._vectors @ wanted, -1.0)
            scores = (1 - ENCODER_SHARE) * _normalized(scores, 0.0) + ENCODER_SHARE * near
        return [self.passages[i] for i in np.argsort(-scores, kind="stable")]

    @cached_property
    def _vectors(self) -> Any:
        assert self.embed is not None
        return self.embed([passage.text for passage in self.passages])

    @cached_property
    def _index(self) -> Any:
        """The index of BM25; None if no passage has a word."""
        from bm25s import BM25

        terms = [search_terms(passage.text) for passage in self.passages]
        if not any(terms):
            return None
        index = BM25()
        index.index(terms, show_progress=False)
        return index
