"""Conversations as finetuning reads them, and which of their tokens the assistant says.

Public: `conversation_of`, `learnt_spans`.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}


def conversation_of(value: Any) -> list[dict[str, Any]]:
    """Messages with `role` and `content`, from such or from ShareGPT's `from` and `value`.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("its messages are no list of turns")
    found = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, dict):
            raise ValueError(f"turn {number} of its messages is no object")
        if "from" in turn and "role" not in turn:
            turn = {"role": turn["from"], "content": turn.get("value")}
        role, content = turn.get("role"), turn.get("content")
        if not isinstance(role, str) or not (isinstance(content, str) or turn.get("tool_calls")):
            raise ValueError(f"turn {number} of its messages needs a role and a content")
        found.append({**turn, "role": _ROLES.get(role, role)})
    return found


def learnt_spans(
    tokenizer: Any, messages: list[dict[str, Any]], *, after: int = 0
) -> tuple[list[int], list[tuple[int, int | None]]]:
    """Token ids of a conversation, and the ranges of them that the assistant says.

    What the assistant says begins where the template would have it begin (after `add_generation_prompt`), so
    that in training it follows what it will follow in use, and ends with what the template puts after it.
    Nothing is asked of the template: `{% generation %}` need not be in it.

    Args:
        tokenizer: with a chat template.
        messages: with `role` and `content`.
        after: messages at the beginning of which nothing counts, whoever says it.

    Raises:
        ValueError: the template refuses the conversation, or the assistant says nothing in it.
    """
    from jinja2 import TemplateError

    try:
        whole = _render(tokenizer, messages)
        said = _character_spans(tokenizer, messages, whole)
    except TemplateError as error:
        raise ValueError(f"the chat template refuses it: {' '.join(str(error).split())}") from None
    spans = [span for index, span in said.items() if index >= after]
    if not spans:
        raise ValueError("the assistant says nothing in it")
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    found: list[tuple[int, int | None]] = []
    for start, end in spans:
        inside = [
            i for i, (first, last) in enumerate(offsets) if first >= start and last <= end and last > first
        ]
        if inside:
            found.append((inside[0], inside[-1] + 1))
    return encoded["input_ids"], found


def _render(tokenizer: Any, messages: list[dict[str, Any]], *, prompt: bool = False) -> str:
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return text


def _character_spans(
    tokenizer: Any, messages: list[dict[str, Any]], whole: str
) -> dict[int, tuple[int, int]]:
    """Where in `whole` the assistant's turns stand, by their number among the messages."""
    found: dict[int, tuple[int, int]] = {}
    last = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        after = _render(tokenizer, messages[: index + 1])
        before = _render(tokenizer, messages[:index], prompt=True) if index else ""
        start = len(before)
        if not index or not whole.startswith(before):
            # Some templates drop what the assistant thought in earlier turns, or open a thought for it: look
            # for the words themselves.
            said = str(message.get("content") or "").rpartition("</think>")[2].strip()
            start = whole.find(said, last) if said else -1
            if start < 0:
                continue
        if whole.startswith(after):
            end = len(after)
        else:
            # Up to where the two renderings part, or to the end of the line that the words end in.
            words = start + len(str(message.get("content") or "").rpartition("</think>")[2].strip())
            line = whole.find("\n", words)
            end = line if line >= 0 else len(whole)
        last = _without_break(whole, start, end)
        found[index] = start, last
    return found


def _without_break(whole: str, start: int, end: int) -> int:
    """`end` without the line breaks before it: after its end token the model is not asked for more."""
    breaks = len(list(takewhile(lambda c: c == "\n", reversed(whole[start:end]))))
    return max(start, end - breaks)
