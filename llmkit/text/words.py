"""Words in any script: what counts as one, and how many there are.

Public: `ascii_words`, `unicode_words`, `search_terms`, `count_words`, `is_unspaced`, `UNSPACED`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

_ASCII_WORDS = re.compile(r"[a-z0-9]+")

# Blocks of scripts that put no spaces between words: Chinese, Japanese, and Thai and the like.
UNSPACED = {
    "han": "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af",
    "kana": "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "unspaced": "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3105-\u312f\u31a0-\u31bf",
}
_UNSPACED = re.compile(f"[{''.join(UNSPACED.values())}]")


def ascii_words(text: str) -> list[str]:
    """Lower-case runs of a-z and 0-9: the words of ROUGE-1.5.5 and of rouge_score."""
    return _ASCII_WORDS.findall(text.lower())


def unicode_words(text: str) -> list[str]:
    """Lower-case words of any script, after Unicode's compatibility normalization (NFKC).

    A word is a run of letters, digits and their combining marks; in scripts written without spaces each
    character, with its marks, is a word of its own.

    >>> unicode_words("Das Café, GPT-4 和东京")
    ['das', 'café', 'gpt', '4', '和', '东', '京']
    """
    if text.isascii():
        return ascii_words(text)
    found: list[str] = _unicode_pattern().findall(unicodedata.normalize("NFKC", text).lower())
    return found


def count_words(text: str) -> int:
    """How long a text is, in words as a person counts them: what stands between white space.

    Where there are no spaces, each character counts, and punctuation does not.

    >>> count_words("It's GPT-4 -- 东京。")
    5
    """
    if text.isascii():
        return len(text.split())
    return sum(len(unicode_words(part)) if is_unspaced(part) else 1 for part in text.split())


def search_terms(text: str) -> list[str]:
    """What a search or a comparison of texts looks at: casefolded words, and in scripts without spaces
    pairs of neighbouring characters, since one alone says too little.

    >>> search_terms("GPT-4 和东京")
    ['gpt', '4', '和东', '东京']
    """
    if text.isascii():
        return ascii_words(text)
    terms: list[str] = []
    run: list[str] = []
    for word in [*unicode_words(text.casefold()), ""]:
        if word and is_unspaced(word):
            run.append(word)
            continue
        terms += [a + b for a, b in pairwise(run)] if len(run) != 1 else run
        run = []
        if word:
            terms.append(word)
    return terms


def is_unspaced(text: str) -> bool:
    """Whether a character of a script without spaces stands in `text`."""
    return _UNSPACED.search(text) is not None


@cache
def _unicode_pattern() -> re.Pattern[str]:
    # `re` has no \p{M}, and \w leaves the marks out, which would cut Thai and Devanagari words apart.
    marks = "".join(chr(c) for c in range(0x300, 0x20000) if unicodedata.category(chr(c)).startswith("M"))
    marks += "\u200c\u200d"  # joiners stand inside Persian and Indic words
    unspaced = "".join(UNSPACED.values())
    letter = f"(?![{unspaced}])[^\\W_]"
    return re.compile(f"[{unspaced}][{marks}]*|{letter}(?:{letter}|[{marks}])*")
