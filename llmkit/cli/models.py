"""`llmkit models`: list the embedded models, those in the cache, and suggestions."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

from llmkit.cli.common import console, options
from llmkit.cli.common.options import argument, flag
from llmkit.errors import InputError

# Well-known small models with open licenses.
SUGGESTED = {
    "generate": ("HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B"),
    "translate": ("Helsinki-NLP/opus-mt-en-de", "facebook/nllb-200-distilled-600M"),
    "chat": ("HuggingFaceTB/SmolLM2-360M-Instruct", "Qwen/Qwen3-0.6B"),
    "qa": ("deepset/tinyroberta-squad2", "distilbert/distilbert-base-cased-distilled-squad"),
    "summarize": ("facebook/bart-large-cnn",),
    "eval": ("openai-community/gpt2",),
}


EXAMPLES = ["llmkit models", "llmkit models show translator"]


@options.expand
def run(
    *,
    action: Annotated[str | None, argument("show", help="Print the card of a model.")] = None,
    name: Annotated[str | None, argument("NAME", help="The embedded model to show.")] = None,
    json: Annotated[bool, flag("--json", help="Print one JSON object a line.")] = False,
    cache_dir: Annotated[
        Path | None,
        flag(
            "--cache-dir",
            metavar="FOLDER",
            help="Folder of downloaded models.",
            default="that of huggingface_hub",
        ),
    ] = None,
    messages: options.MessageFlags,
) -> None:
    """List the embedded models, the cached ones, and some to try."""
    if action == "show" and name is not None:
        _show(name)
        return
    if action is not None:
        raise InputError(f"models {action}: use `llmkit models` or `llmkit models show NAME`")
    found = [*_embedded(), *_cached(cache_dir), *_suggested()]
    if json:
        for model in found:
            print(json_module.dumps(model, ensure_ascii=False))
    else:
        _print_table(found)


def _show(name: str) -> None:
    from llmkit.models.bundled import embedded_folder, embedded_models

    folder = embedded_folder(name)
    if folder is None:
        known = ", ".join(model.name for model in embedded_models())
        raise InputError(f"no embedded model {name}; there is {known}")
    sys.stdout.write((folder / "README.md").read_text(encoding="utf-8"))


def _embedded() -> list[dict[str, Any]]:
    from llmkit.models.bundled import embedded_models

    return [
        {
            "where": "embedded",
            "model": model.name,
            "task": model.task,
            "bytes": model.bytes,
            "license": model.license,
            "scores": [dataclasses.asdict(score) for score in model.scores],
            "about": model.summary,
        }
        for model in embedded_models()
    ]


def _cached(cache_dir: Path | None) -> list[dict[str, Any]]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(cache_dir).repos
    except CacheNotFound:
        return []
    return [
        {"where": "cached", "model": repo.repo_id, "bytes": repo.size_on_disk}
        for repo in sorted(repos, key=lambda repo: repo.repo_id)
        if repo.repo_type == "model"
    ]


def _suggested() -> list[dict[str, Any]]:
    return [
        {"where": "suggested", "model": model, "command": f"llmkit {verb} -m {model}"}
        for verb, models in SUGGESTED.items()
        for model in models
    ]


def _print_table(found: list[dict[str, Any]]) -> None:
    rows = [[model["where"], model["model"], *_cells(model)] for model in found]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    # A suggestion has a command in place of size, task, license and score.
    for row, model in zip(rows, found, strict=True):
        if "command" in model:
            line = f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {model['command']}"
        else:
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            line = "  ".join(cells).rstrip()
        print(console.fitted(line, indent=widths[0] + 2))


def _cells(model: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return size, task, license, and the first score of the card."""
    size = f"{model['bytes'] / 1e6:.1f} MB" if "bytes" in model else ""
    scores = model.get("scores") or []
    shown = f"{scores[0]['metric']} {scores[0]['value']:.4g} ({scores[0]['dataset']})" if scores else ""
    return size, model.get("task", ""), model.get("license", ""), shown
