"""Words for metrics that compare words: ROUGE's own tokenization, and one that keeps every script.

ROUGE-1.5.5 and rouge_score keep a-z and 0-9 and drop the rest, so that a Chinese summary scores 0 against
itself. The `unicode` tokenization agrees with them on ASCII text. Elsewhere a word is a run of letters,
digits and their combining marks, and in scripts written without spaces each character, with its marks, is
a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

_ASCII_WORDS = re.compile(r"[a-z0-9]+")
_LETTERS = re.compile(r"[^\W\d_]")

# Blocks of scripts that put no spaces between words, by what `main_script` calls them.
_UNSPACED = {
    "han": "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af",
    "kana": "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "unspaced": "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3105-\u312f\u31a0-\u31bf",
}


def ascii_words(text: str) -> list[str]:
    """Lower-case runs of a-z and 0-9: the words of ROUGE-1.5.5 and of rouge_score."""
    return _ASCII_WORDS.findall(text.lower())


def unicode_words(text: str) -> list[str]:
    """Lower-case words of any script, after Unicode's compatibility normalization (NFKC).

    >>> unicode_words("Das Café, GPT-4 和东京")
    ['das', 'café', 'gpt', '4', '和', '东', '京']
    """
    if text.isascii():
        return ascii_words(text)
    found: list[str] = _unicode_pattern().findall(unicodedata.normalize("NFKC", text).lower())
    return found


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
        for name, characters in _UNSPACED.items():
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


@cache
def _unicode_pattern() -> re.Pattern[str]:
    # `re` has no \p{M}, and \w leaves the marks out, which would cut Thai and Devanagari words apart.
    marks = "".join(chr(c) for c in range(0x300, 0x20000) if unicodedata.category(chr(c)).startswith("M"))
    marks += "\u200c\u200d"  # joiners stand inside Persian and Indic words
    unspaced = "".join(_UNSPACED.values())
    letter = f"(?![{unspaced}])[^\\W_]"
    return re.compile(f"[{unspaced}][{marks}]*|{letter}(?:{letter}|[{marks}])*")
