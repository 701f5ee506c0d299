"""Conversations about stories: requests that name what the story holds, and questions after it."""

from __future__ import annotations

import random
from collections.abc import Callable

import english
from entities import Character, OutputPaths, Thing
from make import told
from questions import questions_of
from story import Story

Turn = dict[str, str]

ABOUT = (
    "Tell me a story about {}.",
    "Tell me a story about {}.",
    "Can you tell me a story about {}?",
    "Please tell me a story about {}.",
    "Write a story about {}.",
    "I want to hear a story about {}.",
    "Do you know a story about {}?",
    "Make up a story about {}.",
    "A story about {}, please.",
)
WITH = (
    "Tell me a story with {}.",
    "Can you tell a story with {} in it?",
    "Write a short story with {}.",
    "I would like a story with {}.",
    "Please tell me a story with {}.",
)
MOOD = {
    True: (
        "Tell me a happy story about {}.",
        "Can you tell a happy story about {}?",
        "I want a story about {} with a happy ending.",
    ),
    False: (
        "Tell me a sad story about {}.",
        "Can you tell a sad story about {}?",
        "I want a story about {} with a sad ending.",
    ),
}
NEXT = (
    "What happens next?",
    "And then?",
    "What happened then?",
    "Go on, please.",
    "How does it go on?",
    "Tell me more.",
)
WHO = (
    "Who is in the story?",
    "Who was in the story?",
    "Who are the people in the story?",
    "Who is it about?",
)
GIST = (
    "What is the story about?",
    "What happened in the story?",
    "Tell me the story in one sentence.",
    "Sum it up, please.",
)
CHANGE = {
    False: ("Make it sad.", "Can you make it sad?", "Now tell it with a sad ending.", "Make it sadder."),
    True: (
        "Make it happy.",
        "Can you make it happy?",
        "Now tell it with a happy ending.",
        "Give it a happy ending.",
    ),
}
AGAIN = ("Tell it again.", "Tell it again in other words.", "Can you tell it once more?")
LIKED = ("Thank you!", "I like it.", "That was nice.", "What a nice story!", "Thank you for the story.")
WELCOME = (
    "You're welcome! Do you want another story?",
    "I am glad you like it.",
    "Thank you! I like it too.",
    "You are welcome.",
)


def user(text: str) -> Turn:
    return {"role": "user", "content": text}


def assistant(text: str) -> Turn:
    return {"role": "assistant", "content": text}


def introduced(who: Character, *, first: bool = True) -> str:
    """As someone who has not met them says it: Lily, a little bird, her mom."""
    if who.name:
        return who.name
    if who.owner:
        owner = who.owner.name or f"the {who.owner.noun.en}"
        return (
            f"{english.possessive(owner)} {who.noun.en}"
            if first
            else f"{english.PRONOUNS[who.owner.en_sex][2]} {who.noun.en}"
        )
    phrase = f"{who.adjective.en} {who.noun.en}" if who.adjective else who.noun.en
    return f"{english.article(phrase)} {phrase}"


def listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _wishes(story: Story, rng: random.Random) -> str:
    """One to three of the hero, things and places of a story, as someone asks for them."""
    hero = story.b["A"]
    assert isinstance(hero, Character)
    kind = f"a {hero.noun.en}" if not hero.noun.en.startswith(tuple("aeiou")) else f"an {hero.noun.en}"
    items = [rng.choice((hero.name, f"{kind} named {hero.name}", kind)) if hero.name else kind]
    others = [introduced(who) for who in story.cast if who is not hero and not who.name and not who.owner]
    things = [_thing(thing, rng) for thing in story.found(Thing) if isinstance(thing, Thing)]
    places = [
        f"the {place.key}"
        for place in story.found(OutputPaths)
        if isinstance(place, OutputPaths) and " out " in place.kind
    ]
    pool = others + things + rng.sample(places, min(1, len(places)))
    items += rng.sample(pool, min(len(pool), rng.choice((0, 1, 1, 1, 2, 2))))
    return listed(items)


def _thing(thing: Thing, rng: random.Random) -> str:
    full = thing.english(rng.random() < 0.6)
    if thing.noun.mass or thing.plural:
        return full
    return f"{english.article(full)} {full}"


def _opening(story: Story, rng: random.Random, *, mood: bool) -> Turn:
    forms = MOOD[story.happy] if mood else ABOUT if rng.random() < 0.6 else WITH
    return user(rng.choice(forms).format(_wishes(story, rng)))


def _who(story: Story) -> str:
    people = [introduced(who, first=not number) for number, who in enumerate(story.cast)]
    return (
        f"{listed(people)[0].upper()}{listed(people)[1:]} {'is' if len(people) == 1 else 'are'} in the story."
    )


def _answer(story: Story, rng: random.Random) -> list[Turn]:
    (row,) = questions_of(story, rng, 1, impossible=False) or [None]
    if row is None:
        return []
    answer = row["answers"]["text"][0]  # type: ignore[index]
    return [user(str(row["question"])), assistant(f"{answer[0].upper()}{answer[1:]}.")]


def talks_of(story: Story, name: str, rng: random.Random) -> list[dict[str, object]]:
    """One conversation about a story that `make.told` made from `name`."""
    turns = rng.choice((_request, _request, _request, _in_parts, _given))(story, name, rng)
    return [{"messages": turns}]


def _request(story: Story, name: str, rng: random.Random) -> list[Turn]:
    turns = [_opening(story, rng, mood=rng.random() < 0.25), assistant(story.text)]
    return turns + _afterwards(story, name, rng)


def _in_parts(story: Story, name: str, rng: random.Random) -> list[Turn]:
    """The story up to its problem, and how it goes on when asked."""
    text = story.text
    cut = story.sentences[story.turning + 1].offset if story.turning + 1 < len(story.sentences) else len(text)
    turns = [
        _opening(story, rng, mood=False),
        assistant(text[:cut].strip()),
        user(rng.choice(NEXT)),
        assistant(text[cut:].strip()),
    ]
    return (turns if text[cut:].strip() else turns[:2]) + _afterwards(story, name, rng)


def _given(story: Story, name: str, rng: random.Random) -> list[Turn]:
    """The user brings the story."""
    ask, reply = rng.choice(((rng.choice(WHO), _who(story)), (rng.choice(GIST), story.gist)))
    return [user(f"{story.text}\n\n{ask}"), assistant(reply), *_answer(story, rng)]


def _afterwards(story: Story, name: str, rng: random.Random) -> list[Turn]:
    """Up to three more exchanges about a story that has been told."""
    choices: list[Callable[[], list[Turn]]] = [
        lambda: [user(rng.choice(WHO)), assistant(_who(story))],
        lambda: [user(rng.choice(GIST)), assistant(story.gist)],
        lambda: _answer(story, rng),
        lambda: [
            user(rng.choice(CHANGE[not story.happy])),
            assistant(told(name, happy=not story.happy, telling=1).text),
        ],
        lambda: [user(rng.choice(AGAIN)), assistant(told(name, happy=story.happy, telling=2).text)],
        lambda: [user(rng.choice(LIKED)), assistant(rng.choice(WELCOME))],
    ]
    weights = [2, 2, 4, 2, 0.5, 1]
    turns: list[Turn] = []
    for number in range(rng.choice((0, 1, 1, 2, 3))):
        (index,) = rng.choices(range(len(choices)), weights)
        # After another telling, or thanks, the story that was asked about is no longer the last one.
        if index < 3 or number == 0 or index == 5:
            turns += choices[index]()
            weights[index] = 0
        if index >= 3:
            break
    return turns
