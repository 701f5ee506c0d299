"""`--push-to-hub`: a finished folder to the Hub, after a question."""

from __future__ import annotations

import sys
from pathlib import Path

from llmkit.cli.common import console, launch
from llmkit.errors import InputError, LLMKitError


def ask(repository: str) -> None:
    """Ask whether to upload, before the training that may take a night.

    Raises:
        InputError: there is nobody to ask, or the answer is no.
    """
    if not launch.is_main_process():
        return
    if repository.count("/") != 1:
        raise InputError(f"--push-to-hub {repository}: name it USER/NAME")
    if not sys.stdin.isatty():
        raise InputError("--push-to-hub asks before it uploads, and there is no terminal to ask at")
    print(
        f"Upload the result to https://huggingface.co/{repository} (private)? [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise InputError("--push-to-hub: not confirmed; nothing was trained")


def push(folder: Path, repository: str) -> None:
    """Upload the folder; checkpoints stay here.

    Raises:
        LLMKitError: the Hub refused it; the folder is as it was.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, ignore_patterns=["checkpoints/*"])
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise LLMKitError(
            f"--push-to-hub {repository}: {' '.join(str(error).split())[:300]}; the result is in {folder}"
        ) from None
    console.notice(f"uploaded to https://huggingface.co/{repository}")
