"""Model card (README.md) of a pretrained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.training.pretraining.plan import PretrainInputs
    from llmkit.training.pretraining.result import PretrainResult


_TAGS = {
    "causal": "text-generation",
    "masked": "fill-mask",
    "spans": "text2text-generation",
    "infilling": "text2text-generation",
}


def card(inputs: PretrainInputs, result: PretrainResult) -> str:
    """Return the model card: shape, training, and held-out loss.

    Args:
        inputs: the run.
        result: its result.
    """
    recipe, plan, config = inputs.recipe, inputs.plan, inputs.config
    shape = ", ".join(
        f"{getattr(config, name):,}" for name in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    shared = getattr(config, "num_key_value_heads", None)
    held_out = (
        f"| held-out documents | {plan.held_out_documents:,} |\n"
        f"| held-out loss | {result.held_out_loss:.4f} nats/token |\n"
        if result.held_out_loss is not None
        else ""
    )
    if result.perplexity is not None:
        held_out += f"| held-out perplexity | {result.perplexity:.3f} |\n"
        held_out += f"| held-out bits per byte | {result.bits_per_byte:.4f} |\n"
    return f"""---
library_name: transformers
pipeline_tag: {_TAGS[inputs.kind]}
---

# {result.folder.resolve().name}

A {recipe.arch} language model of {plan.parameters:,} parameters, trained from random weights with \
`llmkit pretrain`.

| | |
|---|---|
| layers, width, heads{" (key-value)" if shared else ""} | {shape}{f" ({shared})" if shared else ""} |
| vocabulary | {plan.vocabulary:,} (byte-level BPE) |
| context | {recipe.max_length:,} tokens |
| training documents | {plan.documents:,} ({plan.tokens:,} tokens) |
| training | {result.steps:,} steps, {result.tokens:,} tokens, {plan.dtype}, \
{plan.device.partition(":")[0]} |
| last training loss | {result.train_loss:.4f} nats/token |
{held_out}
Held-out documents are whole; each is scored from its start to its end token. Recipe: learning rate
{recipe.lr:g} ({recipe.scheduler}, warmup {recipe.warmup:g}), weight decay {recipe.weight_decay:g},
{recipe.batch_size} x {recipe.gradient_accumulation} blocks in a step, seed {recipe.seed}.

Fill in before you share it: the training text and its license, the intended use of the model, and its limits.
"""
