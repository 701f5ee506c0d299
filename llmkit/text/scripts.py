"""Scripts written without spaces between words, where a word's border cannot be read off the text."""

from __future__ import annotations

import re

# Thai, Lao, Tibetan, Myanmar, Khmer; kana, CJK ideographs with their extensions and compatibility forms.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"\w+")


def search_terms(text: str) -> list[str]:
    """What a search compares: casefolded words, and pairs of characters in scripts without spaces."""
    terms: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if not UNSPACED.search(word):
            terms.append(word)
        else:
            terms += [word[i : i + 2] for i in range(max(len(word) - 1, 1))]
    return terms
