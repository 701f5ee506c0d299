"""`llmkit summarize`: summarize a text or document of any length, several of them, or a file of texts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, documents, options, progress, rows, streams
from llmkit.cli.common.arguments import open_argument
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.row_flags import Details, write_rows
from llmkit.errors import InputError, RowError
from llmkit.records.task import Task, fields_of_one

if TYPE_CHECKING:
    from llmkit.records.read import RowSource
    from llmkit.records.rows import Row
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.extractive import ExtractiveSummarization, SummaryLength


EXAMPLES = [
    "llmkit summarize examples/story.txt --max-words 40",
    "llmkit summarize README.md report.pdf docs/ --style bullets",
    "llmkit summarize -m facebook/bart-large-cnn report.docx",
]


@options.expand
def run(
    *,
    texts: Annotated[
        list[str] | None,
        argument(
            "TEXT|FILE...",
            help="A text, documents, or folders (Markdown, HTML, PDF, Word, OpenDocument, EPUB,"
            " subtitles, plain text); - is stdin. Without it, --input or stdin is read.",
        ),
    ] = None,
    model: RowModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    extractive: Annotated[
        bool,
        flag(
            "--extractive",
            help="Select sentences of the text; with -m, rank them by the model's embeddings.",
            default="without -m",
        ),
    ] = False,
    min_words: Annotated[
        int | None,
        flag("--min-words", metavar="N", help="Minimum number of words in a summary.", default="none"),
    ] = None,
    max_words: Annotated[
        int | None,
        flag("--max-words", metavar="N", help="Maximum number of words in a summary.", default="none"),
    ] = None,
    ratio: Annotated[
        float | None,
        flag("--ratio", metavar="X", help="Share of the text's words in a summary, 0 to 1.", default="none"),
    ] = None,
    strategy: Annotated[
        str | None,
        flag(
            "--strategy",
            metavar="map-reduce|refine|truncate",
            help="Method for a text longer than the model's context: map-reduce summarizes its parts,"
            " then their summaries; refine reads one part at a time, with the summary so far; truncate"
            " reads only the beginning.",
            default="map-reduce",
        ),
    ] = None,
    style: Annotated[
        str | None,
        flag(
            "--style",
            metavar="paragraph|bullets",
            help="Format of the summary: a paragraph, or a list with one sentence per line. A model needs a"
            " chat template for bullets.",
            default="paragraph",
        ),
    ] = None,
    window: Annotated[
        int | None,
        flag(
            "--window",
            metavar="N",
            help="Maximum number of text tokens in a part.",
            default="the model's context length",
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        flag(
            "--prefix",
            metavar="TEXT",
            help="Text before the model's input.",
            default="the model's own, such as T5's 'summarize: '",
        ),
    ] = None,
    format: Annotated[
        str | None,
        flag(
            "--format",
            metavar="NAME",
            help="Format of the documents, or of stdin: md, html, pdf, docx, odt, epub, srt, vtt, txt.",
            default="by the file's name",
        ),
    ] = None,
    details: Details = False,
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Summarize texts and documents, with a model or by selecting sentences."""
    from llmkit.tasks.summarization.extractive import SummaryLength
    from llmkit.tasks.summarization.options import STRATEGIES, SummaryOptions

    length = SummaryLength(min_words, max_words, ratio)
    about_model = {"strategy": strategy, "window": window, "prefix": prefix, "system": system}
    about_model["details"] = details or None
    write_rows(outputs, wanted=details)
    if extractive or model.unnamed:
        refuse_model_flags(model, decoding, about_model, extractive=extractive)
        SummaryOptions(style=style)
        rows.check_output(outputs)
        rows.report_unused_seed(model.seed, "the summary is sentences of the text")
        opened = _open(texts or [], inputs, format)
        _pick_sentences(opened, model, inputs, outputs, length, bullets=style == "bullets")
        return
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.model_settings import with_own_limit

    wanted = SummaryOptions(length, strategy or STRATEGIES[0], style, window, prefix)
    generation = GenerationOptions(**decoding.values(), seed=model.seed, system=system, details=details)
    rows.check_output(outputs)
    opened = _open(texts or [], inputs, format)
    from llmkit.cli.common.loading import open_engine

    engine = open_engine(model.spec(task="text-generation"), model.on_cluster)
    generation = with_own_limit(generation, length, engine)
    summarization = Summarization(engine, generation, wanted, field=inputs.field, template=inputs.template)
    rows.report_seed(summarization.run_state, sampling=not summarization.generation.sampling.greedy)
    console.detail(f"{summarization.room} tokens of text fit with the request and the answer")
    with _Steps(summarization, single=opened.single):
        _run(summarization, opened, outputs)


