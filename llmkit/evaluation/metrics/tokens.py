"""Words for metrics that compare words: ROUGE's own tokenization, and one that keeps every script.

ROUGE-1.5.5 and rouge_score keep a-z and 0-9 and drop the rest, so that a Chinese summary scores 0 against
itself. The `unicode` tokenization (`text.words.unicode_words`) agrees with them on ASCII text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

from llmkit.text.words import UNSPACED

_LETTERS = re.compile(r"[^\W\d_]")


def stemmed(words: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The same tokenization followed by Porter's stemmer as rouge_score applies it.

    Only words of more than three characters are stemmed, and only ASCII ones: Porter's rules are English.
    """
    from nltk.stem.porter import PorterStemmer

    stem = lru_cache(maxsize=100_000)(PorterStemmer().stem)

    def tokenize(text: str) -> list[str]:
        return [stem(word) if len(word) > 3 and word.isascii() else word for word in words(text)]

    return tokenize


def dropped_share(sample: Iterable[str]) -> float:
    """The share of the letters in `sample` that `ascii_words` drops, 0 to 1."""
    letters = "".join(letter for text in sample for letter in _LETTERS.findall(text))
    return sum(not letter.isascii() for letter in letters) / len(letters) if letters else 0.0


def main_script(sample: Iterable[str]) -> str:
    """How the texts are written: `han`, `kana` (Japanese), `unspaced` (Thai and the like) or `spaced`.

    A text with a tenth of its letters in kana is Japanese, whatever its share of Chinese characters.
    """
    counts: Counter[str] = Counter()
    for text in sample:
        for name, characters in UNSPACED.items():
            counts[name] += len(_class(characters).findall(text))
        counts["letters"] += len(_LETTERS.findall(text))
    if counts["kana"] > 0.1 * counts["letters"]:
        return "kana"
    for name in ("han", "unspaced"):
        if counts[name] > 0.3 * counts["letters"]:
            return name
    return "spaced"


@cache
def _class(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{characters}]")
