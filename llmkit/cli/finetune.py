"""`llmkit finetune`: rows in, an adapter or a model's folder out."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import console, launch, options, upload
from llmkit.cli.common.options import flag
from llmkit.cli.common.recipe_flags import RunFlags, TrainingDisplay, finished, merged, show
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.training.finetuning.plan import FinetunePlan
    from llmkit.training.finetuning.recipe import FinetuneRecipe


@dataclass
class FinetuneFlags:
    """The fields of `FinetuneRecipe`, as flags."""

    lora: Annotated[bool, flag("--lora/--full", help="An adapter (the default), or the whole model.")] = True
    lora_rank: Annotated[int, flag("--lora-rank", help="Rank of the adapter's matrices (16).")] = 16
    lora_alpha: Annotated[int | None, flag("--lora-alpha", help="Its scale (twice the rank).")] = None
    lora_dropout: Annotated[float, flag("--lora-dropout", help="On its input, while training (0).")] = 0.0
    target_modules: Annotated[
        str | None, flag("--target-modules", metavar="A,B", help="Layers that get one (all linear ones).")
    ] = None
    dora: Annotated[bool, flag("--dora", help="DoRA: direction and magnitude apart.")] = False
    rslora: Annotated[bool, flag("--rslora", help="rsLoRA: scale by the root of the rank.")] = False
    qlora: Annotated[bool, flag("--qlora", help="Keep the frozen model in 4 bits (bitsandbytes).")] = False
    epochs: Annotated[float, flag("--epochs", help="Passes over the rows (3).")] = 3.0
    max_steps: Annotated[int | None, flag("--max-steps", help="Steps, in place of epochs.")] = None
    lr: Annotated[
        float | None, flag("--lr", help="Peak learning rate (2e-4, --full 2e-5; preferences: a quarter).")
    ] = None
    optimizer: Annotated[str, flag("--optimizer", help="adamw (the default) or muon.")] = "adamw"
    scheduler: Annotated[str, flag("--scheduler", help="cosine, linear or constant.")] = "cosine"
    warmup: Annotated[float, flag("--warmup", help="Steps, or below 1 a share of all steps (0.03).")] = 0.03
    weight_decay: Annotated[float, flag("--weight-decay", help="On matrices (0).")] = 0.0
    batch_size: Annotated[
        str, flag("--batch-size", metavar="auto|N", help="Rows a forward pass (8); auto: the most that fit.")
    ] = "8"
    gradient_accumulation: Annotated[
        int, flag("--gradient-accumulation", help="Forward passes a step (1).")
    ] = 1
    max_length: Annotated[int, flag("--max-length", help="Tokens of a row at most (1024).")] = 1024
    packing: Annotated[bool, flag("--packing", help="Several rows in one, which do not see each other.")] = (
        False
    )
    label_smoothing: Annotated[float, flag("--label-smoothing", help="Share spread over all tokens (0).")] = (
        0.0
    )
    dpo_beta: Annotated[
        float | None, flag("--dpo-beta", help="Preferences: what departing from the model costs (0.1).")
    ] = None
    save_steps: Annotated[
        int | None, flag("--save-steps", help="Steps between checkpoints (as --eval-steps).")
    ] = None
    eval_steps: Annotated[
        int | None, flag("--eval-steps", help="Steps between held-out measurements (half an epoch).")
    ] = None
    early_stopping: Annotated[
        int, flag("--early-stopping", help="Stop after N measurements without improvement (0: never).")
    ] = 0
    eval_split: Annotated[float, flag("--eval-split", help="Share of rows held out (0.05).")] = 0.05
    gradient_checkpointing: Annotated[
        bool, flag("--gradient-checkpointing", help="Less memory, more time.")
    ] = False
    compile: Annotated[bool, flag("--compile", help="torch.compile the model first.")] = False
    report_to: Annotated[
        str | None, flag("--report-to", metavar="NAME", help="tensorboard, trackio or wandb, too.")
    ] = None
    objective: Annotated[
        str | None, flag("--objective", metavar="NAME", help="Where the columns allow several.")
    ] = None
    source_prefix: Annotated[str, flag("--source-prefix", metavar="TEXT", help="Before each source.")] = ""
    mark_shared_words: Annotated[
        bool, flag("--mark-shared-words", help="Show an answer reader which words the question shares.")
    ] = False
    on_error: Annotated[str, flag("--on-error", metavar="fail|skip", help="At a bad row.")] = "fail"


@options.expand
def run(
    *,
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA...", help="Rows: JSONL, JSON, CSV, Parquet, text.", show_default=False),
    ],
    output: Annotated[
        Path | None, flag("-o", "--output", metavar="FOLDER", help="The result's folder (DATA-finetuned).")
    ] = None,
    model: options.ModelFlags,
    recipe: FinetuneFlags,
    run: RunFlags,
    eval_data: Annotated[str | None, flag("--eval-data", metavar="FILE", help="Held-out rows.")] = None,
    map: Annotated[
        list[str] | None,
        flag("--map", metavar="ROLE=COLUMN", help="What a column is: --map source=article target=gist."),
    ] = None,
    source_language: Annotated[
        str | None, flag("--from", metavar="LANG", help="Of the source, in a `translation` column.")
    ] = None,
    target_language: Annotated[str | None, flag("--to", metavar="LANG", help="Of the target there.")] = None,
    save_dtype: Annotated[
        str,
        flag("--save-dtype", help="Of a whole model: as stored, or float32, bfloat16, float16."),
    ] = "auto",
    messages: options.MessageFlags,
) -> None:
    """Train a model further on rows of examples: a LoRA adapter, or the whole model."""
    spoken = {"from": source_language, "to": target_language}
    (run, recipe, model), more = merged(
        run, recipe, model, output=output, eval_data=eval_data, save_dtype=save_dtype, map=map or [], **spoken
    )
    files, mapping = _parted(data, more["map"])
    launch.launch(run.processes)
    launch.mute_other_ranks()
    chosen = _recipe(recipe, mapping, (more["from"], more["to"]), model.seed, model.dtype)
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


def _train(files: list[str], spec: Any, recipe: FinetuneRecipe, run: RunFlags, more: dict[str, Any]) -> None:
    output = Path(more["output"] or _beside(files[0]))
    if finished(run, output):
        return
    from llmkit.training.finetuning.finetune import finetune

    display = TrainingDisplay("finetune")
    plans: list[FinetunePlan] = []

    def planned(plan: FinetunePlan) -> None:
        plans.append(plan)
        _tell(plan)
        display.start(plan.steps)

    with launch.report_once(), display.interrupted(output):
        result = finetune(
            files,
            output,
            spec,
            recipe,
            eval_data=more["eval_data"],
            save_dtype=more["save_dtype"],
            resume=run.resume,
            overwrite=run.overwrite,
            keep_checkpoints=run.keep_checkpoints,
            # As it would be given anew.
            command=shlex.join(["llmkit", *(one for one in sys.argv[1:] if one != "--resume")]),
            on_plan=planned,
            on_step=display.step,
            notice=console.notice,
        )
    if launch.is_main_process():
        show(dataclasses.asdict(result), run.json)
        if run.push_to_hub:
            upload.push(output, run.push_to_hub)
        if any(plan.skipped for plan in plans):
            raise typer.Exit(3)


def _parted(data: list[str], pairs: list[str]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Files and `role=column` pairs; after one --map several pairs may follow, as in the manual."""
    files = [one for one in data if not (pairs and "=" in one and not Path(one).exists())]
    mapping = []
    for pair in [*pairs, *(one for one in data if one not in files)]:
        for part in pair.split(","):
            role, sign, column = part.partition("=")
            if not sign or not role or not column:
                raise InputError(f"--map {pair}: write ROLE=COLUMN, such as --map source=article")
            mapping.append((role, column))
    if not files:
        raise InputError("name a file of rows")
    return files, tuple(mapping)


