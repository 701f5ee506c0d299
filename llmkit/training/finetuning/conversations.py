"""Conversations as finetuning reads them, and which of their tokens the assistant says.

Public: `conversation_of`, `target_spans`.
"""

from __future__ import annotations

from itertools import pairwise, takewhile
from typing import Any

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}
# Of the characters that Unicode leaves to private use: in no conversation, and nothing to a template.
_MARK = "\ue0f5"


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


def target_spans(
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
        ValueError: the template refuses the conversation or does not keep the assistant's words, or the
            assistant says nothing in it.
    """
    from jinja2 import TemplateError

    try:
        whole = _render(tokenizer, messages)
        said = _character_spans(tokenizer, messages, whole)
    except (TemplateError, TypeError) as error:  # TypeError: it adds up a content that is not there
        raise ValueError(f"the chat template refuses it: {' '.join(str(error).split())}") from None
    spans = [span for index, span in said.items() if index >= after]
    if not spans:
        raise ValueError("the assistant says nothing in it")
    ids, offsets = _encoded(tokenizer, whole, [start for start, _ in spans])
    found: list[tuple[int, int | None]] = []
    for start, end in spans:
        inside = [i for i, (first, last) in enumerate(offsets) if first < end and last > start]
        if inside:
            found.append((inside[0], inside[-1] + 1))
    return ids, found


def _render(tokenizer: Any, messages: list[dict[str, Any]], *, prompt: bool = False) -> str:
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return text


def _encoded(tokenizer: Any, text: str, edges: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids, and the characters of each, so that no token lies on both sides of an edge.

    In use the prompt ends at such an edge, and what is said begins with a token of its own.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    if not any(first < edge < last for edge in edges for first, last in offsets):
        return ids, offsets
    parted, places = list[int](), list[tuple[int, int]]()
    for start, end in pairwise(sorted({0, *edges, len(text)})):
        piece = tokenizer(text[start:end], add_special_tokens=False, return_offsets_mapping=True)
        parted += piece["input_ids"]
        places += [(start + first, start + last) for first, last in piece["offset_mapping"]]
    # Tokenizers that put a space before every text cannot be asked for the parts.
    return (parted, places) if tokenizer.decode(parted) == tokenizer.decode(ids) else (ids, offsets)


def _character_spans(
    tokenizer: Any, messages: list[dict[str, Any]], whole: str
) -> dict[int, tuple[int, int]]:
    """Where in `whole` the assistant's turns stand, by their number among the messages."""
    found: dict[int, tuple[int, int]] = {}
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, messages[:index], prompt=True) if index else None
        after = _render(tokenizer, messages[: index + 1])
        if before is not None and whole.startswith(before) and whole.startswith(after):
            start, end = len(before), len(after)
        else:
            start, end = _found(tokenizer, messages, index, whole, before)
        end = _without_break(whole, start, end)
        if start >= end and (message.get("content") or "").strip():
            raise ValueError(f"the chat template leaves out what the assistant says in turn {index + 1}")
        if start < end:
            found[index] = start, end
    return found


def _found(
    tokenizer: Any, messages: list[dict[str, Any]], index: int, whole: str, before: str | None
) -> tuple[int, int]:
    """Where a turn's words stand in a conversation that does not begin as its beginning alone is rendered.

    Some templates drop what the assistant thought in earlier turns, open a thought for it, or put the
    system's words into the last question. So the words are marked, and looked for where the marks come out.

    Raises:
        ValueError: the template does not keep them.
    """
    reason = ValueError(
        f"the chat template changes what the assistant says in turn {index + 1}, so that it cannot be found"
    )
    content = str(messages[index].get("content") or "")
    thought, tag, words = content.rpartition("</think>")
    # What the template leaves of the space around the words is not known: first as it is, then without.
    for said in (words, words.strip()):
        marked = {**messages[index], "content": f"{thought}{tag}{_MARK}{said}{_MARK}"}
        text = _render(tokenizer, [*messages[:index], marked, *messages[index + 1 :]])
        if said and text.count(_MARK) == 2 and text.replace(_MARK, "") == whole:
            break
    else:
        raise reason
    start = text.index(_MARK)
    end = text.rindex(_MARK) - 1
    # As the last turn it has its end, and what is said before its words, as after a prompt in use.
    lead, _, rest = _render(tokenizer, [*messages[:index], marked]).partition(_MARK)
    end += _shared(tokenizer, rest.rpartition(_MARK)[2], whole[end:])
    if before is not None and lead.startswith(before) and whole.endswith(lead[len(before) :], 0, start):
        start -= len(lead) - len(before)
    return start, end


def _shared(tokenizer: Any, one: str, other: str) -> int:
    """Characters of the tokens with which both texts begin: `<|im_end|>` and `<|im_start|>` share none."""
    found = 0
    ids, offsets = _encoded(tokenizer, one, [])
    for mine, (_, last), theirs in zip(ids, offsets, _encoded(tokenizer, other, [])[0], strict=False):
        if mine != theirs:
            break
        found = last
    return found


def _without_break(whole: str, start: int, end: int) -> int:
    """`end` without the line breaks before it: after its end token the model is not asked for more."""
    breaks = len(list(takewhile(lambda c: c == "\n", reversed(whole[start:end]))))
    return max(start, end - breaks)
