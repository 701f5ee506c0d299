"""ROUGE-1, -2, -L and -Lsum (Lin 2004, https://aclanthology.org/W04-1013) with the rules of ROUGE-1.5.5.

With the default options every number equals that of the rouge_score package. This module does its own
arithmetic for three reasons: rouge_score fills its subsequence tables cell by cell in Python, has no sentence
splitter that works offline, and drops words of scripts other than Latin.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from llmkit.errors import InputError
from llmkit.evaluation.metric import (
    Declaration,
    Example,
    Metric,
    MetricOption,
    check_choice,
    declare,
    means,
    texts,
)
from llmkit.evaluation.metrics import lcs
from llmkit.evaluation.metrics.tokens import dropped_share, stemmed
from llmkit.text.sentences import split_sentences
from llmkit.text.words import ascii_words, unicode_words

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SPLITS = ("newline", "auto", "sentences")
MAX_DROPPED = 0.1
"""Share of letters that the default tokenizer may drop before `unicode` is chosen instead."""


@dataclass(frozen=True)
class Overlap:
    """Precision, recall and their harmonic mean, each 0 to 1."""

    precision: float
    recall: float
    fmeasure: float


def _adapt(
    chosen: Mapping[str, Any], sample: Sequence[Example], language: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Choose words of all scripts if the default tokenizer would drop many letters."""
    added: dict[str, Any] = {} if "split" in chosen else {"split": "auto"}
    if chosen.get("tokenize", "auto") != "auto":
        return added, []
    dropped = dropped_share(str(reference) for example in sample for reference in example.references)
    if dropped <= MAX_DROPPED:
        return {**added, "tokenize": "default"}, []
    return {**added, "tokenize": "unicode"}, [
        "ROUGE compares words of every script, because its own tokenizer keeps only a-z and 0-9 and would"
        f' drop {dropped:.0%} of the letters of the references (rouge_words="default" uses it)'
    ]


@declare(
    Declaration(
        "overlap with a summary",
        task="summarization",
        options=(
            MetricOption("stemmer", bool, "Compare Porter stems."),
            MetricOption(
                "rouge_words",
                str,
                "Words: default (a-z and 0-9, as rouge_score), unicode (all scripts) or auto.",
                default="auto",
                parameter="tokenize",
            ),
            MetricOption(
                "rouge_split",
                str,
                "Sentences of ROUGE-Lsum: newline, sentences or auto.",
                default="auto",
                parameter="split",
            ),
        ),
        adapt=_adapt,
    )
)
def rouge(
    *,
    types: Sequence[str] = TYPES,
    stemmer: bool = False,
    tokenize: str = "default",
    split: str = "newline",
) -> Metric:
    """Build ROUGE: the mean over rows of each type's F-measure, 0 to 1; details are precision and recall.

    With several references, the one with the best F-measure counts, type by type.

    Args:
        types: `rougeL`, `rougeLsum` and `rouge1` to `rouge9`.
        stemmer: compare Porter stems, like ROUGE-1.5.5 with `-m`.
        tokenize: `default` keeps only a-z and 0-9, like rouge_score; `unicode` keeps all scripts.
        split: sentences for ROUGE-Lsum: lines (`newline`, as in rouge_score), sentences by `text.sentences`
            (`sentences`), or lines if a text has several and otherwise sentences (`auto`).

    Raises:
        InputError: the value of an option is not allowed.
    """
    for kind in types:
        if not re.fullmatch(r"rouge([1-9]|L|Lsum)", kind):
            raise InputError(f"no such ROUGE type: {kind!r}; there are rouge1 to rouge9, rougeL, rougeLsum")
    scorer = _scorer(tuple(types), stemmer, tokenize, split)

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        overlaps = [scorer(reference, prediction) for reference in references]
        best = [max(of_kind, key=lambda overlap: overlap.fmeasure) for of_kind in zip(*overlaps, strict=True)]
        behind = [value for overlap in best for value in (overlap.precision, overlap.recall)]
        return [*behind, *(overlap.fmeasure for overlap in best), 1.0]

    def details(sums: Sequence[float]) -> dict[str, dict[str, float]]:
        rows = sums[-1]
        return {
            kind: {"precision": sums[2 * i] / rows, "recall": sums[2 * i + 1] / rows}
            for i, kind in enumerate(types)
        }

    from llmkit import __version__

    kinds = ",".join(kind.removeprefix("rouge") for kind in types)
    stem = "porter" if stemmer else "no"
    return Metric(
        name="rouge",
        scores=tuple(types),
        signature=f"types:{kinds}|stem:{stem}|tok:{tokenize}|sents:{split}|refs:max|version:llmkit-{__version__}",
        statistics=statistics,
        corpus=lambda sums: means(sums[:, 2 * len(types) :]),
        details=details,
    )


