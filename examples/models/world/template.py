"""Sentence templates in two languages, and their realisation over the same facts.

    {A} <find> {x:a} {P:in}.  |  {A} <finden> {P:in} {x:a acc}.

`{A}` is a slot: the name of an entity and, after a colon, its form. `<find>` is a verb in the story's tense
(`<find*>` in the plural). `[why: ...]` marks words that may answer a question. " / " parts sentences. In
German the form ends with the case, and `{A:his fa} Hand` agrees with a feminine accusative.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from functools import cache

from entities import Character, Entity, Thing

TOKEN = re.compile(r"\{(\w+)(?::([^}]*))?\}|<([^>]+)>|\[(\w+):\s*|(\])")
TAGS = frozenset(("say", "ask", "cry", "shout"))


@dataclass(frozen=True)
class Slot:
    name: str
    form: str


@dataclass(frozen=True)
class Verb:
    lemma: str
    plural: bool
    subject: str


@dataclass(frozen=True)
class Mark:
    """The begin (with its key) or the end (without) of words that answer a question."""

    key: str


Node = str | Slot | Verb | Mark
Span = tuple[str, int, int]


@cache
def parse(template: str) -> tuple[Node, ...]:
    nodes: list[Node] = []
    end = 0
    for match in TOKEN.finditer(template):
        if match.start() > end:
            nodes.append(template[end : match.start()])
        name, form, verb, key, close = match.groups()
        if name:
            nodes.append(Slot(name, form or ""))
        elif verb:
            lemma, _, subject = verb.partition(":")
            nodes.append(Verb(lemma.rstrip("*"), lemma.endswith("*"), subject))
        else:
            nodes.append(Mark("" if close else key))
        end = match.end()
    if end < len(template):
        nodes.append(template[end:])
    for i in range(2, len(nodes)):
        tag, slot = nodes[i - 2], nodes[i]
        if (
            isinstance(tag, Verb)
            and tag.lemma in TAGS
            and nodes[i - 1] == " "
            and slot == Slot(getattr(slot, "name", ""), "")
        ):
            nodes[i] = Slot(slot.name, "tag")  # "said Lily", never "said she"
    return tuple(nodes)


@dataclass
class Mentions:
    """How each entity is mentioned in one sentence, decided once for both languages."""

    pronoun: dict[Character, bool] = field(default_factory=dict)
    again: dict[Character, bool] = field(default_factory=dict)
    adjectives: dict[Thing, bool] = field(default_factory=dict)
    own_pronoun: dict[Character, bool] = field(default_factory=dict)
    # A friend named for the first time, and whose friend it is: "her friend Mia".
    introduced_by: dict[Character, Character] = field(default_factory=dict)


def decide(
    nodes: tuple[Node, ...],
    bindings: dict[str, Entity],
    before: list[Character],
    rng: random.Random,
    *,
    first: bool,
) -> Mentions:
    """Choose pronoun or name for each character and short or full phrase for each thing of a sentence.

    Args:
        before: the characters of the sentence before, its subject first.
        first: whether the sentence begins a paragraph, where names come first.
    """
    mentions = Mentions()
    slots = [(node, bindings[node.name]) for node in nodes if isinstance(node, Slot)]
    tagged = {
        bindings[b.name]
        for a, b in zip(nodes, nodes[2:], strict=False)
        if isinstance(a, Verb) and b == Slot(getattr(b, "name", ""), "tag")
    }
    people: list[Character] = []
    for _, entity in slots:
        if isinstance(entity, Character) and entity not in people:
            people.append(entity)
    for who in people:
        around = [other for other in {*before, *people} if other is not who and other.en_sex == who.en_sex]
        rivals = [other for other in people if other in around]
        clear = not rivals and not (who.many and any(m in people for m in who.members))
        near = who in before or (who.many and all(m in before for m in who.members))
        subject = bool(before) and before[0] is who
        usual = 0.35 if first else 0.75 if who.name else 0.85
        chance = usual if near and (subject or who.many) else 0.4 if near and not first else 0.0
        if around:
            chance = 0.45 if subject and not first else 0.0
        if who in tagged:
            chance = 0.0
        mentions.pronoun[who] = clear and rng.random() < chance
        mentions.again[who] = clear
        if who.owner:
            strangers = [o for o in {*before, *people} if o is not who.owner and o.owner is not who.owner]
            known = who in before or who.owner in before or who.owner in people
            mentions.own_pronoun[who.owner] = known and all(o.en_sex != who.owner.en_sex for o in strangers)
    for _, entity in slots:
        if isinstance(entity, Thing) and entity not in mentions.adjectives:
            mentions.adjectives[entity] = not entity.told or rng.random() < 0.25
            entity.told = True
    return mentions


def mentioned(nodes: tuple[Node, ...], bindings: dict[str, Entity]) -> list[Character]:
    """The characters of a sentence, its subject first."""
    found: list[Character] = []
    for node in nodes:
        entity = bindings.get(node.name) if isinstance(node, Slot) else None
        if isinstance(entity, Character) and entity not in found:
            found.append(entity)
    return found
