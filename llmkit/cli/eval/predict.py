"""`llmkit eval --task`: run a verb's model over the rows, then hand its output to the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.options import flag
from llmkit.errors import InputError, RowError

if TYPE_CHECKING:
    from llmkit.evaluation import Example
    from llmkit.records.rows import Row
    from llmkit.records.task import Task
    from llmkit.tasks.decoding import GenerationOptions


@dataclass(frozen=True)
class _Task:
    """A verb that eval can run.

    Attributes:
        result: the column that it writes.
        sources: columns that its input is looked for in.
        references: columns that the references are looked for in, besides `references` and `reference`.
        metrics: what it is scored by where `--metric` is left out.
    """

    result: str
    sources: tuple[str, ...]
    references: tuple[str, ...]
    metrics: str


TASKS = {
    "translate": _Task("translation_text", ("source", "text"), ("target",), "bleu,chrf"),
    "summarize": _Task(
        "summary_text",
        ("document", "article", "source", "text"),
        ("summary", "highlights", "target"),
        "rouge",
    ),
    "qa": _Task("answer", ("question",), ("answers", "answer"), "exact_match,f1"),
    "generate": _Task("generated_text", ("prompt", "text"), ("completion", "target", "output"), "rouge"),
}


@dataclass
class TaskFlags:
    """A model run by eval itself."""

    task: Annotated[
        str | None,
        flag("--task", metavar="VERB", help="Run the model first: translate, summarize, qa or generate."),
    ] = None
    source: Annotated[
        str | None, flag("--from", metavar="LANG", help="Source language of --task translate.")
    ] = None
    save_predictions: Annotated[
        Path | None,
        flag(
            "--save-predictions", metavar="FILE", help="Keep what --task wrote; a killed run can be resumed."
        ),
    ] = None
    resume: Annotated[bool, flag("--resume", help="Go on with an unfinished --save-predictions.")] = False
    on_error: Annotated[
        str,
        flag("--on-error", metavar="fail|skip", help="skip scores a row that failed as an empty prediction."),
    ] = "fail"
    no_answer: Annotated[
        bool, flag("--no-answer", help="--task qa: answer nothing where the text has no answer.")
    ] = False
    truncate: options.Truncate = None

    def chosen(self) -> _Task:
        """The task that was named.

        Raises:
            InputError: there is none of that name, or a flag is about another.
        """
        assert self.task is not None
        if self.task not in TASKS:
            raise InputError(f"--task {self.task}: use {', '.join(TASKS)}")
        if self.source is not None and self.task != "translate":
            raise InputError("--from is about --task translate")
        if self.no_answer and self.task != "qa":
            raise InputError("--no-answer is about --task qa")
        if self.truncate is not None and self.task != "generate":
            raise InputError("--truncate is about --task generate")
        if self.resume and self.save_predictions is None:
            raise InputError("--resume is about a file: name it with --save-predictions")
        return TASKS[self.task]


@dataclass
class Predictions:
    """What a model wrote, as a file, and what is known of it.

    Attributes:
        path: the verb's JSONL output.
        reference: the column of the references.
        signature: the model and how it was run.
        failed: rows without a prediction, counted as they are read.
    """

    path: Path
    task: _Task
    reference: str
    signature: str
    failed: int = 0

    def examples(self) -> Iterator[Example]:
        """Rows to score; one that failed has an empty prediction."""
        from llmkit.evaluation.rows import from_rows
        from llmkit.records.read import open_rows

        source = open_rows(self.path).through(self._with_failures)
        return from_rows(source, prediction_field=self.task.result, reference_field=self.reference)

    def _with_failures(self, found: Iterator[Row]) -> Iterator[Row]:
        for row in found:
            if self.task.result not in row.data and "error" in row.data:
                self.failed += 1
                row = replace(row, data={**row.data, self.task.result: ""})
            yield row


@dataclass
class Request:
    """Everything that a model in the loop is asked for."""

    rows: str
    task: TaskFlags
    model: options.ModelFlags
    decoding: options.DecodingFlags
    target: str | None
    field: str | None
    template: str | None
    reference_field: str | None
    batch_size: str
    overwrite: bool


def predict(request: Request, folder: Path) -> Predictions:
    """Run the verb over all rows.

    Args:
        request: what was asked for.
        folder: a folder that lasts until the predictions are scored, for those that are not kept.

    Raises:
        InputError, LLMKitError: as the verb.
    """
    from llmkit.records.flatten import flat
    from llmkit.records.read import open_rows

    task = request.task.chosen()
    if request.decoding.num_return_sequences != 1:
        raise InputError("--num-return-sequences: eval scores one prediction a row")
    kept = request.task.save_predictions
    outputs = options.OutputFlags(
        output=kept or folder / "predictions.jsonl",
        resume=request.task.resume,
        overwrite=request.overwrite and kept is not None and not request.task.resume,
        on_error=request.task.on_error,
        batch_size=request.batch_size,
    )
    finished = rows.check_output(outputs)
    source = open_rows(request.rows).through(flat)
    first = source.first()
    if first is None:
        raise InputError(f"{request.rows}: no rows in it")
    field, reference = _columns(request, task, first)
    source.through(lambda found: _joined(found, field))
    work = _build(request, field)
    path, verb = outputs.output, request.task.task
    assert path is not None
    assert verb is not None
    if not finished:
        summary = rows.to_file(work, source, outputs, verb=verb)
        if kept is not None:
            rows.report_rows(summary, kept)
    return Predictions(path, task, reference, _signature(verb, work))


def _columns(request: Request, task: _Task, first: Row) -> tuple[str | None, str]:
    """The columns of the input (None leaves it to the verb) and of the references, by the first row.

    Raises:
        InputError: a column cannot be told.
    """
    if first.error is not None:
        raise RowError(first.where, first.error)
    field, reference = request.field, request.reference_field
    columns = first.data
    if field is None and request.template is None:
        spoken = _spoken(request.task.source, columns)
        field = next((name for name in (*task.sources, *spoken) if name in columns), None)
    if reference is None:
        spoken = _spoken(request.target, columns) if request.task.task == "translate" else []
        known = ("references", "reference", *task.references, *spoken)
        reference = next((name for name in known if name in columns and name != field), None)
    if reference is None:
        raise InputError(
            f"{first.where}: which column has the references? its columns are {', '.join(columns)};"
            " name one with --reference-field"
        )
    if reference not in columns:
        raise InputError(f"{first.where}: no column {reference!r}; its columns are {', '.join(columns)}")
    console.detail(f"reads {field or request.template or 'the text'}, and compares with {reference}")
    return field, reference


def _spoken(language: str | None, columns: Iterable[str]) -> list[str]:
    """The columns that are named after a language: `de`, `deu` or `German`."""
    from llmkit.text.languages import find_language, same_language

    if language is None:
        return []
    wanted, found = find_language(language, "--to"), []
    for name in columns:
        try:
            if same_language(find_language(name, "column"), wanted):
                found.append(name)
        except InputError:
            pass  # not a language's name
    return found


def _joined(found: Iterable[Row], field: str | None) -> Iterator[Row]:
    """Texts that come as lists of sentences, put together."""
    for row in found:
        value = row.data.get(field) if field is not None else None
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            row = replace(row, data={**row.data, str(field): " ".join(value)})
        yield row


def _build(request: Request, field: str | None) -> Task[Any]:
    """The verb's work on rows, with the model loaded."""
    build = {"translate": _translate, "summarize": _summarize, "qa": _qa, "generate": _generate}
    assert request.task.task is not None
    return build[request.task.task](request, field)


