"""Tokens of a conversation that the assistant writes.

Public: `target_spans`, `CHAT_TEMPLATE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise, takewhile
from typing import Any

from llmkit.errors import one_line
from llmkit.text.chat.templates import Renderer, called

# Template for tokenizers without one: names and line breaks, which any vocabulary can encode.
CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "Assistant: {{ m['content'] | trim }}{{ eos_token }}\n"
    "{% else %}{{ m['role'] | capitalize }}: {{ m['content'] | trim }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# A private-use character: conversations do not contain it, and templates do not change it.
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
        ValueError: the template refuses the conversation or changes the assistant's words, or the
            conversation has no text of the assistant.
    """
    from jinja2 import TemplateError

    try:
        renderer = Renderer(tokenizer, messages, tools)
        # A template may change the words of a question.
        lost = [one for one in renderer.left_out if one != "messages of role 'user'"]
        if lost:
            raise ValueError(f"the chat template leaves out {lost[0]}, so the model would not see it")
        whole = renderer.text
        said = _character_spans(tokenizer, renderer.render, messages, whole)
    except (TemplateError, TypeError) as error:  # TypeError: it concatenates a content that is None
        raise ValueError(f"the chat template refuses it: {one_line(error)}") from None
    spans = [span for index, span in said.items() if index >= after and messages[index].get("weight", 1) != 0]
    if not spans:
        raise ValueError("it has no text of the assistant")
    edges = [edge for span in spans for edge in (span[:1] if tokenizer.is_fast else span)]
    ids, offsets = _encoded(tokenizer, whole, edges)
    found: list[tuple[int, int | None]] = []
    for start, end in spans:
        inside = [i for i, (first, last) in enumerate(offsets) if first < end and last > start]
        # A role's token may include a space of the answer (rstrip, lstrip); it is not part of the answer.
        if inside and offsets[inside[0]][0] < start and ids[inside[0]] in tokenizer.added_tokens_decoder:
            del inside[0]
        if inside and offsets[inside[-1]][1] > end:
            # A token with white space of this turn and letters of the next is not part of it either.
            spaces = whole[offsets[inside[-1]][0] : end].isspace()
            if spaces or ids[inside[-1]] in tokenizer.added_tokens_decoder:
                del inside[-1]
        if inside:
            found.append((inside[0], inside[-1] + 1))
    return ids, found


