"""Report and model card of a finetuning run.

Public: `write_report`, `card`.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.training import report
from llmkit.training.finetuning.preferences import BETA
from llmkit.training.merged_card import public_name

if TYPE_CHECKING:
    from llmkit.training.finetuning.plan import FinetuneInputs
    from llmkit.training.finetuning.result import FinetuneResult

_TAGS = {"causal": "text-generation", "preference": "text-generation", "spans": "question-answering"}


def write_report(metrics: Path, inputs: FinetuneInputs, result: FinetuneResult, command: str) -> None:
    """Write loss.svg and report.html next to metrics.jsonl.

    Args:
        metrics: the run's measurements, one JSON object per line.
        inputs: the run.
        result: its result.
        command: command that started it.
    """
    unit = _unit(inputs)
    contents = report.ReportPage(
        name=result.folder.resolve().name,
        sentence=_sentence(inputs, result),
        command=command,
        unit=unit,
        kept=result.kept_step if result.held_out_loss is not None else None,
        results=_results(result, unit),
        facts=[*_data(inputs), *_recipe(inputs)],
    )
    report.write_report(metrics, contents)


def card(inputs: FinetuneInputs, result: FinetuneResult, command: str) -> str:
    """Return the model card, with the metadata that the Hub reads."""
    import yaml

    loaded, plan = inputs.loaded, inputs.plan
    name, base = result.folder.resolve().name, loaded.spec.name
    tag = _TAGS.get(inputs.kind, "text2text-generation")
    adapter = hasattr(loaded.model, "peft_config")
    header: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": tag,
        "base_model": public_name(base),
        "base_model_relation": "adapter" if adapter else "finetune",
    }
    if result.held_out_loss is not None:
        loss = f"held-out loss (nats per {_unit(inputs)})"
        measured = [{"type": "loss", "name": loss, "value": result.held_out_loss}]
        if result.perplexity is not None:
            measured.append({"type": "perplexity", "name": "perplexity", "value": result.perplexity})
        for name_of, value in (("accuracy", result.reward_accuracy), ("margin", result.reward_margin)):
            if value is not None:
                measured.append({"type": f"reward_{name_of}", "name": f"reward {name_of}", "value": value})
        header["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": tag},
                        "dataset": {"name": "held-out rows", "type": f"{plan.held_out_rows} rows"},
                        "metrics": measured,
                    }
                ],
            }
        ]
    facts = [*_data(inputs), *_recipe(inputs), *_results(result, _unit(inputs))]
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts)
    command_block = f"\n```sh\n{command}\n```\n" if command else ""
    top = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"""---
{top}---

# {name}

{_sentence(inputs, result)}{_base(inputs, result)}
{command_block}
| | |
|---|---|
{rows}
{_prompts(inputs)}
Fill in before you share it: the training data and its license, the intended use of the model, and its limits.
"""


def _prompts(inputs: FinetuneInputs) -> str:
    """Return a paragraph about the layout of prompts; empty if a prompt is an unchanged column."""
    layout = inputs.layout
    if layout is None:
        return ""
    return f"""
Training prompts use this layout{layout.conditions}. Use the same layout at inference:

```python
{layout.quoted}
```
"""


def _sentence(inputs: FinetuneInputs, result: FinetuneResult) -> str:
    kind = "A LoRA adapter for" if hasattr(inputs.loaded.model, "peft_config") else "A finetuned"
    base = public_name(inputs.loaded.spec.name)
    return f"{kind} {base}, trained with `llmkit finetune` ({inputs.plan.objective}, {result.steps:,} steps)."


def _base(inputs: FinetuneInputs, result: FinetuneResult) -> str:
    """Return a sentence about a base that other programs cannot find; empty for any other base."""
    if inputs.loaded.revision != "embedded" or not hasattr(inputs.loaded.model, "peft_config"):
        return ""
    folder = result.folder.resolve().name
    command = shlex.join(["llmkit", "merge", folder, "-o", f"{folder}-merged"])
    return (
        f" The base model is embedded in llmkit; for other programs, create a whole model with `{command}`."
    )


def _data(inputs: FinetuneInputs) -> list[tuple[str, str]]:
    plan = inputs.plan
    return [
        ("rows read", f"{plan.rows:,}"),
        ("held-out rows", f"{plan.held_out_rows:,}"),
        ("invalid rows skipped", f"{plan.skipped:,}"),
        ("rows without targets", f"{plan.dropped:,}"),
        ("truncated examples", f"{plan.truncated:,}"),
        ("tokens per epoch", f"{plan.tokens:,}"),
        ("target tokens per epoch", f"{plan.target_tokens:,}"),
    ]


def _recipe(inputs: FinetuneInputs) -> list[tuple[str, str]]:
    plan, recipe = inputs.plan, inputs.recipe
    rows = "packed rows" if recipe.packing else "rows"
    found = [
        ("parameters", f"{plan.parameters:,}"),
        ("trained parameters", f"{plan.trained_parameters:,}"),
        ("learning rate", f"{plan.lr:g} ({recipe.scheduler}, warmup {recipe.warmup:g})"),
        (f"{rows} per step", _per_step(plan.batch_size, plan.gradient_accumulation)),
        ("precision, device", f"{plan.dtype}, {plan.device.partition(':')[0]}"),
        ("seed", str(recipe.seed)),
    ]
    if inputs.kind == "preference":
        found.append(("beta of the preference loss (DPO)", f"{recipe.dpo_beta or BETA:g}"))
    if recipe.lora:
        kinds = [name for name in ("dora", "rslora", "qlora") if getattr(recipe, name)]
        alpha = recipe.lora_alpha or 2 * recipe.lora_rank
        found.insert(2, ("adapter", f"rank {recipe.lora_rank}, alpha {alpha} {' '.join(kinds)}".strip()))
    return found


def _per_step(batch_size: int, accumulation: int) -> str:
    if accumulation == 1:
        return f"{batch_size:,}"
    return f"{batch_size:,} x {accumulation:,} (batch size x gradient accumulation)"


def _unit(inputs: FinetuneInputs) -> str:
    return "pair" if inputs.kind == "preference" else "token"


def _results(result: FinetuneResult, unit: str) -> list[tuple[str, str]]:
    found = [("last training loss", f"{result.train_loss:.4f}")]
    if result.held_out_loss is not None:
        before = f"{result.held_out_before:.4f} before, " if result.held_out_before is not None else ""
        found.append((f"held-out loss, nats per {unit}", f"{before}{result.held_out_loss:.4f} after"))
    if result.perplexity is not None:
        found.append(("held-out perplexity", f"{result.perplexity:.3f}"))
    if result.reward_accuracy is not None:
        before = f"{result.reward_accuracy_before:.3f} before, "
        found.append(("held-out reward accuracy", f"{before}{result.reward_accuracy:.3f} after"))
        found.append(("held-out reward margin", f"0 before, {result.reward_margin:.4f} after"))
    found.append(("selected weights", f"step {result.kept_step:,} of {result.steps:,}"))
    found.append(("speed, duration", f"{result.tokens_per_second:,.0f} tokens/s, {result.seconds:,.0f} s"))
    return found
