"""`llmkit eval --task`: run a verb's model over the rows, then score its output."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.eval.flags import Flags, ReadingFlags, TaskFlags
from llmkit.cli.eval.predictions import PEEK, baseline_rows, chosen_metrics, score_modules
from llmkit.cli.eval.work import (
    Work,
    baselines,
    check_question,
    configured,
    given_language,
    only_file,
)
from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation.columns import TaskColumns
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    from llmkit.evaluation import Example
    from llmkit.records.rows import Row
    from llmkit.records.task import Task
    from llmkit.tasks.decoding import GenerationOptions


def run(flags: Flags) -> None:
    """Run the task over the input, then score its predictions.

    Raises:
        InputError, LLMKitError: as the verb, and as `score_rows`.
    """
    columns = flags.task.columns(flags.texts.source)
    source = only_file(flags)
    if flags.scoring.metric is None:
        flags.scoring.metric = columns.metrics
        console.notice(f"metric={columns.metrics}: usual for task={flags.task.task}")
    if flags.decoding.num_return_sequences != 1:
        raise OptionError("num_return_sequences", "must be 1: eval scores one prediction for each row")
    ours, modules = chosen_metrics(flags, source, ())
    with ExitStack() as files:
        folder = files.enter_context(temporary_folder("eval"))
        predictions = predict(_request(flags, source), columns, folder)
        examples = predictions.examples()
        sample = list(itertools.islice(examples, PEEK))
        work = Work(
            source,
            configured(ours, flags, sample, language=given_language(flags, ours)),
            itertools.chain(sample, examples),
            baselines={name: baseline_rows(name, flags) for name in baselines(flags, str(predictions.path))},
            model=predictions.signature,
        )
        score_modules(work, modules, sample, flags)


def _request(flags: Flags, source: str) -> TaskRun:
    return TaskRun(
        rows=source,
        task=flags.task,
        model=flags.model,
        decoding=flags.decoding,
        source=flags.texts.source,
        target=flags.target.to,
        field=flags.texts.field,
        template=flags.texts.template,
        reference_field=flags.scoring.reference_field,
        by=flags.scoring.by,
        batch_size=flags.batches.batch_size,
        overwrite=flags.report.overwrite,
        reading=flags.reading,
        forms=flags.forms,
    )


@dataclass
class Predictions:
    """Predictions of a model, and the rows that they belong to.

    References and all other columns come from the unchanged input, because a verb's result column may have
    the name of an input column, such as `answer`.

    Attributes:
        path: JSONL file that the verb wrote.
        inputs: the rows of the input, written before the model ran.
        columns: columns of the task.
        signature: the model and its options.
    """

    path: Path
    inputs: KeptRows
    columns: TaskColumns
    signature: str

    def examples(self) -> Iterator[Example]:
        """Yield rows to score; a row that failed has an empty prediction."""
        from llmkit.evaluation import Example
        from llmkit.evaluation.rows import references_of
        from llmkit.records.read import open_rows

        result = self.columns.result
        for given, made in zip(self.inputs.read(), open_rows(self.path), strict=True):
            # The result column was removed from the input, so if it is present, the row succeeded.
            failed = result not in made.data
            prediction = "" if failed else made.data[result]
            data = {**given.data, **{k: v for k, v in made.data.items() if k not in given.data}}
            if result in given.data:
                data["prediction"] = prediction
            yield Example(prediction, references_of(given, self.inputs.reference), data, given.where, failed)


@dataclass
class KeptRows:
    """Rows of the input, kept in a file while the model runs.

    Attributes:
        path: the file.
        reference: column of the references.
        remove: columns to remove from the rows for the model.
    """

    path: Path
    reference: str
    remove: frozenset[str]

    def keep(self, found: Iterable[Row]) -> Iterator[Row]:
        """Write each row to the file, and yield it without the columns in `remove`.

        Raises:
            RowError: a row could not be read or has no references, so that it cannot be scored.
        """
        from llmkit.evaluation.rows import references_of
        from llmkit.records.strict_json import dumps

        with open(self.path, "w", encoding="utf-8") as file:
            for row in found:
                references_of(row, self.reference)
                file.write(dumps({"data": row.data, "where": row.where}) + "\n")
                yield replace(row, data={k: v for k, v in row.data.items() if k not in self.remove})

    def read(self) -> Iterator[Row]:
        """Yield the unchanged rows."""
        from llmkit.records.read import open_rows
        from llmkit.records.rows import Row

        for kept in open_rows(self.path):
            yield Row(kept.index, kept.data["data"], kept.data["where"])


@dataclass
class TaskRun:
    """A run of a model over rows: the flags of `llmkit eval` that it takes."""

    rows: str
    task: TaskFlags
    model: RowModelFlags
    decoding: options.DecodingFlags
    source: str | None
    target: str | None
    field: str | None
    template: str | None
    reference_field: str | None
    by: str | None
    batch_size: str
    overwrite: bool
    reading: ReadingFlags
    forms: FormFlags


def predict(request: TaskRun, task: TaskColumns, folder: Path) -> Predictions:
    """Run the verb over all rows.

    Args:
        request: the run.
        task: columns of the task.
        folder: folder for temporary files, which must exist until the predictions are scored.

    Raises:
        InputError, LLMKitError: as the verb.
    """
    from llmkit.records.flatten import flat
    from llmkit.records.read import open_rows

    kept = request.task.save_predictions
    outputs = options.OutputFlags(
        output=kept or folder / "predictions.jsonl",
        resume=request.task.resume,
        overwrite=request.overwrite and kept is not None and not request.task.resume,
        on_error=request.task.on_error,
        batch_size=request.batch_size,
    )
    rows.check_output(outputs)
    reading = request.reading
    source = open_rows(request.rows, encoding=reading.encoding).through(flat).limited(reading.limit)
    first = source.first()
    if first is None:
        raise InputError(f"{request.rows}: no rows in it")
    text, reference = _columns(request, task, first)
    inputs = KeptRows(folder / "inputs.jsonl", reference, _colliding(request, task, text, first))
    if inputs.remove & first.data.keys() and kept is not None:
        console.notice(f"{kept} has no input column {', '.join(sorted(inputs.remove & first.data.keys()))}")
    source.through(inputs.keep).through(lambda found: _joined(found, text))
    work = _build(request, text)
    path, verb = outputs.output, request.task.task
    assert path is not None
    assert verb is not None
    summary = rows.to_file(work, source, outputs, verb=verb)
    if summary is None:  # an earlier run finished the file
        for _ in source:  # fills `inputs`
            pass
    elif kept is not None:
        rows.report_rows(summary, kept)
    return Predictions(path, inputs, task, _signature(verb, work))


def _colliding(request: TaskRun, task: TaskColumns, text: str | None, first: Row) -> frozenset[str]:
    """Return the columns that the verb writes, which are removed from its input.

    Raises:
        OptionError: the verb reads one of them.
    """
    cut = {"finish_reason"} if options.given(request.forms) else set()
    written = frozenset({task.result, *task.others, "error", *cut})
    option = "template" if request.template is not None else "field"
    read = {text} if request.template is None else set(re.findall(r"\{([^{}]+)\}", request.template))
    for name in sorted(written & first.data.keys()):
        if name in read:
            raise OptionError(option, f"reads column `{name}`, which the task writes; rename it in the input")
    return written


def _columns(request: TaskRun, task: TaskColumns, first: Row) -> tuple[str | None, str]:
    """Return the column of the input (None leaves it to the verb) and of the references, by the first row.

    Raises:
        OptionError: no column looks like references, or there is no such column.
        RowError: the first row could not be read.
    """
    if first.error is not None:
        raise RowError(first.where, first.error)
    text, reference = request.field, request.reference_field
    columns = first.data
    if text is None and request.template is None:
        named = _named_after(request.source, columns)
        text = next((name for name in (*task.sources, *named) if name in columns), None)
    if request.task.task == "qa":
        check_question(first, text or request.template)
    if reference is None:
        named = _named_after(request.target, columns) if request.task.task == "translate" else []
        known = ("references", "reference", *task.references, *named)
        reference = next((name for name in known if name in columns and name != text), None)
    if reference is None:
        raise OptionError(
            "reference_field",
            f"must name the column of the references; {first.where} has {', '.join(columns)}",
        )
    for option, name in (("reference_field", reference), ("by", request.by)):
        if name is not None and name not in columns:
            raise OptionError(
                option, f"names {name!r}; the columns of {first.where} are {', '.join(columns)}"
            )
    console.detail(f"inputs: {text or request.template or 'each line'}; references: {reference}")
    return text, reference


def _named_after(language: str | None, columns: Iterable[str]) -> list[str]:
    """Return the columns that are named after a language: `de`, `deu` or `German`."""
    from llmkit.text.languages import find_language, same_language

    if language is None:
        return []
    wanted, found = find_language(language, "target"), []
    for name in columns:
        try:
            if same_language(find_language(name, "column"), wanted):
                found.append(name)
        except InputError:
            pass  # not a language's name
    return found


def _joined(found: Iterable[Row], field: str | None) -> Iterator[Row]:
    """Yield the rows; a text that is a list of sentences is joined."""
    for row in found:
        value = row.data.get(field) if field is not None else None
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            row = replace(row, data={**row.data, str(field): " ".join(value)})
        yield row


def _build(request: TaskRun, field: str | None) -> Task[Any]:
    """Build the verb's work on rows, with the model loaded."""
    build = {"translate": _translate, "summarize": _summarize, "qa": _qa, "generate": _generate}
    assert request.task.task is not None
    return build[request.task.task](request, field)


