"""`llmkit pretrain`: a corpus in, a trained model's folder out."""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import console, launch, options, upload
from llmkit.cli.common.options import flag
from llmkit.cli.common.recipe_flags import RunFlags, TrainingDisplay, finished, merged, show
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.training.pretraining.plan import PretrainPlan
    from llmkit.training.pretraining.recipe import PretrainRecipe


@dataclass
class PretrainFlags:
    """The fields of `PretrainRecipe`, as flags."""

    arch: Annotated[str, flag("--arch", help="llama, qwen3, gpt2, bert, roformer, t5 or bart (llama).")] = (
        "llama"
    )
    params: Annotated[str, flag("--params", help="Parameters, such as 260k, 3m or 1.2b (3m).")] = "3m"
    tokenizer: Annotated[str, flag("--tokenizer", help="`train` (the default), or a folder.")] = "train"
    vocab_size: Annotated[int, flag("--vocab-size", help="Vocabulary of a trained tokenizer (4096).")] = 4096
    tokenizer_text: Annotated[
        int, flag("--tokenizer-text", metavar="MB", help="Text that it is trained on, at most (100).")
    ] = 100
    epochs: Annotated[float, flag("--epochs", help="Passes over the corpus (4).")] = 4.0
    max_steps: Annotated[int | None, flag("--max-steps", help="Steps, in place of epochs.")] = None
    lr: Annotated[float | None, flag("--lr", help="Peak learning rate (2e-3).")] = 2e-3
    optimizer: Annotated[str, flag("--optimizer", help="adamw (the default) or muon.")] = "adamw"
    scheduler: Annotated[str, flag("--scheduler", help="cosine (the default), linear or constant.")] = (
        "cosine"
    )
    warmup: Annotated[float, flag("--warmup", help="Steps, or below 1 a share of all steps (0.05).")] = 0.05
    weight_decay: Annotated[float, flag("--weight-decay", help="On matrices (0.1).")] = 0.1
    batch_size: Annotated[int, flag("--batch-size", help="Blocks a forward pass (16).")] = 16
    gradient_accumulation: Annotated[
        int, flag("--gradient-accumulation", help="Forward passes a step (1).")
    ] = 1
    max_length: Annotated[int, flag("--max-length", help="Tokens a block; the model's context (512).")] = 512
    save_steps: Annotated[
        int | None, flag("--save-steps", help="Steps between checkpoints (as --eval-steps).")
    ] = None
    eval_steps: Annotated[
        int | None, flag("--eval-steps", help="Steps between held-out measurements (half an epoch).")
    ] = None
    early_stopping: Annotated[
        int, flag("--early-stopping", help="Stop after N measurements without improvement (0: never).")
    ] = 0
    eval_split: Annotated[
        float, flag("--eval-split", help="Share of documents held out, without --eval-data (0.05).")
    ] = 0.05
    separator: Annotated[
        str | None,
        flag(
            "--separator",
            help="Between documents; \\n is a line break, \\t a tab and \\\\ a backslash"
            " (<|endoftext|> in a file with it, or a blank line).",
        ),
    ] = None
    whole: Annotated[bool, flag("--whole", help="A text file is a document.")] = False
    field: Annotated[
        str | None, flag("--field", metavar="NAME", help="The column with the text (`text`).")
    ] = None
    gradient_checkpointing: Annotated[
        bool, flag("--gradient-checkpointing", help="Less memory, more time.")
    ] = False
    compile: Annotated[bool, flag("--compile", help="torch.compile the model first.")] = False
    report_to: Annotated[
        str | None, flag("--report-to", metavar="NAME", help="tensorboard, trackio or wandb, too.")
    ] = None
    on_error: Annotated[
        str, flag("--on-error", metavar="fail|skip", help="At a bad row, or a document that is not UTF-8.")
    ] = "fail"
    seed: Annotated[int, flag("--seed", help="Seed of everything random (42).")] = 42
    dtype: Annotated[
        str, flag("--dtype", help="Precision of training: auto, float32, bfloat16 or float16.")
    ] = "auto"


