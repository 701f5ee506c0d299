"""Makes a story from its name: the name seeds every choice."""

from __future__ import annotations

import random

import events_color
import events_common
import events_home
import events_more
import events_nature
import events_play
import events_scenes
import events_social
import events_things
from cast import Cast
from entities import Character, Entity
from events import read_events
from lexicon_world import HOME
from plots import PLOTS, SCENES
from script import perform
from story import Story

MODULES = (
    events_color,
    events_common,
    events_things,
    events_nature,
    events_play,
    events_home,
    events_social,
    events_more,
    events_scenes,
)
KINDS = read_events(*(module.TABLE for module in MODULES))
SAD_SHARE = 0.15
PRESENT_SHARE = 0.1


def told(name: str, *, happy: bool | None = None, telling: int = 0) -> Story:
    """The story called `name`.

    Args:
        happy: how it ends; as the name has it when None. The same people, things and places, either way.
        telling: another number tells the same world in other words.
    """
    world = random.Random(f"{name}/world")
    cast = Cast(world)
    plot = world.choice(PLOTS)
    ends_well = world.random() >= SAD_SHARE
    story = Story(KINDS, random.Random(f"{name}/telling/{telling}"), plot=plot.name)
    story.happy = ends_well if happy is None else happy
    story.tense = "pres" if world.random() < PRESENT_SHARE else "past"
    marks = plot.cast.split("; ")
    story.b = people(cast, child="child" in marks, named="named" in marks)
    perform(story, cast, plot, SCENES)
    return story


def people(cast: Cast, *, child: bool, named: bool) -> dict[str, Entity]:
    """The hero A, a friend B, a parent M, and home H."""
    hero: Character = cast.hero(child=child, named=named)
    friend, parent = cast.friend(hero), cast.parent(hero)
    both, pair = cast.both(hero, friend), cast.both(hero, parent)
    return {"A": hero, "B": friend, "M": parent, "AB": both, "AM": pair, "H": HOME}
