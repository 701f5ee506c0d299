"""Rows of questions through an extractive model, which cuts its answers out of the context."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row
from llmkit.records.task import Fields, RunState, Workers
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.tasks.qa.reader import EncodedContext, Reading, SpanReader
from llmkit.tasks.qa.spans import AnswerOptions, Answers
from llmkit.text.passages import Passage

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel


_SQUAD = re.compile(r"\bsquad\b(?!_(?:exact|f1))")
_SQUAD_2 = re.compile(r"squad[\s_-]*v?(?:ersion)?\s*2")


@dataclass(frozen=True)
class _Asked:
    reading: Reading
    passages: list[Passage]


class ExtractiveQA:
    """Extractive question answering as a `Task`.

    Args:
        loaded: from `runtime.load`, for the task ``question-answering``.
        options: see `AnswerOptions`.
        source: where questions and contexts are.
        progress: takes (windows done, windows in all) while a batch runs.
        workers: hold a `SpanReader` of the same model, which answers in place of this one; `loaded` then only
            tokenizes.

    Raises:
        InputError: options that this model cannot follow.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        options: AnswerOptions,
        source: QuestionSource,
        progress: Callable[[int, int], None] | None = None,
        workers: Workers | None = None,
    ) -> None:
        if options.no_answer and loaded.tokenizer.cls_token_id is None:
            raise OptionError(
                "no_answer",
                f"needs a token for it, and the tokenizer of {loaded.spec.name} has none; omit it",
            )
        if options.no_answer and always_answers(loaded.folder):
            raise OptionError(
                "no_answer",
                "needs a model trained on questions without an answer, and the card of"
                f" {loaded.spec.name} names only SQuAD 1, where each question has an answer; use a model"
                " trained on SQuAD 2, such as deepset/tinyroberta-squad2, or a chat model",
            )
        self.loaded = loaded
        self.options = options
        self.source = source
        self.progress = progress
        self.run_state = RunState(workers=workers)  # nothing here is random
        self.reader = SpanReader(loaded.model, loaded.tokenizer, options, loaded.device)
        self._encoded: dict[str, EncodedContext] = {}

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[_Asked] | RowError]:
        """Tokenize questions, and each of their contexts once."""
        before, self._encoded = self._encoded, {}
        made: list[PreparedRow[_Asked] | RowError] = []
        for row in rows:
            try:
                question = self.source.question(row)
                passages = self.source.contexts(row, question)
                contexts = [self._encode(passage.text, before) for passage in passages]
                reading = self.reader.reading(self.reader.encode_question(question), contexts)
            except RowError as error:
                made.append(error)
            except InputError as error:
                made.append(RowError(row.where, str(error)))
            else:
                made.append(PreparedRow(row=row, length=reading.tokens, payload=_Asked(reading, passages)))
        return made

    def fields(self, batch: Sequence[PreparedRow[_Asked]], budget: Budget) -> list[Fields | RowError]:
        """Answer a batch of questions and return the fields that each row gains.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        asked = [one.payload for one in batch]
        readings, workers = [one.reading for one in asked], self.run_state.workers
        if workers is None:
            found = self.reader.answer(readings, self.progress)
        else:
            keys = frozenset(one.row.index for one in batch)
            found = workers.call("answer", (readings,), keys)
        return [self._fields(one.passages, answers) for one, answers in zip(asked, found, strict=True)]

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one batch; a context longer than that is read in several passes."""
        tokens = self.reader.tokens_at_once if batch_size is None else None
        return Budget(tokens=tokens, rows=batch_size, new_tokens=0)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows, as JSON, for the journal."""
        workers = self.run_state.workers
        identity = self.loaded.identity() if workers is None else workers.identity()
        return {**identity, "options": asdict(self.options), **self.source.header()}

    def _encode(self, text: str, before: dict[str, EncodedContext]) -> EncodedContext:
        """Return a context's tokens, from this call or the one before if it was met there."""
        if text not in self._encoded:
            self._encoded[text] = before.get(text) or self.reader.encode_context(text)
        return self._encoded[text]

    def _fields(self, passages: list[Passage], answers: Answers) -> Fields:
        each: list[Fields] = []
        for answer in answers.best:
            passage = passages[answer.context]
            base = passage.start if answer.answer else 0
            start = base + answer.start
            each.append(
                {
                    "answer": answer.answer,
                    "score": answer.score,
                    "start": start,
                    "end": base + answer.end,
                    **self.source.place(passage.document, start if answer.answer else None),
                }
            )
        fields: Fields = each[0]
        if self.options.top_k > 1:
            fields = {name: [one[name] for one in each] for name in each[0]}
        if self.options.no_answer:
            fields["no_answer_probability"] = answers.no_answer_probability
        return fields


def always_answers(folder: Path) -> bool:
    """Return True if a model's card says that it learned from questions that all have an answer.

    Args:
        folder: the model's folder; without a card nothing is known, and the result is False.
    """
    card = folder / "README.md"
    try:
        parts = card.read_text(encoding="utf-8").split("---\n", 2)
    except (OSError, UnicodeDecodeError):
        return False
    header = parts[1].lower() if len(parts) == 3 and not parts[0].strip() else ""
    return _SQUAD.search(header) is not None and _SQUAD_2.search(header) is None
