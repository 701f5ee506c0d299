"""`llmkit generate`: continue a prompt, or a file of prompts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.arguments import open_argument
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.row_flags import DetailFlags
from llmkit.errors import InputError, OptionError, RowError

if TYPE_CHECKING:
    from llmkit.records.read import RowSource
    from llmkit.tasks.generation import Generation
    from llmkit.tasks.infill import Infilling
    from llmkit.tasks.prompts import Prompt


EXAMPLES = [
    'llmkit generate "Once upon a time"',
    'llmkit generate "Tom is" --choice happy,sad',
    "llmkit generate --input rows.csv --template 'One day, {name} found' -o out.csv",
]


@dataclass
class GapFlags:
    """The texts around a gap, which the model fills."""

    GROUP = "Fill in the middle"

    prefix: Annotated[
        Path | None,
        flag(
            "--prefix",
            metavar="FILE",
            help="Text before the gap; - is stdin. It needs a code model that supports it.",
            default="none",
        ),
    ] = None
    suffix: Annotated[
        Path | None,
        flag("--suffix", metavar="FILE", help="Text after the gap; - is stdin.", default="none"),
    ] = None


@options.expand
def run(
    *,
    text: Annotated[
        str | None,
        argument("TEXT|FILE", help="The prompt, or a file of text. Without it, --input or stdin is read."),
    ] = None,
    model: RowModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    gap: GapFlags,
    forms: FormFlags,
    details: DetailFlags,
    truncate: options.Truncate = None,
    chat: Annotated[
        bool | None,
        flag(
            "--chat/--no-chat",
            help="Apply the model's chat template to the prompt, or do not.",
            default="--chat if the model has one",
            group="Chat",
        ),
    ] = None,
    system: options.System = None,
    continue_final_message: options.Continue = False,
    full_text: Annotated[bool, flag("--full-text", help="Print the prompt before its continuation.")] = False,
    messages: options.MessageFlags,
) -> None:
    """Continue a prompt, or a file of prompts, with a language model."""
    from llmkit.tasks.decoding import GenerationOptions

    wanted = GenerationOptions(
        **decoding.values(),
        seed=model.seed,
        truncate=truncate,
        chat=chat,
        system=system,
        full_text=full_text,
        **forms.values(),
        **details.values(),
        continue_final_message=continue_final_message,
    )
    details.to_rows(outputs)
    rows.check_output(outputs)
    texts = _texts(gap, text, inputs)
    source, single = open_argument(text, inputs, field="prompt") if texts is None else _gap_row(*texts)
    forms.check_rows(single=single)
    if single and continue_final_message and texts is None:
        raise OptionError(
            "continue_final_message", "needs conversations: give rows of `messages` with `input`"
        )
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.generation import Generation
    from llmkit.tasks.infill import Infilling

    engine = open_engine(model.spec(task="text-generation", verb="generate"), model.on_cluster)
    if texts is None:
        _run(
            Generation(engine, wanted, field=inputs.field, template=inputs.template), source, outputs, single
        )
    else:
        _run(Infilling(engine, wanted), source, outputs, single)


def _texts(gap: GapFlags, text: str | None, inputs: options.InputFlags) -> tuple[str, str] | None:
    """Read the texts around a gap; None if there is none."""
    paths = (gap.prefix, gap.suffix)
    if paths == (None, None):
        return None
    if text is not None or inputs.input is not None:
        raise InputError("a prompt and --prefix or --suffix were given: give one of them")
    for given in options.given(inputs, but=["encoding"]):
        raise InputError(f"{given} applies to rows or a prompt: omit it with --prefix and --suffix")
    if list(map(str, paths)).count("-") > 1:
        raise InputError("stdin can be read only once: for the prefix or for the suffix")
    before, after = (_text(path, inputs.encoding) for path in paths)
    return before, after


def _text(path: Path | None, encoding: str | None) -> str:
    from llmkit.records.read import open_text

    if path is None:
        return ""
    if str(path) == "-":
        return sys.stdin.buffer.read().decode(encoding or "utf-8-sig")
    with open_text(path, encoding=encoding) as file:
        return file.read().decode()


def _gap_row(prefix: str, suffix: str) -> tuple[RowSource, bool]:
    from llmkit.records.read import rows_of

    source = rows_of([prefix], field="prefix", name="prefix")
    return source.through(
        lambda found: (replace(row, data={**row.data, "suffix": suffix}) for row in found)
    ), True


def _run(task: Generation | Infilling, source: RowSource, outputs: options.OutputFlags, single: bool) -> None:
    """Answer one prompt as it is written, or each row."""
    from llmkit.tasks.details import detail_columns
    from llmkit.tasks.generation import Generation

    generation = task if isinstance(task, Generation) else task.generation
    wanted = task.options
    rows.report_seed(task.run_state, sampling=not generation.sampling.greedy)
    try:
        if single and outputs.output is None and not outputs.json and wanted.num_return_sequences == 1:
            row = next(iter(source))
            if row.error is not None:
                raise RowError(row.where, row.error)
            if isinstance(task, Generation):
                prompt = task.prompts.prepare_one(row.data["prompt"], key=row.index, where=row.where)
                _stream(task, prompt)
            else:
                _fill(task, row.data["prefix"], row.data["suffix"])
        else:
            rows.run_rows(
                task,
                source,
                outputs,
                verb="generate",
                field="generated_text",
                answers=generation.prompts.chat,
                single=single,
                more=detail_columns(wanted),
            )
    finally:
        rows.report_shortened(generation.prompts)
        rows.report_cut(generation)


def _fill(task: Infilling, prefix: str, suffix: str) -> None:
    """Write the text of a gap to stdout as it is generated, or the whole text, exact to the character."""
    prompt = task.prompt(prefix, suffix)
    whole = task.options.full_text
    sys.stdout.write(prefix if whole else "")
    result = task.generation.stream(prompt, lambda piece, _: print(piece, end="", flush=True))
    task.generation.details_of(result)
    sys.stdout.write(suffix if whole else "\n")
    sys.stdout.flush()


def _stream(generation: Generation, prompt: Prompt) -> None:
    """Write one answer to stdout as it is generated; a reasoning model's thoughts go to stderr."""
    completes = not generation.prompts.chat
    if completes and generation.options.full_text:
        print(prompt.text, end="", flush=True)
    elif completes and sys.stdout.isatty() and sys.stderr.isatty() and not console.state.quiet:
        # Shown on the terminal only: stdout gets the model's text and nothing else.
        console.dim(prompt.text or "")

    begun = completes

    def show(piece: str, is_reasoning: bool) -> None:
        nonlocal begun
        if is_reasoning:
            console.say(piece, end="")
            return
        # Many models begin an answer with a space or a line break, because their template does not end in
        # one.
        piece = piece if begun else piece.lstrip()
        begun = begun or bool(piece)
        print(piece, end="", flush=True)

    generation.details_of(generation.stream(prompt, show))
    print(flush=True)
