"""Split and count words in any script.

Public: `ascii_words`, `unicode_words`, `search_terms`, `count_words`, `is_unspaced`, `UNSPACED`,
`word_border`.
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
    """Return the lower-case runs of a-z and 0-9, the words of ROUGE-1.5.5 and of rouge_score."""
    return _ASCII_WORDS.findall(text.lower())


def unicode_words(text: str) -> list[str]:
    """Return the lower-case words of any script, after Unicode's compatibility normalization (NFKC).

    A word is a run of letters, digits and their combining marks. In scripts without spaces each character,
    with its marks, is a word.

    >>> unicode_words("Das Café, GPT-4 和东京")
    ['das', 'café', 'gpt', '4', '和', '东', '京']
    """
    if text.isascii():
        return ascii_words(text)
    found: list[str] = _unicode_pattern().findall(unicodedata.normalize("NFKC", text).lower())
    return found


def count_words(text: str) -> int:
    """Return the length of a text in words: runs without white space.

    In scripts without spaces each character counts, and punctuation does not.

    >>> count_words("It's GPT-4 -- 东京。")
    5
    """
    if text.isascii():
        return len(text.split())
    return sum(len(unicode_words(part)) if is_unspaced(part) else 1 for part in text.split())


def search_terms(text: str) -> list[str]:
    """Return the terms for a search or a comparison of texts.

    These are casefolded words, and in scripts without spaces pairs of neighboring characters, since one
    character alone is not specific enough.

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
    """Return True if `text` contains a character of a script without spaces."""
    return _UNSPACED.search(text) is not None


@cache
def word_border() -> str:
    """Return the pattern of a place that is not between two letters, digits or marks of a word.

    A character of a script without spaces has a border on both sides, so a Latin name in a Chinese text is a
    word. So has a Korean syllable: Korean has spaces, but particles touch the word. A combining mark belongs
    to the character before it.
    """
    joined = rf"[^\W_{''.join(UNSPACED.values())}\uac00-\ud7a3]"
    # U+FE00 to U+FE0F select the form of a symbol, such as an emoji.
    marks = "".join(one for one in _marks() if not 0xFE00 <= ord(one) <= 0xFE0F)
    spaced = _ranges("".join(one for one in marks if not is_unspaced(one)))
    return rf"(?![{_ranges(marks)}])(?!(?:(?<={joined})|(?<=[{spaced}]))(?={joined}))"


@cache
def _marks() -> str:
    """Return all combining marks: `re` has no \\p{M}, and \\w excludes marks."""
    return "".join(chr(c) for c in range(0x300, 0x20000) if unicodedata.category(chr(c)).startswith("M"))


def _ranges(characters: str) -> str:
    """Return sorted characters as ranges of a character class, which is compiled faster."""
    starts = [
        one for one, last in zip(characters, "\0" + characters, strict=False) if ord(one) - ord(last) > 1
    ]
    ends = [one for one, after in pairwise(characters + "\U0010ffff") if ord(after) - ord(one) > 1]
    return "".join(f"{start}-{end}" for start, end in zip(starts, ends, strict=True))


@cache
def _unicode_pattern() -> re.Pattern[str]:
    # Without marks, Thai and Devanagari words would be cut into pieces.
    marks = _marks() + "\u200c\u200d"  # joiners inside Persian and Indic words
    unspaced = "".join(UNSPACED.values())
    letter = f"(?![{unspaced}])[^\\W_]"
    return re.compile(f"[{unspaced}][{marks}]*|{letter}(?:{letter}|[{marks}])*")
