"""Make the storyteller's preferences: pairs of its own answers to a request, the better one first.

    python examples/models/prepare_preferences.py ANSWERS >PAIRS

ANSWERS has the rows of `llmkit generate --num-return-sequences N --details` for requests with `words`. An
answer keeps to its request if it has each word, and if its first named hero is named again at the end. Of the
answers that keep to it, the most varied is preferred to one that does not, and to the least varied one.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coherence

# The least difference in variety of a pair.
LESS_VARIED = 0.1


@dataclass(frozen=True)
class Answer:
    """A sampled answer to a request.

    Attributes:
        text: the answer.
        words: share of the requested words that it has.
        hero: False if its first named hero is gone at the end.
        variety: different pairs of words, over all pairs (distinct-2; Li et al. 2016).
    """

    text: str
    words: float
    hero: bool
    variety: float

    @classmethod
    def of(cls, text: str, words: list[str]) -> Answer:
        there = sum(has(text, word) for word in words) / len(words)
        pairs = list(itertools.pairwise(re.findall(r"[\w']+", text.lower())))
        variety = len(set(pairs)) / max(len(pairs), 1)
        return cls(text.strip(), there, coherence.hero_stays(text) is not False, variety)

    @property
    def keeps(self) -> bool:
        return self.words == 1 and self.hero


def has(text: str, word: str) -> bool:
    """Return True if the text has a word, or its plural with s."""
    return re.search(rf"\b{re.escape(word)}s?\b", text, re.IGNORECASE) is not None


def chosen_pairs(answers: list[Answer]) -> Iterator[tuple[Answer, Answer]]:
    """Yield at most two pairs of a better and a worse answer.

    The better one keeps to the request. The worse one of the first pair does not; that of the second repeats
    itself.
    """
    keep = sorted((answer for answer in answers if answer.keeps), key=lambda answer: answer.variety)
    stray = [answer for answer in answers if not answer.keeps]
    if keep and stray:
        yield keep[-1], min(stray, key=lambda answer: (answer.words, answer.hero))
    if keep and keep[-1].variety - keep[0].variety >= LESS_VARIED:
        yield keep[-1], keep[0]


def rows(file: Path) -> list[dict[str, Any]]:
    """Return the pairs of a file of answers as rows to train on, without answers that were cut off."""
    found = []
    for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
        texts = zip(row["generated_text"], row["finish_reason"], strict=True)
        answers = [Answer.of(text, row["words"]) for text, reason in texts if reason == "stop"]
        for better, worse in chosen_pairs(answers):
            found.append(
                {
                    "prompt": [{"role": "user", "content": row["prompt"]}],
                    "chosen": [{"role": "assistant", "content": better.text}],
                    "rejected": [{"role": "assistant", "content": worse.text}],
                }
            )
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python prepare_preferences.py ANSWERS >PAIRS")
    for one in rows(Path(sys.argv[1])):
        print(json.dumps(one))
