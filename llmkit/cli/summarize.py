"""`llmkit summarize`: a summary of a text of any length, or of each of a file of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, progress, rows
from llmkit.cli.common.options import argument, flag
from llmkit.errors import InputError, RowError
from llmkit.records.task import Task, fields_of_one

if TYPE_CHECKING:
    from llmkit.records.read import RowSource
    from llmkit.records.rows import Row
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.extractive import ExtractiveSummarization, SummaryLength


EXAMPLES = [
    "llmkit summarize examples/story.txt --max-words 40",
    "llmkit summarize -m facebook/bart-large-cnn report.txt",
]


@options.expand
def run(
    *,
    file: Annotated[
        str | None,
        argument("FILE", help="A text file; - is stdin. Without it, --input or stdin is read."),
    ] = None,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    extractive: Annotated[
        bool,
        flag(
            "--extractive",
            help="Pick sentences of the text; with -m, weigh them by the model's embeddings.",
            default="without -m",
        ),
    ] = False,
    min_words: Annotated[
        int | None, flag("--min-words", metavar="N", help="Fewest words of a summary.", default="none")
    ] = None,
    max_words: Annotated[
        int | None, flag("--max-words", metavar="N", help="Most words of a summary.", default="none")
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
            help="How to read a text longer than the model's window: map-reduce summarizes its parts,"
            " then their summaries; refine reads part after part, each with the summary so far; truncate"
            " reads only the beginning.",
            default="map-reduce",
        ),
    ] = None,
    style: Annotated[
        str | None,
        flag(
            "--style",
            metavar="paragraph|bullets",
            help="Form of a chat model's summary.",
            default="paragraph",
            group="Chat",
        ),
    ] = None,
    window: Annotated[
        int | None,
        flag(
            "--window", metavar="N", help="Most tokens of text in a part.", default="all that the model sees"
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
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Summarize a text of any length, with a model or by its own sentences."""
    from llmkit.tasks.summarization.extractive import SummaryLength

    length = SummaryLength(min_words, max_words, ratio)
    about_model = {"strategy": strategy, "style": style, "window": window, "prefix": prefix, "system": system}
    if extractive or model.model is None:
        refuse_model_flags(model, decoding, about_model, extractive=extractive)
        rows.check_output(outputs)
        _pick_sentences(file, model, inputs, outputs, length)
        return
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.model_settings import with_own_limit
    from llmkit.tasks.summarization.options import STRATEGIES, SummaryOptions

    wanted = SummaryOptions(length, strategy or STRATEGIES[0], style, window, prefix)
    generation = GenerationOptions(**decoding.values(), seed=model.seed, system=system)
    rows.check_output(outputs)
    source, single = _open(file, inputs)
    from llmkit.cli.common.loading import open_engine

    engine = open_engine(model.spec(task="text-generation"))
    generation = with_own_limit(generation, length, engine)
    summarization = Summarization(engine, generation, wanted, field=inputs.field, template=inputs.template)
    rows.report_seed(summarization.run_state, sampling=not summarization.generation.sampling.greedy)
    console.detail(f"{summarization.room} tokens of text fit beside the request and the answer")
    with _Steps(summarization, single=single):
        _run(summarization, source, outputs, single=single)


def refuse_model_flags(
    model: options.ModelFlags,
    decoding: options.DecodingFlags,
    about_model: dict[str, Any],
    *,
    extractive: bool,
) -> None:
    """Refuse flags for a model that writes: it writes no picked sentences, if there is one at all."""
    given = [f"--{name}" for name, value in about_model.items() if value is not None]
    given += options.given(decoding)
    if extractive and given:
        raise InputError(
            f"{', '.join(given)}: about a model that writes; --extractive picks sentences; leave one out"
        )
    if model.model is None:
        given += options.given(model, but=["seed", "offline"])
    if given:
        raise InputError(f"{', '.join(given)}: about a model; name one with -m/--model (see `llmkit models`)")


def _open(file: str | None, inputs: options.InputFlags) -> tuple[RowSource, bool]:
    """Open the texts: a file's, stdin's, or rows; True if there is just one."""
    if file is None:
        give = "name a text file, give text on stdin, or rows with --input FILE (see --help)"
        return rows.open_source(None, inputs, field="text", give=give)
    from llmkit.records.read import open_rows

    if inputs.input is not None:
        raise InputError("a file and --input were given: give one of them")
    for name in ("field", "template", "whole"):
        if getattr(inputs, name):
            raise InputError(f"--{name} is about rows of a file: name it with --input")
    if file.lower().removesuffix(".gz").endswith((".jsonl", ".json", ".csv", ".tsv", ".parquet")):
        raise InputError(f"{file}: a file of rows, each with a text: give it with --input")
    if inputs.limit is not None and not inputs.lines:
        raise InputError("--limit is about rows: name a file with --input, or give --lines")
    source = open_rows(file, lines=inputs.lines, whole=not inputs.lines, encoding=inputs.encoding)
    return source.limited(inputs.limit), not inputs.lines


def _pick_sentences(
    file: str | None,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    length: SummaryLength,
) -> None:
    """Summarize texts by their own sentences, compared by a model's embeddings if one is named."""
    from llmkit.tasks.summarization.extractive import ExtractiveSummarization

    source, single = _open(file, inputs)
    task = ExtractiveSummarization(length, field=inputs.field, template=inputs.template)
    if model.model is None:
        _run(task, source, outputs, single=single)
    else:
        _run_embedded(task, model, source, outputs, single=single)


def _run_embedded(
    task: ExtractiveSummarization,
    model: options.ModelFlags,
    source: RowSource,
    outputs: options.OutputFlags,
    *,
    single: bool,
) -> None:
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.embeddings import SentenceEmbedder

    task.embedder = embedder = SentenceEmbedder(load_model(model.spec(task="feature-extraction")))
    with progress.Progress("summarize", total=1.0) as bar:
        if single:
            embedder.progress = lambda done, total: bar.update(done / total, f"{done} of {total} sentences")
        _run(task, source, outputs, single=single)
    if embedder.cut:
        sentences = "1 sentence" if embedder.cut == 1 else f"{embedder.cut} sentences"
        console.detail(
            f"longer than the {embedder.window} tokens that the model sees, compared by their beginning:"
            f" {sentences}"
        )


def _run(
    task: Task[Any],
    source: RowSource,
    outputs: options.OutputFlags,
    *,
    single: bool,
) -> None:
    if single and outputs.output is None and not outputs.json:
        _one(task, next(iter(source)), outputs)
    else:
        rows.run_rows(task, source, outputs, verb="summarize", field="summary_text")


def _one(task: Task[Any], row: Row, outputs: options.OutputFlags) -> None:
    """Summarize one text and print it; a reasoning model's thoughts go to stderr."""
    if row.error is not None:
        raise RowError(row.where, row.error)
    fields = fields_of_one(task, row, task.budget(outputs.rows_per_batch()))
    if "reasoning" in fields:
        console.say(fields["reasoning"])
    print(fields["summary_text"], flush=True)


class _Steps:
    """Reports how many parts were made: for one text as it goes, for many at the end."""

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
            console.notice(f"the parts' summaries are longer than that too: {parts} parts")
        else:
            refine = self.task.options.strategy == "refine"
            how = "read one after the other" if refine else "summarized and then put together"
            console.notice(f"the text is longer than {self.task.room} tokens: {parts} parts, {how}")
        self._bar = progress.Progress("summarize", total=1.0)

    def _progress(self, done: int, total: int) -> None:
        if self._bar is not None and self.task.options.strategy != "refine":
            self._bar.update(done / total, f"{done} of {total} parts")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
