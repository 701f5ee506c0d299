"""Question answering as a library function, with an extractive or a chat model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmkit.engines.base import FinishReason
from llmkit.errors import OptionError, RowError
from llmkit.records.batches import PreparedRow
from llmkit.records.rows import Row
from llmkit.records.task import Fields
from llmkit.tasks.decoding import GenerationOptions, refuse_row_options
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.tasks.qa.spans import AnswerOptions

if TYPE_CHECKING:
    from llmkit.engines.open import AnyModel
    from llmkit.runtime.load import LoadedModel

T = TypeVar("T")


@dataclass(frozen=True)
class FoundAnswer:
    """One answer to a question.

    Attributes:
        text: the answer; empty if there is none.
        score: probability, by an extractive model; None by a chat model.
        start, end: place of the answer, or of a chat model's quotation, in characters of the context; None
            if the quotation is not in it.
        quotation: sentence of the context that a chat model quotes; None if it is not in the context.
    """

    text: str
    score: float | None
    start: int | None
    end: int | None
    quotation: str | None = None


@dataclass(frozen=True)
class AnswerResult:
    """The answers to one question.

    Attributes:
        answers: `top_k` answers of an extractive model, best first; one of a chat model.
        reasoning: a reasoning model's thoughts, else empty.
        no_answer_probability: by an extractive model with `no_answer`, else None.
        prompt_tokens: tokens that the model read.
        tokens: tokens that it wrote; 0 by an extractive model.
        finish_reason: ``length`` if a limit ended the answer, else ``stop``.
        seed: seed of sampling.
    """

    answers: list[FoundAnswer]
    reasoning: str
    no_answer_probability: float | None
    prompt_tokens: int
    tokens: int
    finish_reason: FinishReason
    seed: int

    @property
    def text(self) -> str:
        """Return the text of the best answer."""
        return self.answers[0].text

    @property
    def texts(self) -> list[str]:
        """Return the text of each answer."""
        return [answer.text for answer in self.answers]


def answer(
    model: AnyModel,
    questions: str | Sequence[str],
    contexts: str | Sequence[str],
    *,
    extraction: AnswerOptions | None = None,
    options: GenerationOptions | None = None,
) -> list[AnswerResult]:
    """Answer questions from texts.

    Args:
        model: an extractive model, loaded for the task ``question-answering``, or a chat model: loaded, an
            engine, or a name, path or `ModelSpec` to load.
        questions: one or several.
        contexts: one text for all questions, or one for each.
        extraction: how an extractive model's answers are chosen. A chat model takes `no_answer` alone.
        options: how a chat model's answers are written.

    Returns:
        The result of each question, in order.

    Raises:
        InputError: unknown model, a model that cannot answer, an empty question or context, or options for
            the other kind of model.
        OutOfMemory: a single question does not fit into memory.
    """
    refuse_row_options(options)
    asked = [questions] if isinstance(questions, str) else list(questions)
    texts = [contexts] * len(asked) if isinstance(contexts, str) else list(contexts)
    if len(texts) != len(asked):
        raise OptionError(
            "contexts", f"are {len(texts)} for {len(asked)} questions; give one, or one for each"
        )
    rows = [
        Row(i, {"question": question, "context": text}, f"question {i + 1}")
        for i, (question, text) in enumerate(zip(asked, texts, strict=True))
    ]
    if not rows:
        return []
    extractive = _extractive_model(model)
    if extractive is not None:
        if options is not None:
            raise OptionError(
                "options", "need a chat model; an extractive model selects its answers from the text"
            )
        return _extracted(extractive, rows, extraction or AnswerOptions())
    if extraction is not None and extraction != AnswerOptions(no_answer=extraction.no_answer):
        raise OptionError(
            "extraction", "needs an extractive model; of it a chat model takes `no_answer` alone"
        )
    no_answer = extraction is not None and extraction.no_answer
    return _written(model, rows, options or GenerationOptions(), no_answer=no_answer)


def _extractive_model(model: AnyModel) -> LoadedModel | None:
    """Return the extractive model, loaded; None for a model of another kind."""
    from llmkit.runtime.load import LoadedModel, is_extractive_qa, load
    from llmkit.runtime.spec import ModelSpec

    if isinstance(model, str | Path | ModelSpec):
        asked = model if isinstance(model, ModelSpec) else ModelSpec(str(model))
        spec = replace(asked, task="question-answering")
        return load(spec) if is_extractive_qa(spec) else None
    found = isinstance(model, LoadedModel) and model.spec.task == "question-answering"
    return model if found and isinstance(model, LoadedModel) else None


def _extracted(model: LoadedModel, rows: Sequence[Row], options: AnswerOptions) -> list[AnswerResult]:
    from llmkit.tasks.qa.extractive import ExtractiveQA

    task = ExtractiveQA(model, options, QuestionSource())
    prepared = _all(task.prepare(rows))
    results = []
    for one, fields in zip(prepared, task.fields(prepared, task.budget(None)), strict=True):
        if isinstance(fields, RowError):
            raise fields
        results.append(_result(fields, prompt_tokens=one.length))
    return results


def _written(
    model: AnyModel,
    rows: Sequence[Row],
    options: GenerationOptions,
    *,
    no_answer: bool,
) -> list[AnswerResult]:
    from llmkit.engines.open import as_engine
    from llmkit.tasks.qa.generative import GenerativeQA
    from llmkit.tasks.sub_batches import run_prompts

    task = GenerativeQA(as_engine(model), options, QuestionSource(), no_answer=no_answer)
    prepared = [one.payload for one in _all(task.prepare(rows))]
    found = run_prompts(task.generation.run, [one.prompt for one in prepared], task.budget(None))
    return [
        _result(
            task.answer_fields(result, one),
            prompt_tokens=result.prompt_tokens,
            tokens=result.tokens,
            finish_reason=result.finish_reason,
            seed=result.seed,
        )
        for one, result in zip(prepared, found, strict=True)
    ]


def _all(prepared: Sequence[PreparedRow[T] | RowError]) -> list[PreparedRow[T]]:
    """Return rows none of which failed, or raise the first failure."""
    for one in prepared:
        if isinstance(one, RowError):
            raise one
    return [one for one in prepared if isinstance(one, PreparedRow)]


def _result(
    fields: Fields,
    *,
    prompt_tokens: int,
    tokens: int = 0,
    finish_reason: FinishReason = "stop",
    seed: int = 0,
) -> AnswerResult:
    """Make a result of a row's fields, which are lists if there are several answers."""
    names = ("answer", "score", "start", "end", "quotation")
    values: list[list[Any]] = [
        value if isinstance(value := fields.get(name), list) else [value] for name in names
    ]
    count = len(values[0])
    columns = [column * count if len(column) < count else column for column in values]
    return AnswerResult(
        answers=[FoundAnswer(*row) for row in zip(*columns, strict=True)],
        reasoning=fields.get("reasoning", ""),
        no_answer_probability=fields.get("no_answer_probability"),
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        finish_reason=finish_reason,
        seed=seed,
    )
