"""`llmkit generate`: continue a prompt, or a file of prompts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.options import argument, flag

if TYPE_CHECKING:
    from llmkit.records.rows import Row
    from llmkit.tasks.generation import Generation


EXAMPLES = [
    'llmkit generate "Once upon a time"',
    "llmkit generate --input examples/prompts.jsonl --template 'One day, {name} found a' -o stories.jsonl",
]


@options.expand
def run(
    *,
    text: Annotated[
        str | None, argument("TEXT", help="The prompt. Without it, --input or stdin is read.")
    ] = None,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
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

    wanted = GenerationOptions(
        **decoding.values(), seed=model.seed, truncate=truncate, chat=chat, system=system, full_text=full_text
    )
    if rows.check_output(outputs):
        return
    source, single = rows.open_source(text, inputs, field="prompt")
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.generation import Generation

    loaded = load_model(model.spec(task="text-generation", verb="generate"))
    generation = Generation(loaded, wanted, field=inputs.field, template=inputs.template)
    if generation.decoding.sampling and model.seed is None:
        console.detail(f"seed {generation.seed}: drawn")
    if single and outputs.output is None and not outputs.json and wanted.num_return_sequences == 1:
        _stream(generation, next(iter(source)))
    else:
        rows.run_rows(generation, source, outputs, verb="generate", field="generated_text")


def _stream(generation: Generation, row: Row) -> None:
    """Write one answer to stdout as it is made; a reasoning model's thoughts go to stderr."""
    (prompt,) = generation.prepare([row])
    if isinstance(prompt, Exception):
        raise prompt
    completes = not generation.prompts.chat
    if completes and generation.options.full_text:
        print(prompt.payload.text, end="", flush=True)
    elif completes and sys.stdout.isatty() and sys.stderr.isatty() and not console.state.quiet:
        # For the eye only: whoever reads stdout gets what the model wrote and nothing else.
        console.dim(prompt.payload.text)

    def show(piece: str, is_reasoning: bool) -> None:
        if is_reasoning:
            console.say(piece, end="")
        else:
            print(piece, end="", flush=True)

    generation.stream(prompt, show)
    print(flush=True)
