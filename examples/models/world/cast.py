"""Chooses who and what a story is about, all from one generator, so that two tellings can share it."""

from __future__ import annotations

import random

import lexicon_world as lex
from entities import Act, Adjective, Character, OutputPaths, Thing, Word
from lexicon_things import ADJECTIVES, COLOUR_KEYS, THINGS

CHILD_ADJECTIVES = (
    "little",
    "little",
    "little",
    "little",
    "young",
    "small",
    "brave",
    "curious",
    "kind",
    "happy",
    "clever",
    "shy",
    "",
)
ANIMAL_ADJECTIVES = (
    "little",
    "little",
    "small",
    "brave",
    "curious",
    "friendly",
    "playful",
    "clever",
    "cute",
    "furry",
    "happy",
    "shy",
    "",
)
TRAITS = [
    "kind",
    "brave",
    "curious",
    "happy",
    "clever",
    "shy",
    "friendly",
    "busy",
    "polite",
    "playful",
    "gentle",
    "smart",
    "cheerful",
    "naughty",
    "lazy",
    "silly",
    "quiet",
    "proud",
]
MOTHERS = ("mom", "mom", "mom", "mommy", "mama", "mother")
FURRY = (
    "dog",
    "cat",
    "puppy",
    "kitten",
    "rabbit",
    "bunny",
    "mouse",
    "squirrel",
    "bear",
    "fox",
    "lion",
    "monkey",
)
LAND = "home wild farm jungle water magic"
FATHERS = ("dad", "dad", "daddy", "papa", "father")


