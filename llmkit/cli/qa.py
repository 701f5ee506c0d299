"""`llmkit qa`: answer questions from a text."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, progress, rows, streams
from llmkit.cli.common.options import flag
from llmkit.errors import InputError
from llmkit.records.task import Task, fields_of_one

if TYPE_CHECKING:
    from llmkit.records.read import RowSource
    from llmkit.runtime.spec import ModelSpec
    from llmkit.tasks.qa.extractive import ExtractiveQA
    from llmkit.tasks.qa.questions import QuestionSource
    from llmkit.text.passages import ContextDocument


@dataclass
class QuestionFlags:
    """The questions, and the texts with the answers."""

    GROUP = "Question"

    question: Annotated[
        list[str] | None,
        flag("--question", metavar="TEXT", help="A question; may be repeated.", default="--input, or stdin"),
    ] = None
    context: Annotated[
        list[str] | None,
        flag(
            "--context",
            metavar="FILE",
            help="Text that holds the answer: a file, a folder, or - for stdin; may be repeated.",
            default="stdin, or a column of the rows",
        ),
    ] = None
    context_field: Annotated[
        str, flag("--context-field", metavar="NAME", help="Column of the context, in rows.")
    ] = "context"
    passages: Annotated[
        int | None,
        flag(
            "--passages",
            metavar="N",
            help="Read only the N passages that match a question best.",
            default="all of one text, 20 of several",
        ),
    ] = None


@dataclass
class ExtractionFlags:
    """Options of an extractive model's answers. None takes the default of `AnswerOptions`."""

    GROUP = "Extractive models"

    no_answer: Annotated[
        bool, flag("--no-answer", help="Give an empty answer where the text has none, as in SQuAD 2.")
    ] = False
    no_answer_threshold: Annotated[
        float | None,
        flag(
            "--no-answer-threshold",
            metavar="P",
            help="Give an empty answer if its probability is above P.",
            default="likelier than every answer",
        ),
    ] = None
    max_answer_tokens: Annotated[
        int | None,
        flag("--max-answer-tokens", metavar="N", help="Most tokens of an answer.", default="15"),
    ] = None
    window: Annotated[
        int | None,
        flag("--window", metavar="N", help="Tokens that the model sees at a time.", default="384"),
    ] = None
    doc_stride: Annotated[
        int | None,
        flag("--doc-stride", metavar="N", help="Tokens that neighboring windows share.", default="128"),
    ] = None

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `tasks.qa.spans.AnswerOptions`."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def refuse(self) -> None:
        """Refuse the flags that a chat model cannot use."""
        for shown in options.given(self, but=["no_answer"]):
            raise InputError(f"{shown} is for extractive models; a chat model writes one answer")


@dataclass
class AnswerDecodingFlags(options.DecodingFlags):
    """Decoding of a chat model's answers; an extractive model uses `top_k` alone."""

    top_k: Annotated[
        int | None,
        flag(
            "--top-k",
            metavar="K",
            help="Chat models: sample from the K likeliest tokens; 0 takes all. Extractive models: give the"
            " K best answers.",
            default="the model's, or 50; 1 answer",
        ),
    ] = None


EXAMPLES = [
    'llmkit qa --question "Who came out of the grass?" --context examples/story.txt',
    'llmkit qa -m my-reader --question "Where is the key?" --context notes/',
]


@options.expand
def run(
    *,
    asked: QuestionFlags,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    extraction: ExtractionFlags,
    decoding: AnswerDecodingFlags,
    messages: options.MessageFlags,
) -> None:
    """Answer questions from a text, with an extractive or a chat model."""
    from llmkit.tasks.qa.questions import QuestionSource

    rows.check_output(outputs)
    source, documents, single = _open(asked, inputs)
    questions = QuestionSource(
        field=inputs.field,
        template=inputs.template,
        context_field=asked.context_field,
        documents=documents,
        passages=asked.passages,
    )
    task = load_task(model, questions, extraction, decoding)
    try:
        if single and outputs.output is None and not outputs.json:
            _answer_one(task, source, several=len(documents) > 1)
        else:
            rows.run_rows(task, source, outputs, verb="qa", field="answer")
    finally:
        _report(task)


