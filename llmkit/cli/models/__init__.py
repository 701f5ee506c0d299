"""`llmkit models`: list, describe, download, remove and check models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from llmkit.cli.common import options
from llmkit.cli.common.options import argument, flag
from llmkit.errors import InputError, OptionError

ACTIONS = ("list", "show", "pull", "rm", "check")

EXAMPLES = [
    "llmkit models",
    "llmkit models show translator",
    "llmkit models pull HuggingFaceTB/SmolLM2-135M-Instruct",
    "llmkit models pull bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M",
    "llmkit models check",
]


@options.expand
def run(
    *,
    action: Annotated[str, argument("|".join(ACTIONS), help="Action.")] = "list",
    names: Annotated[
        list[str] | None,
        argument(
            "NAME...",
            help="Hub ids; MODEL:FILE or MODEL:TYPE is one GGUF file. show, check: also embedded models and"
            " folders. check without a name takes all cached models.",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        flag(
            "--revision",
            metavar="NAME",
            help="Branch, tag or commit. rm: remove only this revision.",
            default="main",
        ),
    ] = None,
    yes: Annotated[bool, flag("-y", "--yes", help="rm: do not ask.")] = False,
    allow_bin: Annotated[
        bool, flag("--allow-bin", help="pull: download pytorch_model.bin if there is no safetensors file.")
    ] = False,
    trust_remote_code: Annotated[
        bool, flag("--trust-remote-code", help="pull: download Python code of the model.")
    ] = False,
    offline: Annotated[bool, flag("--offline", help="Do not use the network; pull gives an error.")] = False,
    json: Annotated[bool, flag("--json", help="Print one JSON object per line.")] = False,
    cache_dir: Annotated[
        Path | None,
        flag(
            "--cache-dir",
            metavar="FOLDER",
            help="Folder of downloaded models.",
            default="the folder of huggingface_hub",
        ),
    ] = None,
    messages: options.MessageFlags,
) -> None:
    """List, describe, download, remove and check models."""
    from llmkit.cli.models import changes, listing
    from llmkit.runtime.spec import ModelSpec

    given = names or []
    if (
        action not in ACTIONS
        or (action == "list" and given)
        or (action in ("show", "pull", "rm") and not given)
    ):
        raise InputError(
            "use `llmkit models list`, `models show NAME`, `models pull NAME`, `models rm NAME` or"
            " `models check [NAME]`"
        )
    if yes and action != "rm":
        raise OptionError("yes", "is for models rm, which asks before it deletes")
    if revision is not None and action == "list":
        raise OptionError("revision", "cannot be combined with models list")
    spec = ModelSpec(
        name="",
        revision=revision,
        offline=offline,
        cache_dir=cache_dir,
        allow_bin=allow_bin,
        trust_remote_code=trust_remote_code,
    )
    if action == "list":
        listing.print_list(cache_dir, json)
    elif action == "show":
        listing.show(given, spec, json)
    elif action == "pull":
        changes.pull(given, spec, json)
    elif action == "rm":
        changes.remove(given, spec, yes, json)
    else:
        changes.check(given, spec, json)
