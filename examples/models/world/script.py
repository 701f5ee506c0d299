"""Plots as scripts: who and what takes part, the events in order, and how it may end.

A cast is parts like "x thing toy wear; P place out; N animal cat dog; q,r words shadows". In a script,
"goes:day" has a leading adverb, "sad?60" happens in 60 of 100 tellings, "thanks[M=B]" puts B in M's place,
"(a b|c)" is one of two ways, "/" may begin a paragraph, "!" is where the problem stands, and "+rain" is a
scene with a cast of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cast import Cast
from entities import Character, Entity, Thing, Word
from lexicon_words import WORDS
from realise import NUMBERS
from scenes import begin, begin_two, close
from story import Story


def _after(story: Story, cast: Cast) -> None:
    story.tell("again" if story.happy else "sad_after")


FRAMES: dict[str, Callable[[Story, Cast], None]] = {
    "begin": begin,
    "begin2": begin_two,
    "close": close,
    "after": _after,
    "close_fun": lambda story, cast: close(story, cast, fun=True),
}
TOKEN = re.compile(r"\([^()]*\)(?:\?\d*)?|\S+")
STEP = re.compile(r"(\w+)(?:\[([^\]]*)\])?(?::(\w+))?(?:\?(\d*))?$")


@dataclass(frozen=True)
class Plot:
    name: str
    cast: str
    script: str
    happy: str
    sad: str
    gists: tuple[str, ...]
    sad_gists: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A small plot within a plot, told where a script says +NAME, or anywhere on the way ("+side")."""

    cast: str
    script: str
    side: bool = False


def bind(story: Story, cast: Cast, spec: str) -> dict[str, Entity]:
    """The entities that a cast names, by letter."""
    bound: dict[str, Entity] = {}
    for part in filter(None, map(str.strip, spec.split(";"))):
        letters, _, rest = part.partition(" ")
        if not rest:
            continue  # "child" and "named" are for whoever chooses the hero
        kind, *words = rest.split()
        if kind == "words":
            bound.update(zip(letters.split(","), cast.rng.choice(WORDS[words[0]]), strict=True))
        else:
            bound[letters] = _entity(story, cast, bound, kind, words)
    for letter, entity in list(bound.items()):
        if isinstance(entity, Thing) and entity.many:
            bound[f"{letter}s"] = Word(entity.english(False), entity.german(False, "nom", "strong"))
            bound["n"] = Word(*NUMBERS[entity.count])
    return bound


def _entity(story: Story, cast: Cast, bound: dict[str, Entity], kind: str, words: list[str]) -> Entity:
    hero = story.b["A"]
    assert isinstance(hero, Character)
    if kind in ("thing", "coloured", "several"):
        kinds = [word for word in words if "=" not in word]
        only = tuple(
            n.replace("_", " ") for word in words if "=" in word for n in word.partition("=")[2].split(",")
        )
        kinds += [word.partition("=")[0] for word in words if "=" in word]
        if kind == "several":
            return cast.several(*kinds, only=only)
        return cast.thing(*kinds, colour=kind == "coloured", only=only)
    if kind == "place":
        return cast.place(*words)
    if kind == "spot":
        return cast.spot(words[0])
    if kind == "animal":
        return cast.animal(named=False, kinds=tuple(words))
    if kind == "person":
        return cast.person(*words)
    if kind == "relative":
        return cast.relative(hero, *words)
    if kind == "act":
        return cast.act(words[0] if words else "child" if hero.child else "animal")
    if kind == "one":  # one of two that are there already: a friend or a parent
        return story.b[cast.rng.choice(words)]
    if kind == "both":
        pair = [bound.get(word) or story.b[word] for word in words]
        return cast.both(*(who for who in pair if isinstance(who, Character)))
    raise ValueError(f"a cast has no {kind}")


def perform(story: Story, cast: Cast, plot: Plot, scenes: dict[str, Scene]) -> None:
    """Tell a whole plot, with the ending that the story is to have, and sum it up."""
    story.b |= bind(story, cast, plot.cast)
    friend = story.b["B"]
    assert isinstance(friend, Character)
    story.b["kb"] = Word(friend.noun.en, friend.noun.de)
    story.b["AB"], story.b["AM"] = (
        cast.both(*(story.b[letter] for letter in pair))
        for pair in ("AB", "AM")  # type: ignore[arg-type]
    )
    ending = plot.happy if story.happy else plot.sad
    # Each part draws from the cast in the telling's order, so both endings share what comes before them.
    play(story, cast, plot.script, scenes)
    play(story, cast, ending, scenes)
    story.sum_up(*(plot.gists if story.happy else plot.sad_gists))


def play(story: Story, cast: Cast, script: str, scenes: dict[str, Scene]) -> None:
    for token in TOKEN.findall(script):
        if token == "/":
            story.para()
        elif token == "!":
            story.turn()
        elif token.startswith("("):
            group, _, chance = token.partition(")")
            if not chance or story.chance(int(chance[1:] or 60) / 100):
                play(story, cast, story.rng.choice(group[1:].split("|")), scenes)
        elif token in FRAMES:
            FRAMES[token](story, cast)
        elif token.startswith("+"):
            _scene(story, cast, token[1:], scenes)
            if token[1:].startswith("side") and story.words < 60 and story.chance(0.4):
                _scene(story, cast, "side", scenes)
        else:
            _step(story, token)


def _step(story: Story, token: str) -> None:
    match = STEP.match(token)
    assert match, token
    name, swaps, lead, chance = match.groups()
    if chance is not None and not story.chance(int(chance or 60) / 100):
        return
    more = {}
    for swap in filter(None, (swaps or "").split(",")):
        letter, _, other = swap.partition("=")
        more[letter] = story.b[other]
    story.tell(name, lead or "", **more)


def _scene(story: Story, cast: Cast, name: str, scenes: dict[str, Scene]) -> None:
    name, _, chance = name.partition("?")
    if chance and not story.chance(int(chance) / 100):
        return
    if name == "side":
        name = story.rng.choice([key for key, scene in scenes.items() if scene.side])
    if name == "end":
        late = any(re.search(r"\b(bed|night|sleep|asleep)\b", s.en) for s in story.sentences[-5:])
        told = story.b["M"] in story.cast
        home = "home_story" if story.happy else "sad_home"
        ends = ["again"] + ["bedtime", "moon", "dinner"] * (not late) + [home] * 3 * (not told)
        name = story.rng.choice(ends)
    outer = story.b
    story.b = {**outer, **bind(story, cast, scenes[name].cast)}
    play(story, cast, scenes[name].script, scenes)
    story.b = outer
