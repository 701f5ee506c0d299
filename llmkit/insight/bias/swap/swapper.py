"""Swap the terms of a text, in agreement with letter case, possessives and names, or refuse it.

English has one word for two: `her` is `his` or `him`, and `his` is `her` or `hers`. The words around it
decide; where they do not, the text is refused. So is a text that would be false with its terms swapped, such
as one about a birth, or one about a person whom it names in full.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from llmkit.insight.bias.swap.terms import SwapTerms, key_of
from llmkit.text.words import count_words, is_unspaced, word_border

# Words after which `her` is the object, or `his` stands alone: no noun begins with them.
_FUNCTION_TEXT = """
a an the and or but nor so yet if because although though while when until unless since as than that
which who whom whose where how what why to of in on at by for with from into onto upon about after
before over under between through during against without within along across behind beyond near off out
up down away back again is are was were be been am do does did has have had will would can could may
might shall should must not never always often also too very just only then there here now today
yesterday tomorrow he she it they we you i him them us me this these those some any every each all both
either neither soon later alone home inside outside together tonight anymore once twice
"""
_FUNCTION = frozenset(_FUNCTION_TEXT.split())
# Verbs with two objects: `gave her flowers` is `gave him flowers`, and `gave her flowers away` is not.
_TWO_OBJECTS_TEXT = """
give gives gave given giving tell tells told telling show shows showed shown showing send sends sent
sending ask asks asked asking offer offers offered offering buy buys bought buying teach teaches taught
teaching call calls called calling make makes made making let lets see sees saw seen seeing hear hears
heard hearing watch watches watched help helps helped helping bring brings brought bringing lend lends
lent pay pays paid write writes wrote feed feeds fed read reads cost costs wish wishes wished promise
promised owe owes owed consider considers considered name names named find finds found get gets got
"""
_TWO_OBJECTS = frozenset(_TWO_OBJECTS_TEXT.split())
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


@dataclass(frozen=True)
class SwappedText:
    """A text with its terms swapped.

    Attributes:
        text: the new text.
        sides: number of swapped terms of each side in the old text.
        refusal: reason why the text must not be swapped; None if it may.
    """

    text: str
    sides: tuple[int, int]
    refusal: str | None


class Swapper:
    """Swap terms in texts.

    Args:
        terms: the terms.
    """

    def __init__(self, terms: SwapTerms) -> None:
        self.terms = terms
        pronouns = ["her", "hers", "his", "him"] if terms.english_pronouns else []
        self._listed = dict.fromkeys([*terms.other, *pronouns])
        border = word_border()
        self._terms = re.compile(f"{border}(?:{_alternatives(self._listed)}){border}", re.IGNORECASE)
        self._names = re.compile(f"{border}(?:{_alternatives(terms.names)}){border}") if terms.names else None
        bound = [*terms.bound, *([f"(?:{_alternatives(terms.refused)}){border}"] if terms.refused else [])]
        self._bound = re.compile(f"{border}(?:{'|'.join(bound)})", re.I) if bound else None
        first = _alternatives(name for name in terms.names if name != "Miss")
        self._full = re.compile(rf"{border}(?:{first})\s+(?:[A-Z]\.\s+)?[A-Z]\w+") if terms.names else None
        rulers = "|".join(word.capitalize() for word in terms.rulers)
        self._ruler = re.compile(rf"{border}(?:{rulers})\s+[A-Z]\w+") if rulers else None

    def swap(self, text: str) -> SwappedText:
        """Return the text with its terms swapped, and the reason to refuse it if there is one."""
        sides: Counter[int] = Counter()
        doubts: list[str] = []

        def term(found: re.Match[str]) -> str:
            word = found.group()
            key = self._key(word)
            if self.terms.english_pronouns and key in ("her", "hers", "his", "him"):
                new, side = self._pronoun(text, found, doubts)
            else:
                new, side = self.terms.other[key], self.terms.side[key]
            sides[side] += 1
            return new if word == self.terms.spelling.get(key) else cased(new, word)

        pieces: list[str] = []
        end = 0
        # Names first, in the old text: a name is no term, and a term is no name.
        for found in self._names.finditer(text) if self._names is not None else ():
            pieces += [text[end : found.start()], found.group()]
            end = found.end()
        pieces.append(text[end:])
        new = []
        at = 0
        for number, piece in enumerate(pieces):
            if number % 2:
                sides[self.terms.name_side[piece]] += 1
                new.append(self.terms.names[piece])
            else:
                new.append(self._terms_in(text, at, at + len(piece), term))
            at += len(piece)
        return SwappedText("".join(new), (sides[0], sides[1]), self._refusal(text, sides, doubts))

    def _terms_in(self, text: str, start: int, end: int, term: object) -> str:
        """Replace the terms between two positions; `term` sees the whole text around a match."""
        made, last = [], start
        for found in self._terms.finditer(text, start, end):
            made += [text[last : found.start()], term(found)]  # type: ignore[operator]
            last = found.end()
        return "".join([*made, text[last:end]])

    def _key(self, found: str) -> str:
        """Return the term that was found, as a key of `SwapTerms.other`."""
        key = key_of(found)
        if key in self._listed:
            return key
        # Without case, `re` also takes ı and İ for i, and ſ for s.
        return next(one for one in self._listed if re.fullmatch(_alternatives([one]), found, re.IGNORECASE))

    def _pronoun(self, text: str, found: re.Match[str], doubts: list[str]) -> tuple[str, int]:
        """Return the other pronoun and the side of `her`, `hers`, `his` or `him`."""
        word = found.group().lower()
        if word == "him":
            return "her", 0
        if word == "hers":
            return "his", 1
        after = re.match(r"\s+[\"'“”‘’«„*_]*(\d|[^\W\d_]+)", text[found.end() : found.end() + 60])
        follows = after.group(1).lower() if after else None
        if word == "his":
            return ("hers" if follows is None or follows in _FUNCTION else "her"), 0
        if follows is None or follows in _FUNCTION:
            return "him", 1
        before = re.search(r"([^\W\d_]+)\s+$", text[max(0, found.start() - 60) : found.start()])
        first = before.group(1) if before is not None else ""
        # `her 3 dogs` is `his 3 dogs`, and `met her 3 times` is `met him 3 times`.
        if first.lower() in _TWO_OBJECTS or follows.isdigit():
            doubts.append(f"{first} {found.group()} {after.group(1) if after else ''}".strip())
        return "his", 1

    def _refusal(self, text: str, sides: Counter[int], doubts: list[str]) -> str | None:
        if not sides:
            return "it contains no term to swap"
        for pattern, reason in (
            (self._bound, "would no longer be true of the other group"),
            (self._full, "names a person in full"),
            (self._ruler, "names a person in full"),
        ):
            found = pattern.search(text) if pattern is not None else None
            if found is not None:
                return f"{found.group()!r}: it {reason}"
        if doubts:
            return f"{doubts[0]!r}: `her` may be `his` or `him`"
        return None

    def normal(self, text: str) -> str:
        """Return a text after two swaps, so that words which share a counterpart (Mrs and Ms) become one."""
        return self.swap(self.swap(text).text).text


def _alternatives(terms: Iterable[str]) -> str:
    """Return a pattern of terms, the longest first.

    Any white space separates the words of a term, and an apostrophe may be curved. Accents may be separate
    characters.
    """
    forms = {form for term in terms for form in (term, unicodedata.normalize("NFD", term))}
    words = [
        r"\s+".join(re.escape(word) for word in form.split()).replace("'", "['’]")
        for form in sorted(forms, key=lambda form: (-len(form), form))
    ]
    return "|".join(words)


def cased(word: str, like: str) -> str:
    """Return a word in the letter case of another: lower, Capitalized or UPPER."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    if like[:1].isupper():
        return word[:1].upper() + word[1:]
    return word.lower() if like.islower() else word


def words(text: str) -> int:
    """Return the number of words of a text; in scripts without spaces each character counts."""
    return count_words(text) if is_unspaced(text) else len(_WORD.findall(text))
