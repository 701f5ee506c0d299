"""Conversations in rows: read and check them, and add the row's other columns."""

from __future__ import annotations

from typing import Any

from llmkit.errors import RowError
from llmkit.records.rows import Row
from llmkit.text.chat.conversations import MessageList, read_tools, read_turns, with_system

Messages = list[dict[str, Any]]


def messages_of(row: Row) -> Messages:
    """Return the conversation in a row's `messages`.

    Raises:
        RowError: it is not a list of messages with a `role` and a `content` each.
    """
    return check_messages(row.data.get("messages"), row.where)


def check_messages(messages: Any, where: str) -> Messages:
    """Return `messages` of row `where` in a common format; see `read_turns`.

    Raises:
        RowError: they are not a list of messages with a `role` and a `content` each.
    """
    if not isinstance(messages, list) or not messages:
        raise RowError(where, "`messages` must be a list of turns with `role` and `content`")
    try:
        return MessageList(read_turns(messages), tools_of(messages))
    except ValueError as error:
        raise RowError(where, str(error)) from None


def with_columns(messages: Messages, row: Row) -> Messages:
    """Add the columns `tools` and `system` to a conversation."""
    try:
        return MessageList(with_system(messages, row.data.get("system")), read_tools(row.data.get("tools")))
    except ValueError as error:
        raise RowError(row.where, str(error)) from None


def tools_of(messages: Any) -> list[dict[str, Any]] | None:
    """Return the tools of a conversation; None if it has none."""
    return messages.tools if isinstance(messages, MessageList) else None


def last_answer(messages: Messages, where: str) -> str:
    """Return the text of a conversation's last message, for a continuation.

    Raises:
        RowError: it is not the assistant's, or has no text.
    """
    last = messages[-1]
    if last["role"] != "assistant" or not isinstance(last.get("content"), str) or last.get("tool_calls"):
        raise RowError(where, "its last message is not a text of the assistant; there is nothing to continue")
    return str(last["content"])