def _recipe(
    flags: FinetuneFlags,
    mapping: tuple[tuple[str, str], ...],
    languages: tuple[str | None, str | None],
    seed: int | None,
    dtype: str,
) -> FinetuneRecipe:
    from llmkit.training.finetuning.recipe import FinetuneRecipe

    if (languages[0] is None) != (languages[1] is None):
        raise InputError("give --from and --to together")
    values = dataclasses.asdict(flags)
    size = str(values.pop("batch_size"))
    if size != "auto" and not (size.isdigit() and int(size) > 0):
        raise InputError(f"--batch-size {size}: give a number of rows, or auto")
    return FinetuneRecipe(
        **values,
        batch_size=0 if size == "auto" else int(size),
        mapping=mapping,
        languages=(languages[0], languages[1]) if languages[0] and languages[1] else None,
        seed=42 if seed is None else seed,
        dtype=dtype,
    )


def _beside(file: str) -> Path:
    """`data.jsonl` -> `data-finetuned`, here: where the file lies, nobody may be allowed to write."""
    name = Path(file.split(":")[1] if file.startswith("hf:") else file).name
    return Path(f"{name.split('.')[0] or 'model'}-finetuned")


def _tell(plan: FinetunePlan) -> None:
    left_out = [
        f"{number:,} {what}"
        for number, what in ((plan.skipped, "skipped"), (plan.dropped, "dropped"), (plan.truncated, "cut"))
        if number
    ]
    console.notice(
        f"{plan.objective}: {console.count(plan.examples, 'example')} of {plan.tokens:,} tokens,"
        f" {plan.learnt_tokens:,} of them learnt; {console.count(plan.held_out_rows, 'row')} held out"
        + (f"; {', '.join(left_out)}" if left_out else "")
    )
    memory = f"; about {plan.memory / 1e9:.1f} GB of memory" if plan.memory else ""
    console.notice(
        f"{plan.trained_parameters:,} of {plan.parameters:,} parameters trained, {plan.steps:,} steps of"
        f" {plan.batch_size} x {plan.gradient_accumulation} rows{memory}"
    )
    console.detail(f"{plan.dtype} on {plan.device}: {plan.reason}")
