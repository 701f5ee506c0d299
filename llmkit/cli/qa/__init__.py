"""`llmkit qa`: answer questions from texts and documents."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.arguments import exists, open_argument, refuse_missing
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import argument as positional
from llmkit.cli.common.row_flags import DetailFlags
from llmkit.cli.qa.flags import AnswerDecodingFlags, ExtractionFlags, QuestionFlags, WritingFlags
from llmkit.cli.qa.show import answer_line, answer_one, report
from llmkit.engines.choice import is_url, runs_here
from llmkit.errors import InputError, OptionError
from llmkit.records.task import Task

if TYPE_CHECKING:
    from llmkit.records.read import RowSource
    from llmkit.runtime.spec import ModelSpec
    from llmkit.tasks.qa.extractive import ExtractiveQA
    from llmkit.tasks.qa.index import ContextIndex
    from llmkit.tasks.qa.questions import QuestionSource
    from llmkit.text.passages import ContextDocument, Embed


EXAMPLES = [
    'llmkit qa "Who came out of the grass?" --context examples/story.txt',
    'llmkit qa -m my-reader "Where is the key?" --context notes/ --context a.pdf',
]


@options.expand
def run(
    *,
    text: Annotated[
        str | None,
        positional("QUESTION|FILE", help="A question, or a file with one question per line."),
    ] = None,
    asked: QuestionFlags,
    model: RowModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    extraction: ExtractionFlags,
    decoding: AnswerDecodingFlags,
    forms: FormFlags,
    details: DetailFlags,
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Answer questions about texts and documents, with an extractive or a chat model."""
    from llmkit.tasks.details import detail_columns
    from llmkit.tasks.qa.questions import QuestionSource

    details.to_rows(outputs)
    rows.check_output(outputs)
    source, paths, single = _open(text, asked, inputs)
    forms.check_rows(single=single)
    documents, index = _read_contexts(paths, asked, inputs.encoding)
    embed, ranked_by = _ranking(asked, model, index)
    questions = QuestionSource(
        field=inputs.field,
        template=inputs.template,
        context_field=asked.context_field,
        documents=documents,
        passages=asked.passages,
        embed=embed,
        ranked_by=ranked_by,
    )
    writing = WritingFlags(decoding, forms, details, system)
    task = load_task(model, questions, extraction, writing)
    _report_seed(task, model.seed)
    try:
        if single and outputs.output is None and not outputs.json:
            answer_one(task, source, several=len(documents) > 1 or any(one.places for one in documents))
        else:
            render = answer_line(task, outputs.result_field or "answer") if documents else None
            more = detail_columns(writing.options(model.seed))
            rows.run_rows(task, source, outputs, verb="qa", field="answer", render=render, more=more)
    finally:
        report(task)


def _open(
    argument: str | None, asked: QuestionFlags, inputs: options.InputFlags
) -> tuple[RowSource, list[str], bool]:
    """Open the questions; return them, the paths of their contexts, and True for a single question."""
    from llmkit.records.read import rows_of

    questions = [*(asked.question or [])]
    if argument is not None and questions:
        raise InputError("a question and --question were given: give one of them")
    if argument is not None and inputs.input is not None:
        raise InputError("a question and --input were given: give one of them")
    if questions and inputs.input is not None:
        raise InputError("--question and --input were given: give one of them")
    paths = list(asked.context or ())
    text = argument if argument not in {None, "-"} and not exists(argument or "") else None
    if text is not None:
        refuse_missing(text)
        questions = [text]
    if questions and not paths:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("no context: give it with --context FILE, or give it on stdin")
        paths = ["-"]
    if paths.count("-") + (inputs.input == "-") + (argument == "-") > 1:
        raise InputError("stdin can be read only once: for the questions or for the context")
    if questions:
        return rows_of(questions, field="question", name="question"), paths, len(questions) == 1
    if inputs.input is None and argument is None and (not paths or "-" in paths):
        raise InputError("no question: give QUESTION with --context FILE, or rows with --input FILE")
    source, _ = open_argument(argument, inputs, field="question", lines=True)
    single = inputs.input is None and len(source.peek(2)) == 1
    return source, paths, single


