"""Additional columns of a prompt or conversation that the chat template renders as turns and tools.

Public: `BESIDE`, `turns_beside`, `tools_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.text.chat.conversations import read_history, read_tools, with_system
from llmkit.training.finetuning.columns import BadRowError, Columns

_SYSTEM = ("system", "system_prompt")
BESIDE = (*_SYSTEM, "history", "tools")


def turns_beside(
    row: Mapping[str, Any], messages: list[dict[str, Any]], columns: Columns
) -> list[dict[str, Any]]:
    """Return the turns that a row's columns put in front of its conversation.

    Args:
        row: the row; `system` (or `system_prompt`) is a text, `history` pairs of user and assistant.
        messages: the conversation.
        columns: columns that have a role already.

    Raises:
        BadRowError: a column has another form.
    """
    beside = [name for name in BESIDE if name not in columns.names.values()]
    system = next((row[name] for name in _SYSTEM if name in row and name in beside), None)
    try:
        before = read_history(row.get("history")) if "history" in beside else []
        if before and messages[0]["role"] == "system":
            raise ValueError("its conversation begins with a system message, so it cannot follow a history")
        found = with_system([*before, *messages], system)
    except ValueError as error:
        raise BadRowError(str(error)) from None
    return found[: len(found) - len(messages)]


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the tools of a row's conversation; None if there are none.

    Raises:
        BadRowError: they have another form.
    """
    try:
        return read_tools(row.get("tools"))
    except ValueError as error:
        raise BadRowError(str(error)) from None
