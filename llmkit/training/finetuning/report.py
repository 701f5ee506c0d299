"""What a finetuning run leaves to be read: the curve of its loss, a page, and the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.text.html.page import Cell, escape, page, table
from llmkit.text.html.svg import lines
from llmkit.training.finetuning.preferences import BETA

if TYPE_CHECKING:
    from llmkit.training.finetuning.plan import FinetuneInputs
    from llmkit.training.finetuning.result import FinetuneResult

_TAGS = {"causal": "text-generation", "preference": "text-generation", "spans": "question-answering"}


def write_report(metrics: Path, prepared: FinetuneInputs, result: FinetuneResult, command: str) -> None:
    """Write loss.svg and report.html beside metrics.jsonl.

    Args:
        metrics: the run's measurements, a line each.
        prepared: the run.
        result: what came out.
        command: how it was started.
    """
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    unit = _unit(prepared)
    picture = curve(rows, f"nats a {unit}")
    metrics.with_name("loss.svg").write_text(picture, encoding="utf-8")
    name = result.folder.resolve().name
    body = [f"<h1>{escape(name)}</h1>", f'<p class="soft">{escape(_sentence(prepared, result))}</p>']
    if command:
        body.append(f"<pre>{escape(command)}</pre>")
    body += ["<h2>Loss</h2>", f"<figure>{picture}</figure>", "<h2>Result</h2>"]
    head = [Cell("", left=True), Cell("")]
    body.append(table(head, [[Cell(key, left=True), Cell(value)] for key, value in _results(result, unit)]))
    body.append("<h2>Data and recipe</h2>")
    facts = [*_data(prepared), *_recipe(prepared)]
    body.append(table(head, [[Cell(key, left=True), Cell(value)] for key, value in facts]))
    metrics.with_name("report.html").write_text(page(name, "\n".join(body)), encoding="utf-8")


def curve(rows: list[dict[str, Any]], up: str = "nats a token") -> str:
    """The loss over the steps as SVG: in training, and on held-out rows where it was measured."""
    series = [
        (name, [(row["step"], row[key]) for row in rows if key in row])
        for name, key in (("training", "loss"), ("held out", "eval_loss"))
    ]
    return lines([one for one in series if one[1]], across="step", up=up)


def card(prepared: FinetuneInputs, result: FinetuneResult, command: str) -> str:
    """The model card, with the metadata that the Hub reads."""
    import yaml

    loaded, plan = prepared.loaded, prepared.plan
    name, base = result.folder.resolve().name, loaded.spec.name
    tag = _TAGS.get(prepared.kind, "text2text-generation")
    adapter = hasattr(loaded.model, "peft_config")
    header: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": tag,
        "base_model": base,
        "base_model_relation": "adapter" if adapter else "finetune",
    }
    if result.held_out_loss is not None:
        loss = f"held-out loss (nats a {_unit(prepared)})"
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
    facts = [*_data(prepared), *_recipe(prepared), *_results(result, _unit(prepared))]
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts)
    started = f"\n```sh\n{command}\n```\n" if command else ""
    top = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"""---
{top}---

# {name}

{_sentence(prepared, result)}
{started}
| | |
|---|---|
{rows}
{_prompts(prepared)}
Fill in before you share it: the training data and its licence, what the model is for, and its limits.
"""


def _prompts(prepared: FinetuneInputs) -> str:
    """A paragraph on the layout of prompts, where there is something to tell."""
    layout = prepared.layout
    if layout is None:
        return ""
    return f"""
It was taught on prompts that are laid out so{layout.conditions}, and wants yours alike:

```python
{layout.quoted}
```
"""


def _sentence(prepared: FinetuneInputs, result: FinetuneResult) -> str:
    what = "A LoRA adapter for" if hasattr(prepared.loaded.model, "peft_config") else "A finetuned"
    base = prepared.loaded.spec.name
    return (
        f"{what} {base}, taught with `llmkit finetune` ({prepared.plan.objective}, {result.steps:,} steps)."
    )


def _data(prepared: FinetuneInputs) -> list[tuple[str, str]]:
    plan = prepared.plan
    return [
        ("rows read", f"{plan.rows:,}"),
        ("held-out rows", f"{plan.held_out_rows:,}"),
        ("rows skipped as bad, dropped as empty", f"{plan.skipped:,}, {plan.dropped:,}"),
        ("examples cut to fit", f"{plan.truncated:,}"),
        ("tokens read, learnt in one pass", f"{plan.tokens:,}, {plan.learnt_tokens:,}"),
    ]


def _recipe(prepared: FinetuneInputs) -> list[tuple[str, str]]:
    plan, recipe = prepared.plan, prepared.recipe
    rows = "packed rows" if recipe.packing else "rows"
    found = [
        ("parameters, trained", f"{plan.parameters:,}, {plan.trained_parameters:,}"),
        ("learning rate", f"{plan.lr:g} ({recipe.scheduler}, warmup {recipe.warmup:g})"),
        (f"{rows} a step", f"{plan.batch_size} x {plan.gradient_accumulation}"),
        ("precision, device", f"{plan.dtype}, {plan.device.partition(':')[0]}"),
        ("seed", str(recipe.seed)),
    ]
    if prepared.kind == "preference":
        found.append(("beta of the preference loss (DPO)", f"{recipe.dpo_beta or BETA:g}"))
    if recipe.lora:
        kinds = [name for name in ("dora", "rslora", "qlora") if getattr(recipe, name)]
        alpha = recipe.lora_alpha or 2 * recipe.lora_rank
        found.insert(1, ("adapter", f"rank {recipe.lora_rank}, alpha {alpha} {' '.join(kinds)}".strip()))
    return found


def _unit(prepared: FinetuneInputs) -> str:
    return "pair" if prepared.kind == "preference" else "token"


def _results(result: FinetuneResult, unit: str) -> list[tuple[str, str]]:
    found = [("last training loss", f"{result.train_loss:.4f}")]
    if result.held_out_loss is not None:
        before = f"{result.held_out_before:.4f} before, " if result.held_out_before is not None else ""
        found.append((f"held-out loss, nats a {unit}", f"{before}{result.held_out_loss:.4f} after"))
    if result.perplexity is not None:
        found.append(("held-out perplexity", f"{result.perplexity:.3f}"))
    if result.reward_accuracy is not None:
        before = f"{result.reward_accuracy_before:.3f} before, "
        found.append(("held-out reward accuracy", f"{before}{result.reward_accuracy:.3f} after"))
        found.append(("held-out reward margin", f"0 before, {result.reward_margin:.4f} after"))
    found.append(("weights kept", f"those of step {result.kept_step:,} of {result.steps:,}"))
    found.append(("speed", f"{result.tokens_per_second:,.0f} tokens/s, {result.seconds:,.0f} s"))
    return found
