"""Extractive summaries: pick the most central sentences of the text itself. No model is needed.

`ranking` ranks the sentences. Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998,
https://doi.org/10.1145/290941.291025) picks among them, so that no two repeat each other.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.records.task import Fields, RunState
from llmkit.tasks.summarization.ranking import DenseVectors, Vectors, lead_weights, lexrank, tf_idf
from llmkit.text.sentences import is_complete, split_sentences
from llmkit.text.unwrap import unwrapped
from llmkit.text.words import count_words, search_terms

if TYPE_CHECKING:
    import numpy as np

    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

DEFAULT_FIELDS = ("text", "document", "article")

_DEFAULT_WORDS = 150
_DEFAULT_SHARE = 1 / 3
_RELEVANCE = 0.7  # against novelty, in maximal marginal relevance
_SHORT = 8  # words; shorter sentences ("Chapter IV.", "He nodded.") are taken only if there are no others
_PROSE = 0.2  # share of a text's words in whole sentences from which on the other lines are left out
_FULL = 0.9  # share of the wanted words from which on a summary may end


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
        sentences: the sentences one by one.
    """

    text: str
    spans: list[tuple[int, int]]
    sentences: list[str]

    @property
    def bullets(self) -> str:
        """Return a list, each sentence on a line that begins with ``- ``."""
        return "\n".join(f"- {' '.join(sentence.split())}" for sentence in self.sentences)


def extract(
    text: str,
    length: SummaryLength | None = None,
    embed: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> Extract:
    """Summarize a text by sentences picked from it.

    Lines without a full stop (headings, items of lists) are left out as long as there are sentences.

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
    words = sum(count_words(text[start:end]) for start, end in spans)
    least, most = length.bounds(words)
    spans = _complete(text, spans, min(most, _PROSE * words))
    sentences = [text[start:end] for start, end in spans]
    sizes = [count_words(sentence) for sentence in sentences]
    if length.max_words is not None and min(sizes) > most:
        raise InputError(
            f"no sentence has {most} words or fewer (the shortest has {min(sizes)}); set a larger `max_words`"
        )
    vectors: Vectors
    if embed is None:
        vectors = tf_idf([search_terms(sentence) for sentence in sentences])
    else:
        vectors = DenseVectors(embed(sentences))
    rank = lexrank(vectors) * lead_weights(len(sentences))
    picked = _pick(vectors, rank, sizes, least, most, hard=length.max_words is not None)
    chosen = [spans[i] for i in sorted(picked)]
    own = [text[start:end] for start, end in chosen]
    return Extract(_joined(own), chosen, own)


def _complete(text: str, spans: list[tuple[int, int]], enough: float) -> list[tuple[int, int]]:
    """Return the spans that end as a sentence does; all of them if those have fewer than `enough` words."""
    whole = [(start, end) for start, end in spans if is_complete(text[start:end])]
    return whole if whole and sum(count_words(text[start:end]) for start, end in whole) >= enough else spans


class ExtractiveSummarization:
    """Extractive summaries as a `Task`.

    Args:
        length: see `extract`.
        field: column with the text; None takes `text`, `document`, `article` or the only one.
        template: text over several columns.
        embedder: model for embeddings, to compare sentences; None compares them by tf-idf.
        bullets: write a list with a sentence on each line, not a paragraph.
    """

    def __init__(
        self,
        length: SummaryLength,
        *,
        field: str | None = None,
        template: str | None = None,
        embedder: SentenceEmbedder | None = None,
        bullets: bool = False,
    ) -> None:
        self.bullets = bullets
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
            **({} if self.embedder is None else self.embedder.identity()),
            "extractive": "lexrank",
            "llmkit": llmkit.__version__,
            "length": asdict(self.length),
            "bullets": self.bullets,
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
            found = extract(one.payload, self.length, self.embedder)
            return {"summary_text": found.bullets if self.bullets else found.text}
        except InputError as error:
            return RowError(one.row.where, str(error))


def _pick(
    vectors: Vectors, rank: np.ndarray, sizes: list[int], least: int, most: int, *, hard: bool
) -> list[int]:
    """Pick sentences by maximal marginal relevance, up to the bounds of the length.

    A sentence that is too long is skipped as long as the summary is not nearly full. Unless `most` is
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
        elif words >= max(least, most * _FULL):
            break
    return picked


def _joined(sentences: list[str]) -> str:
    """Join sentences into one paragraph; scripts with a wide full stop put no space after it."""
    parts = [s if _ends_wide(s) else s + " " for s in sentences[:-1]]
    return "".join([*parts, sentences[-1]])


def _ends_wide(sentence: str) -> bool:
    last = sentence[-1]
    return unicodedata.category(last).startswith("P") and unicodedata.east_asian_width(last) in "WF"
