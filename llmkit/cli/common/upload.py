"""`--push-to-hub`: upload a finished folder to the Hub, after a confirmation."""

from __future__ import annotations

import sys
from pathlib import Path

from llmkit.cli.common import console, launch
from llmkit.errors import LLMKitError, OptionError, one_line


def ask(repository: str) -> None:
    """Ask for confirmation of the upload before the training run, which may take hours.

    Raises:
        OptionError: there is no terminal, or the answer is no.
    """
    if not launch.is_main_process():
        return
    if repository.count("/") != 1:
        raise OptionError("push_to_hub", f"must be USER/NAME, not {repository!r}")
    if not sys.stdin.isatty():
        raise OptionError("push_to_hub", "asks for confirmation, and there is no terminal")
    print(
        f"Upload the result to https://huggingface.co/{repository} (private)? [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise OptionError("push_to_hub", "was not confirmed; nothing was trained")


def push(folder: Path, repository: str) -> None:
    """Upload the folder, except its checkpoints.

    Raises:
        LLMKitError: the Hub refused it; the folder is unchanged.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, ignore_patterns=["checkpoints/*"])
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise LLMKitError(
            f"`push_to_hub` {repository}: {one_line(error)}; the result is in {folder}"
        ) from None
    console.notice(f"uploaded to https://huggingface.co/{repository}")