def _decoding(request: TaskRun) -> GenerationOptions:
    from llmkit.tasks.decoding import GenerationOptions

    # With seed 0, a model that samples by its own configuration gives the same score in every run.
    seed = request.model.seed or 0
    return GenerationOptions(**request.decoding.values(), seed=seed, **request.forms.values())


def _translate(request: TaskRun, field: str | None) -> Task[Any]:
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.translation import Translation
    from llmkit.text.languages import find_pair

    find_pair(request.source, request.target)
    return Translation(
        open_engine(request.model.spec(task="text-generation", verb="translate"), request.model.on_cluster),
        _decoding(request),
        source=request.source,
        target=request.target,
        field=field,
        template=request.template,
        notice=console.notice,
    )


def _summarize(request: TaskRun, field: str | None) -> Task[Any]:
    if request.model.unnamed:
        from llmkit.cli.summarize import refuse_model_flags
        from llmkit.tasks.summarization.extractive import ExtractiveSummarization, SummaryLength

        about_model = {name.replace("_", "-"): value for name, value in asdict(request.forms).items()}
        refuse_model_flags(request.model, request.decoding, about_model, extractive=False)
        return ExtractiveSummarization(SummaryLength(), field=field, template=request.template)
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.extractive import SummaryLength
    from llmkit.tasks.summarization.model_settings import with_own_limit

    engine = open_engine(request.model.spec(task="text-generation"), request.model.on_cluster)
    wanted = with_own_limit(_decoding(request), SummaryLength(), engine)
    return Summarization(engine, wanted, field=field, template=request.template)


