"""`llmkit embed`: a vector for a text, or for each row of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.arguments import open_argument
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.row_flags import Details, write_rows

if TYPE_CHECKING:
    from llmkit.cli.common.rows import Render

EXAMPLES = [
    'llmkit embed -m sentence-transformers/all-MiniLM-L6-v2 "A lovely day."',
    "llmkit embed -m BAAI/bge-small-en-v1.5 --input texts.txt -o vectors.parquet",
]


@options.expand
def run(
    *,
    text: Annotated[
        str | None,
        argument("TEXT|FILE", help="A text, or a file of text. Without it, --input or stdin is read."),
    ] = None,
    pooling: Annotated[
        str | None,
        flag(
            "--pooling",
            metavar="mean|cls|last",
            help="Pooling: mean over the tokens, first token (cls), or last token.",
            default="the model's own, or mean",
        ),
    ] = None,
    normalize: Annotated[
        bool | None,
        flag(
            "--normalize/--no-normalize",
            help="Normalize embeddings to length 1, or do not.",
            default="as modules.json says, or --normalize",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        flag(
            "--prompt",
            metavar="NAME",
            help="Prepend this prompt of the model to each text, such as query.",
            default="the model's default prompt, if it has one",
        ),
    ] = None,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    details: Details = False,
    messages: options.MessageFlags,
) -> None:
    """Compute the embedding of a text, or of each row of a file, with an encoder."""
    write_rows(outputs, wanted=details)
    rows.check_output(outputs)
    rows.report_unused_seed(model.seed, "embeddings do not use random numbers")
    spec = model.spec(task="feature-extraction", verb="embed")
    source, single = open_argument(text, inputs, field="text")
    from llmkit.cli.common.loading import load_model
    from llmkit.tasks.embeddings.embed import Embedding
    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

    embedder = SentenceEmbedder(load_model(spec), pooling=pooling, normalize=normalize, prompt=prompt)
    modules = embedder.modules
    made = f"{modules.pooling} pooling{', length 1' if modules.normalize else ''}"
    described = "described in modules.json" if modules.described else "without a modules.json"
    console.detail(f"{made}, at most {embedder.window} tokens, {described}")
    task = Embedding(embedder, field=inputs.field, template=inputs.template, details=details)
    more = ("tokens",) if details else ()
    try:
        rows.run_rows(
            task,
            source,
            outputs,
            verb="embed",
            field="embedding",
            render=_line(outputs.result_field or "embedding"),
            single=single,
            more=more,
        )
    finally:
        if embedder.cut:
            texts = console.count(embedder.cut, "text")
            console.notice(f"{texts} longer than {embedder.window} tokens: only the beginning is embedded")


def _line(field: str) -> Render:
    """Return a function that shows a vector as a JSON list on a line; without a vector, an empty line."""

    def show(row: dict[str, Any], failure: str | None) -> str:
        if failure is not None:
            console.error(failure)
            return ""
        return json.dumps(row[field])

    return show
