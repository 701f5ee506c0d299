"""`llmkit generate`: continue a prompt, or a file of prompts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.arguments import open_argument
from llmkit.cli.common.engine_flags import TextModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.row_flags import DetailFlags
from llmkit.errors import RowError

if TYPE_CHECKING:
    from llmkit.records.rows import Row
    from llmkit.tasks.generation import Generation


EXAMPLES = [
    'llmkit generate "Once upon a time"',
    "llmkit generate --input rows.csv --template 'One day, {name} found' -o out.csv",
]


@options.expand
def run(
    *,
    text: Annotated[
        str | None,
        argument("TEXT|FILE", help="The prompt, or a file of text. Without it, --input or stdin is read."),
    ] = None,
    model: TextModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    forms: FormFlags,
    details: DetailFlags,
    truncate: options.Truncate = None,
    chat: Annotated[
        bool | None,
        flag(
            "--chat/--no-chat",
            help="Put the prompt into the model's chat template, or do not.",
            default="--chat if the model has one",
            group="Chat",
        ),
    ] = None,
    system: options.System = None,
    full_text: Annotated[bool, flag("--full-text", help="Print the prompt before its continuation.")] = False,
    messages: options.MessageFlags,
) -> None:
    """Continue a prompt, or a file of prompts, with a language model."""
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.tasks.details import detail_columns

    wanted = GenerationOptions(
        **decoding.values(),
        seed=model.seed,
        truncate=truncate,
        chat=chat,
        system=system,
        full_text=full_text,
        **forms.values(),
        **details.values(),
    )
    details.to_rows(outputs)
    rows.check_output(outputs)
    source, single = open_argument(text, inputs, field="prompt")
    forms.check_rows(single=single)
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.generation import Generation

    engine = open_engine(model.spec(task="text-generation", verb="generate"))
    generation = Generation(engine, wanted, field=inputs.field, template=inputs.template)
    rows.report_seed(generation.run_state, sampling=not generation.sampling.greedy)
    try:
        if single and outputs.output is None and not outputs.json and wanted.num_return_sequences == 1:
            row = next(iter(source))
            if row.error is not None:
                raise RowError(row.where, row.error)
            _stream(generation, row)
        else:
            answers = generation.prompts.chat
            rows.run_rows(
                generation,
                source,
                outputs,
                verb="generate",
                field="generated_text",
                answers=answers,
                single=single,
                more=detail_columns(wanted),
            )
    finally:
        rows.report_shortened(generation.prompts)
        rows.report_cut(generation)


def _stream(generation: Generation, row: Row) -> None:
    """Write one answer to stdout as it is written; a reasoning model's thoughts go to stderr."""
    prompt = generation.prompts.prepare_one(row.data["prompt"], key=row.index, where=row.where)
    completes = not generation.prompts.chat
    if completes and generation.options.full_text:
        print(prompt.text, end="", flush=True)
    elif completes and sys.stdout.isatty() and sys.stderr.isatty() and not console.state.quiet:
        # Shown on the terminal only: stdout holds the model's text and nothing else.
        console.dim(prompt.text or "")

    begun = completes

    def show(piece: str, is_reasoning: bool) -> None:
        nonlocal begun
        if is_reasoning:
            console.say(piece, end="")
            return
        # Many models begin an answer with the space or the line break that their template leaves open.
        piece = piece if begun else piece.lstrip()
        begun = begun or bool(piece)
        print(piece, end="", flush=True)

    generation.details_of(generation.stream(prompt, show))
    print(flush=True)
