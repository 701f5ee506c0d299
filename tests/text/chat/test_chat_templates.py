"""Conversations in the form that a chat template can read."""

from types import SimpleNamespace
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from llmkit.text.chat.templates import Renderer

PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
# Idefics 3 and LLaVA-NeXT: a content is a list of parts.
PARTS = (
    "{% for m in messages %}[{{ m.role }}]{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
)
# Gemma 1 and 2.
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
# DeepSeek V3 joins the arguments of a call to a text; Qwen writes them with `tojson`.
JOINED = (
    PLAIN + "{% for m in messages %}{% for c in m.tool_calls %}"
    "<{{ c.function.name + ' ' + c.function.arguments }}>{% endfor %}{% endfor %}"
)
TOJSON = JOINED.replace("c.function.arguments", "(c.function.arguments | tojson)")
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hi"}


def tokenizer(template: str) -> Any:
    """Stand for a tokenizer: transformers' own rendering of a template."""

    def apply(messages: Any, *, tools: Any, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        rendered: Any = render_jinja_template(
            [messages], tools=tools, chat_template=template, add_generation_prompt=add_generation_prompt
        )
        return str(rendered[0][0])

    return SimpleNamespace(apply_chat_template=apply)


def call(arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "clock", "arguments": arguments}}],
    }


@pytest.mark.parametrize(
    ("template", "messages", "text"),
    [
        (PLAIN, [SYSTEM, USER], "[system]Be brief.[user]Hi"),
        (PARTS, [SYSTEM, USER], "[system]Be brief.[user]Hi"),
        (NO_SYSTEM + PLAIN, [SYSTEM, USER], "[user]Be brief.\n\nHi"),
        (NO_SYSTEM + PARTS, [SYSTEM, USER], "[user]Be brief.\n\nHi"),
        (
            PLAIN.replace("in messages", "in messages if m.role != 'system'"),
            [SYSTEM, USER],
            "[user]Be brief.\n\nHi",
        ),
        (TOJSON, [USER, call({"city": "Rome"})], '[user]Hi[assistant]<clock {"city": "Rome"}>'),
        # OpenAI's messages carry the arguments as JSON text: it is not quoted twice.
        (TOJSON, [USER, call('{"city": "Rome"}')], '[user]Hi[assistant]<clock {"city": "Rome"}>'),
        (JOINED, [USER, call({"city": "Zürich"})], '[user]Hi[assistant]<clock {"city": "Zürich"}>'),
    ],
)
def test_the_template_shows_everything(template: str, messages: Any, text: str) -> None:
    found = Renderer(tokenizer(template), messages)
    assert (found.text, found.left_out) == (text, [])
    assert found.render(messages[:2]) == text


def test_what_no_form_shows_is_named() -> None:
    tools = [{"type": "function", "function": {"name": "clock"}}]
    messages = [USER, call({}), {"role": "tool", "content": "noon"}]
    found = Renderer(
        tokenizer(PLAIN.replace("in messages", "in messages if m.role != 'tool'")), messages, tools
    )
    assert found.left_out == ["messages of role 'tool'", "tool calls", "the tools"]


def test_a_refusal_is_that_of_the_plain_form() -> None:
    refuses = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(Exception, match="roles must alternate"):
        Renderer(tokenizer(refuses), [SYSTEM, USER])