def _qa(request: TaskRun, field: str | None) -> Task[Any]:
    from llmkit.cli.common.row_flags import DetailFlags
    from llmkit.cli.qa import load_task
    from llmkit.cli.qa.flags import ExtractionFlags, WritingFlags
    from llmkit.tasks.qa.extractive import ExtractiveQA
    from llmkit.tasks.qa.questions import QuestionSource

    extraction = ExtractionFlags(no_answer=request.task.no_answer)
    questions = QuestionSource(field=field, template=request.template)
    seeded = replace(request.model, seed=request.model.seed or 0)
    writing = WritingFlags(request.decoding, request.forms, DetailFlags())
    task = load_task(seeded, questions, extraction, writing)
    if isinstance(task, ExtractiveQA) and task.options.top_k > 1:
        raise OptionError("top_k", "must be 1 here: a question has one prediction to score")
    return task


def _generate(request: TaskRun, field: str | None) -> Task[Any]:
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.generation import Generation

    wanted = replace(_decoding(request), truncate=request.task.truncate)
    engine = open_engine(
        request.model.spec(task="text-generation", verb="generate"), request.model.on_cluster
    )
    return Generation(engine, wanted, field=field, template=request.template)


def _signature(verb: str, work: Task[Any]) -> str:
    """Return the model and its options, in the form of the metrics' signatures."""
    header = dict(work.header())
    parts = {"task": verb}
    for key in ("from", "to", "model", "revision", "dtype", "attention", "extractive"):
        if header.get(key) is not None:
            parts[key] = header[key]
    if header.get("adapter"):
        parts["adapter"] = "yes"
    for key, value in (header.get("options") or {}).items():
        if key == "form" and value is not None:
            digest = hashlib.sha256(json.dumps(value["value"]).encode()).hexdigest()[:8]
            parts[key] = f"{value['kind']}-{digest}"
        elif value not in (None, False, (), []):
            parts[key] = "yes" if value is True else value
    if work.run_state.seed_given:
        parts["seed"] = str(work.run_state.seed)
    return "|".join(f"{key}:{value}" for key, value in parts.items())
