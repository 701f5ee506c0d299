"""Download, remove and check models of the cache."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.cli.common import console
from llmkit.cli.common.progress import Progress
from llmkit.cli.common.streams import printable
from llmkit.cli.models.listing import find, size
from llmkit.errors import InputError, OptionError

if TYPE_CHECKING:
    from llmkit.runtime.hub.check import FileCheck
    from llmkit.runtime.hub.facts import ModelFacts
    from llmkit.runtime.spec import ModelSpec


def pull(names: Sequence[str], spec: ModelSpec, json: bool) -> None:
    """Download models into the cache, and print the folder of each.

    Raises:
        InputError: a model is not on the Hub, or access is refused.
        LLMKitError: a download failed.
    """
    from llmkit.runtime.hub.download import pull as download

    for name in names:
        model, variant = _on_hub(name, "pull")
        bar = Progress(f"pull {model}")

        def show(done: int, total: int, bar: Progress = bar) -> None:
            bar.total = total
            bar.update(done, f"{size(done)} of {size(total)}")

        with bar:
            pulled = download(model, replace(spec, name=name), variant, progress=show)
        if json:
            print(json_module.dumps({**dataclasses.asdict(pulled), "folder": str(pulled.folder)}))
        else:
            print(pulled.folder)
        files = console.count(len(pulled.files), "file")
        console.notice(f"{name}: {files}, {size(pulled.bytes)}, revision {pulled.revision[:12]}")


def remove(names: Sequence[str], spec: ModelSpec, yes: bool, json: bool) -> None:
    """Delete models from the cache, after a confirmation.

    Raises:
        InputError: a model is not in the cache.
        OptionError: there is no terminal for the confirmation.
        LLMKitError: something cannot be deleted.
    """
    from llmkit.runtime.hub.cache import cached_model, plan_removal

    plans = []
    for name in names:
        model, variant = _on_hub(name, "rm")
        found = cached_model(model, spec.cache_dir)
        plans.append(plan_removal(found, revision=spec.revision, variant=variant))
    for plan in plans:
        if not yes and not _confirmed(f"Delete {plan.what} ({size(plan.bytes)}) from {plan.model.folder}?"):
            console.notice(f"{plan.what} was kept")
            continue
        plan.run()
        if json:
            print(json_module.dumps({"model": plan.model.name, "removed": plan.what, "bytes": plan.bytes}))
        console.notice(f"{plan.what} was deleted: {size(plan.bytes)}")


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise OptionError("yes", "is needed: models rm asks for confirmation, and there is no terminal")
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _on_hub(name: str, action: str) -> tuple[str, str | None]:
    """Return repository and GGUF file of a name.

    Raises:
        InputError: the name is that of an embedded model, or of a folder or file here.
    """
    from llmkit.models.bundled import embedded_folder
    from llmkit.runtime.gguf.files import split_name
    from llmkit.runtime.locate import is_hub_id

    model, variant = split_name(name) or (name, None)
    if embedded_folder(model) is not None:
        raise InputError(f"models {action} {name}: {model} is part of llmkit, not of the cache")
    if not is_hub_id(model):
        raise InputError(f"models {action} {name}: not the name of a model on the Hub, which is USER/MODEL")
    return model, variant


def check(names: Sequence[str], spec: ModelSpec, json: bool) -> None:
    """Compare files with their hashes in the cache, and read all headers.

    Without names, all cached models are checked, every revision. Ends with exit code 1 if a file is wrong.

    Raises:
        InputError: a model is not on this machine.
    """
    from llmkit.runtime.hub.cache import cached_models

    folders: list[tuple[str, Path]] = []
    if names:
        folders = [(name, find(name, spec)[0]) for name in names]
    else:
        for model in cached_models(spec.cache_dir):
            folders += [(model.name, model.folder / "snapshots" / commit) for commit in model.revisions]
        if not folders:
            console.notice("no model is in the cache")
    failed = 0
    for name, folder in folders:
        failed += _check_one(name, folder, json)
    if failed:
        raise console.Exit(1)


def _check_one(name: str, folder: Path, json: bool) -> bool:
    """Check one model; True if something is wrong."""
    from llmkit.runtime.hub.check import check_file, check_folder
    from llmkit.runtime.hub.facts import describe

    bar = Progress(f"check {name}")

    def show(done: int) -> None:
        bar.update(done, size(done))

    with bar:
        if folder.is_file():
            results = [check_file(folder.parent, folder.name, progress=show)]
        else:
            results = list(check_folder(folder, progress=show))
    facts = describe(folder)
    problem = facts.problem
    wrong = [one for one in results if one.ok is False]
    if json:
        for one in results:
            print(json_module.dumps({"model": name, **dataclasses.asdict(one)}, ensure_ascii=False))
        if problem:
            print(json_module.dumps({"model": name, "ok": False, "note": problem}, ensure_ascii=False))
    else:
        _print_check(name, results, wrong, facts)
    return bool(wrong) or problem is not None


def _print_check(
    name: str, results: Sequence[FileCheck], wrong: Sequence[FileCheck], facts: ModelFacts
) -> None:
    for one in wrong:
        print(f"{name}  WRONG  {printable(one.file)}: {one.note}; pull the model again")
    if facts.problem:
        print(f"{name}  WRONG  {printable(facts.problem)}")
    right = sum(one.ok is True for one in results)
    unknown = sum(one.ok is None for one in results)
    if not wrong and not facts.problem:
        told = [f"{right} of {console.count(len(results), 'file')} with the right hash"] if right else []
        told += (
            [f"{console.count(unknown, 'file')} without a known hash, headers are valid"] if unknown else []
        )
        told += ["it has no weights"] if facts.format is None else []
        print(f"{name}  ok  {'; '.join(told)}")