def _encoded(tokenizer: Any, text: str, edges: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Encode a text so that no token crosses an edge.

    At inference the prompt ends at such an edge, and the answer begins with a new token.

    Args:
        tokenizer: the tokenizer.
        text: the text.
        edges: character positions.

    Returns:
        Ids, and start and end of the characters of each id. A slow tokenizer does not know them; its ids get
        those of the part between two edges.
    """
    if not tokenizer.is_fast:
        slow_ids, slow_offsets = list[int](), list[tuple[int, int]]()
        for start, end in _parts(text, edges):
            part_ids = _ids(tokenizer, text[start:end])
            slow_ids += part_ids
            slow_offsets += [(start, end)] * len(part_ids)
        return slow_ids, slow_offsets
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
    # Some templates add the prompt of the next answer even if it is not requested, some add it twice.
    prompt = render(messages, add_generation_prompt=True).removeprefix(whole)
    always_prompts = whole.endswith(prompt)
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(messages[:index], add_generation_prompt=True) if index else None
        after = render(messages[: index + 1])
        if always_prompts and before is not None:
            after = _without_prompt(tokenizer, after, before, _words(message)[1])
        if before is not None and whole.startswith(before) and whole.startswith(after):
            start, end = len(before), len(after)
        else:
            start, end = _find_marked(
                tokenizer, render, messages, index, whole, before, before if always_prompts else None
            )
        end = _without_line_breaks(whole, start, end)
        if start >= end and (message.get("content") or "").strip():
            raise ValueError(f"the chat template leaves out what the assistant says in turn {index + 1}")
        for call in message.get("tool_calls") or ():
            if called(call) not in whole[start:end]:
                raise ValueError(f"the chat template does not show the tool call of turn {index + 1}")
        if start < end:
            found[index] = start, end
    return found


def _words(message: dict[str, Any]) -> tuple[str, str]:
    """Return the assistant's reasoning in a turn, with its tag, and its answer."""
    thought, tag, words = str(message.get("content") or "").rpartition("</think>")
    return thought + tag, words


def _without_prompt(tokenizer: Any, after: str, before: str, words: str) -> str:
    """Return a rendered conversation without the prompt of the next answer, which also ends `before`.

    At least the first special token after the words stays, because it ends the turn.
    """
    pairs = zip(reversed(after), reversed(before), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    said = after.rfind(words.strip()) + len(words.strip())
    ids, offsets = _encoded(tokenizer, after[said:], [])
    special = set(tokenizer.all_special_ids)
    ends = [last for one, (_, last) in zip(ids, offsets, strict=True) if one in special]
    return after[: max(len(after) - shared, said + (ends[0] if ends else len(after) - said))]


def _marked_turns(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return copies of a turn with marks around its words and in its tool calls.

    The template may strip the white space around the words: try with it, then without. Keys of arguments
    are marked, because templates repeat the name of a called tool beside its result.
    """
    thought, words = _words(message)
    calls = message.get("tool_calls")
    marked = dict(message)
    if isinstance(calls, list) and calls:
        marked["tool_calls"] = [_marked_call(one, name=False) for one in calls]
        if marked["tool_calls"] == calls:
            marked["tool_calls"] = [_marked_call(one, name=True) for one in calls]
    for said in dict.fromkeys((words, words.strip())):
        if said:
            yield {**marked, "content": f"{thought}{_MARK}{said}{_MARK}"}
    if "tool_calls" in marked:
        yield {**marked, "content": message.get("content")}


def _marked_call(call: Any, *, name: bool) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    if name:
        return {**call, "function": {**function, "name": f"{_MARK}{function.get('name')}"}}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    if not isinstance(arguments, dict) or not arguments:
        return call
    return {**call, "function": {**function, "arguments": {f"{_MARK}{k}": v for k, v in arguments.items()}}}


def _find_marked(
    tokenizer: Any,
    render: Callable[..., str],
    messages: list[dict[str, Any]],
    index: int,
    whole: str,
    before: str | None,
    next_prompt: str | None,
) -> tuple[int, int]:
    """Find a turn's characters if the template renders its beginning differently in the whole conversation.

    Some templates drop the reasoning of earlier turns, open a reasoning block for the assistant, or put the
    system message into the last question. So this function puts marks around the turn's words, and finds the
    marks in the rendered text.

    Raises:
        ValueError: the template changes the words.
    """
    calls = bool(messages[index].get("tool_calls"))
    later = [str(one.get("content") or "").strip() for one in messages[index + 1 :]]
    for marked in _marked_turns(messages[index]):
        text = render([*messages[:index], marked, *messages[index + 1 :]])
        count = text.count(_MARK)
        if not count or (count != 2 and not calls) or text.replace(_MARK, "") != whole:
            continue
        start, end = text.index(_MARK), text.rindex(_MARK) + 1 - count
        # Gemma 4 writes a tool's result between a call and the words of the same turn.
        if not any(one and one in whole[start:end] for one in later):
            break
    else:
        raise ValueError(
            f"the chat template changes what the assistant says in turn {index + 1}, so it cannot be found"
        )
    # Rendered as the last turn, it has its end too, and the text before its words, as at inference.
    last = render([*messages[:index], marked])
    if next_prompt is not None:
        last = _without_prompt(tokenizer, last, next_prompt, _MARK)
    lead, _, rest = last.partition(_MARK)
    end += _shared(tokenizer, rest.rpartition(_MARK)[2], whole[end:])
    if before is not None:
        if lead.startswith(before) and whole.endswith(lead[len(before) :], 0, start):
            start -= len(lead) - len(before)
        elif calls:
            start = _after_header(tokenizer, before.removeprefix(render(messages[:index])), whole, start)
    return start, end


def _after_header(tokenizer: Any, prompt: str, whole: str, start: int) -> int:
    """Return the beginning of the turn around `start`: the end of the part of the prompt before it."""
    ids, offsets = _encoded(tokenizer, prompt, [])
    special = set(tokenizer.all_special_ids)
    for one, (_, last) in zip(reversed(ids), reversed(offsets), strict=True):
        found = whole.rfind(prompt[:last], 0, start)
        if found >= 0 and (one in special or last == len(prompt) or prompt[last - 1] == "\n"):
            return found + last
    return start


def _shared(tokenizer: Any, one: str, other: str) -> int:
    """Return the number of characters in the tokens that both texts begin with.

    It counts by tokens, because `<|im_end|>` and `<|im_start|>` share characters but no token.
    """
    if not tokenizer.is_fast:
        # The longest common beginning that consists of complete tokens in both.
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
    """Move `end` before the line breaks there: generation stops at the end token, so they are not targets."""
    breaks = len(list(takewhile(lambda c: c == "\n", reversed(whole[start:end]))))
    return max(start, end - breaks)
