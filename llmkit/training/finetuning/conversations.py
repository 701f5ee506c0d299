"""Tokens of a conversation that the assistant writes.

Public: `target_spans`, `CHAT_TEMPLATE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise, takewhile
from typing import Any

from llmkit.errors import one_line

# Template for tokenizers without one: names and line breaks, which any vocabulary can spell.
CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "Assistant: {{ m['content'] | trim }}{{ eos_token }}\n"
    "{% else %}{{ m['role'] | capitalize }}: {{ m['content'] | trim }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# A character for private use: it occurs in no conversation, and templates pass it through.
_MARK = "\ue0f5"


def target_spans(
    tokenizer: Any,
    messages: list[dict[str, Any]],
    *,
    after: int = 0,
    tools: list[dict[str, Any]] | None = None,
) -> tuple[list[int], list[tuple[int, int | None]]]:
    """Encode a conversation, and find the tokens that the assistant writes.

    A span begins where generation would begin (after `add_generation_prompt`), so that in training it follows
    the same tokens as at inference. It ends with the tokens that the template puts after the turn. The
    template does not need `{% generation %}`.

    Args:
        tokenizer: tokenizer with a chat template.
        messages: messages with `role` and `content`; one with `weight` 0 has no targets.
        tools: JSON schemas of the tools, for the template.
        after: number of messages at the beginning that have no targets.

    Returns:
        Ids of the conversation, and the ranges (start, end) of the assistant's tokens.

    Raises:
        ValueError: the template refuses the conversation or changes the assistant's words, or the assistant
            says nothing in it.
    """
    from jinja2 import TemplateError

    render = partial(_render, tokenizer, tools)
    try:
        whole = render(messages)
        said = _character_spans(tokenizer, render, messages, whole)
    except (TemplateError, TypeError) as error:  # TypeError: it concatenates a content that is None
        raise ValueError(f"the chat template refuses it: {one_line(error)}") from None
    spans = [span for index, span in said.items() if index >= after and messages[index].get("weight", 1) != 0]
    if not spans:
        raise ValueError("the assistant says nothing in it")
    edges = [edge for span in spans for edge in (span[:1] if tokenizer.is_fast else span)]
    ids, offsets = _encoded(tokenizer, whole, edges)
    found: list[tuple[int, int | None]] = []
    for start, end in spans:
        inside = [i for i, (first, last) in enumerate(offsets) if first < end and last > start]
        # A role's token may take a space of the answer with it (rstrip, lstrip); it is no part of the answer.
        if inside and offsets[inside[0]][0] < start and ids[inside[0]] in tokenizer.added_tokens_decoder:
            del inside[0]
        if inside and offsets[inside[-1]][1] > end and ids[inside[-1]] in tokenizer.added_tokens_decoder:
            del inside[-1]
        if inside:
            found.append((inside[0], inside[-1] + 1))
    return ids, found


def _render(
    tokenizer: Any, tools: list[dict[str, Any]] | None, messages: list[dict[str, Any]], prompt: bool = False
) -> str:
    text: str = tokenizer.apply_chat_template(
        messages, tools=tools, tokenize=False, add_generation_prompt=prompt
    )
    return text


def _encoded(tokenizer: Any, text: str, edges: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Encode a text so that no token lies on both sides of an edge.

    At inference the prompt ends at such an edge, and the answer begins with a new token.

    Args:
        tokenizer: the tokenizer.
        text: the text.
        edges: character positions.

    Returns:
        Ids, and start and end of the characters of each; from a slow tokenizer, which does not know them,
        those of the part between two edges.
    """
    if not tokenizer.is_fast:
        parts = [(_ids(tokenizer, text[start:end]), (start, end)) for start, end in _parts(text, edges)]
        return [token for ids, _ in parts for token in ids], [at for ids, at in parts for _ in ids]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    if not any(first < edge < last for edge in edges for first, last in offsets):
        return ids, offsets
    split_ids, split_offsets = list[int](), list[tuple[int, int]]()
    for start, end in _parts(text, edges):
        piece = tokenizer(text[start:end], add_special_tokens=False, return_offsets_mapping=True)
        split_ids += piece["input_ids"]
        split_offsets += [(start + first, start + last) for first, last in piece["offset_mapping"]]
    # Tokenizers that put a space before every text cannot encode the parts.
    same = tokenizer.decode(split_ids) == tokenizer.decode(ids)
    return (split_ids, split_offsets) if same else (ids, offsets)


