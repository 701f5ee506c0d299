"""The list of models, and the description of one."""

from __future__ import annotations

import dataclasses
import json as json_module
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console
from llmkit.cli.common.streams import printable
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.runtime.hub.facts import ModelFacts
    from llmkit.runtime.spec import ModelSpec

# Well-known small models with open licenses.
SUGGESTED = {
    "generate": ("HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B"),
    "translate": ("Helsinki-NLP/opus-mt-en-de", "facebook/nllb-200-distilled-600M"),
    "chat": ("HuggingFaceTB/SmolLM2-360M-Instruct", "Qwen/Qwen3-0.6B"),
    "qa": ("deepset/tinyroberta-squad2", "distilbert/distilbert-base-cased-distilled-squad"),
    "summarize": ("facebook/bart-large-cnn",),
    "eval": ("openai-community/gpt2",),
}
_HEADER = ("where", "model", "size", "parameters", "type", "context", "license", "about")
_FACTS = ("format", "architecture", "parameters", "dtype", "context", "vocabulary", "license", "chat", "base")
_SHORTEST_COMMIT = 12


def print_list(cache_dir: Path | None, json: bool) -> None:
    """Print the embedded models, the cached models, and some suggestions."""
    found = [*_embedded(), *_cached(cache_dir), *_suggested()]
    if json:
        for model in found:
            print(json_module.dumps(model, ensure_ascii=False))
        return
    rows = [_HEADER, *(_cells(model) for model in found)]
    # A suggestion has a command in place of size, license and score.
    for line in _lines([row for row in rows if len(row) > 3], rows):
        print(line)


