"""Choose the held-out part of a corpus: whole documents, or the end of each of a few long ones.

Public: `Split`, `choose_split`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.errors import OptionError

LONG = 10_000
"""Minimum length, in characters, of a document whose end is held out if there are other documents."""
_RANKS = 1 << 64


@dataclass(frozen=True)
class Split:
    """Rule that holds documents out by their rank, a hash of seed and text; or the end of every document.

    The rule does not depend on the order of documents or files. Copies of a document fall on the same side.

    Attributes:
        seed: seed of the hash.
        below: documents of a lower rank are held out; 0 holds out no document.
        also: one more rank to hold out.
        tail: share of each document to hold out at its end; 0 holds out whole documents.
    """

    seed: int
    below: int
    also: int | None = None
    tail: float = 0.0

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield the parts of a document, each with True if it is held out."""
        if not self.tail:
            yield text, self._holds_out(text)
            return
        cut = _cut(text, self.tail)
        for part, held in ((text[:cut].strip(), False), (text[cut:].strip(), True)):
            if part:
                yield part, held

    def training(self, texts: Sequence[str]) -> Iterator[str]:
        """Yield the parts of documents that are not held out."""
        for text in texts:
            for part, held in self.parts(text):
                if not held:
                    yield part

    def _holds_out(self, text: str) -> bool:
        if not self.below:
            return False
        rank = _rank(self.seed, text)
        return rank < self.below or rank == self.also


def choose_split(head: Sequence[str], share: float, seed: int, *, complete: bool) -> Split:
    """Choose the rule that holds out `share` of the documents.

    The end of each document is held out if there is one document, or if there are so few documents of `LONG`
    characters or more that one of them exceeds the share.

    Args:
        head: documents of the corpus.
        share: share of the different documents; 0 holds out none.
        seed: seed of the choice.
        complete: `head` is the whole corpus, and the share is met exactly. Otherwise it is met approximately,
            and at least one document of `head` is held out.

    Raises:
        OptionError: `head` is the whole corpus, and one side would be empty.
    """
    import numpy as np

    if share == 0:
        return Split(seed, 0)
    ranks = np.unique(np.fromiter((_rank(seed, text) for text in head), dtype=np.uint64))
    if not complete:
        below = int(share * _RANKS)
        # With few long documents, all may be above the threshold. A single document is needed for training.
        none = len(ranks) > 1 and int(ranks[0]) >= below
        return Split(seed, below, int(ranks[0]) if none else None)
    if len(ranks) == 1 or (len(ranks) * share < 1 and min(map(len, head)) >= LONG):
        return _tails(head, share, seed)
    count = max(1, round(share * len(ranks)))
    if count >= len(ranks):
        raise OptionError(
            "eval_split",
            f"{share}: {len(ranks)} different documents cannot be split into a training and a held-out part;"
            " give more text, another `separator`, or eval_split=0",
        )
    return Split(seed, int(ranks[count]))


def _tails(head: Sequence[str], share: float, seed: int) -> Split:
    split = Split(seed, 0, tail=share)
    if any(len(list(split.parts(text))) < 2 for text in head):
        raise OptionError(
            "eval_split", f"{share}: the text is too short to hold out its end; give more, or eval_split=0"
        )
    return split


def _cut(text: str, share: float) -> int:
    """Return the start of the held-out end: at a paragraph, line or word near the share, if there is one."""
    cut = round(len(text) * (1 - share))
    for sign in ("\n\n", "\n", " "):
        found = text.rfind(sign, max(0, cut - len(text) // 100), cut)
        if found > 0:
            return found
    return cut


def _rank(seed: int, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{text}".encode()).digest()[:8], "big")
