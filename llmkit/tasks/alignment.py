"""Align the words of a text with the words of its translation, by the model's cross-attention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmkit.errors import OutOfMemory
from llmkit.text.words import is_unspaced

if TYPE_CHECKING:
    import numpy as np

    from llmkit.engines.base import AligningEngine, Engine
    from llmkit.tasks.direction import Direction
    from llmkit.tasks.prompts import Prompt
    from llmkit.tasks.translation_types import TranslationInput, TranslationResult

Span = tuple[int, int]
WordPairs = list[tuple[Span, Span]]
"""Pairs of (start, end) in the text and (start, end) in its translation."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LEAST = 0.3  # share of a word's attention that its source word must have
_RIVAL = (
    0.75  # of the largest share that a source word has in any word; an article has 0.4 to 0.7 of its noun's
)
_START_OF_WORD = "▁"


@dataclass(frozen=True)
class AlignedPassage:
    """A passage with its translation.

    Attributes:
        source: its text.
        prompt: its prompt.
        target: its translation.
    """

    source: str
    prompt: Prompt
    target: str


class WordAligner:
    """Aligns passages with their translations.

    Args:
        engine: an encoder-decoder model with the ability ``alignment``.
        direction: how its prompts and answers begin.
    """

    def __init__(self, engine: Engine, direction: Direction) -> None:
        self.engine = engine
        self.direction = direction

    @staticmethod
    def possible(engine: Engine, direction: Direction) -> bool:
        """Return True if an engine can align in a direction."""
        return "alignment" in engine.abilities and direction.message is None

    def target_ids(self, text: str) -> list[int]:
        """Return the token ids of a translation, as the model's decoder writes them."""
        tokenizer: Any = self.engine.tokenizer
        first = self.direction.first_token
        if first is not None:
            return [first, *tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        ids: list[int] = tokenizer(text_target=text, verbose=False)["input_ids"]
        return ids

    def align(self, passages: Sequence[AlignedPassage]) -> list[WordPairs]:
        """Return for each passage the pairs of its words; empty where none are sure or memory is short."""
        return [self._align(passage) if self._fits(passage) else [] for passage in passages]

    def _align(self, passage: AlignedPassage) -> WordPairs:
        """Align one passage; alone, since a row must not depend on its neighbors."""
        answer, prompt = self.target_ids(passage.target), list(passage.prompt.ids or ())
        engine, start = cast("AligningEngine", self.engine), self.direction.decoder_start_token
        try:
            (weights,) = engine.align([prompt], [answer], start)
        except OutOfMemory:
            return []  # markup then goes where it goes without alignment
        prefix, tokenizer = self.direction.prefix, self.engine.tokenizer
        sources = token_spans(tokenizer, prompt, prefix + passage.source)
        own = [(a - len(prefix), b - len(prefix)) for a, b in sources]
        targets = token_spans(tokenizer, answer, passage.target)
        return word_pairs(weights, passage.source, own, passage.target, targets)

    def _fits(self, passage: AlignedPassage) -> bool:
        if not passage.prompt.ids or not _WORD.search(passage.target):
            return False
        most = self.engine.context_length
        return most is None or len(self.target_ids(passage.target)) <= most

    def align_result(self, document: TranslationInput, result: TranslationResult) -> WordPairs:
        """Return the pairs of words of a text and its first translation, passage by passage."""
        layout = document.layout
        passages = [
            AlignedPassage(source, prompt, result.text[start:end])
            for source, prompt, (start, end) in zip(
                layout.passages, document.prompts, result.passages, strict=True
            )
        ]
        pairs: WordPairs = []
        for (base, _), (to, _), found in zip(
            layout.spans, result.passages, self.align(passages), strict=True
        ):
            pairs += [((a + base, b + base), (c + to, d + to)) for (a, b), (c, d) in found]
        return pairs


def token_spans(tokenizer: Any, ids: Sequence[int], text: str) -> list[Span]:
    """Return (start, end) of each token in a text; an empty span for special tokens and unknown pieces."""
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        inner, spans = encoded["input_ids"], encoded["offset_mapping"]
        for at in range(len(ids) - len(inner) + 1):
            if list(ids[at : at + len(inner)]) == inner:
                after = len(ids) - len(inner) - at
                return [(0, 0)] * at + [_inked(text, *span) for span in spans] + [(0, 0)] * after
    return _found_pieces(tokenizer.convert_ids_to_tokens(list(ids)), text)


def _inked(text: str, start: int, end: int) -> Span:
    """Return a span without the white space at its start, which many tokenizers count to a token."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end


def _found_pieces(pieces: Sequence[str], text: str) -> list[Span]:
    """Find pieces one at a time in the text; a piece that is not there has an empty span."""
    spans, last = [], 0
    for piece in pieces:
        word = piece.replace(_START_OF_WORD, " ").strip()
        at = text.find(word, last) if word else -1
        # A piece that is far away is another word, or a special token.
        if at < 0 or at > last + 40:
            spans.append((last, last))
            continue
        spans.append((at, at + len(word)))
        last = at + len(word)
    return spans


def word_pairs(
    weights: np.ndarray, source: str, sources: Sequence[Span], target: str, targets: Sequence[Span]
) -> WordPairs:
    """Return for each word of a translation the word of the text that it came from, where that is sure.

    An article often attends most to its noun, whose gender it needs. So a word belongs to a source word only
    if no other word of the translation attends to that one much more.

    Args:
        weights: of attention, [target tokens, source tokens].
        source, target: the texts.
        sources, targets: (start, end) of their tokens.
    """
    import numpy as np

    words = _words(source)
    # [source tokens, source words]: 1 where a token is in a word.
    inside = np.array([[float(a < e and s < b) for s, e in words] for a, b in sources])
    found: list[Span] = []
    shares = []  # of each found word, over the source words: they sum to 1
    for start, end in _words(target) if words else ():
        rows = [i for i, (a, b) in enumerate(targets) if a < end and start < b]
        share = weights[rows].sum(0) @ inside
        if share.sum() > 0:
            found.append((start, end))
            shares.append(share / share.sum())
    if not found:
        return []
    table = np.array(shares)  # [target words, source words]
    table[table < _RIVAL * table.max(0)] = 0
    best = table.argmax(1)
    return [(words[s], word) for word, s, row in zip(found, best, table, strict=True) if row[s] >= _LEAST]


def _words(text: str) -> list[Span]:
    """Return (start, end) of the words; in scripts without spaces each character is one."""
    spans: list[Span] = []
    for match in _WORD.finditer(text):
        if is_unspaced(match.group()):
            spans += [(i, i + 1) for i in range(*match.span())]
        else:
            spans.append(match.span())
    return spans
