"""Render a conversation with a model's chat template, in a form that the template can read.

Templates differ in what they take. Some refuse a system message, some read a content only as a list of
parts, some want the arguments of a tool call as JSON text. `Renderer` finds the form that shows the model
everything in the conversation.

Public: `Renderer`, `called`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from llmkit.text.chat.turns import Message


class _Adaptation(NamedTuple):
    """Changes to a conversation before the template sees it.

    Attributes:
        text_arguments: arguments of tool calls are JSON text, not objects.
        system_in_user: the system text is at the beginning of the first user message.
        parts: each content is a list with one part of type "text".
    """

    text_arguments: bool = False
    system_in_user: bool = False
    parts: bool = False


class Renderer:
    """Renders one conversation, and beginnings of it, always in the same form.

    Args:
        tokenizer: tokenizer with a chat template.
        messages: the whole conversation.
        tools: JSON schemas of the tools; None if there are none.
        add_generation_prompt: the text of `text` ends where the assistant's answer begins.
        continue_final_message: it ends with the text of the last message, which is to continue.

    Attributes:
        text: the rendered conversation.
        left_out: parts of the conversation that the template does not show, in words, such as "the tools" and
            "messages of role 'system'".

    Raises:
        Exception: the template refuses the conversation in each form; the error of the first form.
    """

    def __init__(
        self,
        tokenizer: Any,
        messages: Sequence[Message],
        tools: list[dict[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._tools = tools
        self._form = _Adaptation()
        first_error: Exception | None = None
        best: tuple[str, list[str], _Adaptation] | None = None
        for form in _adaptations(messages):
            self._form = form
            try:
                text = self.render(
                    messages,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=continue_final_message,
                )
            except Exception as error:  # templates raise jinja2 errors, and TypeError for a content of None
                first_error = first_error or error
                continue
            left_out = _left_out(text, messages, tools)
            if best is None or len(left_out) < len(best[1]):
                best = text, left_out, form
            if not left_out:
                break
        if best is None:
            raise first_error or ValueError("an empty conversation")
        self.text, self.left_out, self._form = best

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> str:
        """Render messages in the form that was found for the whole conversation."""
        text: str = self._tokenizer.apply_chat_template(
            _adapted(messages, self._form),
            tools=self._tools,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **({"continue_final_message": True} if continue_final_message else {}),
        )
        return text


def _adaptations(messages: Sequence[Message]) -> Iterator[_Adaptation]:
    """Return the forms that can differ for these messages, those with the fewest changes first."""
    calls = any(one.get("tool_calls") for one in messages)
    system = messages[0]["role"] == "system" and any(one["role"] == "user" for one in messages)
    choices = product((False, True)[: 1 + calls], (False, True)[: 1 + system], (False, True))
    return iter(sorted((_Adaptation(*choice) for choice in choices), key=sum))


def _adapted(messages: Sequence[Message], form: _Adaptation) -> list[Message]:
    found = [_with_arguments(one, as_text=form.text_arguments) for one in messages]
    if form.system_in_user and len(found) > 1 and found[0]["role"] == "system":
        system, *found = found
        first = next((i for i, one in enumerate(found) if one["role"] == "user"), None)
        if first is None:
            return [system, *found]
        # The layout of Gemma's newer templates, which write the system text into the first user turn.
        found[first] = {**found[first], "content": f"{system['content']}\n\n{found[first]['content']}"}
    if form.parts:
        found = [{**one, "content": _parts(one.get("content"))} for one in found]
    return found


def _parts(content: Any) -> Any:
    return (
        [{"type": "text", "text": content or ""}] if content is None or isinstance(content, str) else content
    )


def _with_arguments(message: Message, *, as_text: bool) -> Message:
    """Return a message whose tool calls have arguments of one kind; OpenAI's are JSON text."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call(one, as_text) for one in calls]}


def _call(call: Any, as_text: bool) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "arguments" not in function:
        return call
    arguments = function["arguments"]
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif not as_text and isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return call
    return {**call, "function": {**function, "arguments": arguments}}


def _left_out(text: str, messages: Sequence[Message], tools: list[dict[str, Any]] | None) -> list[str]:
    """Return what a rendered text does not show; the assistant's words may change (its thoughts go)."""
    missing = {
        f"messages of role {one['role']!r}": None
        for one in messages
        if one["role"] != "assistant"
        and isinstance(one.get("content"), str)
        and one["content"].strip() not in text
    }
    calls = [call for one in messages for call in one.get("tool_calls") or ()]
    for what, named in (("tool calls", calls), ("the tools", tools or ())):
        if named and not any(called(one) in text for one in named):
            missing[what] = None
    return list(missing)


def called(tool: Any) -> str:
    """Return the name of a tool or of the tool that a call names; empty if it has none."""
    found = tool.get("function", tool) if isinstance(tool, dict) else None
    return str(found.get("name", "")) if isinstance(found, dict) else ""
