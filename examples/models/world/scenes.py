"""What many plots do alike: beginnings, endings, arrivals, and the small things that happen on the way."""

from __future__ import annotations

from collections.abc import Callable

from cast import Cast
from entities import Character, Word
from story import Story


def begin(s: Story, c: Cast, *, loves: bool = True) -> None:
    """Introduce the hero."""
    hero = s.b["A"]
    assert isinstance(hero, Character)
    s.b["k"] = Word(hero.noun.en, hero.noun.de)
    s.tell("begin_named" if hero.name else "begin_plain")
    if hero.child and s.chance(0.12):
        s.tell("age")
    if loves and s.chance(0.6):
        s.tell("loves", V=c.act("child" if hero.child else "animal"))
    if s.chance(0.25):
        trait = c.trait()
        if hero.adjective is None or trait.en != hero.adjective.en:
            s.tell("trait", t=trait)


def set_out(s: Story, letter: str) -> None:
    """A friend comes along."""
    s.tell("friend_comes", "then" if s.chance(0.3) else "", B=s.b[letter])


def close(s: Story, c: Cast, *, fun: bool = False) -> None:
    """The last words, if any; `fun` where it was a day of play."""
    if s.happy:
        if fun and s.chance(0.25):
            s.tell("best_day")
        if s.words < 90 and s.chance(0.5):
            s.tell("sleepy", "evening")
        if s.chance(0.05):
            s.tell("ever_after")
    elif s.chance(0.3) and s.words < 140:
        s.tell("sad_end")
    if s.chance(0.1):
        s.tell("the_end")


# ---- small things on the way


def _weather(s: Story, c: Cast) -> None:
    s.tell("sun")


def _animal(s: Story, c: Cast) -> None:
    s.tell("sees_animal", N=c.animal(named=False))
    s.tell("animal_does")


def _snack(s: Story, c: Cast) -> None:
    s.tell("hungry_snack", y=c.thing("fruit", "baked", only=SNACKS))


SNACKS = ("apple", "pear", "banana", "orange", "peach", "carrot", "cookie", "plum", "sandwich", "muffin")
SIDES: list[Callable[[Story, Cast], None]] = [_weather, _animal, _snack]


def side(s: Story, c: Cast, chance: float = 0.5) -> None:
    """Perhaps something small and harmless happens."""
    if s.chance(chance):
        s.rng.choice(SIDES)(s, c)
