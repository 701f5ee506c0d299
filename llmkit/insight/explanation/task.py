"""Explanations of rows, as a `Task`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.insight.explanation.explain import Explainer
from llmkit.insight.explanation.prompts import AskedText
from llmkit.insight.explanation.result import Explanation, as_json
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.records.task import Fields, RunState

if TYPE_CHECKING:
    from llmkit.insight.explanation.options import ExplainOptions
    from llmkit.runtime.load import LoadedModel

FIELD = "explanation"
DEFAULT_FIELDS = ("text", "prompt", "context", "source", "document")


class ExplanationTask:
    """Explain rows. Each row is computed separately, so other rows do not change its scores.

    Args:
        loaded: the model.
        options: see `ExplainOptions`.
        field: column of the text; None takes `text`, `prompt`, `context`, `source`, `document` or the only
            one.
        template: text over several columns.
        target_field, foil_field: columns of the target and the foil; None takes those of the options.
        question_field: column of the question; None takes the question of the options, or else `question`.
        on_result: called with the place of a row and its explanation.

    Attributes:
        run_state: the seed of the random orders.

    Raises:
        InputError, OptionError: as `Explainer`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        options: ExplainOptions,
        *,
        field: str | None = None,
        template: str | None = None,
        target_field: str | None = None,
        foil_field: str | None = None,
        question_field: str | None = None,
        on_result: Callable[[str, Explanation], None] = lambda where, explanation: None,
    ) -> None:
        for option, column, value in (
            ("target_field", target_field, options.target),
            ("foil_field", foil_field, options.instead_of),
            ("question_field", question_field, options.question),
        ):
            if column is not None and value is not None:
                raise OptionError(
                    option, "names a column, and the text itself is given too; omit one of them"
                )
        if foil_field is not None and target_field is None and options.target is None:
            raise OptionError("foil_field", "needs a target to compare with; name `target` or `target_field`")
        self.explainer = Explainer(loaded, options)
        self.options = options
        self.run_state = RunState(options.seed)
        self.field = field
        self.template = template
        self.target_field = target_field
        self.foil_field = foil_field
        self.question_field = question_field
        self.on_result = on_result

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[AskedText] | RowError]:
        """Read the text of each row, its target, its foil and its question."""
        return [self._prepare(row) for row in rows]

    def fields(self, batch: Sequence[PreparedRow[AskedText]], budget: Budget) -> list[Fields | RowError]:
        """Explain rows: the `explanation` of each.

        Raises:
            OutOfMemory: a single pass over one row does not fit.
        """
        found: list[Fields | RowError] = []
        for one in batch:
            try:
                explanation = self.explainer.explain(one.payload, key=one.row.index)
            except RowError as error:
                found.append(error)
                continue
            self.on_result(one.row.where, explanation)
            found.append({FIELD: as_json(explanation)})
        return found

    def budget(self, batch_size: int | None) -> Budget:
        """Return the rows that are committed together; only the passes of one row share a batch."""
        return Budget(tokens=None, rows=batch_size or 1, new_tokens=0)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows and the seed, as JSON, for the journal."""
        options = asdict(replace(self.options, seed=0))
        columns = {
            name: getattr(self, name)
            for name in ("field", "template", "target_field", "foil_field", "question_field")
        }
        return {**self.explainer.loaded.identity(), "options": options, **columns}

    def _prepare(self, row: Row) -> PreparedRow[AskedText] | RowError:
        options = self.options
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
            asked = AskedText(
                text,
                row.where,
                self._column(row, self.target_field, options.target),
                self._column(row, self.foil_field, options.instead_of),
                self._question(row),
            )
        except RowError as error:
            return error
        return PreparedRow(row, len(text), asked)

    def _question(self, row: Row) -> str | None:
        options = self.options
        if options.task != "qa" or options.question is not None:
            return options.question
        return self._column(row, self.question_field or "question", None)

    def _column(self, row: Row, column: str | None, value: str | None) -> str | None:
        if column is None:
            return value
        text = text_of(row, field=column, template=None, defaults=())
        if not text:
            raise RowError(row.where, f"column {column!r} is empty")
        return text


__all__ = ["DEFAULT_FIELDS", "FIELD", "ExplanationTask", "InputError"]
