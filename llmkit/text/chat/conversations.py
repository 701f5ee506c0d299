"""Read conversations: OpenAI's messages and ShareGPT's turns, with their tools and system text.

Public: `read_turns`, `read_tools`, `read_history`, `with_system`, `MessageList`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.text.chat.turns import Message

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}


class MessageList(list[Message]):
    """Messages with `role` and `content`, and the tools that the assistant may call.

    Attributes:
        tools: JSON schemas of the tools; None if there are none.
    """

    def __init__(self, messages: Sequence[Message], tools: list[dict[str, Any]] | None = None) -> None:
        super().__init__(messages)
        self.tools = tools


def read_turns(value: Any) -> list[Message]:
    """Read messages with `role` and `content`, or with ShareGPT's `from` and `value`.

    A content given as parts is joined. A ShareGPT turn of a `function_call` becomes a message with
    `tool_calls`.

    Returns:
        Messages with `role` and `content`; all their other keys stay.

    Raises:
        ValueError: the value has another form, or a part is no text.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("its messages are not a list of turns")
    found = []
    for number, turn in enumerate(value, start=1):
        where = f"turn {number} of its messages"
        if not isinstance(turn, dict):
            raise ValueError(f"{where} is not an object")
        calls = turn.get("from", turn.get("role")) == "function_call"
        if "from" in turn and "role" not in turn:
            rest = {key: one for key, one in turn.items() if key not in ("from", "value")}
            turn = {"role": turn["from"], "content": turn.get("value"), **rest}
        if isinstance(turn.get("content"), list):
            turn = {**turn, "content": _joined(turn["content"], where)}
        role, content = turn.get("role"), turn.get("content")
        if not isinstance(role, str) or not (isinstance(content, str) or turn.get("tool_calls")):
            raise ValueError(f"{where} needs a role and a content")
        if calls:
            turn = {**turn, "content": "", "tool_calls": _calls(str(content), where)}
        found.append({**turn, "role": _ROLES.get(role, role)})
    return found


def read_tools(value: Any) -> list[dict[str, Any]] | None:
    """Read the tools of a conversation: a list of JSON schemas, or its JSON text.

    Returns:
        The schemas; None if there are none.

    Raises:
        ValueError: the value has another form.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            raise ValueError("its tools are a text that is not JSON") from None
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("its tools are not a list of objects")
    return value


def read_history(value: Any) -> list[Message]:
    """Read earlier turns as pairs of user and assistant texts.

    Raises:
        ValueError: the value has another form.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError("its history is not a list of pairs")
    found: list[Message] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise ValueError("its history is not a list of pairs of texts")
        found += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return found


def with_system(messages: Sequence[Message], system: Any) -> list[Message]:
    """Put a system text in front of a conversation.

    Args:
        messages: the conversation.
        system: the text; None and an empty text add nothing.

    Raises:
        ValueError: it is no text, or the conversation begins with another system message.
    """
    if system is None or system == "":
        return list(messages)
    if not isinstance(system, str):
        raise ValueError("its system text is not a text")
    if messages and messages[0]["role"] == "system":
        if messages[0].get("content") != system:
            raise ValueError("it has one system text in its messages and another in a column")
        return list(messages)
    return [{"role": "system", "content": system}, *messages]


def _joined(parts: list[Any], where: str) -> str:
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ValueError(f"{where} has a part of type {str(kind)[:40]!r}; only text is read")
        texts.append(text)
    return "".join(texts)


def _calls(text: str, where: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{where} is a function_call that is not JSON") from None
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in calls):
        raise ValueError(f"{where} is a function_call without a name")
    return [
        {"type": "function", "function": {"name": one["name"], "arguments": one.get("arguments", {})}}
        for one in calls
    ]