def _open(asked: QuestionFlags, inputs: options.InputFlags) -> tuple[RowSource, list[ContextDocument], bool]:
    """Open the questions and their documents; the third result is True if there is one question only."""
    from llmkit.records.read import rows_of
    from llmkit.tasks.qa.questions import read_documents

    if asked.question and inputs.input is not None:
        raise InputError("--question and --input were given: give one of them")
    paths = list(asked.context or ())
    if asked.question and not paths:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("no context: name it with --context FILE, or give it on stdin")
        paths = ["-"]
    if paths.count("-") + (inputs.input == "-") > 1:
        raise InputError("stdin can be read once: --input and --context cannot both be -")
    if "-" in paths and not asked.question and inputs.input is None:
        raise InputError("no question: give it with --question or --input")
    if not asked.question and inputs.input is None and not paths:
        raise InputError("no question: give --question TEXT with --context FILE, or rows with --input FILE")
    documents = read_documents(paths, console.notice, encoding=inputs.encoding)
    if not asked.question:
        source, single = rows.open_source(None, inputs, field="question")
        return source, documents, single
    return rows_of(asked.question, field="question", name="question"), documents, len(asked.question) == 1


def load_task(
    model: options.ModelFlags,
    questions: QuestionSource,
    extraction: ExtractionFlags,
    decoding: options.DecodingFlags,
) -> Task[Any]:
    """Return the task of the model: extractive or generative, by its config.

    Raises:
        InputError: a flag that is for the other kind of model, or a value out of range.
    """
    if _is_extractive_qa(model.spec(task="question-answering", verb="qa")):
        return _extractive(model, questions, extraction, decoding)
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.tasks.qa.generative import GenerativeQA

    extraction.refuse()
    wanted = GenerationOptions(**decoding.values(), seed=model.seed)
    engine = open_engine(model.spec(task="text-generation", verb="qa"))
    task = GenerativeQA(engine, wanted, questions, no_answer=extraction.no_answer)
    rows.report_seed(task.run_state, sampling=not task.generation.sampling.greedy)
    return task


def _extractive(
    model: options.ModelFlags,
    questions: QuestionSource,
    extraction: ExtractionFlags,
    decoding: options.DecodingFlags,
) -> ExtractiveQA:
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.qa.extractive import ExtractiveQA
    from llmkit.tasks.qa.spans import AnswerOptions

    for shown in options.given(decoding, but=["top_k"]):
        raise InputError(f"{shown} is for chat models; an extractive model cuts its answers out")
    wanted = AnswerOptions(**extraction.values())
    if decoding.top_k is not None:
        wanted = dataclasses.replace(wanted, top_k=decoding.top_k)
    return ExtractiveQA(load_model(model.spec(task="question-answering", verb="qa")), wanted, questions)


def _is_extractive_qa(spec: ModelSpec) -> bool:
    from llmkit.cli.common.loading import quick_imports

    with quick_imports():
        from llmkit.runtime.load import is_extractive_qa
    return is_extractive_qa(spec)


def _answer_one(task: Task[Any], source: RowSource, *, several: bool) -> None:
    """Write the answers to one question, one a line; from several texts with file and line, as grep does."""
    from llmkit.tasks.qa.extractive import ExtractiveQA

    row = next(iter(source))
    with progress.Progress("qa", total=1.0) as bar:
        if isinstance(task, ExtractiveQA):
            task.progress = lambda done, total: bar.update(done / total, f"{done} of {total} windows")
        fields = fields_of_one(task, row, task.budget(None))
    listed = fields if isinstance(fields["answer"], list) else {k: [v] for k, v in fields.items()}
    for i, answer in enumerate(listed["answer"]):
        line = " ".join(answer.split())
        known = several and listed["file"][i] is not None
        file = streams.one_line(str(listed["file"][i]))  # a line break in a name would forge an answer
        print(f"{file}:{listed['line'][i]}: {line}" if known else line)
        if listed["score"][i] is not None:
            console.detail(
                f"score {listed['score'][i]:.4f}, characters {listed['start'][i]} to {listed['end'][i]}"
            )


def _report(task: Task[Any]) -> None:
    """Report shortened contexts and wrong quotations of a chat model."""
    from llmkit.tasks.qa.generative import GenerativeQA

    if not isinstance(task, GenerativeQA):
        return
    if task.shortened:
        console.notice(f"contexts longer than the model sees, cut to the passages that fit: {task.shortened}")
    if task.misquoted:
        console.notice(f"answers without a quotation from the context: {task.misquoted}")