@options.expand
def run(
    *,
    corpus: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS...",
            help="Text, .jsonl, .csv, .parquet (each also .gz) or hf:dataset; may be larger than memory.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, flag("-o", "--output", metavar="FOLDER", help="The model's folder.")
    ] = None,
    recipe: PretrainFlags,
    run: RunFlags,
    eval_data: Annotated[str | None, flag("--eval-data", metavar="FILE", help="Held-out documents.")] = None,
    device: Annotated[str, flag("--device", help="auto, cpu, cuda or mps.")] = "auto",
    save_dtype: Annotated[
        str, flag("--save-dtype", help="Of the weights saved: float32, bfloat16 or float16 (float32).")
    ] = "float32",
    messages: options.MessageFlags,
) -> None:
    """Train a language model from scratch on a text corpus."""
    (run, recipe), more = merged(
        run, recipe, output=output, eval_data=eval_data, device=device, save_dtype=save_dtype
    )
    launch.launch(run.processes)
    launch.mute_other_ranks()
    from llmkit.training.pretraining.recipe import PretrainRecipe

    chosen = PretrainRecipe(**{**dataclasses.asdict(recipe), "separator": _unescaped(recipe.separator)})
    if run.dry_run:
        from llmkit.training.pretraining.plan import plan

        reading = _Reading()
        with launch.report_once(), reading:
            found = plan(
                corpus,
                chosen,
                eval_data=more["eval_data"],
                device=more["device"],
                on_read=reading.tell,
                notice=console.notice,
            )
        if launch.is_main_process():
            show(dataclasses.asdict(found), run.json)
        return
    if more["output"] is None:
        raise InputError("-o/--output: name the model's folder")
    if run.push_to_hub:
        upload.ask(run.push_to_hub)
    _train(corpus, chosen, run, more)


def _unescaped(separator: str | None) -> str | None:
    """With the escapes read that a shell, and YAML without double quotes, hand on as they are written."""
    signs = {"n": "\n", "t": "\t", "\\": "\\"}
    return separator and re.sub(r"\\([nt\\])", lambda found: signs[found[1]], separator)


class _Reading(console.Progress):
    """How far a corpus is read, of which nobody knows the end."""

    def __init__(self) -> None:
        super().__init__("read")
        self._began = time.monotonic()

    def tell(self, documents: int, characters: int) -> None:
        size = characters / 1e6
        speed = size / max(time.monotonic() - self._began, 1e-9)
        self.update(characters, f"{documents:,} documents, {size:,.0f} MB, {speed:.1f} MB/s")


def _train(corpus: list[str], recipe: PretrainRecipe, run: RunFlags, more: dict[str, Any]) -> None:
    output = Path(more["output"])
    if finished(run, output):
        return
    from llmkit.training.pretraining.pretrain import pretrain

    display, reading = TrainingDisplay("pretrain"), _Reading()
    plans: list[PretrainPlan] = []

    def planned(plan: PretrainPlan) -> None:
        plans.append(plan)
        reading.close()
        console.notice(
            f"{plan.parameters:,} parameters, {plan.documents:,} documents, {plan.tokens:,} tokens, "
            f"{plan.steps:,} steps of {plan.steps_per_epoch:,} an epoch"
            + (f"; {plan.skipped:,} skipped" if plan.skipped else "")
        )
        console.detail(f"{plan.dtype} on {plan.device}: {plan.reason}")
        display.start(plan.steps)

    with launch.report_once(), display.interrupted(output), reading:
        result = pretrain(
            corpus,
            output,
            recipe,
            eval_data=more["eval_data"],
            device=more["device"],
            save_dtype=more["save_dtype"],
            resume=run.resume,
            overwrite=run.overwrite,
            keep_checkpoints=run.keep_checkpoints,
            on_read=reading.tell,
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
