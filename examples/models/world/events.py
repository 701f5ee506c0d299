"""Reads the tables of events: what each needs, what it changes, and how it is told and asked about.

    @lose A x P : A has x, A at P > x at P, A feels sad
    {A} <lose> {x:of A} {P:in}. | {A} <verlieren> {x:of A acc} {P:in}.
    ? Where did {A} lose {x}? = P

Lines with " | " are tellings, of which one is chosen; "3* " before one gives it weight. A question names the
slot or the mark that holds its answer; a telling without that slot is not asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from template import Node, parse


@dataclass(frozen=True)
class Telling:
    """The sentences of one telling, as pairs of nodes: English, German."""

    sentences: tuple[tuple[tuple[Node, ...], tuple[Node, ...]], ...]
    weight: float


@dataclass(frozen=True)
class Question:
    nodes: tuple[Node, ...]
    answer: str
    text: str


@dataclass(frozen=True, eq=False)
class EventKind:
    name: str
    needs: tuple[tuple[str, str, str, bool], ...]
    then: tuple[tuple[str, str, str, bool], ...]
    tellings: tuple[Telling, ...]
    questions: tuple[Question, ...]

    @property
    def weights(self) -> list[float]:
        return [telling.weight for telling in self.tellings]


def _facts(text: str) -> tuple[tuple[str, str, str, bool], ...]:
    facts = []
    for part in filter(None, map(str.strip, text.split(","))):
        words = part.split()
        holds = words[0] != "not"
        subject, relation, value = words if holds else words[1:]
        facts.append((subject, relation, value, holds))
    return tuple(facts)


def _telling(line: str, name: str) -> Telling:
    weight = 1.0
    head, star, rest = line.partition("* ")
    if star and head.replace(".", "").isdigit():
        weight, line = float(head), rest
    english, _, german = line.partition(" | ")
    halves = [part.split(" / ") for part in (english.strip(), german.strip())]
    if len(halves[0]) != len(halves[1]):
        raise ValueError(f"{name}: the halves of {line!r} have different numbers of sentences")
    pairs = zip(*halves, strict=True)
    return Telling(tuple((parse(en.strip()), parse(de.strip())) for en, de in pairs), weight)


def read_events(*tables: str) -> dict[str, EventKind]:
    """The events of the tables by name.

    Raises:
        ValueError: where a line cannot be read, or two events have one name.
    """
    kinds: dict[str, EventKind] = {}
    for block in "\n".join(tables).split("\n@")[1:]:
        lines = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith("#")]
        head, _, facts = lines[0].partition(":")
        needs, _, then = facts.partition(">")
        name = head.split()[0]
        if name in kinds:
            raise ValueError(f"two events are called {name}")
        questions = []
        for line in lines[1:]:
            if line.startswith("? "):
                text, _, answer = line[2:].rpartition(" = ")
                questions.append(Question(parse(text.strip()), answer.strip(), text.strip()))
        tellings = tuple(_telling(line, name) for line in lines[1:] if not line.startswith("? "))
        kinds[name] = EventKind(name, _facts(needs), _facts(then), tellings, tuple(questions))
    return kinds
