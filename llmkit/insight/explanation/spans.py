"""Make cases for extractive question answering: the answer is a span of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmkit.errors import InputError, OptionError, RowError, one_line
from llmkit.insight.explanation.case import Branch, PredictionCase
from llmkit.insight.explanation.units import TokenSpan, UnitSpan, find_units
from llmkit.tasks.qa.reader import SpanReader
from llmkit.tasks.qa.spans import AnswerOptions

if TYPE_CHECKING:
    from llmkit.insight.explanation.options import ExplainOptions
    from llmkit.insight.explanation.prompts import AskedText
    from llmkit.runtime.load import LoadedModel
    from llmkit.tasks.qa.reader import EncodedContext, EncodedQuestion, Reading

_METHODS = {None, "occlusion", "ig"}


class SpanCases:
    """Makes cases for models that select an answer from a text.

    Args:
        loaded: a model for ``question-answering``.
        options: see `ExplainOptions`.

    Raises:
        OptionError: a method for models that write text.
    """

    def __init__(self, loaded: LoadedModel, options: ExplainOptions) -> None:
        if options.method not in _METHODS:
            raise OptionError(
                "method", f"must be occlusion or ig for an extractive model such as {loaded.spec.name}"
            )
        self.reader = SpanReader(loaded.model, loaded.tokenizer, AnswerOptions(), loaded.device)
        self.unit = options.unit or "word"

    def make(self, asked: AskedText) -> PredictionCase:
        """Return the case of a text and its question.

        Raises:
            RowError: there is no text or no question, or the target is not in the text.
        """
        if not asked.text.strip():
            raise RowError(asked.where, "the text is empty, so there is nothing to explain")
        if not asked.question or not asked.question.strip():
            raise RowError(asked.where, "there is no question; give one with `question`")
        try:
            question = self.reader.encode_question(asked.question)
            context = self.reader.encode_context(asked.text)
            reading = self.reader.reading(question, [context])
        except InputError as error:
            raise RowError(asked.where, str(error)) from error
        if asked.target is None:
            best = self.reader.answer([reading])[0].best[0]
            target = _tokens_of(context, best.start, best.end)
        else:
            target = self._find(context, asked.target, asked.where)
        foil = None if asked.foil is None else self._find(context, asked.foil, asked.where)
        begin, stop = _window_of(reading, [target, *([foil] if foil else [])], asked.where)
        notes: tuple[str, ...] = ()
        if stop - begin < len(context.ids):
            a, b = int(context.offsets[begin, 0]), int(context.offsets[stop - 1, 1])
            notes = (
                f"the model reads {self.reader.window} tokens at once: only characters {a} to {b} count",
            )
        case = self._case(asked, reading, begin, stop)
        shift = question.head - begin
        return replace(
            case,
            target=self._branch(context, *target, shift),
            foil=None if foil is None else self._branch(context, *foil, shift),
            notes=notes,
        )

    def _case(self, asked: AskedText, reading: Reading, begin: int, stop: int) -> PredictionCase:
        """Return the case of one window, with its first token for a target."""
        question, context = reading.question, reading.contexts[0]
        head, length = question.head, stop - begin
        ids = (int(one) for one in context.ids[begin:stop])
        types = (int(one) for one in reading.types[0][begin:stop])
        none = question.no_answer
        return PredictionCase(
            text=asked.text,
            source=(*question.ids[:head], *ids, *question.ids[head:]),
            units=(
                *self._context_units(context, begin, stop, head),
                *self._question_units(question, head, length),
            ),
            start=(),
            target=self._branch(context, begin, begin, head - begin),
            foil=None,
            unit=self.unit,
            question=asked.question,
            types=(*question.types[:head], *types, *question.types[head:]),
            candidates=(
                *([] if none is None else [_after(none, head, length)]),
                *range(head, head + length),
            ),
        )

    def _find(self, context: EncodedContext, text: str, where: str) -> tuple[int, int]:
        """Return the tokens of the first place of a text in the context."""
        at = context.text.find(text)
        if at < 0:
            raise RowError(
                where, f"{one_line(text, 60)!r} is not in the text, and the model selects its answer from it"
            )
        first, last = _tokens_of(context, at, at + len(text))
        a, b = int(context.offsets[first, 0]), int(context.offsets[last, 1])
        if context.text[a:b].strip() != text.strip():
            raise RowError(
                where,
                f"{one_line(text, 60)!r} does not begin and end with a token: the tokens there read"
                f" {one_line(context.text[a:b].strip(), 60)!r}",
            )
        return first, last

    def _branch(self, context: EncodedContext, first: int, last: int, shift: int) -> Branch:
        text = context.text[int(context.offsets[first, 0]) : int(context.offsets[last, 1])].strip()
        groups = tuple(UnitSpan(name, 0, 0, (i,)) for i, name in enumerate(("start", "end")))
        return Branch((first + shift, last + shift), text, ("start", "end"), groups)

    def _context_units(self, context: EncodedContext, begin: int, stop: int, head: int) -> list[UnitSpan]:
        spans = [
            TokenSpan(i - begin + head, int(context.offsets[i, 0]), int(context.offsets[i, 1]))
            for i in range(begin, stop)
        ]
        return find_units(context.text, spans, self.unit, "context")

    def _question_units(self, question: EncodedQuestion, head: int, length: int) -> list[UnitSpan]:
        """Return the units of the question: its tokens are found by tokenizing it once more."""
        (encoding,) = self.reader.tokenizer(
            [question.text], add_special_tokens=False, verbose=False
        ).encodings
        ids = list(encoding.ids)
        for at in range(len(question.ids) - len(ids) + 1):
            if question.ids[at : at + len(ids)] == ids:
                break
        else:
            return []
        spans = [
            TokenSpan(_after(at + i, head, length), start, end)
            for i, (start, end) in enumerate(encoding.offsets)
        ]
        return find_units(question.text, spans, self.unit, "question")


def _window_of(reading: Reading, spans: Sequence[tuple[int, int]], where: str) -> tuple[int, int]:
    """Return the window that holds all spans, the one where they are nearest to the middle."""
    least, most = min(first for first, _ in spans), max(last for _, last in spans)
    holding = [(a, b) for _, a, b in reading.windows if a <= least and most < b]
    if not holding:
        raise RowError(where, "the target and the foil are too far from each other to be read together")
    return min(holding, key=lambda window: abs(window[0] + window[1] - least - most))


def _after(index: int, head: int, length: int) -> int:
    """Return the position in the source of an id of the question."""
    return index if index < head else index + length


def _tokens_of(context: EncodedContext, start: int, end: int) -> tuple[int, int]:
    """Return the first and the last token of characters."""
    inside = [i for i, (a, b) in enumerate(context.offsets) if b > start and a < end]
    return inside[0], inside[-1]
