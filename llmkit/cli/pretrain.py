"""`llmkit pretrain`: a corpus in, a trained model's folder out."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, launch, options, upload
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.progress import ReadingDisplay
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
from llmkit.errors import OptionError
from llmkit.training.pretraining.recipe import PretrainRecipe

if TYPE_CHECKING:
    from llmkit.training.pretraining.plan import PretrainPlan


EXAMPLES = [
    "llmkit pretrain corpus.txt -o my-model",
    "llmkit pretrain corpus.jsonl -o my-encoder --arch bert --params 5m --epochs 2",
]
ARCHITECTURE = ("arch", "params", "tokenizer", "vocab_size", "tokenizer_text", "max_length")
DATA = ("separator", "whole", "field", "eval_split", "on_error", "limit", "encoding")


@flags_of(PretrainRecipe, groups={**SECTIONS, "Architecture": ARCHITECTURE, "Data": DATA})
class PretrainFlags:
    """Flags of a pretraining recipe."""


@options.expand
def run(
    *,
    corpus: Annotated[
        list[str],
        argument(
            "CORPUS...",
            help="Text, .jsonl, .csv, .parquet (each also .gz) or hf:dataset; may be larger than memory.",
        ),
    ],
    output: Annotated[
        Path | None,
        flag(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Folder of the model.",
            default="none; training needs one",
        ),
    ] = None,
    recipe: PretrainFlags,
    run: RunFlags,
    eval_data: Annotated[
        str | None,
        flag(
            "--eval-data",
            metavar="FILE",
            help="Held-out documents.",
            default="a share of CORPUS",
            group="Data",
        ),
    ] = None,
    device: Annotated[str, flag("--device", metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    save_dtype: Annotated[
        str,
        flag("--save-dtype", metavar="NAME", help="Dtype of saved weights: float32, bfloat16 or float16."),
    ] = "float32",
    messages: options.MessageFlags,
) -> None:
    """Train a language model from scratch on a text corpus."""
    (run, recipe), more = merged(
        run, recipe, output=output, eval_data=eval_data, device=device, save_dtype=save_dtype
    )
    launch.launch(run.processes)
    launch.mute_other_ranks()
    chosen = recipe_of(PretrainRecipe, recipe)
    chosen = dataclasses.replace(chosen, separator=_unescaped(chosen.separator))
    if run.dry_run:
        from llmkit.training.pretraining.plan import plan

        reading = ReadingDisplay()
        with launch.report_once(), reading:
            found = plan(
                corpus,
                chosen,
                eval_data=more["eval_data"],
                device=more["device"],
                on_read=reading.show,
                notice=console.notice,
            )
        if launch.is_main_process():
            show(dataclasses.asdict(found), run.json)
        return
    if more["output"] is None:
        raise OptionError("output", "is missing: give the model's folder")
    if run.push_to_hub:
        upload.ask(run.push_to_hub)
    _train(corpus, chosen, run, more)


def _unescaped(separator: str | None) -> str | None:
    r"""Replace the escapes \n, \t and \\, which a shell and unquoted YAML do not change."""
    signs = {"n": "\n", "t": "\t", "\\": "\\"}
    return separator and re.sub(r"\\([nt\\])", lambda found: signs[found[1]], separator)


def _train(corpus: list[str], recipe: PretrainRecipe, run: RunFlags, more: dict[str, Any]) -> None:
    output = Path(more["output"])
    from llmkit.training.pretraining.architecture import architecture
    from llmkit.training.pretraining.pretrain import asked_for, pretrain

    options = run.options(more)
    with launch.report_once():
        if finished(run, output, lambda: asked_for(corpus, recipe, options)):
            return
    display = TrainingDisplay("pretrain", _describe)
    with launch.report_once(), display.interrupted(output):
        result = pretrain(
            corpus,
            output,
            recipe,
            options,
            device=more["device"],
            command=command(),
            progress=display,
        )
    if launch.is_main_process():
        skipped = display.plan is not None and display.plan.skipped
        console.will_exit(3 if skipped else 0)
        if run.push_to_hub:
            upload.push(output, run.push_to_hub)
        show(dataclasses.asdict(result), run.json)
        name = shlex.quote(str(output))
        if architecture(recipe.arch).kind == "causal":
            console.suggest(f'llmkit generate -m {name} "..."', f"llmkit finetune DATA -m {name}")
        else:  # masked and denoising models write nothing useful before they are finetuned
            console.suggest(f"llmkit finetune DATA -m {name}")
        if skipped:
            raise console.Exit(3)


def _describe(plan: PretrainPlan) -> None:
    console.notice(
        f"{plan.parameters:,} parameters, vocabulary of {plan.vocabulary:,}; "
        f"{console.count(plan.documents, 'document')} of {plan.tokens:,} tokens, "
        f"{plan.steps:,} steps of {console.count(plan.batch_size, 'block')}, "
        f"{plan.steps_per_epoch:,} an epoch" + (f"; {plan.skipped:,} skipped" if plan.skipped else "")
    )
    console.detail(f"{plan.dtype} on {plan.device}: {plan.reason}")
