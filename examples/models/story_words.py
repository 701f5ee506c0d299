"""Find what a story is about, and tell the same story about something else.

Public: `Words`, `Wish`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

KINDS = (
    "boy|girl|dog|cat|bird|bear|bunny|rabbit|fish|mouse|frog|puppy|kitten|duck|princess|man|woman"
    "|fox|bee|pig|cow"
)
FEMALE = frozenset(("girl", "princess", "woman", "queen", "mom"))
MALE = frozenset(("boy", "prince", "man", "king", "dad"))
# Nouns that nobody asks for a story about, and words that `nouns` mistakes for one.
_VAGUE = """
time day way lot idea end thing part side place moment bit hurry might job name wish one other most same
next first last best minute while little big lots something everything nothing middle top bottom back
front rest edge kind head hand sudden bye hey fun there playing
"""
VAGUE = frozenset(_VAGUE.split())
_AFTER = "and was in that to on with who named for were had said at called"
AFTER_NOUNS = frozenset(_AFTER.split())
# Stories that few words part from each other: in at least so many does a noun stand.
LEAST = 3
# A noun takes the place of one of its nearest so many.
NEAREST = 15
ARTICLED = re.compile(r"\b(?:a|an|the|his|her|their) ([a-z]{3,10})\b(\W+\w+|\W*$)")
NAMED = re.compile(rf"\b({KINDS}|[a-z]+) (?:named|called) ([A-Z][a-z]+)\b")


@dataclass(frozen=True)
class Wish:
    """Something that a story holds.

    Attributes:
        word: the noun or the name.
        phrase: as a request has it: "a red ball", "a dog named Max".
        place: where the story first has it, as a share of the story's length.
        times: number of times that the story has it.
    """

    word: str
    phrase: str
    place: float
    times: int


class Words:
    """The nouns and names of a collection of stories.

    Args:
        stories: their texts.
    """

    def __init__(self, stories: list[str]) -> None:
        self.nouns = _nouns(stories)
        self.names = _names(stories)
        self._definite = _definite(stories)
        self._no_adjectives = VAGUE | set(self.nouns)
        order = sorted(self.nouns)
        self._nearest = dict(zip(order, _nearest(stories, order), strict=True))

    def wishes(self, story: str) -> list[Wish]:
        """What one could wish for to be told this story."""
        counts = Counter(re.findall(r"\b[A-Za-z][a-z]+\b", story))
        found: dict[str, Wish] = {}
        for match in re.finditer(r"\b(?:a|an|the|his|her|their) ((?:[a-z]+ )?)([a-z]{3,10})\b", story):
            adjective, word = match[1].strip(), match[2]
            if word in self.nouns and adjective not in self._no_adjectives and word not in found:
                phrase = f"{match[1]}{word}"
                phrase = f"the {phrase}" if word in self._definite else _with_article(phrase)
                found[word] = Wish(word, phrase, match.start() / len(story), counts[word])
        for match in NAMED.finditer(story):
            kind, name = match[1], match[2]
            if name in self.names and re.fullmatch(KINDS, kind):
                found.pop(kind, None)
                phrase = f"{_with_article(kind)} named {name}"
                found[name] = Wish(name, phrase, match.start() / len(story), counts[name])
        for name in re.findall(r"[a-z,] ([A-Z][a-z]+)\b", story):
            if name in self.names and counts[name] > 1 and name not in found:
                found[name] = Wish(name, name, story.find(name) / len(story), counts[name])
        return list(found.values())

    def exchanged(self, story: str, wish: Wish, chance: random.Random) -> tuple[str, Wish] | None:
        """The story with something else of the same kind in place of what is wished for.

        Returns:
            The story and the wish; None if there is nothing of the kind that the story does not have.
        """
        words = set(re.findall(r"[a-z]+", story.lower()))
        if wish.word in self.names:
            pool = [name for name, sex in self.names.items() if sex == self.names[wish.word]]
        else:
            pool = self._nearest[wish.word]
        pool = [word for word in pool if word.lower() not in words]
        if not pool or (wish.word in self.nouns and self._compound(story, wish.word)):
            return None
        other = chance.choice(pool)
        text = _replaced(story, wish.word, other)
        phrase = _replaced(wish.phrase, wish.word, other)
        if wish.word in self.nouns:
            bare = re.sub("^(?:an?|the) ", "", phrase)
            phrase = f"the {bare}" if other in self._definite else _with_article(bare)
        return text, Wish(other, phrase, wish.place, wish.times)

    def _compound(self, story: str, word: str) -> bool:
        """Whether the word is a part of "birthday cake" or "fire truck" there."""
        before = re.findall(rf"([a-z]+) {word}\b", story)
        after = re.findall(rf"\b{word} ([a-z]+)", story)
        return any(other in self.nouns for other in before + after)


def _nouns(stories: list[str]) -> Counter[str]:
    """Words that end what an article begins, more often than not, with the number of stories they are in."""
    ends: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for story in stories:
        here = set()
        for word, after in ARTICLED.findall(story):
            seen[word] += 1
            ends[word] += not re.fullmatch(r" [a-z]+", after) or after[1:] in AFTER_NOUNS
            here.add(word)
        known.update(here)
    return Counter(
        {
            word: count
            for word, count in known.items()
            if count >= LEAST
            and ends[word] > 0.6 * seen[word]
            and not re.search("[^su]s$", word)
            and word not in VAGUE
        }
    )


def _definite(stories: list[str]) -> set[str]:
    """Nouns that hardly any story has with "a": the water, the sky."""
    articles: dict[str, Counter[bool]] = defaultdict(Counter)
    for story in stories:
        for article, word in re.findall(r"\b(an?|the) (?:[a-z]+ )?([a-z]{3,10})\b", story):
            articles[word][article != "the"] += 1
    return {word for word, counts in articles.items() if counts[True] < 0.1 * sum(counts.values())}


def _names(stories: list[str]) -> dict[str, str]:
    """Names of persons and animals, with "f", "m" or "" for what is told of them."""
    sexes: dict[str, Counter[str]] = defaultdict(Counter)
    for story in stories:
        for kind, name in set(NAMED.findall(story)):
            sexes[name]["f" if kind in FEMALE else "m" if kind in MALE else ""] += 1
    return {name: counts.most_common(1)[0][0] for name, counts in sorted(sexes.items())}


def _nearest(stories: list[str], order: list[str]) -> list[list[str]]:
    """For each noun those that stand between the same words, nearest first."""
    index = {word: number for number, word in enumerate(order)}
    counts: Counter[tuple[int, str]] = Counter()
    for story in stories:
        words = ["", *re.findall(r"[a-z']+|[.,!?]", story.lower()), ""]
        for before, word, after in zip(words, words[1:], words[2:], strict=False):
            if word in index:
                counts[index[word], f"{before} _"] += 1
                counts[index[word], f"_ {after}"] += 1
    columns = {name: number for number, name in enumerate(sorted({name for _, name in counts}))}
    table = np.zeros((len(order), len(columns)))
    for (row, name), count in counts.items():
        table[row, columns[name]] = count
    # Positive pointwise mutual information, as Church and Hanks (1990) weigh what words stand beside.
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    weights = np.log(np.maximum(table / expected, 1.0))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True) + 1e-9
    near = weights @ weights.T
    np.fill_diagonal(near, -1.0)
    return [[order[j] for j in np.argsort(-row, kind="stable")[:NEAREST]] for row in near]


def _replaced(text: str, word: str, other: str) -> str:
    """The text with another word in place of one, its plural and its capitals, and articles that fit."""

    def put(match: re.Match[str]) -> str:
        made = _plural(other) if match[2] else other
        made = made[0].upper() + made[1:] if match[1][0].isupper() else made
        return made

    text = re.sub(rf"\b({word}|{word.capitalize()})((?:es|s)?)\b(?!-)", put, text)
    article = "n" if other[0] in "aeiou" else ""
    return re.sub(rf"\b([Aa])n? (?={other}\b)", rf"\1{article} ", text)


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
