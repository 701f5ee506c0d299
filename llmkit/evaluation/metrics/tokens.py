"""Word tokenization for metrics: Porter stems, and the script of a sample of texts.

ROUGE-1.5.5 and rouge_score keep a-z and 0-9 and drop the rest, so a Chinese summary scores 0 against itself.
The `unicode` tokenization (`text.words.unicode_words`) keeps every script and agrees with them on ASCII text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

from llmkit.text.words import UNSPACED

_LETTERS = re.compile(r"[^\W\d_]")


def stemmed(words: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """Add Porter's stemmer to a tokenization, like rouge_score.

    It stems ASCII words of more than three characters only: Porter's rules are English.
    """
    from nltk.stem.porter import PorterStemmer

    stem = lru_cache(maxsize=100_000)(PorterStemmer().stem)

    def tokenize(text: str) -> list[str]:
        return [stem(word) if len(word) > 3 and word.isascii() else word for word in words(text)]

    return tokenize


def dropped_share(sample: Iterable[str]) -> float:
    """Return the share of the letters in `sample` that `ascii_words` drops, 0 to 1."""
    letters = "".join(letter for text in sample for letter in _LETTERS.findall(text))
    return sum(not letter.isascii() for letter in letters) / len(letters) if letters else 0.0


def main_script(sample: Iterable[str]) -> str:
    """Return the script of the texts: `han`, `kana` (Japanese), `unspaced` (such as Thai) or `spaced`.

    A text with a tenth of its letters in kana is Japanese, for any share of Chinese characters.
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
