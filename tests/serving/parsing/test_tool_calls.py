"""Tool calls in texts of every family: one result however the text is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmkit.serving.parsing.described import DescribedAnswer
from llmkit.serving.parsing.tool_calls import CallPiece, ToolCallFilter, typed
from llmkit.serving.tools import family as families
from llmkit.serving.tools.family import ToolFamily

FUNCTIONS = {"add": {"properties": {"a": {"type": "integer"}, "s": {"type": "string"}}}, "now": {}}
Calls = list[tuple[str, str]]
A = '{"a": 1}'
DEEP = '{"a": [1, {"b": "}]\\"{"}], "s": "é😀 </tool_call> [TOOL_CALLS]"}'
NAMED = families.MISTRAL_NAMED
D3, D31 = families.DEEPSEEK_V3, families.DEEPSEEK
BEGIN, END, ONE, EACH, SEP = D3.open, D3.close, D3.item_open, D3.item_close, D31.separator
CASES: list[tuple[ToolFamily, str, str, Calls]] = [
    (families.HERMES, "just a text ", "just a text ", []),
    (families.HERMES, "a < b <tool> <tool_cal", "a < b <tool> <tool_cal", []),
    (
        families.HERMES,
        f'Hm.\n<tool_call>\n{{"name": "add", "arguments": {A}}}\n</tool_call>',
        "Hm.",
        [("add", A)],
    ),
    (
        families.HERMES,
        f'<tool_call>{{"name": "add", "arguments": {DEEP}}}</tool_call>\n'
        '<tool_call>{"arguments": {}, "name": "now"}</tool_call> done',
        "done",
        [("add", DEEP), ("now", "{}")],
    ),
    (
        families.HERMES,
        f'<tool_call>[{{"name": "add", "parameters": {A}}}, {{"name": "now"}}]</tool_call>',
        "",
        [("add", A), ("now", "{}")],
    ),
    (
        families.HERMES,
        '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>',
        "",
        [("add", A)],
    ),
    (families.HERMES, '<tool_call>{"name": "now", "arguments": null}</tool_call>', "", [("now", "{}")]),
    (families.HERMES, "<tool_call>none</tool_call> x", "<tool_call>none</tool_call> x", []),
    (families.HERMES, '<tool_call>{"nam', '<tool_call>{"nam', []),
    (families.HERMES, '<tool_call>{"name": "add", "arguments": {"a": [1', "", [("add", '{"a": [1')]),
    (families.HERMES, '<tool_call>{"name": 7}</tool_call>', '<tool_call>{"name": 7}</tool_call>', []),
    (families.HERMES, '<tool_call>\n{"name": "now"}\n{oops}', "{oops}", [("now", "{}")]),
    (
        families.QWEN_XML,
        "Hm.\n\n<tool_call>\n<function=add>\n<parameter=a>\n3\n</parameter>\n<parameter=s>\n4\nx\n"
        "</parameter>\n</function>\n</tool_call>",
        "Hm.",
        [("add", '{"a": 3, "s": "4\\nx"}')],
    ),
    (families.QWEN_XML, "<tool_call><function=now></function></tool_call>", "", [("now", "{}")]),
    (families.QWEN_XML, "<tool_call><function=no", "<tool_call><function=no", []),
    (families.LLAMA, f'{{"name": "add", "parameters": {A}}}', "", [("add", A)]),
    (
        families.LLAMA,
        f'<|python_tag|>{{"name": "add", "parameters": {A}}}; {{"name": "now", "parameters": {{}}}}',
        "",
        [("add", A), ("now", "{}")],
    ),
    (families.LLAMA, '{"name": "Bob", "age": 3}', '{"name": "Bob", "age": 3}', []),
    (families.LLAMA, " Hello {world}", " Hello {world}", []),
    (families.LLAMA, '{"a": {"name": "add"}}', '{"a": {"name": "add"}}', []),
    (
        families.MISTRAL,
        f'[TOOL_CALLS] [{{"name": "add", "arguments": {A}}}, {{"name": "now", "arguments": {{}}}}]',
        "",
        [("add", A), ("now", "{}")],
    ),
    (
        NAMED,
        f"Hm. [TOOL_CALLS]add[ARGS]{DEEP}[TOOL_CALLS]now[ARGS]{{}}",
        "Hm.",
        [("add", DEEP), ("now", "{}")],
    ),
    (NAMED, f"[TOOL_CALLS]add[CALL_ID]123456789[ARGS]{A}", "", [("add", A)]),
    (NAMED, f"[TOOL_CALLS]add{A}", "", [("add", A)]),
    (NAMED, f'[TOOL_CALLS][{{"name": "add", "arguments": {A}}}]', "", [("add", A)]),
    (NAMED, "[TOOL_CALLS]bad name[ARGS]{}", "[TOOL_CALLS]bad name[ARGS]{}", []),
    (families.GRANITE, f'<|tool_call|>[{{"name": "add", "arguments": {A}}}]', "", [("add", A)]),
    (families.PHI, f'functools[{{"name": "add", "arguments": {A}}}]', "", [("add", A)]),
    (
        families.COHERE,
        f'<|START_ACTION|>[\n{{"tool_call_id": "0", "tool_name": "add", "parameters": {A}}}\n]<|END_ACTION|>',
        "",
        [("add", A)],
    ),
    (
        D31,
        f"Hm.{BEGIN}{ONE}add{SEP}{A}{EACH}{ONE}now{SEP}{{}}{EACH}{END}",
        "Hm.",
        [("add", A), ("now", "{}")],
    ),
    (
        D3,
        f"{BEGIN}{ONE}function{SEP}add\n```json\n{A}\n```{EACH}\n{ONE}function{SEP}now\n```json\n{{}}\n```{EACH}{END}",
        "",
        [("add", A), ("now", "{}")],
    ),
]
IDS = [f"{case[0].name}-{i}" for i, case in enumerate(CASES)]


def cuts_of(text: str) -> Iterator[list[str]]:
    """The text cut at every place, and in pieces of 1 to 8 characters."""
    for place in range(len(text) + 1):
        yield [text[:place], text[place:]]
    for size in range(1, 9):
        yield [text[start : start + size] for start in range(0, len(text), size)]


def gathered(pieces: list[Any]) -> tuple[str, Calls]:
    text, calls = "", []
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
        elif piece.name is not None:
            assert piece.index == len(calls)
            assert piece.id
            calls.append([piece.name, piece.arguments])
        else:
            assert piece.index == len(calls) - 1  # a call's pieces follow each other
            calls[-1][1] += piece.arguments
    return text, [(name, arguments) for name, arguments in calls]


@pytest.mark.parametrize(("family", "text", "shown", "calls"), CASES, ids=IDS)
def test_every_cut_gives_one_result(family: ToolFamily, text: str, shown: str, calls: Calls) -> None:
    for pieces in cuts_of(text):
        made = ToolCallFilter(family, FUNCTIONS)
        found: list[Any] = [one for piece in pieces for one in made.feed(piece)]
        assert gathered([*found, *made.close()]) == (shown, calls)


def test_arguments_go_out_as_they_come() -> None:
    made = ToolCallFilter(families.HERMES, FUNCTIONS)
    assert made.feed('<tool_call>{"name": "add", "arguments": {"s": "lon')[-1] == CallPiece(0, '{"s": "lon')
    assert made.feed("g te") == [CallPiece(0, "g te")]


def test_calls_after_the_first_are_dropped_if_they_may_not_be() -> None:
    text = '<tool_call>[{"name": "now"}, {"name": "add"}]</tool_call> x'
    made = ToolCallFilter(families.HERMES, FUNCTIONS, parallel=False)
    assert gathered([*made.feed(text), *made.close()]) == ("x", [("now", "{}")])


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("3", {"type": "integer"}, 3),
        ("3", {"type": "string"}, "3"),
        ("[1]", {"type": ["array", "null"]}, [1]),
        ("x y", {"type": "integer"}, "x y"),
        ("true", True, True),
    ],
)
def test_parameters_written_as_text_take_the_type_of_the_schema(
    value: str, schema: Any, expected: Any
) -> None:
    assert typed(value, "k", {"properties": {"k": schema}}) == expected


TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"\s*<\|im_end\|>", "content": "text"},
    },
}


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("", "hello there", ("hello there", "", [])),
        (
            "",
            '<think>hm é</think>yes 😀\n<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
            "<|im_end|>",
            ("yes 😀", "hm é", [("add", {"a": 1})]),
        ),
        ("<|im_start|>assistant\n<think>", "hm</think>yes", ("yes", "hm", [])),
        ("", "a <tool_call>no json</tool_call>b", ("ano jsonb", "", [])),
    ],
)
def test_a_tokenizers_own_description_is_followed(prompt: str, text: str, expected: Any) -> None:
    for pieces in cuts_of(text):
        made = DescribedAnswer(TEMPLATE, prompt, [])
        found = [*(made.feed(piece) for piece in pieces), made.close()]
        shown, thoughts = ("".join(one[i] for one in found) for i in (0, 1))  # type: ignore[misc]
        calls = [(piece.name, json.loads(piece.arguments)) for one in found for piece in one[2]]
        assert (shown.replace(" no", "no"), thoughts, calls) == expected
