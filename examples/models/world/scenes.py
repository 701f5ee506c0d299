"""How stories begin and end, whatever their plot."""

from __future__ import annotations

import lexicon_world as lex
from cast import Cast
from entities import Character, Word
from story import Story

LIVES = {"home": "home_town", "magic": "wild"}


def begin(s: Story, c: Cast) -> None:
    """Introduce the hero."""
    hero = s.b["A"]
    assert isinstance(hero, Character)
    s.b["k"] = Word(hero.noun.en, hero.noun.de)
    s.tell("begin_named" if hero.name else "begin_plain")
    kind = "child" if hero.child else "animal"
    if hero.child and s.chance(0.12):
        s.tell("age")
    if s.chance(0.7):
        s.tell("loves", V=c.act(kind))
    elif s.chance(0.15):
        s.tell("two_loves", V=c.act(kind), W=c.act(kind))
    if s.chance(0.12) and "lived" not in s.sentences[0].en:
        home = "home" if hero.child else lex.ANIMALS[hero.noun.en][1][0]
        s.tell("lives", P=c.place(LIVES.get(home, home)))
    if s.chance(0.35):
        trait = c.trait()
        if hero.adjective is None or trait.en != hero.adjective.en:
            s.tell("trait", t=trait)


def begin_two(s: Story, c: Cast) -> None:
    """Introduce the hero and the friend."""
    hero, friend = s.b["A"], s.b["B"]
    assert isinstance(hero, Character)
    assert isinstance(friend, Character)
    if hero.name and friend.name and hero.child and s.chance(0.5):
        s.b["k"] = Word(hero.noun.en, hero.noun.de)
        s.tell("begin_duo")
        if s.chance(0.5):
            s.tell("duo_loves", V=c.act("child"))
        return
    begin(s, c)
    s.tell("has_friend")


def close(s: Story, c: Cast, *, fun: bool = False) -> None:
    """The last words, if any; `fun` where it was a day of play."""
    if s.happy:
        if fun and s.chance(0.25):
            s.tell("best_day")
        if s.words < 100 and "sle" not in s.sentences[-1].en and s.chance(0.5):
            s.tell("sleepy", "evening")
        if s.chance(0.05):
            s.tell("ever_after")
    elif s.chance(0.3) and s.words < 140:
        s.tell("sad_end")
    if s.chance(0.1):
        s.tell("the_end")
