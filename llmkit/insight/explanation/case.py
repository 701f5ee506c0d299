"""`PredictionCase`: one prediction to explain, as token ids."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.insight.explanation.units import UnitSpan


@dataclass(frozen=True)
class Branch:
    """A text that the model may write after the source: the target or the foil.

    Attributes:
        ids: its token ids; for extractive answers the positions of its first and last token in the source.
        text: the text.
        tokens: its tokens as text.
        groups: its parts, whose positions are indices of `ids`.
    """

    ids: tuple[int, ...]
    text: str
    tokens: tuple[str, ...]
    groups: tuple[UnitSpan, ...]


@dataclass(frozen=True)
class PredictionCase:
    """One prediction to explain.

    Attributes:
        text: the user's text.
        source: token ids that the model reads: the prompt, or the encoder's input.
        units: the pieces of the text; tokens outside of them, such as special tokens, always stay.
        start: tokens that the decoder starts from; empty for decoder-only models.
        target: the text whose prediction is explained.
        foil: the text it is compared with, or None.
        unit: kind of the units.
        question: the question about the text, or None.
        types: token types of the source, for extractive models; None for others.
        candidates: positions where an extractive answer may begin or end; empty for others.
        notes: sentences that the reader needs to know.
    """

    text: str
    source: tuple[int, ...]
    units: tuple[UnitSpan, ...]
    start: tuple[int, ...]
    target: Branch
    foil: Branch | None
    unit: str
    question: str | None = None
    types: tuple[int, ...] | None = None
    candidates: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def branches(self) -> list[Branch]:
        """Return the target, and the foil if there is one."""
        return [self.target, *([self.foil] if self.foil is not None else [])]

    @property
    def positions(self) -> tuple[int, ...]:
        """Return the positions of the source that belong to a unit."""
        return tuple(sorted(position for unit in self.units for position in unit.positions))
