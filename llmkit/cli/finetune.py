"""`llmkit finetune`: rows in, an adapter or a model's folder out."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, launch, options, upload
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.recipe_flags import (
    SECTIONS,
    RunFlags,
    TrainingDisplay,
    command,
    finished,
    flags_of,
    merged,
    recipe_of,
    show,
)
from llmkit.errors import InputError, OptionError
from llmkit.training.finetuning.recipe import FinetuneRecipe

if TYPE_CHECKING:
    from llmkit.training.finetuning.plan import FinetunePlan


EXAMPLES = [
    "llmkit finetune rows.jsonl",
    "llmkit finetune rows.jsonl -m my-model -o my-adapter --epochs 1",
]
_TEXTS = ("objective", "source_language", "target_language", "source_prefix", "mark_shared_words")
DATA = (*_TEXTS, "eval_split", "on_error", "limit", "encoding")
ADAPTER = ("lora", "lora_rank", "lora_alpha", "lora_dropout", "target_modules", "dora", "rslora", "qlora")


@flags_of(
    FinetuneRecipe,
    names={"lora": "--lora/--full", "source_language": "--from", "target_language": "--to"},
    but=("seed", "dtype"),
    groups={**SECTIONS, "Data": DATA, "Adapter": ADAPTER},
)
class FinetuneFlags:
    """Flags of a finetuning recipe; `ModelFlags` has its seed and dtype."""


@dataclass
class TrainedModelFlags(options.ModelFlags):
    """The model to train; its seed is the recipe's."""

    seed: Annotated[
        int | None,
        flag("--seed", metavar="N", help="Random seed.", default=str(FinetuneRecipe.seed)),
    ] = None


@options.expand
def run(
    *,
    data: Annotated[
        list[str],
        argument("DATA...", help="Rows: JSONL, JSON, CSV, Parquet or text files, or hf:dataset."),
    ],
    output: Annotated[
        Path | None,
        flag("-o", "--output", metavar="FOLDER", help="Folder of the result.", default="DATA-finetuned"),
    ] = None,
    model: TrainedModelFlags,
    recipe: FinetuneFlags,
    run: RunFlags,
    eval_data: Annotated[
        str | None,
        flag("--eval-data", metavar="FILE", help="Held-out rows.", default="a share of DATA", group="Data"),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        flag(
            "--map",
            metavar="ROLE=COLUMN",
            help="Column that plays a role: --map source=article target=gist.",
            default="by the columns' names",
            group="Data",
        ),
    ] = None,
    save_dtype: Annotated[
        str,
        flag(
            "--save-dtype",
            metavar="NAME",
            help="Dtype of a saved whole model: float32, bfloat16, float16, or auto, as it was stored.",
        ),
    ] = "auto",
    messages: options.MessageFlags,
) -> None:
    """Finetune a model on rows of examples: a LoRA adapter, or the whole model."""
    (run, recipe, model), more = merged(
        run,
        recipe,
        model,
        output=output,
        eval_data=eval_data,
        save_dtype=save_dtype,
        mapping=mapping or [],
    )
    files, pairs = _split_pairs(data, more["mapping"])
    launch.launch(run.processes)
    launch.mute_other_ranks()
    seed = {} if model.seed is None else {"seed": model.seed}
    chosen = recipe_of(FinetuneRecipe, recipe, mapping=pairs, dtype=model.dtype, **seed)
    _refuse_unused(chosen)
    spec = model.spec(task="text-generation", verb="generate")
    if run.dry_run:
        from llmkit.training.finetuning.plan import prepare

        with launch.report_once():
            plan = prepare(files, spec, chosen, eval_data=more["eval_data"], notice=console.notice).plan
        if launch.is_main_process():
            show(dataclasses.asdict(plan), run.json)
        return
    if run.push_to_hub:
        upload.ask(run.push_to_hub)
    _train(files, spec, chosen, run, more)


