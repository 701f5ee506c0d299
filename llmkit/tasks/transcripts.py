"""Conversations in files: JSONL, one ``{"messages": [...]}`` a line, as finetuning reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, RowError
from llmkit.records.disk import cannot_write
from llmkit.records.read import open_rows
from llmkit.records.strict_json import dumps
from llmkit.tasks.messages import Messages, messages_of
from llmkit.whole_file import write_whole


def load_transcripts(path: str | Path) -> list[Messages]:
    """Return all conversations of a file, in order.

    Raises:
        InputError: there is no such file, or a line is no conversation.
    """
    found = []
    for row in open_rows(path):
        if row.error is not None:
            raise RowError(row.where, row.error)
        found.append(messages_of(row))
    if not found:
        raise InputError(f"{path} contains no conversation")
    return found


def save_transcript(path: str | Path, messages: Sequence[dict[str, Any]]) -> int:
    """Write a conversation at the end of a file of conversations; a new file if there is none.

    A line with the beginning of this conversation is replaced: it was saved earlier.

    Returns:
        The number of conversations in the file.

    Raises:
        InputError: there is nothing to save, the name does not end in .jsonl, or the file holds other things.
        LLMKitError: it cannot be written.
    """
    path = Path(os.path.realpath(path))
    if not messages:
        raise InputError("the conversation is empty; nothing to save")
    if path.suffix != ".jsonl":
        raise InputError(f"{path}: a transcript is JSONL; give it a name that ends in .jsonl")
    there = load_transcripts(path) if path.exists() and path.stat().st_size else []
    kept = [one for one in there if one != list(messages[: len(one)])]
    lines = "".join(dumps({"messages": one}) + "\n" for one in [*kept, list(messages)])
    _replace(path, lines.encode("utf-8"))
    return len(kept) + 1


def _replace(path: Path, data: bytes) -> None:
    """Replace a file at once: after a crash either the old or the new content is there."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise cannot_write(path, error, advice="the conversation is not saved") from error
