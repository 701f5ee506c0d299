"""`llmkit explain`: score the words of a text by their contribution to a prediction."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options, progress, rows
from llmkit.cli.common.arguments import open_argument
from llmkit.cli.common.options import argument, flag
from llmkit.cli.explain.flags import ExplainedFlags, MethodFlags
from llmkit.cli.explain.show import ReportRows, render, show
from llmkit.errors import RowError
from llmkit.records.task import fields_of_one

if TYPE_CHECKING:
    from llmkit.insight.explanation.options import ExplainOptions
    from llmkit.runtime.load import LoadedModel


EXAMPLES = [
    'llmkit explain "Tom threw the ball. Lily caught the" --target ball',
    'llmkit explain --task translate --from en --to de "A dog." --report dog.html',
]


@options.expand
def run(
    *,
    text: Annotated[
        str | None,
        argument("TEXT|FILE", help="The text, or a file of text. Without it, --input or stdin is read."),
    ] = None,
    wanted: ExplainedFlags,
    method: MethodFlags,
    report: Annotated[
        Path | None,
        flag(
            "--report",
            metavar="FILE",
            help="Write an HTML page with the scores; --overwrite replaces it.",
            default="none",
        ),
    ] = None,
    model: options.MeasuredModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    chat: Annotated[
        bool | None,
        flag(
            "--chat/--no-chat",
            help="Apply the model's chat template to the text, or do not.",
            default="--chat if the model has one",
            group="Chat",
        ),
    ] = None,
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Compute the contribution of each word of a text to a model's prediction."""
    from llmkit.insight.explanation.options import ExplainOptions

    asked = ExplainOptions(
        **wanted.values(), **method.values(), chat=chat, system=system, seed=model.seed or 0
    )
    page = ReportRows(report, replaces=outputs.overwrite or outputs.resume)
    if report is not None and outputs.output is None:
        outputs = dataclasses.replace(outputs, overwrite=False)  # it was about the page
    rows.check_output(outputs)
    source, single = open_argument(text, inputs, field="text")
    loaded = _load(model, asked)
    from llmkit.insight.explanation.task import FIELD, ExplanationTask

    task = ExplanationTask(
        loaded,
        asked,
        field=inputs.field,
        template=inputs.template,
        target_field=wanted.target_field,
        foil_field=wanted.foil_field,
        question_field=wanted.question_field,
        on_result=page.add,
    )
    if single and wanted.has_columns():
        console.notice("columns apply to rows of a file: give it with --input")
    try:
        if single and outputs.output is None and not outputs.json:
            row = next(iter(source))
            if row.error is not None:
                raise RowError(row.where, row.error)
            with progress.waiting("explaining"):
                fields = fields_of_one(task, row, task.budget(None))
            show(fields[FIELD])
            return
        rows.run_rows(
            task,
            source,
            outputs,
            verb="explain",
            field=FIELD,
            render=lambda row, failure: render(row, failure, outputs.result_field or FIELD),
            single=single,
        )
    finally:
        page.finish()


def _load(model: options.ModelFlags, asked: ExplainOptions) -> LoadedModel:
    """Load the model in float32, with gradients; in lower precision the scores would not add up."""
    from llmkit.cli.common.loading import load_model, quick_imports

    spec = model.spec(task="text-generation", verb=asked.task)
    if spec.dtype == "auto":
        spec = dataclasses.replace(spec, dtype="float32")
    if asked.task == "qa":
        with quick_imports():
            from llmkit.runtime.load import is_extractive_qa
        extractive = dataclasses.replace(spec, task="question-answering")
        spec = extractive if is_extractive_qa(extractive) else spec
    return load_model(spec)
