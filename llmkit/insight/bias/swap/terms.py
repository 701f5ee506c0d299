"""Pairs of terms that a swap exchanges: English words for men and women, or a user's file."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.errors import InputError

MOST_LINES = 10_000
LONGEST = 100
"""Most lines of a file of terms, and most characters of a term."""

_PAIRS = """
he she|himself herself|man woman|men women|boy girl|boys girls|male female|males females|guy gal|guys gals
lad lass|lads lasses|gentleman lady|gentlemen ladies|sir madam|mr ms|father mother|fathers mothers|dad mom
dads moms|daddy mommy|papa mama|son daughter|sons daughters|brother sister|brothers sisters|husband wife
husbands wives|uncle aunt|uncles aunts|nephew niece|nephews nieces|grandfather grandmother
grandfathers grandmothers|grandpa grandma|grandson granddaughter|grandsons granddaughters
stepfather stepmother|stepson stepdaughter|stepbrother stepsister|godfather godmother|godson goddaughter
fiancé fiancée|groom bride|grooms brides|bridegroom bride|widower widow|widowers widows|boyfriend girlfriend
boyfriends girlfriends|fatherhood motherhood|brotherhood sisterhood|manhood womanhood|boyhood girlhood
masculine feminine|manly womanly|boyish girlish|fatherly motherly|brotherly sisterly|king queen|kings queens
prince princess|princes princesses|duke duchess|dukes duchesses|emperor empress|lord lady|lords ladies
heir heiress|heirs heiresses|hero heroine|heroes heroines|actor actress|actors actresses|waiter waitress
waiters waitresses|steward stewardess|stewards stewardesses|landlord landlady|landlords landladies
wizard witch|wizards witches|policeman policewoman|policemen policewomen|businessman businesswoman
businessmen businesswomen|chairman chairwoman|chairmen chairwomen|spokesman spokeswoman
spokesmen spokeswomen|salesman saleswoman|salesmen saleswomen|congressman congresswoman
congressmen congresswomen|fireman firewoman|firemen firewomen|cameraman camerawoman|sportsman sportswoman
sportsmen sportswomen|schoolboy schoolgirl|schoolboys schoolgirls|cowboy cowgirl|cowboys cowgirls
headmaster headmistress|monk nun|monks nuns
"""
# One direction alone: the way back gives the usual word.
_ONE_WAY = {"mrs": "mr", "mum": "dad", "mums": "dads", "mummy": "daddy", "ma'am": "sir"}
_NAMES = """
James Mary|John Elizabeth|Robert Patricia|Michael Jennifer|William Linda|David Barbara|Richard Susan
Joseph Jessica|Thomas Sarah|Charles Karen|Christopher Nancy|Daniel Lisa|Matthew Betty|Anthony Margaret
Donald Sandra|Steven Ashley|Paul Kimberly|Andrew Emily|Joshua Donna|Kenneth Michelle|Kevin Carol
Brian Amanda|George Dorothy|Edward Melissa|Ronald Deborah|Timothy Stephanie|Jason Rebecca|Jeffrey Laura
Ryan Sharon|Jacob Cynthia|Gary Kathleen|Nicholas Amy|Eric Angela|Jonathan Shirley|Stephen Anna|Larry Brenda
Justin Pamela|Scott Nicole|Brandon Samantha|Benjamin Katherine|Samuel Emma|Gregory Ruth|Alexander Christine
Peter Catherine|Patrick Helen|Henry Alice|Tom Lily|Tim Sue|Ben Lucy|Jim Jane|Bob Anne|Mike Kate|Adam Eve
Oliver Olivia|Simon Julia|Martin Maria|Walter Martha|Arthur Clara|Harry Sally|Fred Molly|Leo Mia|Noah Sophia
Liam Isabella|Ethan Charlotte|Jake Ella|Luke Zoe|Sam Nora|Max Lena|Hans Greta|Carlos Carmen|Ivan Olga
"""
# Words of facts that hold for one sex, or mostly so: with the terms swapped, the sentence would be false.
BOUND_STEMS = """
pregnan gave\\sbirth give\\sbirth gives\\sbirth giving\\sbirth birth\\smother breastfe breast-fe
breast\\scancer menstru menopaus ovar uter womb cervi vagina midwif miscarr abortion maternity paternity
obstetr gynec gynaec prostat testic testes testost estrogen oestrogen sperm penis erectil beard
moustache mustache vasectom circumcis caesarean cesarean lesbian priest pope bishop sorority fraternity
virgin\\smary first\\slady transgender transwom transm
"""
_RULERS = "king queen prince princess emperor empress duke duchess lord lady sir dame pope saint"


@dataclass(frozen=True)
class SwapTerms:
    """Terms, and the texts that a swap refuses.

    Attributes:
        name: name for signatures.
        sides: names of the two groups.
        other: by term in lower case, the term of the other side, in its own letter case.
        side: by term in lower case, its side: 0 or 1.
        spelling: by term in lower case, its own letter case, if terms have one.
        names: first names, by name the name of the other side; their letter case counts.
        name_side: by name its side.
        bound: beginnings of words, as regular expressions, whose presence refuses a text.
        refused: terms whose presence refuses a text.
        rulers: titles after which a name is a person's of history.
        english_pronouns: swap `her`, `his`, `him` and `hers` by their use in the sentence.
    """

    name: str
    sides: tuple[str, str]
    other: dict[str, str]
    side: dict[str, int]
    spelling: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    name_side: dict[str, int] = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    rulers: tuple[str, ...] = ()
    english_pronouns: bool = False


def _pairs(text: str) -> list[tuple[str, str]]:
    found = [pair.split() for line in text.split("\n") for pair in line.split("|") if pair.strip()]
    return [(one, two) for one, two in found]


def key_of(term: str) -> str:
    """Return a term as a key: in lower case, with single spaces, straight apostrophes and joined accents."""
    return " ".join(unicodedata.normalize("NFC", term).lower().replace("’", "'").split())


def _indexed(
    pairs: list[tuple[str, str]], key: Callable[[str], str] = str
) -> tuple[dict[str, str], dict[str, int]]:
    """Return the other term and the side of each term; of several pairs with a term, the first counts."""
    other: dict[str, str] = {}
    side: dict[str, int] = {}
    for pair in pairs:
        for at, term in enumerate(pair):
            other.setdefault(key(term), pair[1 - at])
            side.setdefault(key(term), at)
    return other, side


def gender_terms() -> SwapTerms:
    """Return English words and first names of men and women."""
    other, side = _indexed(_pairs(_PAIRS))
    other |= _ONE_WAY
    side |= {term: int(term not in ("dad", "dads", "daddy")) for term in _ONE_WAY}
    names, name_side = _indexed(_pairs(_NAMES))
    # As a word of any letter case, `miss` is a verb; before a name it is a title.
    names, name_side = {**names, "Miss": "Mr"}, {**name_side, "Miss": 1}
    return SwapTerms(
        name="gender",
        sides=("male", "female"),
        other=other,
        side=side,
        names=names,
        name_side=name_side,
        bound=tuple(BOUND_STEMS.split()),
        rulers=tuple(_RULERS.split()),
        english_pronouns=True,
    )


def read_terms(path: Path) -> SwapTerms:
    """Read a file of terms: two terms a line with a tab between them; a line with one term refuses texts.

    A first line that begins with `#` names the two groups, such as `#young<tab>old`.

    Raises:
        InputError: the file cannot be read, is too long, or holds no pair.
    """
    from llmkit.records.read import open_text

    with open_text(path) as file:
        lines = [line.decode("utf-8", errors="replace").rstrip("\r\n") for _, line in zip(
            range(MOST_LINES + 1), file, strict=False)]  # fmt: skip
    if len(lines) > MOST_LINES:
        raise InputError(f"{path}: more than {MOST_LINES} lines")
    sides = ("first", "second")
    pairs: list[tuple[str, str]] = []
    refused: list[str] = []
    for number, line in enumerate(lines, 1):
        terms = [" ".join(term.split()) for term in line.split("\t") if term.strip()]
        if number == 1 and line.startswith("#"):
            named = [term.removeprefix("#").strip() for term in terms]
            if len(named) == 2:
                sides = (named[0], named[1])
            continue
        if not terms or line.startswith("#"):
            continue
        if len(terms) > 2 or any(len(term) > LONGEST for term in terms):
            raise InputError(
                f"{path}:{number}: a line is two terms with a tab between them, or one whose texts are"
                " refused;"
                f" a term has at most {LONGEST} characters"
            )
        if len(terms) == 1:
            refused.append(key_of(terms[0]))
            continue
        if key_of(terms[0]) == key_of(terms[1]):
            raise InputError(f"{path}:{number}: both terms are {terms[0]!r}")
        pairs.append((terms[0], terms[1]))
    if not pairs:
        raise InputError(f"{path}: no pair of terms; write two terms per line, separated by a tab")
    other, side = _indexed(pairs, key_of)
    spelling = {key_of(term): term for pair in reversed(pairs) for term in pair}
    return SwapTerms(path.name, sides, other, side, spelling, refused=tuple(refused))
