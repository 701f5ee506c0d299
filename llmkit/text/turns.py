"""The turns of a conversation: a user's message and all that follows it, up to the user's next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]


def parted(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The system messages at the head of a conversation, and the rest."""
    head = next((i for i, one in enumerate(messages) if one["role"] not in _SYSTEM), len(messages))
    return list(messages[:head]), list(messages[head:])


def turns_of(messages: Sequence[Message]) -> int:
    """How many turns there are."""
    return sum(one["role"] == "user" for one in messages)


def leave_turns(messages: Sequence[Message], turns: int) -> list[Message]:
    """The conversation without its first `turns` turns; the system messages at its head stay.

    What stands between them and the first turn, such as a greeting, goes with the first turn.
    """
    system, rest = parted(messages)
    if turns == 0:
        return [*system, *rest]
    starts = [i for i, one in enumerate(rest) if one["role"] == "user"]
    return [*system, *rest[starts[turns] :]]


_SYSTEM = {"system", "developer"}
