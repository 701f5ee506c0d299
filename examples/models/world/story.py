"""A story in the making: events happen in its world and are told, in both languages."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import english
from entities import Character, Entity, OutputPaths, Thing
from events import EventKind, Telling
from leads import LEADS
from realise import Realiser
from state import Event, Fact, World
from template import Mentions, Node, Slot, Span, Verb, decide, mentioned, parse

PRONOUNS = frozenset(word for words in english.PRONOUNS.values() for word in words)
JOINT = (" and ", " und ")


@dataclass
class Sentence:
    en: str
    de: str
    spans: list[Span]
    bindings: dict[str, Entity]
    nodes: tuple[tuple[Node, ...], tuple[Node, ...]]
    begins_paragraph: bool
    joined: bool = False
    # Whether it says "it" of a thing that it does not name: then nobody can translate it alone.
    leans: bool = False
    offset: int = 0


@dataclass
class Asked:
    """A question that an event's telling raised: the event's name, its text, and the answer's place."""

    kind: str
    question: str
    sentence: int
    start: int
    end: int


@dataclass
class Story:
    """`b` binds the letters of templates: A the hero, B a friend, M a grown-up, x, y things, P, Q places."""

    kinds: dict[str, EventKind]
    rng: random.Random
    tense: str = "past"
    happy: bool = True
    b: dict[str, Entity] = field(default_factory=dict)
    world: World = field(default_factory=World)
    sentences: list[Sentence] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    phrases: list[tuple[str, ...]] = field(default_factory=list)
    gist: str = ""
    plot: str = ""
    turning: int = 0
    _new_paragraph: bool = True
    _before: list[Character] = field(default_factory=list)
    _known: set[Character] = field(default_factory=set)

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    @property
    def words(self) -> int:
        return sum(len(sentence.en.split()) for sentence in self.sentences)

    def para(self, p: float = 0.55) -> None:
        """Perhaps begin a new paragraph, if the one before has at least two sentences."""
        since = [s.begins_paragraph for s in self.sentences[-2:]]
        if self.chance(p) and not any(since[1:]) and len(since) == 2:
            self._new_paragraph = True

    def turn(self) -> None:
        """The story's problem stands here: what is told next is how it goes on."""
        self.turning = len(self.sentences)
        self.para(0.8)

    def tell(self, name: str, lead: str = "", **more: Entity) -> None:
        """Let an event happen and tell it; `lead` names the kind of adverb that may go before it."""
        kind = self.kinds[name]
        bindings = {**self.b, **more}
        facts = [tuple(self._fact(fact, bindings) for fact in part) for part in (kind.needs, kind.then)]
        self.world.happen(Event(name, facts[0], facts[1]))
        (telling,) = self.rng.choices(kind.tellings, kind.weights)
        first = len(self.sentences)
        for number, nodes in enumerate(telling.sentences):
            self._say(nodes, bindings, lead if number == 0 else "")
        self._ask(kind, telling, bindings, min(first, len(self.sentences) - 1))

    def _fact(self, fact: tuple[str, str, str, bool], bindings: dict[str, Entity]) -> Fact:
        subject, relation, value, holds = fact
        entity = bindings.get(value)
        return Fact(bindings[subject].key, relation, entity.key if hasattr(entity, "key") else value, holds)  # type: ignore[union-attr]

    # ---- saying

    def _say(
        self, nodes: tuple[tuple[Node, ...], tuple[Node, ...]], bindings: dict[str, Entity], lead: str
    ) -> None:
        paragraph = self._new_paragraph
        join = not paragraph and not lead and self._joins(nodes, bindings)
        mentions = decide(nodes[0], bindings, self._before, self.rng, first=paragraph)
        makers = [Realiser(bindings, mentions, self.tense) for _ in range(2)]
        self._introduce(nodes[0], bindings, mentions)
        leads = self._lead(nodes, lead)
        if join:
            before = self.sentences[-1]
            subject = bindings[nodes[0][0].name]  # type: ignore[union-attr]
            for maker in makers:
                maker.before = frozenset({subject})  # type: ignore[arg-type]
            mentions.pronoun[subject] = True  # type: ignore[index]
            said = english.reworded(makers[0].english(nodes[0][2:]), makers[0].spans, self.rng)
            rest = [said, makers[1].german(nodes[1][2:])]
            rest = [text[0].lower() + text[1:] for text in rest]
            shift = len(before.en) - 1 + len(JOINT[0])
            before.en, before.de = (
                old[:-1] + word + new
                for old, word, new in zip((before.en, before.de), JOINT, rest, strict=True)
            )
            before.spans += [(key, start + shift, end + shift) for key, start, end in makers[0].spans]
            before.joined = True
            before.bindings = {**before.bindings, **bindings}
        else:
            parts = nodes
            if leads:
                parts = (
                    parse(leads[0]) + _lowered(nodes[0]),
                    parse(leads[1]) + _inverted(nodes[1], leads[1]),
                )
            en = english.reworded(makers[0].english(parts[0]), makers[0].spans, self.rng)
            de = makers[1].german(parts[1])
            self.sentences.append(Sentence(en, de, makers[0].spans, bindings, nodes, paragraph))
            self._new_paragraph = False
        self.sentences[-1].leans |= _leans(nodes[0], bindings)
        self.phrases += makers[1].phrases
        self._before = mentioned(nodes[0], bindings) or self._before

    def _introduce(self, nodes: tuple[Node, ...], bindings: dict[str, Entity], mentions: Mentions) -> None:
        """Who is named for the first time is named as the hero's friend."""
        hero = self.b["A"]
        for node in nodes:
            entity = bindings.get(node.name) if isinstance(node, Slot) else None
            for who in (entity.members or (entity,)) if isinstance(entity, Character) else ():
                if who is hero or not who.name or who in self._known:
                    continue
                if node.form in ("", "o", "tag"):  # type: ignore[union-attr]
                    mentions.introduced_by[who] = hero  # type: ignore[assignment]
                    mentions.pronoun[who] = False
                if node.form != "he":  # type: ignore[union-attr]
                    self._known.add(who)

    def _joins(self, nodes: tuple[tuple[Node, ...], tuple[Node, ...]], bindings: dict[str, Entity]) -> bool:
        """Whether the sentence may go on the one before: "Lily ran home" and "She told her mom"."""
        if not self.sentences or self.sentences[-1].joined:
            return False
        before = self.sentences[-1]
        if any(mark in before.en + before.de for mark in ',"!?:') or not before.en.endswith("."):
            return False
        if (
            len(before.en) > 75
            or " and " in before.en
            or any(isinstance(n, str) and " and " in n for n in nodes[0])
            or not all(map(_plain, (*nodes, *before.nodes)))
        ):
            return False
        subjects = {bindings[nodes[0][0].name], before.bindings[before.nodes[0][0].name]}  # type: ignore[union-attr]
        both = {bindings[nodes[1][0].name], before.bindings[before.nodes[1][0].name]}  # type: ignore[union-attr]
        return len(subjects) == 1 and subjects == both and self.chance(0.35)

    def _lead(self, nodes: tuple[tuple[Node, ...], tuple[Node, ...]], lead: str) -> tuple[str, str] | None:
        if not lead or not isinstance(nodes[0][0], Slot | str) or not _lowers(nodes[0]):
            return None
        english_lead, german_lead = self.rng.choice(LEADS[lead])
        if not english_lead:
            return None
        if german_lead.startswith(("Aber", "Und")) or _verb_at(nodes[1]):
            return english_lead + " ", german_lead + " "
        return None

    # ---- asking

    def _ask(self, kind: EventKind, telling: Telling, bindings: dict[str, Entity], first: int) -> None:
        for question in kind.questions:
            place = self._place(question.answer, bindings, first)
            if place is None:
                continue
            text = Realiser(bindings, Mentions(), self.tense).english(question.nodes)
            self.asked.append(Asked(kind.name, text, *place))

    def _place(self, answer: str, bindings: dict[str, Entity], first: int) -> tuple[int, int, int] | None:
        """Where the answer's words stand: in the event's own sentences, or for someone's name before them."""
        for number in range(len(self.sentences) - 1, first - 1, -1):
            sentence = self.sentences[number]
            for key, start, end in reversed(sentence.spans):
                if (
                    key == answer
                    and sentence.en[start:end]
                    and self._says(sentence, key, start, end, bindings)
                ):
                    return number, *_trimmed(sentence.en, start, end)
        entity = bindings.get(answer)
        if not isinstance(entity, Character):
            return None
        for number in range(first, -1, -1):
            sentence = self.sentences[number]
            for key, start, end in sentence.spans:
                same = sentence.bindings.get(key) is entity
                if same and self._says(sentence, key, start, end, sentence.bindings):
                    return number, *_trimmed(sentence.en, start, end)
        return None

    def _says(self, sentence: Sentence, key: str, start: int, end: int, bindings: dict[str, Entity]) -> bool:
        text = sentence.en[start:end]
        if sentence.bindings.get(key) is not bindings.get(key):
            return False
        entity = bindings.get(key)
        if isinstance(entity, Character) and entity.name and entity.name not in text:
            return False
        return text.lower() not in PRONOUNS

    # ---- the whole

    @property
    def text(self) -> str:
        """The English story; sets each sentence's offset in it."""
        out = ""
        for sentence in self.sentences:
            if out:
                out += "\n" if sentence.begins_paragraph else " "
            sentence.offset = len(out)
            out += sentence.en
        return out

    def sum_up(self, *templates: str) -> None:
        """The story in one sentence, always of the past."""
        nodes = parse(self.rng.choice(templates))
        mentions = Mentions(again=dict.fromkeys(mentioned(nodes, self.b), False))
        for entity in self.b.values():
            if isinstance(entity, Thing):
                mentions.adjectives[entity] = True
        self.gist = Realiser(self.b, mentions).english(nodes)

    @property
    def cast(self) -> list[Character]:
        found: list[Character] = []
        for sentence in self.sentences:
            for key, *_ in sentence.spans:
                entity = sentence.bindings.get(key)
                people = entity.members or (entity,) if isinstance(entity, Character) else ()
                found += [who for who in people if who not in found]
        return found

    def found(self, kind: type[Thing] | type[OutputPaths]) -> list[Entity]:
        """The things or the places that the story names, in order."""
        named: list[Entity] = []
        for sentence in self.sentences:
            for key, *_ in sentence.spans:
                entity = sentence.bindings.get(key)
                if isinstance(entity, kind) and entity not in named:
                    named.append(entity)
        return named


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without a preposition before or a possessive ending after: "in the park" answers as "the park"."""
    match = re.match(r"(in|at|on|to|by|inside) (?=the )", text[start:end])
    if text[start:end].endswith("'s"):
        end -= 2
    return (start + match.end() if match else start), end


def _plain(nodes: tuple[Node, ...]) -> bool:
    """Subject, verb, and the rest; nothing that a second verb cannot share the subject of."""
    if len(nodes) < 3 or not (
        isinstance(nodes[0], Slot) and nodes[0].form in ("", "he") and isinstance(nodes[2], Verb)
    ):
        return False
    return nodes[1] == " " and not any(isinstance(n, str) and re.search(r'[",!?:]', n) for n in nodes)


def _verb_at(nodes: tuple[Node, ...]) -> int:
    """Where the verb stands after a subject that comes first ("A", "A und B"); 0 where there is none."""
    for at, before in ((2, (" ",)), (4, (" und ", " "))):
        if len(nodes) > at and isinstance(nodes[0], Slot) and nodes[1:at:2] == before:
            verb = nodes[at]
            if isinstance(verb, Verb) or (isinstance(verb, Slot) and verb.form in ("fin", "fin*")):
                return at
    return 0


def _inverted(nodes: tuple[Node, ...], lead: str) -> tuple[Node, ...]:
    """After an adverb the verb comes before its subject; after "aber" and "und" it does not."""
    if lead.startswith(("Aber", "Und")):
        return _lowered(nodes)
    at = _verb_at(nodes)
    return (nodes[at], " ", *nodes[: at - 1], *nodes[at + 1 :])


def _lowers(nodes: tuple[Node, ...]) -> bool:
    return isinstance(nodes[0], Slot) or (
        isinstance(nodes[0], str) and nodes[0].startswith(("The ", "It ", "There ", "Everyone ", "All "))
    )


def _lowered(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    first = nodes[0]
    return (first[0].lower() + first[1:], *nodes[1:]) if isinstance(first, str) else nodes


def _leans(nodes: tuple[Node, ...], bindings: dict[str, Entity]) -> bool:
    named = {bindings[n.name] for n in nodes if isinstance(n, Slot) and n.form not in ("it", "its", "they")}
    return any(
        isinstance(n, Slot) and n.form in ("it", "its", "they") and bindings[n.name] not in named
        for n in nodes
    )