def _refuse_unused(recipe: FinetuneRecipe) -> None:
    """Refuse options of an adapter for a whole model; the recipe itself refuses the rest."""
    for name in ("lora_rank", "lora_alpha", "lora_dropout"):
        if not recipe.lora and getattr(recipe, name) != getattr(FinetuneRecipe, name):
            raise OptionError(name, "needs an adapter; lora=False trains the whole model")


def _train(files: list[str], spec: Any, recipe: FinetuneRecipe, run: RunFlags, more: dict[str, Any]) -> None:
    output = Path(more["output"] or _default_output(files[0]))
    from llmkit.training.finetuning.finetune import asked_for, finetune

    options = run.options(more)
    with launch.report_once():
        if finished(run, output, lambda: asked_for(files, spec, recipe, options)):
            return
    display = TrainingDisplay("finetune", _describe)
    with launch.report_once(), display.interrupted(output):
        result = finetune(
            files,
            output,
            spec,
            recipe,
            options,
            command=command(),
            progress=display,
        )
    if launch.is_main_process():
        skipped = display.plan is not None and display.plan.skipped
        console.will_exit(3 if skipped else 0)
        if run.push_to_hub:
            upload.push(output, run.push_to_hub)
        show(dataclasses.asdict(result), run.json)
        console.suggest(*_next(output, recipe, display.plan))
        if skipped:
            raise console.Exit(3)


def _next(output: Path, recipe: FinetuneRecipe, plan: FinetunePlan) -> list[str]:
    """Return commands that use the result: the verb of its task, and for an adapter the merge."""
    name = shlex.quote(str(output))
    use = f'llmkit generate -m {name} "..."'
    if plan.kind == "spans":
        use = f'llmkit qa -m {name} --question "..." --context FILE'
    elif recipe.languages is not None:
        source, target = recipe.languages
        use = f'llmkit translate -m {name} --from {source} --to {target} "..."'
    elif plan.objective == "messages":
        use = f"llmkit chat -m {name}"
    merge = f"llmkit merge {name} -o {name}-merged (merges the adapter into a copy of its base)"
    return [use, merge] if recipe.lora else [use]


def _split_pairs(data: list[str], pairs: list[str]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Split the arguments into files and `role=column` pairs: several pairs may follow one --map."""
    files = [one for one in data if not (pairs and "=" in one and not Path(one).exists())]
    mapping = []
    for pair in [*pairs, *(one for one in data if one not in files)]:
        for part in pair.split(","):
            role, sign, column = part.partition("=")
            if not sign or not role or not column:
                raise OptionError("mapping", f"must be ROLE=COLUMN, such as source=article, not {pair!r}")
            mapping.append((role, column))
    if not files:
        raise InputError("give a file of rows")
    return files, tuple(mapping)


def _default_output(file: str) -> Path:
    """Return `data-finetuned` in the working directory for `data.jsonl`; the data may be read-only."""
    name = Path(file.split(":")[1] if file.startswith("hf:") else file).name
    return Path(f"{name.split('.')[0] or 'model'}-finetuned")


def _describe(plan: FinetunePlan) -> None:
    left_out = [
        f"{number:,} {what}"
        for number, what in (
            (plan.skipped, "skipped"),
            (plan.dropped, "dropped with nothing to learn"),
            (plan.truncated, "cut"),
        )
        if number
    ]
    console.notice(
        f"{plan.objective}: {console.count(plan.examples, 'example')} of {plan.tokens:,} tokens,"
        f" {plan.target_tokens:,} of them targets; {console.count(plan.held_out_rows, 'row')} held out"
        + (f"; {', '.join(left_out)}" if left_out else "")
    )
    memory = f"; about {plan.memory / 1e9:.1f} GB of memory" if plan.memory else ""
    console.notice(
        f"{plan.trained_parameters:,} of {plan.parameters:,} parameters trained, {plan.steps:,} steps of"
        f" {plan.batch_size} x {plan.gradient_accumulation} rows{memory}"
    )
    console.detail(f"{plan.dtype} on {plan.device}: {plan.reason}")
