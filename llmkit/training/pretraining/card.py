"""Model card (README.md) and report of a pretrained model.

Public: `card`, `write_report`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.training import report

if TYPE_CHECKING:
    from llmkit.training.pretraining.plan import PretrainInputs
    from llmkit.training.pretraining.result import PretrainResult


_TAGS = {
    "causal": "text-generation",
    "masked": "fill-mask",
    "spans": "text2text-generation",
    "infilling": "text2text-generation",
}


def card(inputs: PretrainInputs, result: PretrainResult, command: str = "") -> str:
    """Return the model card: shape, training, and held-out loss.

    Args:
        inputs: the run.
        result: its result.
        command: command that started it; "" is none.
    """
    facts = [*_shape(inputs), *_training(inputs, result), *_results(inputs, result)]
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    command_block = f"\n```sh\n{command}\n```\n" if command else ""
    return f"""---
library_name: transformers
pipeline_tag: {_TAGS[inputs.kind]}
---

# {result.folder.resolve().name}

{_sentence(inputs)}
{command_block}
| | |
|---|---|
{rows}

{_scored(inputs)}
Fill in before you share it: the training text and its license, the intended use of the model, and its limits.
"""


def write_report(metrics: Path, inputs: PretrainInputs, result: PretrainResult, command: str) -> None:
    """Write loss.svg and report.html next to metrics.jsonl.

    Args:
        metrics: the run's measurements, one JSON object per line.
        inputs: the run.
        result: its result.
        command: command that started it; "" is none.
    """
    contents = report.ReportPage(
        name=result.folder.resolve().name,
        sentence=_sentence(inputs),
        command=command,
        unit="token",
        kept=result.kept_step if result.held_out_loss is not None else None,
        results=_results(inputs, result),
        facts=[*_shape(inputs), *_training(inputs, result)],
    )
    report.write_report(metrics, contents)


def _sentence(inputs: PretrainInputs) -> str:
    return (
        f"A {inputs.recipe.arch} language model of {inputs.plan.parameters:,} parameters, trained from random"
        " weights with `llmkit pretrain`."
    )


def _scored(inputs: PretrainInputs) -> str:
    """Return a sentence about the held-out text; empty if there is none or it is corrupted blocks."""
    if not inputs.plan.held_out_documents or inputs.kind != "causal":
        return ""
    which = "the ends of the training documents" if inputs.tails else "whole documents"
    return f"The held-out texts are {which}; each is scored from its start to its end token.\n"


def _shape(inputs: PretrainInputs) -> list[tuple[str, str]]:
    config = inputs.config
    shape = ", ".join(
        f"{getattr(config, name):,}" for name in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    shared = getattr(config, "num_key_value_heads", None)
    return [
        (
            f"layers, width, heads{' (key-value)' if shared else ''}",
            f"{shape}{f' ({shared})' if shared else ''}",
        ),
        ("vocabulary", f"{inputs.plan.vocabulary:,} (byte-level BPE)"),
        ("context", f"{inputs.recipe.max_length:,} tokens"),
    ]


def _training(inputs: PretrainInputs, result: PretrainResult) -> list[tuple[str, str]]:
    recipe, plan = inputs.recipe, inputs.plan
    return [
        ("training documents", f"{plan.documents:,} ({plan.tokens:,} tokens)"),
        (
            "training",
            f"{result.steps:,} steps, {result.tokens:,} tokens, {plan.dtype},"
            f" {plan.device.partition(':')[0]}",
        ),
        ("learning rate", f"{recipe.lr:g} ({recipe.scheduler}, warmup {recipe.warmup:g})"),
        ("weight decay", f"{recipe.weight_decay:g}"),
        ("blocks per step", f"{recipe.batch_size} x {recipe.gradient_accumulation}"),
        ("seed", str(recipe.seed)),
    ]


def _results(inputs: PretrainInputs, result: PretrainResult) -> list[tuple[str, str]]:
    found = [("last training loss", f"{result.train_loss:.4f} nats/token")]
    if result.held_out_loss is not None:
        documents = "ends of documents held out" if inputs.tails else "held-out documents"
        found.append((documents, f"{inputs.plan.held_out_documents:,}"))
        found.append(("held-out loss", f"{result.held_out_loss:.4f} nats/token"))
        if result.perplexity is not None:
            found.append(("held-out perplexity", f"{result.perplexity:.3f}"))
            found.append(("held-out bits per byte", f"{result.bits_per_byte:.4f}"))
        found.append(("selected weights", f"step {result.kept_step:,} of {result.steps:,}"))
    return found
