"""Extractive summaries: pick the most central sentences of the text itself. No model is needed.

Continuous LexRank (Erkan and Radev, LexRank: Graph-based Lexical Centrality as Salience in Text
Summarization, JAIR 22, 2004, section 3.3, https://doi.org/10.1613/jair.1523) ranks the sentences by tf-idf
vectors, or by a model's embeddings. Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998,
https://doi.org/10.1145/290941.291025) picks among them, so that no two repeat each other. The graph has an
edge between any two sentences, but it is never stored: with X the matrix of unit vectors, its product with v
is X(X'v). Time and memory are linear in the length of the text.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.records.task import Fields, RunState
from llmkit.text.sentences import split_sentences
from llmkit.text.unwrap import unwrapped
from llmkit.text.words import count_words, search_terms

if TYPE_CHECKING:
    import numpy as np

    from llmkit.tasks.embeddings import SentenceEmbedder

DEFAULT_FIELDS = ("text", "document", "article")

_DEFAULT_WORDS = 150
_DEFAULT_SHARE = 1 / 3
_DAMPING = 0.85
_RELEVANCE = 0.7  # against novelty, in maximal marginal relevance
_BLOCKS = 100
_SHORT = 8  # words; shorter sentences ("Chapter IV.", "He nodded.") are taken only if there are no others


@dataclass(frozen=True)
class SummaryLength:
    """Bounds on the length of a summary, in words as `text.words.count_words` counts them.

    Attributes:
        min_words: minimum of words; a text with fewer gives fewer.
        max_words: maximum of words.
        ratio: share of the text's words to aim at, above 0 and below 1.

    Raises:
        OptionError: a bound is out of range, or `min_words` is above `max_words`.
    """

    min_words: int | None = None
    max_words: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_words", "max_words"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(name, "must be 1 or more")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise OptionError("ratio", "must be above 0 and below 1: it is a share of the text's words")
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            raise OptionError(
                "min_words", f"is {self.min_words}, more than max_words={self.max_words}; change one of them"
            )

    @property
    def given(self) -> bool:
        """Return True if any bound is set."""
        return self != SummaryLength()

    def bounds(self, words: int) -> tuple[int, int]:
        """Return the smallest and the largest number of words for a text of `words` words."""
        least = self.min_words or 0
        limits = [] if self.max_words is None else [self.max_words]
        if self.ratio is not None:
            limits.append(math.ceil(self.ratio * words))
        if not limits:
            limits = [_DEFAULT_WORDS, math.ceil(_DEFAULT_SHARE * words)]
        return least, max(min(limits), least, 1)


@dataclass(frozen=True)
class Extract:
    """An extractive summary.

    Attributes:
        text: the sentences, unchanged and in the order of the text.
        spans: their places: (start, end) in characters of the text.
    """

    text: str
    spans: list[tuple[int, int]]


def extract(
    text: str,
    length: SummaryLength | None = None,
    embed: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> Extract:
    """Summarize a text by sentences picked from it.

    Args:
        text: a text of any length and script.
        length: bounds on the summary; by default a third of the text and at most 150 words.
        embed: returns unit vectors of sentences, [sentences, dimensions]; None uses tf-idf.

    Raises:
        InputError: the text is empty, or every sentence is longer than `length.max_words`.
    """
    length = length or SummaryLength()
    spans = split_sentences(unwrapped(text))
    if not spans:
        raise InputError("the text is empty")
    sentences = [text[start:end] for start, end in spans]
    sizes = [count_words(sentence) for sentence in sentences]
    least, most = length.bounds(sum(sizes))
    if length.max_words is not None and min(sizes) > most:
        raise InputError(
            f"no sentence has {most} words or fewer (the shortest has {min(sizes)}); set a larger `max_words`"
        )
    vectors: _Vectors
    if embed is None:
        vectors = _tf_idf([search_terms(sentence) for sentence in sentences])
    else:
        vectors = _DenseVectors(embed(sentences))
    picked = _pick(vectors, _lexrank(vectors), sizes, least, most, hard=length.max_words is not None)
    chosen = [spans[i] for i in sorted(picked)]
    return Extract(_joined([text[start:end] for start, end in chosen]), chosen)


class ExtractiveSummarization:
    """Extractive summaries as a `Task`.

    Args:
        length: see `extract`.
        field: column that holds the text; None takes `text`, `document`, `article` or the only one.
        template: text over several columns.
        embedder: model for embeddings, to compare sentences; None compares them by tf-idf.
    """

    def __init__(
        self,
        length: SummaryLength,
        *,
        field: str | None = None,
        template: str | None = None,
        embedder: SentenceEmbedder | None = None,
    ) -> None:
        self.length = length
        self.field = field
        self.template = template
        self.embedder = embedder
        self.run_state = RunState(seed_given=False)

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[str] | RowError]:
        """Take each row's text; a row without a text becomes its RowError."""
        return [self._prepare(row) for row in rows]

    def fields(self, batch: Sequence[PreparedRow[str]], budget: Budget) -> list[Fields | RowError]:
        """Summarize each text: its `summary_text`."""
        return [self._summarize(one) for one in batch]

    def budget(self, batch_size: int | None) -> Budget:
        """Return one row, unless a number is given: batches do not make it faster."""
        return Budget(tokens=None, rows=batch_size or 1, new_tokens=0)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows, as JSON, for the journal."""
        import llmkit

        return {
            **({} if self.embedder is None else self.embedder.loaded.identity()),
            "extractive": "lexrank",
            "llmkit": llmkit.__version__,
            "length": asdict(self.length),
            "field": self.field,
            "template": self.template,
        }

    def _prepare(self, row: Row) -> PreparedRow[str] | RowError:
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error
        return PreparedRow(row=row, length=len(text), payload=text)

    def _summarize(self, one: PreparedRow[str]) -> Fields | RowError:
        try:
            return {"summary_text": extract(one.payload, self.length, self.embedder).text}
        except InputError as error:
            return RowError(one.row.where, str(error))


class _Vectors(Protocol):
    """Unit vectors of sentences, with the operations of ranking and picking."""

    @property
    def sentences(self) -> int: ...

    def spread(self, mass: np.ndarray) -> np.ndarray:
        """Give each sentence the mass of all others, weighted by similarity (0 or more): [sentences]."""
        ...

    def similarity_to(self, row: int) -> np.ndarray:
        """Return the cosine of every sentence with the sentence `row`: [sentences]."""
        ...


@dataclass(frozen=True)
class _DenseVectors:
    """Embeddings by a model, [sentences, dimensions].

    The walk uses (1 + c) / 2 in place of a cosine c: cosines of embeddings may be negative, probabilities
    may not.
    """

    matrix: np.ndarray

    @property
    def sentences(self) -> int:
        return int(self.matrix.shape[0])

    def spread(self, mass: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.maximum((mass.sum() + self.matrix @ (self.matrix.T @ mass)) / 2 - mass, 0.0)

    def similarity_to(self, row: int) -> np.ndarray:
        cosines: np.ndarray = self.matrix @ self.matrix[row]
        return cosines


@dataclass(frozen=True)
class _SparseVectors:
    """A sparse matrix of unit row vectors: entry k is `weights[k]` at (`rows[k]`, `terms[k]`).

    Entries are sorted by term; those of term t begin at `starts[t]`.
    """

    rows: np.ndarray
    terms: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    shape: tuple[int, int]

    @property
    def sentences(self) -> int:
        return self.shape[0]

    def spread(self, mass: np.ndarray) -> np.ndarray:
        import numpy as np

        sentences, terms = self.shape
        in_terms = np.bincount(self.terms, self.weights * mass[self.rows], minlength=terms)
        reached = np.bincount(self.rows, self.weights * in_terms[self.terms], minlength=sentences)
        # The difference of two equal numbers is not quite 0.
        return np.maximum(reached - self._itself * mass, 0.0)

    @cached_property
    def _itself(self) -> np.ndarray:
        import numpy as np

        return np.bincount(self.rows, self.weights**2, minlength=self.shape[0])

    def similarity_to(self, row: int) -> np.ndarray:
        import numpy as np

        cosines = np.zeros(self.shape[0])
        for entry in np.flatnonzero(self.rows == row):
            term = self.terms[entry]
            others = slice(self.starts[term], self.starts[term + 1])
            cosines[self.rows[others]] += self.weights[entry] * self.weights[others]
        return cosines


def _tf_idf(sentences: list[list[str]]) -> _SparseVectors:
    """Compute term counts times inverse document frequency, scaled to unit vectors of the sentences.

    A document is a sentence. In a long text it is a block of sentences, a hundredth of the text: among
    thousands of sentences even `she` would be rare enough to count.
    """
    import numpy as np

    blocks = min(len(sentences), _BLOCKS)
    vocabulary: dict[str, int] = {}
    found: list[tuple[int, int, int]] = []
    for i, sentence in enumerate(sentences):
        for term, count in Counter(sentence).items():
            found.append((vocabulary.setdefault(term, len(vocabulary)), i, count))
    entries = np.array(sorted(found), dtype=np.int64).reshape(-1, 3)
    block = entries[:, 1] * blocks // len(sentences)
    in_blocks = np.unique(entries[:, 0] * blocks + block) // blocks
    idf = np.log(blocks / np.bincount(in_blocks, minlength=len(vocabulary)))
    # A term in most blocks of a book is no topic of the book.
    entries = entries[idf[entries[:, 0]] > (math.log(2) if blocks == _BLOCKS else 0)]
    terms, rows = entries[:, 0], entries[:, 1]
    counts = entries[:, 2] * idf[terms]
    weights = counts / np.sqrt(np.bincount(rows, counts**2, minlength=len(sentences)))[rows]
    starts = np.searchsorted(terms, np.arange(len(vocabulary) + 1))
    return _SparseVectors(rows, terms, weights, starts, (len(sentences), len(vocabulary)))


def _lexrank(vectors: _Vectors) -> np.ndarray:
    """Compute the stationary distribution of a random walk over similar sentences.

    A step goes to another sentence in proportion to the cosine, or with probability 1 - `_DAMPING` to any
    sentence. A sentence is not its own neighbor; otherwise a sentence similar to no other would keep all its
    mass. From such a sentence the walk goes anywhere, as from PageRank's dangling nodes.
    """
    import numpy as np

    sentences = vectors.sentences
    degree = vectors.spread(np.ones(sentences))
    alone = degree < 1e-9
    share = np.where(alone, 0.0, 1 / np.where(alone, 1.0, degree))
    rank = np.full(sentences, 1 / sentences)
    for _ in range(100):
        after = _DAMPING * vectors.spread(rank * share)
        after += (1 - after.sum()) / sentences
        moved = np.abs(after - rank).sum()
        rank = after
        if moved < 1e-7:
            break
    return rank


def _pick(
    vectors: _Vectors, rank: np.ndarray, sizes: list[int], least: int, most: int, *, hard: bool
) -> list[int]:
    """Pick sentences by maximal marginal relevance, up to the bounds of the length.

    A sentence that is too long is skipped as long as the summary is less than half full. Unless `most` is
    `hard`, the first sentence may have any length, and one more sentence may be taken to reach `least`.
    """
    import numpy as np

    size = np.array(sizes)
    relevance = rank / rank.max()
    open_ = size <= most if hard else np.ones(len(sizes), dtype=bool)
    long = open_ & (size >= _SHORT)
    if long.any() and size[long].sum() >= max(least, 1):
        open_ = long
    redundancy = np.zeros(len(sizes))
    picked: list[int] = []
    words = 0
    while open_.any():
        value = np.where(open_, _RELEVANCE * relevance - (1 - _RELEVANCE) * redundancy, -np.inf)
        best = int(value.argmax())
        open_[best] = False
        fits = words + sizes[best] <= most or (not hard and (not picked or words < least))
        if fits:
            picked.append(best)
            words += sizes[best]
            redundancy = np.maximum(redundancy, vectors.similarity_to(best))
        elif words >= max(least, most / 2):
            break
    return picked


def _joined(sentences: list[str]) -> str:
    """Join sentences into one paragraph; scripts with a wide full stop put no space after it."""
    parts = [s if _ends_wide(s) else s + " " for s in sentences[:-1]]
    return "".join([*parts, sentences[-1]])


def _ends_wide(sentence: str) -> bool:
    last = sentence[-1]
    return unicodedata.category(last).startswith("P") and unicodedata.east_asian_width(last) in "WF"