def _decoding(request: Request) -> GenerationOptions:
    from llmkit.tasks.decoding import GenerationOptions

    # A model that samples by its own configuration must give the same score to whoever runs it again.
    return GenerationOptions(**request.decoding.values(), seed=request.model.seed or 0)


def _translate(request: Request, field: str | None) -> Task[Any]:
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.translation import Translation
    from llmkit.text.languages import find_pair

    find_pair(request.task.source, request.target)
    return Translation(
        open_engine(request.model.spec(task="text-generation", verb="translate")),
        _decoding(request),
        source=request.task.source,
        target=request.target,
        field=field,
        template=request.template,
        notice=console.notice,
    )


def _summarize(request: Request, field: str | None) -> Task[Any]:
    if request.model.model is None:
        from llmkit.tasks.summarization.extractive import ExtractiveSummarization, SummaryLength

        return ExtractiveSummarization(SummaryLength(), field=field, template=request.template)
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.extractive import SummaryLength
    from llmkit.tasks.summarization.model_settings import with_own_limit

    engine = open_engine(request.model.spec(task="text-generation"))
    wanted = with_own_limit(_decoding(request), SummaryLength(), engine)
    return Summarization(engine, wanted, field=field, template=request.template)


def _qa(request: Request, field: str | None) -> Task[Any]:
    from llmkit.cli.qa import ExtractionFlags, WritingFlags, load_task
    from llmkit.tasks.qa.questions import QuestionSource
    from llmkit.tasks.qa.spans import AnswerOptions

    extraction = ExtractionFlags(no_answer=request.task.no_answer)
    writing = WritingFlags(
        max_new_tokens=request.decoding.max_new_tokens,
        temperature=request.decoding.temperature,
        greedy=request.decoding.greedy,
    )
    questions = QuestionSource(field=field, template=request.template)
    seeded = replace(request.model, seed=request.model.seed or 0)
    return load_task(seeded, AnswerOptions(**extraction.values()), questions, extraction, writing)


def _generate(request: Request, field: str | None) -> Task[Any]:
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.generation import Generation

    wanted = replace(_decoding(request), truncate=request.task.truncate)
    engine = open_engine(request.model.spec(task="text-generation", verb="generate"))
    return Generation(engine, wanted, field=field, template=request.template)


def _signature(verb: str, work: Task[Any]) -> str:
    """The model and how it was run, in the manner of the metrics' signatures."""
    header = dict(work.header())
    parts = {"task": verb}
    for key in ("from", "to", "model", "revision", "dtype", "attention", "extractive"):
        if header.get(key) is not None:
            parts[key] = header[key]
    if header.get("adapter"):
        parts["adapter"] = "yes"
    for key, value in (header.get("options") or {}).items():
        if value not in (None, False, (), []):
            parts[key] = "yes" if value is True else value
    if work.run_state.seed_given:
        parts["seed"] = str(work.run_state.seed)
    return "|".join(f"{key}:{value}" for key, value in parts.items())
