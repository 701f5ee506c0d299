"""What is true in a story at each moment, and the rules that every event keeps.

A fact is a part of an event's header: "A has x", "x at P", "A at P", "x is broken", "A feels sad".
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fact:
    """`subject` and `value` are keys of entities, or for is and feels the value is a plain word."""

    subject: str
    relation: str
    value: str
    holds: bool = True


@dataclass(frozen=True)
class Event:
    name: str
    needs: tuple[Fact, ...]
    then: tuple[Fact, ...]


class UntrueError(Exception):
    """An event was told whose conditions do not hold."""


@dataclass
class World:
    """Where everyone is, who has what, how things are, how everyone feels; and what happened."""

    owner: dict[str, str] = field(default_factory=dict)
    place: dict[str, str] = field(default_factory=dict)
    condition: dict[str, str] = field(default_factory=dict)
    feeling: dict[str, str] = field(default_factory=dict)
    wishes: set[tuple[str, str]] = field(default_factory=set)
    log: list[Event] = field(default_factory=list)

    def where(self, key: str) -> str | None:
        """The place of someone or of a thing, which is where its owner is."""
        return self.place.get(self.owner.get(key, key))

    def true(self, fact: Fact) -> bool:
        return self._true(fact) is fact.holds

    def _true(self, fact: Fact) -> bool:
        match fact.relation:
            case "has":
                return self.owner.get(fact.value) == fact.subject
            case "at":
                # Nobody is anywhere until a story says so.
                return self.where(fact.subject) in (None, fact.value)
            case "is":
                return self.condition.get(fact.subject) == fact.value
            case "feels":
                return self.feeling.get(fact.subject) == fact.value
            case "wants":
                return (fact.subject, fact.value) in self.wishes
        raise ValueError(fact.relation)

    def happen(self, event: Event) -> None:
        """Check what the event needs, log it, and let it change the world."""
        for fact in event.needs:
            if not self.true(fact):
                raise UntrueError(f"{event.name}: {fact} does not hold")
        self.log.append(event)
        for fact in event.then:
            self._become(fact)

    def _become(self, fact: Fact) -> None:
        match fact.relation:
            case "has" if fact.holds:
                self.owner[fact.value] = fact.subject
                self.place.pop(fact.value, None)
            case "has":
                if self.owner.get(fact.value) == fact.subject:
                    here = self.place.get(fact.subject)
                    del self.owner[fact.value]
                    if here:
                        self.place[fact.value] = here
            case "at":
                self.owner.pop(fact.subject, None)
                self.place[fact.subject] = fact.value
            case "is":
                self.condition[fact.subject] = fact.value
            case "feels":
                self.feeling[fact.subject] = fact.value
            case "wants" if fact.holds:
                self.wishes.add((fact.subject, fact.value))
            case "wants":
                self.wishes.discard((fact.subject, fact.value))