def _read_contexts(
    paths: list[str], asked: QuestionFlags, encoding: str | None
) -> tuple[list[ContextDocument], ContextIndex | None]:
    """Read the contexts, and report the files that are not text."""
    from llmkit.records.encodings import check_encoding
    from llmkit.tasks.qa.documents import read_documents
    from llmkit.tasks.qa.index import ContextIndex

    check_encoding(encoding)
    if asked.index is None:
        return read_documents(paths, console.notice, encoding=encoding), None
    if encoding is not None:
        raise InputError("--index stores texts in UTF-8: omit --encoding, or convert the files")
    if not paths or "-" in paths:
        raise InputError("--index stores the files of --context: give a file or a folder")
    index = ContextIndex(asked.index)
    documents = read_documents(paths, console.notice, index.document, asked.index)
    index.save()
    console.detail(f"{asked.index}: {console.count(index.read, 'file')} read, {index.kept} from the index")
    return documents, index


def _ranking(
    asked: QuestionFlags, model: RowModelFlags, index: ContextIndex | None
) -> tuple[Embed | None, dict[str, Any] | None]:
    """Load the encoder that ranks passages; return its function and its identity."""
    if asked.rank is None:
        return None, None
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

    encoder = dataclasses.replace(
        model,
        model=asked.rank,
        engine=None,
        engine_python=None,
        draft=None,
        revision=None,
        adapter=None,
        quantize=None,
    )
    embedder = SentenceEmbedder(load_model(encoder.spec(task="feature-extraction")))
    identity = embedder.identity()
    return embedder if index is None else index.embedder(embedder, identity), identity


def load_task(
    model: RowModelFlags,
    questions: QuestionSource,
    extraction: ExtractionFlags,
    writing: WritingFlags,
) -> Task[Any]:
    """Return the task of the model: extractive or generative, by its config.

    Raises:
        InputError: a flag that is for the other kind of model, or a value out of range.
    """
    extractive = not is_url(model.engine) and _is_extractive_qa(
        model.spec(task="question-answering", verb="qa")
    )
    if extractive and not runs_here(model.engine):
        raise OptionError(
            "engine",
            "must be transformers for an extractive model; use a model that writes its answers",
        )
    if extractive:
        return _extractive(model, questions, extraction, writing)
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.qa.generative import GenerativeQA

    extraction.refuse()
    wanted = writing.options(model.seed)
    engine = open_engine(model.spec(task="text-generation", verb="qa"), model.on_cluster)
    return GenerativeQA(engine, wanted, questions, no_answer=extraction.no_answer)


def _extractive(
    model: RowModelFlags,
    questions: QuestionSource,
    extraction: ExtractionFlags,
    writing: WritingFlags,
) -> ExtractiveQA:
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.qa.extractive import ExtractiveQA
    from llmkit.tasks.qa.spans import AnswerOptions

    for shown in writing.given():
        raise InputError(f"{shown} is for chat models; an extractive model selects its answers from the text")
    wanted = AnswerOptions(**extraction.values())
    if writing.decoding.top_k is not None:
        wanted = dataclasses.replace(wanted, top_k=writing.decoding.top_k)
    spec, cluster = model.spec(task="question-answering", verb="qa"), model.on_cluster
    if cluster is None:
        return ExtractiveQA(load_model(spec), wanted, questions)
    loaded = load_model(dataclasses.replace(spec, device="cpu", dtype="auto"))  # because it tokenizes
    from functools import partial

    from llmkit.cluster.open import open_pool
    from llmkit.cluster.reader import WorkerReader

    pool = open_pool(partial(WorkerReader, spec, wanted), cluster, notice=console.notice)
    return ExtractiveQA(loaded, wanted, questions, workers=pool)


def _is_extractive_qa(spec: ModelSpec) -> bool:
    from llmkit.cli.common.loading import quick_imports

    with quick_imports():
        from llmkit.runtime.load import is_extractive_qa
    return is_extractive_qa(spec)


def _report_seed(task: Task[Any], seed: int | None) -> None:
    from llmkit.tasks.qa.generative import GenerativeQA

    if isinstance(task, GenerativeQA):
        rows.report_seed(task.run_state, sampling=not task.generation.sampling.greedy)
    else:
        rows.report_unused_seed(seed, "an extractive model selects its answers from the text")