def score(
    reference: str,
    prediction: str,
    *,
    types: Sequence[str] = TYPES,
    stemmer: bool = False,
    tokenize: str = "default",
    split: str = "newline",
) -> dict[str, Overlap]:
    """Return the scores of one prediction against one reference, by type.

    Args:
        reference: the correct text.
        prediction: the text to score.
        types, stemmer, tokenize, split: as in `rouge`.

    Raises:
        OptionError: the value of an option is not allowed.
    """
    overlaps = _scorer(tuple(types), stemmer, tokenize, split)(reference, prediction)
    return dict(zip(types, overlaps, strict=True))


@dataclass(frozen=True)
class _TokenizedText:
    """Tokens of a text: all of them, and by sentence."""

    tokens: list[str]
    sentences: list[list[str]]


@lru_cache(maxsize=16)
def _scorer(
    types: tuple[str, ...], stemmer: bool, tokenize: str, split: str
) -> Callable[[str, str], list[Overlap]]:
    check_choice("rouge_words", tokenize, ("default", "unicode"))
    check_choice("rouge_split", split, SPLITS)
    words: Callable[[str], list[str]] = ascii_words if tokenize == "default" else unicode_words
    if stemmer:
        words = stemmed(words)
    wants_sentences = "rougeLsum" in types

    # Cached: the next call has the same reference when several systems are scored together.
    @lru_cache(maxsize=64)
    def parse(text: str) -> _TokenizedText:
        parts = [words(part) for part in _split(text, split)] if wants_sentences else []
        return _TokenizedText(parts[0] if len(parts) == 1 and split == "newline" else words(text), parts)

    def overlaps(reference: str, prediction: str) -> list[Overlap]:
        target, output = parse(reference), parse(prediction)
        result = []
        for kind in types:
            if kind == "rougeLsum":
                result.append(_summary_level(target, output))
            elif kind == "rougeL":
                common = lcs.length(target.tokens, output.tokens)
                result.append(_overlap(common, len(target.tokens), len(output.tokens)))
            else:
                result.append(_ngrams(target.tokens, output.tokens, int(kind[-1])))
        return result

    return overlaps


def _split(text: str, split: str) -> list[str]:
    if split == "newline" or (split == "auto" and "\n" in text.strip()):
        return [line for line in text.split("\n") if line]
    return [text[start:end] for start, end in split_sentences(text)]


def _overlap(hits: int, in_reference: int, in_prediction: int) -> Overlap:
    if not hits:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = hits / in_prediction, hits / in_reference
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


def _ngrams(reference: list[str], prediction: list[str], n: int) -> Overlap:
    def grams(tokens: list[str]) -> Counter[object]:
        if n == 1:
            return Counter(tokens)
        if n == 2:
            return Counter(pairwise(tokens))
        return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))

    counted = grams(prediction)
    hits = sum(min(count, counted[gram]) for gram, count in grams(reference).items() if gram in counted)
    return _overlap(hits, max(0, len(reference) - n + 1), max(0, len(prediction) - n + 1))


def _summary_level(target: _TokenizedText, output: _TokenizedText) -> Overlap:
    """Return ROUGE-Lsum: for each reference sentence, the union of its LCS with every predicted sentence.

    As in ROUGE-1.5.5, and unlike Lin's paper, a token's count is limited by its count on each side.
    """
    in_reference = sum(map(len, target.sentences))
    in_prediction = sum(map(len, output.sentences))
    if len(target.sentences) == len(output.sentences) == 1:
        hits = lcs.length(target.sentences[0], output.sentences[0])
        return _overlap(hits, in_reference, in_prediction)
    masks = [(lcs.positions(sentence), len(sentence)) for sentence in output.sentences]
    free = Counter(token for sentence in output.sentences for token in sentence)
    free &= Counter(token for sentence in target.sentences for token in sentence)
    hits = 0
    for sentence in target.sentences:
        union: set[int] = set()
        for mask, size in masks:
            union.update(lcs.indices(sentence, mask, size))
        for index in union:
            token = sentence[index]
            if free[token] > 0:
                free[token] -= 1
                hits += 1
    return _overlap(hits, in_reference, in_prediction)