def refuse_model_flags(
    model: RowModelFlags,
    decoding: options.DecodingFlags,
    about_model: dict[str, Any],
    *,
    extractive: bool,
) -> None:
    """Refuse flags for a model that writes if sentences are selected, with or without a model."""
    given = [f"--{name}" for name, value in about_model.items() if value is not None]
    given += options.given(decoding)
    if extractive and given:
        raise InputError(
            f"{', '.join(given)}: applies to a model that writes; --extractive selects sentences; omit one"
        )
    if model.unnamed:
        given += options.given(model, but=["seed", "offline"])
    if given:
        raise InputError(
            f"{', '.join(given)}: applies only to a model; give one with -m/--model (see `llmkit models`)"
        )


@dataclass
class _Opened:
    """Texts to summarize.

    Attributes:
        source: rows with texts, or with the names of files.
        single: there is only one text.
        files: the rows name files.
        format: format of all files; None uses the format of each file's name.
        encoding: encoding of text files.
    """

    source: RowSource
    single: bool
    files: bool = False
    format: str | None = None
    encoding: str | None = None


def _open(texts: list[str], inputs: options.InputFlags, format: str | None) -> _Opened:
    """Open the texts: a text, documents, stdin, or rows."""
    from llmkit.records.encodings import check_encoding
    from llmkit.records.read import has_rows, rows_of
    from llmkit.tasks.summarization.files import READ, file_rows, named_files, text_of_data, text_of_file

    check_encoding(inputs.encoding)
    if format is not None and format not in READ:
        raise InputError(f"--format {format}: use one of {', '.join(READ)}")
    on_stdin = texts in ([], ["-"])
    if not on_stdin and documents.are_files(texts):
        for given in options.given(inputs, but=["lines", "encoding", *(["limit"] if inputs.lines else [])]):
            raise InputError(f"{given}: applies to rows; omit it for documents")
        files, others = named_files(texts)
        if others:
            console.notice(f"skipped, because they are not documents: {console.count(len(others), 'file')}")
        rows_file = next((name for name in files if has_rows(name)), None)
        if rows_file is not None:
            raise InputError(f"{rows_file}: a file of rows; read it with --input")
        if inputs.lines:
            return _Opened(*open_argument(files[0], inputs, field="text"))
        if len(files) > 1:
            return _Opened(file_rows(files), False, files=True, format=format, encoding=inputs.encoding)
        return _Opened(rows_of([text_of_file(files[0], format, inputs.encoding)], name=files[0]), True)
    if on_stdin and format is not None and inputs.input is None:
        text = text_of_data(sys.stdin.buffer.read(), "stdin", format, inputs.encoding)
        return _Opened(rows_of([text], name="stdin"), True)
    if format is not None:
        raise InputError("--format: applies to documents; give a file, or give one on stdin")
    return _Opened(*open_argument(None if on_stdin else texts[0], inputs, field="text"))