def _common(one: str, other: str) -> int:
    """Return the number of characters that both texts begin with."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _parts(text: str, edges: list[int]) -> Iterator[tuple[int, int]]:
    return pairwise(sorted({0, *edges, len(text)}))


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _character_spans(
    tokenizer: Any, render: Callable[..., str], messages: list[dict[str, Any]], whole: str
) -> dict[int, tuple[int, int]]:
    """Return the characters (start, end) of the assistant's turns in `whole`, by index of the message."""
    found: dict[int, tuple[int, int]] = {}
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(messages[:index], prompt=True) if index else None
        after = render(messages[: index + 1])
        if before is not None and whole.startswith(before) and whole.startswith(after):
            start, end = len(before), len(after)
        else:
            start, end = _find_marked(tokenizer, render, messages, index, whole, before)
        end = _without_line_breaks(whole, start, end)
        if start >= end and (message.get("content") or "").strip():
            raise ValueError(f"the chat template leaves out what the assistant says in turn {index + 1}")
        if start < end:
            found[index] = start, end
    return found


def _find_marked(
    tokenizer: Any,
    render: Callable[..., str],
    messages: list[dict[str, Any]],
    index: int,
    whole: str,
    before: str | None,
) -> tuple[int, int]:
    """Find a turn's characters if the template renders its beginning differently in the whole conversation.

    Some templates drop the reasoning of earlier turns, open a reasoning block for the assistant, or put the
    system message into the last question. So put marks around the turn's words, and find the marks in the
    rendered text.

    Raises:
        ValueError: the template changes the words.
    """
    reason = ValueError(
        f"the chat template changes what the assistant says in turn {index + 1}, so it cannot be found"
    )
    content = str(messages[index].get("content") or "")
    thought, tag, words = content.rpartition("</think>")
    # The template may strip the white space around the words: try with it, then without.
    for said in (words, words.strip()):
        marked = {**messages[index], "content": f"{thought}{tag}{_MARK}{said}{_MARK}"}
        text = render([*messages[:index], marked, *messages[index + 1 :]])
        if said and text.count(_MARK) == 2 and text.replace(_MARK, "") == whole:
            break
    else:
        raise reason
    start = text.index(_MARK)
    end = text.rindex(_MARK) - 1
    # As the last turn it also has its end, and the text before its words, as at inference.
    lead, _, rest = render([*messages[:index], marked]).partition(_MARK)
    end += _shared(tokenizer, rest.rpartition(_MARK)[2], whole[end:])
    if before is not None and lead.startswith(before) and whole.endswith(lead[len(before) :], 0, start):
        start -= len(lead) - len(before)
    return start, end


def _shared(tokenizer: Any, one: str, other: str) -> int:
    """Return the number of characters in the tokens that both texts begin with.

    Tokens, because `<|im_end|>` and `<|im_start|>` share characters and no token.
    """
    if not tokenizer.is_fast:
        # The longest common beginning that is whole tokens in both.
        both = _ids(tokenizer, one), _ids(tokenizer, other)
        for end in range(_common(one, other), 0, -1):
            ids = _ids(tokenizer, one[:end])
            if all(whole[: len(ids)] == ids for whole in both):
                return end
        return 0
    found = 0
    ids, offsets = _encoded(tokenizer, one, [])
    for mine, (_, last), theirs in zip(ids, offsets, _encoded(tokenizer, other, [])[0], strict=False):
        if mine != theirs:
            break
        found = last
    return found


def _without_line_breaks(whole: str, start: int, end: int) -> int:
    """Move `end` before the line breaks there: generation stops at the end token, so they are no targets."""
    breaks = len(list(takewhile(lambda c: c == "\n", reversed(whole[start:end]))))
    return max(start, end - breaks)
