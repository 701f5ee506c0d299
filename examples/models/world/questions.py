"""Questions about a story whose answers stand in it, and some that it does not answer."""

from __future__ import annotations

import random
import re
from functools import cache

import english
from entities import Thing
from events import EventKind, Question
from lexicon_things import COLOUR_KEYS
from realise import Realiser
from story import Story
from template import Mentions, Slot, parse

EMPTY_WORDS = "a an the who what where why how did do does was were is are to of in on at for with it s up"
EMPTY = frozenset(EMPTY_WORDS.split())


def questions_of(
    story: Story, rng: random.Random, most: int = 4, *, impossible: bool = True
) -> list[dict[str, object]]:
    """Up to `most` questions with answers, as rows; a question with two different answers is nobody's."""
    text = story.text
    answers: dict[str, set[str]] = {}
    rows: dict[str, dict[str, object]] = {}
    for asked in story.asked:
        sentence = story.sentences[asked.sentence]
        start = sentence.offset + asked.start
        answer = text[start : sentence.offset + asked.end]
        answers.setdefault(asked.question, set()).add(answer.lower())
        rows[asked.question] = _row(asked.question, text, [answer], [start])
    for question, start, answer in [*_colours(story), *_feeling(story)]:
        answers.setdefault(question, set()).add(answer)
        rows[question] = _row(question, text, [answer], [start])
    clear = [rows[question] for question in rows if len(answers[question]) == 1]
    chosen = rng.sample(clear, min(most, len(clear)))
    if impossible:
        unknown = _impossible(story, rng)
        chosen += [_row(unknown, text, [], [])] if unknown else []
    return chosen


def _row(question: str, text: str, answers: list[str], starts: list[int]) -> dict[str, object]:
    word = question.split()[0].lower()
    kind = (
        " ".join(question.split()[:2]).lower()
        if word == "how" or question.lower().startswith("what color")
        else word
    )
    return {
        "question": question,
        "context": text,
        "answers": {"text": answers, "answer_start": starts},
        "kind": kind if answers else "impossible",
    }


def _colours(story: Story) -> list[tuple[str, int, str]]:
    """What colour each thing is, where a sentence says it."""
    found = []
    for thing in story.found(Thing):
        assert isinstance(thing, Thing)
        hue = next((a.en for a in thing.adjectives if a.en in COLOUR_KEYS), None)
        phrase = thing.english(True)
        for sentence in story.sentences if hue else ():
            for key, start, end in sentence.spans:
                said = sentence.en[start:end]
                if sentence.bindings.get(key) is thing and said.endswith(phrase):
                    place = sentence.offset + start + said.rindex(str(hue), 0, len(said) - len(thing.noun.en))
                    verb = "were" if thing.plural else "was"
                    noun = thing.english(False)
                    found.append((f"What color {verb} the {noun}?", place, str(hue)))
                    break
            else:
                continue
            break
    return found


def _feeling(story: Story) -> list[tuple[str, int, str]]:
    """How the hero felt in the end, where one of the last sentences says it."""
    for sentence in reversed(story.sentences[-5:]):
        for key, start, end in sentence.spans:
            if key == "feel" and sentence.bindings.get("A") is story.b["A"]:
                text = Realiser(story.b, Mentions(), "past").english(parse("How did {A} feel in the end?"))
                return [(text, sentence.offset + start, sentence.en[start:end])]
    return []


@cache
def _askable(kinds: tuple[EventKind, ...]) -> list[tuple[str, Question]]:
    """Questions that name nobody but the hero, with their event's name."""
    pairs = []
    for kind in kinds:
        for question in kind.questions:
            slots = {node.name for node in question.nodes if isinstance(node, Slot)}
            if slots == {"A"} and "animal" not in question.text:
                pairs.append((kind.name, question))
    return pairs


def _impossible(story: Story, rng: random.Random) -> str | None:
    """A question about the hero and something that never happened in the story."""
    happened = {event.name for event in story.world.log}
    asked = {asked.question for asked in story.asked}
    pool = [pair for pair in _askable(tuple(story.kinds.values())) if pair[0] not in happened]
    _, question = rng.choice(pool)
    text = Realiser(story.b, Mentions(), story.tense).english(question.nodes)
    # Another event may have told as much in other words: no word of the question may stand in the story.
    names = {word.lower() for who in story.cast for word in re.findall(r"\w+", who.key)}
    told = set(re.findall(r"\w+", story.text.lower()))
    for word in set(re.findall(r"\w+", text.lower())) - names - EMPTY:
        if told & {word, *(english.verb(word, form) for form in ("past", "pres", "ing"))}:
            return None
    return None if text in asked else text