def _pick_sentences(
    opened: _Opened,
    model: RowModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    length: SummaryLength,
    *,
    bullets: bool,
) -> None:
    """Summarize texts by their own sentences, compared by a model's embeddings if one is named."""
    from llmkit.tasks.summarization.extractive import ExtractiveSummarization

    task = ExtractiveSummarization(length, field=inputs.field, template=inputs.template, bullets=bullets)
    if model.unnamed:
        _run(task, opened, outputs)
    else:
        _run_embedded(task, model, opened, outputs)


def _run_embedded(
    task: ExtractiveSummarization,
    model: RowModelFlags,
    opened: _Opened,
    outputs: options.OutputFlags,
) -> None:
    model.refuse_cluster("is for models that write")
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

    task.embedder = embedder = SentenceEmbedder(load_model(model.spec(task="feature-extraction")))
    with progress.Progress("summarize", total=1.0) as bar:
        if opened.single:
            embedder.progress = lambda done, total: bar.update(done / total, f"{done} of {total} sentences")
        _run(task, opened, outputs)
    if embedder.cut:
        sentences = "1 sentence" if embedder.cut == 1 else f"{embedder.cut} sentences"
        console.detail(
            f"longer than the {embedder.window} tokens of the model's context, compared by their beginning:"
            f" {sentences}"
        )


def _run(task: Task[Any], opened: _Opened, outputs: options.OutputFlags) -> None:
    if opened.single and outputs.output is None and not outputs.json:
        _one(task, next(iter(opened.source)), outputs)
    elif opened.files:
        from llmkit.tasks.summarization.files import SummarizedFiles

        files = SummarizedFiles(task, opened.format, opened.encoding)
        rows.run_rows(
            files, opened.source, outputs, verb="summarize", field="summary_text", render=_under_its_name
        )
    else:
        rows.run_rows(task, opened.source, outputs, verb="summarize", field="summary_text")


def _under_its_name(row: dict[str, Any], failure: str | None) -> str:
    """Return a file's summary below its name, in the form of `head` for several files."""
    name = streams.one_line(str(row["file"]))
    if failure is not None:
        console.error(f"{name}: {failure}")
    return f"==> {name} <==\n{'' if failure is not None else row['summary_text']}\n"


def _one(task: Task[Any], row: Row, outputs: options.OutputFlags) -> None:
    """Summarize one text and print it; a reasoning model's thoughts go to stderr."""
    if row.error is not None:
        raise RowError(row.where, row.error)
    fields = fields_of_one(task, row, task.budget(outputs.rows_per_batch()))
    if "reasoning" in fields:
        console.say(fields["reasoning"])
    print(fields["summary_text"], flush=True)


class _Steps:
    """Reporter of the number of parts: during the work for one text, at the end for several."""

    def __init__(self, task: Summarization, *, single: bool) -> None:
        self.task = task
        self.single = single
        self._level = 0
        self._bar: progress.Progress | None = None
        if single:
            task.on_parts = self._parts
            task.progress = self._progress

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._close()
        task = self.task
        if kind is not None or not task.long_texts:
            return
        if task.options.strategy == "truncate":
            texts = "the text was" if self.single else f"{task.long_texts} texts were"
            console.notice(f"{texts} longer than {task.room} tokens; only the beginning was read")
        elif not self.single:
            console.notice(
                f"{task.long_texts} texts were longer than {task.room} tokens: {task.parts} parts in all"
            )

    def _parts(self, parts: int) -> None:
        self._close()
        self._level += 1
        if self._level > 1:
            console.notice(f"the summaries of the parts are also longer: {parts} parts")
        else:
            refine = self.task.options.strategy == "refine"
            how = "read one after another" if refine else "summarized, and their summaries combined"
            console.notice(f"the text is longer than {self.task.room} tokens: {parts} parts, {how}")
        self._bar = progress.Progress("summarize", total=1.0)

    def _progress(self, done: int, total: int) -> None:
        if self._bar is not None and self.task.options.strategy != "refine":
            self._bar.update(done / total, f"{done} of {total} parts")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