def _lines(measured: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; `measured` are the rows that have all columns."""
    widths = [max(map(len, column)) for column in zip(*measured, strict=True)]
    widths[:2] = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(console.fitted("  ".join(cells).rstrip(), widths[0] + 2))
    return lines


def _embedded() -> list[dict[str, Any]]:
    from llmkit.models.bundled import embedded_models
    from llmkit.runtime.hub.facts import describe

    return [
        {
            "where": "embedded",
            "model": model.name,
            "task": model.task,
            "bytes": model.bytes,
            **_told(describe(model.folder)),
            "license": model.license,
            "scores": [dataclasses.asdict(score) for score in model.scores],
            "about": model.summary,
        }
        for model in embedded_models()
    ]


def _cached(cache_dir: Path | None) -> list[dict[str, Any]]:
    from llmkit.runtime.hub.cache import cached_models
    from llmkit.runtime.hub.facts import describe

    found = []
    for model in cached_models(cache_dir):
        about: dict[str, Any] = {"where": "cached", "model": model.name, "bytes": model.bytes}
        about["revisions"] = {commit: list(names) for commit, names in model.revisions.items()}
        mains = [commit for commit, names in model.revisions.items() if "main" in names]
        for commit in (mains or list(model.revisions))[:1]:
            about |= _told(describe(model.folder / "snapshots" / commit))
        found.append(about)
    return found


def _told(facts: ModelFacts) -> dict[str, Any]:
    """Return the facts that the files contain."""
    return {key: value for key in _FACTS if (value := getattr(facts, key)) is not None}


def _suggested() -> list[dict[str, Any]]:
    return [
        {"where": "suggested", "model": model, "command": f"llmkit {verb} -m {model}"}
        for verb, models in SUGGESTED.items()
        for model in models
    ]


def _cells(model: dict[str, Any]) -> tuple[str, ...]:
    if "command" in model:
        return model["where"], model["model"], model["command"]
    scores = model.get("scores") or []
    first = f"{scores[0]['metric']} {scores[0]['value']:.4g} ({scores[0]['dataset']})" if scores else ""
    about = ", ".join(part for part in (model.get("task") or model.get("format") or "", first) if part)
    return (
        model["where"],
        model["model"],
        size(model["bytes"]),
        _rounded(model.get("parameters")),
        model.get("dtype", ""),
        f"{model['context']:,}" if "context" in model else "",
        model.get("license", ""),
        about,
    )


def size(number: int) -> str:
    """Return a number of bytes in a readable form."""
    if number < 1e6:
        return f"{number / 1e3:.1f} KB"
    return f"{number / 1e6:.1f} MB" if number < 1e9 else f"{number / 1e9:.2f} GB"


def _rounded(number: int | None) -> str:
    if number is None:
        return ""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


def show(names: Sequence[str], spec: ModelSpec, json: bool) -> None:
    """Print the details of models and their cards, without loading them.

    Raises:
        InputError: one of them is not on this machine.
    """
    from llmkit.runtime.gguf.files import gguf_files
    from llmkit.runtime.hub.facts import describe

    for number, name in enumerate(names):
        folder, where = find(name, spec)
        facts = describe(folder)
        files = gguf_files(folder) if folder.is_dir() else []
        ggufs = [describe(folder / file) for file in files if len(files) > 1]
        if json:
            about = {"model": name, "where": where, **dataclasses.asdict(facts), "folder": str(folder)}
            about["gguf"] = [{"file": file, **_told(one)} for file, one in zip(files, ggufs, strict=False)]
            print(json_module.dumps(about, ensure_ascii=False))
            continue
        if number:
            print()
        _print_facts(name, where, facts)
        for file, one in zip(files, ggufs, strict=False):
            print(f"{'':<14}{file}: {one.dtype or '?'}, {size(one.bytes)}")
        card = folder / "README.md" if folder.is_dir() else folder.parent / "README.md"
        if card.is_file():
            sys.stdout.write("\n" + card.read_text(encoding="utf-8", errors="replace"))


def _print_facts(name: str, where: str, facts: ModelFacts) -> None:
    files = console.count(facts.files, "file")
    rows = {
        "model": name,
        "where": where,
        "folder": str(facts.folder),
        "size": f"{size(facts.bytes)} in {files}",
        **{key: value for key, value in _told(facts).items() if key not in ("chat", "parameters", "context")},
        "parameters": None if facts.parameters is None else f"{facts.parameters:,}",
        "context": None if facts.context is None else f"{facts.context:,} tokens",
        "chat": "has a chat template" if facts.chat else "no chat template",
        "problem": facts.problem,
    }
    for key, value in rows.items():
        if value is not None:
            print(f"{key:<14}{printable(str(value))}")


def find(name: str, spec: ModelSpec) -> tuple[Path, str]:
    """Return a model's folder or GGUF file on this machine, and its origin.

    Raises:
        InputError: it is not on this machine.
    """
    from llmkit.runtime.gguf.files import split_name
    from llmkit.runtime.hub.cache import cached_models
    from llmkit.runtime.locate import is_hub_id, locate

    model, _ = split_name(name) or (name, None)
    on_disk = Path(model).expanduser().exists() or Path(name).expanduser().exists()
    cached = {one.name: one for one in cached_models(spec.cache_dir)}
    if not on_disk and is_hub_id(model) and model in cached:
        chosen = cached[model].snapshot(spec.revision)
        location = locate(name, replace(spec, name=name, revision=chosen.name, offline=True))
        folder = location.folder if model != name else chosen
        names = " ".join(cached[model].revisions[chosen.name])
        return folder, f"cached, revision {chosen.name[:_SHORTEST_COMMIT]} {names}".strip()
    try:
        location = locate(name, replace(spec, name=name, offline=True))
    except InputError as error:
        if "is not in the cache" in str(error) and is_hub_id(model):
            advice = "; `llmkit models` lists what is on this machine"
            if "/" in model:
                advice = f"; `llmkit models pull {name}` downloads it"
            raise InputError(
                re.sub(", and this run is offline", "", str(error).split(";")[0]) + advice
            ) from None
        raise
    return location.folder, location.revision
