"""What the grammars of tool calls allow is read back by the parser, and valid."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest

from llmkit.engines.base import Engine
from llmkit.engines.form import Form
from llmkit.engines.structured import constraint_for
from llmkit.serving.errors import ApiError
from llmkit.serving.fields import Fields
from llmkit.serving.parsing.tool_calls import ToolCallFilter
from llmkit.serving.tools.conversation import as_texts
from llmkit.serving.tools.family import FAMILIES, ToolFamily, family_of
from llmkit.serving.tools.grammar import calls_grammar
from llmkit.serving.tools.use import ToolUse, tool_use
from tests.serving.parsing.test_tool_calls import gathered

SHAPE = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["dog", "cat"]},
        "ages": {"type": "array", "items": {"$ref": "#/$defs/age"}, "maxItems": 2},
        "wild": {"type": "boolean"},
    },
    "required": ["kind", "ages"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 1, "maximum": 20}},
}
TOOLS = [
    {"type": "function", "function": {"name": "show", "parameters": SHAPE}},
    {"type": "function", "function": {"name": "no.w"}},
]


def use_of(**fields: Any) -> ToolUse:
    found = tool_use(Fields({"tools": TOOLS, **fields}))
    assert found is not None
    return found


@cache
def lengths_of(tokenizer: Any) -> np.ndarray:
    return np.array([len(text) for text in tokenizer.batch_decode([[i] for i in range(len(tokenizer))])])


def written(engine: Engine, lark: str, seed: int, most: int = 300) -> str | None:
    """A random text of a grammar; None if it did not end."""
    mask = constraint_for(Form("grammar", lark), engine).new_mask()
    random, ids = np.random.default_rng(seed), []
    tokenizer: Any = engine.tokenizer
    lengths = lengths_of(tokenizer)
    for _ in range(most):
        allowed = np.flatnonzero(mask.allowed())
        weights = lengths[allowed] + 0.01
        token = int(random.choice(allowed, p=weights / weights.sum()))
        if token == tokenizer.eos_token_id:
            return str(tokenizer.decode(ids))
        ids.append(token)
        mask.accept(token)
        if tokenizer.eos_token_id in np.flatnonzero(mask.allowed()) and random.random() < 0.3:
            return str(tokenizer.decode(ids))
    return None


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_required_calls_are_calls(engines: dict[str, Engine], family: ToolFamily) -> None:
    engine = engines["stories"]
    ended = 0
    for parallel in (True, False):
        use = use_of(
            tool_choice={"type": "function", "function": {"name": "show"}} if not parallel else "required"
        )
        lark = calls_grammar(use, family, engine.tokenizer, None)
        assert lark is not None
        for seed in range(4):
            text = written(engine, lark, seed)
            if text is None:
                continue
            ended += 1
            made = ToolCallFilter(family, use.schemas)
            shown, calls = gathered([*made.feed(text), *made.close()])
            assert shown == ""
            assert calls
            assert parallel or len(calls) == 1
            for name, arguments in calls:
                jsonschema.validate(json.loads(arguments), use.schemas[name])
    assert ended >= 2


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_strict_functions_hold_in_free_answers(engines: dict[str, Engine], family: ToolFamily) -> None:
    engine = engines["stories"]
    strict = [{"type": "function", "function": {**TOOLS[0]["function"], "strict": True}}]  # type: ignore[dict-item]
    use = use_of(tools=strict)
    lark = calls_grammar(use, family, engine.tokenizer, None)
    assert lark is not None
    constraint_for(Form("grammar", lark), engine)  # it compiles
    assert calls_grammar(use_of(), family, engine.tokenizer, None) is None
    formed = calls_grammar(use_of(), family, engine.tokenizer, Form("schema", {"enum": ["yes"]}))
    assert formed is not None
    for seed in range(6):
        text = written(engine, formed, seed)
        if text is not None:
            made = ToolCallFilter(family, use.schemas)
            shown, calls = gathered([*made.feed(text), *made.close()])
            assert bool(calls) != (shown == '"yes"')


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("<tool_call> <function= <parameter=", "qwen_xml"),
        ("<tool_call>", "hermes"),
        ("[TOOL_CALLS] [", "mistral"),
        ("[TOOL_CALLS] [ARGS]", "mistral_named"),
        ("<|python_tag|>", "llama3"),
        ("<|tool_call|>", "granite"),
        ("functools[", "phi4"),
        ("<|START_ACTION|>", "command"),
        ("<｜tool▁calls▁begin｜>", "deepseek_v3.1"),
        ("<｜tool▁calls▁begin｜> ```json", "deepseek_v3"),
        ("{{ tools }}", None),
    ],
)
def test_the_family_is_known_by_the_template(template: str, name: str | None) -> None:
    found = family_of(template)
    assert (None if found is None else found.name) == name


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, "tools[0].function.x"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools[1].function.name"),
        ({"tools": [TOOLS[0]] * 200}, "tools"),
        ({"tools": None, "tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ],
)
def test_bad_tools_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as raised:
        use_of(**fields)
    assert raised.value.param == param


def test_the_choice_narrows_the_functions() -> None:
    assert tool_use(Fields({"tools": TOOLS, "tool_choice": "none"})) is None
    assert tool_use(Fields({"tools": []})) is None
    named = use_of(tool_choice={"type": "function", "function": {"name": "no.w"}})
    assert ([one.name for one in named.functions], named.choice, named.parallel) == (
        ["no.w"],
        "required",
        False,
    )
    listed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "show"}}]}
    allowed = use_of(tool_choice={"type": "allowed_tools", "allowed_tools": listed})
    assert ([one.name for one in allowed.functions], allowed.choice) == (["show"], "required")


def test_templates_without_tools_get_them_as_text() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
    ]
    found = as_texts(messages, TOOLS)
    assert [one["role"] for one in found] == ["system", "user", "assistant", "user"]
    assert found[0]["content"].startswith("Be brief.")
    assert '"show"' in found[0]["content"]
    assert found[2]["content"] == '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert found[3]["content"].count("<tool_response>") == 2
    assert as_texts(messages[:2], []) == messages[:2]
