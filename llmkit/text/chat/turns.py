"""Turns of a conversation: a user message and the messages after it, up to the next user message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]


def split_system(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Return the system messages at the beginning of a conversation, and the rest."""
    head = next((i for i, one in enumerate(messages) if one["role"] not in _SYSTEM), len(messages))
    return list(messages[:head]), list(messages[head:])


def turns_of(messages: Sequence[Message]) -> int:
    """Return the number of turns."""
    return sum(one["role"] == "user" for one in messages)


def leave_turns(messages: Sequence[Message], turns: int) -> list[Message]:
    """Return the conversation without its first `turns` turns; the system messages at its beginning stay.

    Messages before the first user message, such as a greeting, belong to the first turn.
    """
    system, rest = split_system(messages)
    if turns == 0:
        return [*system, *rest]
    starts = [i for i, one in enumerate(rest) if one["role"] == "user"]
    return [*system, *rest[starts[turns] :]]


_SYSTEM = {"system", "developer"}
