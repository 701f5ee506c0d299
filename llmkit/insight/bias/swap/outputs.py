"""Outputs of a verb on a row, and on the row with its terms swapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError, RowError
from llmkit.records.rows import Row, text_of

if TYPE_CHECKING:
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


@dataclass(frozen=True)
class SwapTask:
    """A verb whose outputs are compared.

    Attributes:
        name: its name.
        columns: usual names of its input columns, one tuple for each column.
        metric: metric of its outputs against references; None if it has none.
        score: name of the metric's score.
        rewrites: outputs are in the language of the input, so that swapped terms can be swapped back.
    """

    name: str
    columns: tuple[tuple[str, ...], ...]
    metric: str | None
    score: str
    rewrites: bool


TASKS = {
    one.name: one
    for one in (
        SwapTask("translate", (("text", "source"),), "chrf", "chrF2", False),
        SwapTask("summarize", (("text", "document"),), "rouge", "rougeL", True),
        SwapTask("qa", (("question",), ("context",)), "f1", "f1", True),
        SwapTask("generate", (("prompt", "text"),), None, "", True),
    )
}


def find_task(name: str) -> SwapTask:
    """Return the task of a name.

    Raises:
        OptionError: there is none.
    """
    if name not in TASKS:
        raise OptionError("task", f"must be one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]


def inputs_of(row: Row, task: SwapTask, field: str | None) -> list[str]:
    """Return the texts of a row that the task reads.

    Raises:
        RowError: a column is missing.
        OptionError: `field` does not name the two columns of qa.
    """
    if field is not None and len(task.columns) > 1:
        raise OptionError("field", f"applies to tasks with one text; {task.name} reads question and context")
    if len(task.columns) > 1:  # not `defaults`, which would take the only column of text for both
        missing = [names[0] for names in task.columns if names[0] not in row.data]
        if missing:
            raise RowError(
                row.where, f"{task.name} needs a column `{missing[0]}`; it has {', '.join(row.data)}"
            )
        return [text_of(row, field=names[0], template=None, defaults=()) for names in task.columns]
    return [text_of(row, field=field, template=None, defaults=names) for names in task.columns]


def open_for(task: SwapTask, model: LoadedModel | ModelSpec | str | None, options: BiasOptions) -> Any:
    """Return the model for the task, loaded."""
    from llmkit.insight.bias.models import request
    from llmkit.runtime.load import LoadedModel, is_extractive_qa

    if isinstance(model, LoadedModel):
        return model
    spec = request(model)
    if task.name == "qa":
        extractive = replace(spec, task="question-answering")
        spec = extractive if is_extractive_qa(extractive) else spec
    return options.load(spec)


def run_task(task: SwapTask, model: Any, rows: Sequence[Sequence[str]], options: BiasOptions) -> list[str]:
    """Return the output of each row.

    Args:
        task: the task.
        model: the loaded model.
        rows: the texts of each row, one for each column of the task.
        options: languages, limits and temperature; a row has the same seed in every call.

    Raises:
        InputError: the model cannot do the task.
        LLMKitError: it failed.
    """
    run: dict[str, Callable[[], list[Any]]] = {
        "translate": lambda: _translated(model, rows, options),
        "summarize": lambda: _summarized(model, rows, options),
        "qa": lambda: _answered(model, rows, options),
        "generate": lambda: _generated(model, rows, options),
    }
    return [str(result.text) for result in run[task.name]()]


def decoding(options: BiasOptions, default: int) -> Any:
    """Return the options of generation: greedy, unless a temperature is set."""
    from llmkit.tasks.decoding import GenerationOptions

    return GenerationOptions(
        max_new_tokens=options.max_new_tokens or default,
        temperature=options.temperature,
        greedy=options.temperature is None,
        seed=options.seed,
    )


def decoding_signature(options: BiasOptions) -> str:
    """Return the part of a signature that says how outputs are written."""
    sampled = "greedy" if options.temperature is None else f"temperature:{options.temperature:g}"
    limit = "" if options.max_new_tokens is None else f"|max_new_tokens:{options.max_new_tokens}"
    languages = "".join(
        f"|{name}:{value}" for name, value in (("from", options.source), ("to", options.target)) if value
    )
    return f"decoding:{sampled}{limit}{languages}|seed:{options.seed}"


def _translated(model: Any, rows: Sequence[Sequence[str]], options: BiasOptions) -> list[Any]:
    from llmkit.tasks.translation import translate

    texts = [text for (text,) in rows]
    return list(
        translate(model, texts, source=options.source, target=options.target, options=decoding(options, 256))
    )


def _summarized(model: Any, rows: Sequence[Sequence[str]], options: BiasOptions) -> list[Any]:
    from llmkit.tasks.summarization.summarize import summarize

    return list(summarize(model, [text for (text,) in rows], options=decoding(options, 256)))


def _answered(model: Any, rows: Sequence[Sequence[str]], options: BiasOptions) -> list[Any]:
    from llmkit.tasks.qa.answer import answer

    written = None if model.spec.task == "question-answering" else decoding(options, 64)
    questions, contexts = [row[0] for row in rows], [row[1] for row in rows]
    if written is None and (options.temperature is not None or options.max_new_tokens is not None):
        raise OptionError("temperature", "and `max_new_tokens` do not apply to an extractive model")
    return list(answer(model, questions, contexts, options=written))


def _generated(model: Any, rows: Sequence[Sequence[str]], options: BiasOptions) -> list[Any]:
    from llmkit.tasks.generation import generate

    return list(generate(model, [text for (text,) in rows], decoding(options, 64)))


def check_readable(row: Row) -> None:
    """Raise a RowError if the row could not be read."""
    if row.error is not None:
        raise RowError(row.where, row.error)
