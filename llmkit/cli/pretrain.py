"""`llmkit pretrain`: a corpus in, a trained model's folder out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import console, options
from llmkit.errors import InputError
from llmkit.training.plan import Recipe

if TYPE_CHECKING:
    from llmkit.training.loop import Step
    from llmkit.training.plan import Plan


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help)


@dataclass
class RecipeFlags:
    """The fields of `training.plan.Recipe`, as flags."""

    arch: Annotated[str, _option("--arch", help="Architecture: llama.")] = Recipe.arch
    params: Annotated[str, _option("--params", help="Parameters, such as 260k, 3m or 1.2b.")] = Recipe.params
    tokenizer: Annotated[str, _option("--tokenizer", help="`train`, or a folder.")] = Recipe.tokenizer
    vocab_size: Annotated[int, _option("--vocab-size", help="Vocabulary of a trained tokenizer.")] = (
        Recipe.vocab_size
    )
    epochs: Annotated[float, _option("--epochs", help="Passes over the corpus.")] = Recipe.epochs
    max_steps: Annotated[int | None, _option("--max-steps", help="Steps, in place of epochs.")] = (
        Recipe.max_steps
    )
    lr: Annotated[float | None, _option("--lr", help="Peak learning rate.")] = Recipe.lr
    scheduler: Annotated[str, _option("--scheduler", help="cosine, linear or constant.")] = Recipe.scheduler
    warmup: Annotated[float, _option("--warmup", help="Steps, or below 1 a share of all steps.")] = (
        Recipe.warmup
    )
    weight_decay: Annotated[float, _option("--weight-decay", help="AdamW's, on matrices.")] = (
        Recipe.weight_decay
    )
    batch_size: Annotated[int, _option("--batch-size", help="Blocks a forward pass.")] = Recipe.batch_size
    gradient_accumulation: Annotated[
        int, _option("--gradient-accumulation", help="Forward passes a step.")
    ] = Recipe.gradient_accumulation
    max_length: Annotated[int, _option("--max-length", help="Tokens a block; the model's context.")] = (
        Recipe.max_length
    )
    save_steps: Annotated[
        int | None, _option("--save-steps", help="Steps between checkpoints (as --eval-steps).")
    ] = Recipe.save_steps
    eval_steps: Annotated[
        int | None, _option("--eval-steps", help="Steps between held-out measurements (half an epoch).")
    ] = Recipe.eval_steps
    early_stopping: Annotated[
        int, _option("--early-stopping", help="Stop after N measurements without improvement; 0: never.")
    ] = Recipe.early_stopping
    eval_split: Annotated[
        float, _option("--eval-split", help="Share of documents held out, without --eval-data.")
    ] = Recipe.eval_split
    separator: Annotated[
        str | None,
        _option("--separator", help="Between documents (<|endoftext|> in a file with it, or a blank line)."),
    ] = Recipe.separator
    whole: Annotated[bool, _option("--whole", help="A file is a document.")] = Recipe.whole
    seed: Annotated[int, _option("--seed", help="Seed of everything random.")] = Recipe.seed
    dtype: Annotated[
        str, _option("--dtype", help="Precision of training: auto, float32, bfloat16 or float16.")
    ] = Recipe.dtype


@options.expand
def run(
    messages: options.MessageFlags,
    recipe: RecipeFlags,
    corpus: Annotated[
        list[Path], typer.Argument(help="Text files, or .jsonl files with `text`.", show_default=False)
    ],
    output: Annotated[Path | None, _option("-o", "--output", help="The model's folder.")] = None,
    eval_data: Annotated[Path | None, _option("--eval-data", help="A file of held-out documents.")] = None,
    device: Annotated[str, _option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    save_dtype: Annotated[
        str, _option("--save-dtype", help="Precision of the weights saved: float32, bfloat16 or float16.")
    ] = "float32",
    resume: Annotated[bool, _option("--resume", help="Go on from the folder's newest checkpoint.")] = False,
    overwrite: Annotated[bool, _option("--overwrite", help="Replace the run in the folder.")] = False,
    keep_checkpoints: Annotated[
        bool, _option("--keep-checkpoints", help="Leave the checkpoints beside the finished model.")
    ] = False,
    dry_run: Annotated[bool, _option("--dry-run", help="Print the plan and train nothing.")] = False,
    as_json: Annotated[
        bool, _option("--json", help="Print the result (or the plan) as one line of JSON.")
    ] = False,
) -> None:
    """Train a language model from nothing on a text corpus."""
    chosen = Recipe(**dataclasses.asdict(recipe))
    if dry_run:
        from llmkit.training.plan import prepare

        plan = prepare(corpus, chosen, eval_data=eval_data, device=device).plan
        _print(dataclasses.asdict(plan), as_json)
        return
    if output is None:
        raise InputError("-o/--output: name the model's folder")

    from llmkit.training.pretrain import pretrain

    watcher = _Watcher()
    try:
        result = pretrain(
            corpus,
            output,
            chosen,
            eval_data=eval_data,
            device=device,
            save_dtype=save_dtype,
            resume=resume,
            overwrite=overwrite,
            keep_checkpoints=keep_checkpoints,
            on_plan=watcher.plan,
            on_step=watcher.step,
            notice=console.notice,
        )
    except BaseException as error:
        watcher.close()
        if not isinstance(error, Exception) and watcher.begun:  # Ctrl-C or SIGTERM
            console.notice(f"interrupted: {output} keeps what is done; --resume goes on")
        raise
    watcher.close()
    _print(dataclasses.asdict(result), as_json)


class _Watcher:
    """Turns what the library reports into notices and a bar."""

    def __init__(self) -> None:
        self.begun = False
        self._bar: console.Progress | None = None

    def plan(self, plan: Plan) -> None:
        console.notice(
            f"{plan.parameters:,} parameters, {plan.documents:,} documents, {plan.tokens:,} tokens, "
            f"{plan.steps:,} steps of {plan.steps_per_epoch:,} an epoch"
        )
        console.detail(f"{plan.dtype} on {plan.device}: {plan.reason}")
        self._bar = console.Progress("pretrain", total=plan.steps)

    def step(self, step: Step) -> None:
        self.begun = True
        if step.held_out is not None:
            console.notice(
                f"step {step.step:,}/{step.steps:,}: held-out loss {step.held_out.loss:.4f}, perplexity "
                f"{step.held_out.perplexity:.3f}, {step.held_out.bits_per_byte:.4f} bits/byte"
            )
        elif self._bar is not None:
            self._bar.update(step.step, f"loss {step.loss:.4f} {step.tokens_per_second:,.0f} tokens/s")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, default=str))
        return
    for name, value in values.items():
        shown = (
            f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else value
        )
        print(f"{name.replace('_', ' ')}: {'-' if shown is None else shown}")