class Cast:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names: set[str] = set()
        self.nouns: set[str] = set()
        self.keys: set[str] = set()

    # ---- people and animals

    def _name(self, names: list[str], front: int = 0) -> str:
        while True:
            # Some names are far more common in children's stories than others.
            pool = names[:front] if front and self.rng.random() < 0.6 else names
            name = self.rng.choice(pool)
            if name not in self.names:
                self.names.add(name)
                return name

    def _adjective(self, choices: tuple[str, ...]) -> Adjective | None:
        key = self.rng.choice(choices)
        return ADJECTIVES[key] if key else None

    def child(self, *, unnamed: bool = False) -> Character:
        girl = self.rng.random() < 0.5
        key, sex = ("girl", "f") if girl else ("boy", "m")
        if self.rng.random() < 0.05:
            key = "princess" if girl else "prince"
        adjective = self._adjective(CHILD_ADJECTIVES)
        if adjective is ADJECTIVES["young"]:
            adjective = Adjective("young", "klein")  # nobody says "ein junger Junge"
        if unnamed:
            self.nouns.add(key)
            return Character(lex.PEOPLE[key][0], sex, "", adjective or ADJECTIVES["little"], child=True)
        name = self._name(lex.GIRLS if girl else lex.BOYS, 9)
        return Character(lex.PEOPLE[key][0], sex, name, adjective, child=True)

    def animal(self, *, named: bool = True, kinds: tuple[str, ...] = (), homes: str = "") -> Character:
        pool = [
            key
            for key, (_, marks) in lex.ANIMALS.items()
            if key not in self.nouns
            and (not kinds or key in kinds)
            and (not homes or marks[0] in homes.split())
        ]
        key = self.rng.choice(pool)
        self.nouns.add(key)
        noun = lex.ANIMALS[key][0]
        sex = noun.gender if noun.gender != "n" else self.rng.choice("mf")
        adjective = self._adjective(ANIMAL_ADJECTIVES)
        if adjective is ADJECTIVES["furry"] and key not in FURRY:
            adjective = ADJECTIVES["little"]
        if not named:
            return Character(noun, "n", "", adjective)
        names = lex.PET_NAMES[sex] if self.rng.random() < 0.6 else lex.BOYS if sex == "m" else lex.GIRLS
        return Character(noun, sex, self._name(names), adjective)

    def hero(self, *, child: bool = False, named: bool = False) -> Character:
        draw = self.rng.random()
        if named or child:
            draw *= 0.66 if named else 0.78
        if draw < 0.66:
            return self.child()
        return self.child(unnamed=True) if draw < 0.78 else self.animal(homes=LAND)

    def friend(self, hero: Character) -> Character:
        return self.child() if hero.child else self.animal(homes=LAND)

    def parent(self, hero: Character) -> Character:
        key = self.rng.choice(MOTHERS + FATHERS)
        title = (
            self.rng.random() < 0.25
            and key in ("mom", "mommy", "dad", "daddy", "mama", "papa")
            and bool(hero.name)
        )
        return Character(lex.PEOPLE[key][0], lex.PEOPLE[key][1][0], owner=hero, title=title)

    def relative(self, hero: Character, *keys: str) -> Character:
        noun, (sex,) = lex.PEOPLE[self.rng.choice(keys)]
        return Character(noun, sex, owner=hero)

    def sibling(self, hero: Character) -> Character:
        girl = self.rng.random() < 0.5
        name = self._name(lex.GIRLS if girl else lex.BOYS)
        return Character(
            lex.PEOPLE["sister" if girl else "brother"][0],
            "f" if girl else "m",
            name,
            ADJECTIVES["little"],
            child=True,
        )

    def person(self, *keys: str) -> Character:
        noun, (sex,) = lex.PEOPLE[self.rng.choice([key for key in keys if key not in self.nouns])]
        self.nouns.add(noun.en)
        adjective = ADJECTIVES[self.rng.choice(("old", "kind", "nice", "young", "friendly"))]
        return Character(noun, sex, adjective=adjective)

    @staticmethod
    def both(*members: Character) -> Character:
        return Character(members[0].noun, "p", members=members)

    # ---- things

    def thing(
        self, *kinds: str, colour: bool = False, adjectives: int = -1, only: tuple[str, ...] = ()
    ) -> Thing:
        pool = [pair for kind in kinds for pair in THINGS[kind] if not only or pair[0].en in only]
        while True:
            noun, keys = self.rng.choice(pool)
            if noun.en not in self.nouns:
                break
        self.nouns.add(noun.en)
        number = self.rng.choice((0, 1, 1, 1, 2)) if adjectives < 0 else adjectives
        chosen = [key for key in keys if key != "COLOUR"]
        picked = self.rng.sample(chosen, min(number, len(chosen), 1)) if chosen else []
        if "COLOUR" in keys and number and (colour or number > 1 or self.rng.random() < 0.6):
            hue = self.rng.choice(COLOUR_KEYS)
            sized = [key for key in picked if key in ("big", "small", "little", "shiny", "new", "old")]
            picked = [*sized[: number - 1], hue] if hue not in picked else [hue]
        return Thing(noun, tuple(ADJECTIVES[key] for key in picked))

    def several(self, *kinds: str, low: int = 2, high: int = 6, only: tuple[str, ...] = ()) -> Thing:
        thing = self.thing(*kinds, only=only, adjectives=0)
        thing.count = self.rng.randint(low, high)
        return thing

    # ---- places, activities, words

    def place(self, *kinds: str) -> OutputPaths:
        pool = [
            p for p in lex.PLACES if any(f" {kind} " in p.kind for kind in kinds) and p.key not in self.keys
        ]
        place = self.rng.choice(pool)
        self.keys.add(place.key)
        return place

    def spot(self, kind: str) -> OutputPaths:
        pool = [p for p in lex.SPOTS if f" {kind} " in p.kind and p.key not in self.keys]
        spot = self.rng.choice(pool)
        self.keys.add(spot.key)
        return spot

    def act(self, kind: str) -> Act:
        acts = [a for a in lex.ACTS if f" {kind} " in a.kind and a.en not in self.keys]
        act = self.rng.choice(acts)
        self.keys.add(act.en)
        return act

    def trait(self) -> Word:
        adjective = ADJECTIVES[self.rng.choice(TRAITS)]
        return Word(adjective.en, adjective.de)
