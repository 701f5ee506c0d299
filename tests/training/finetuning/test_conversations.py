"""Which tokens of a conversation the assistant says, by chat templates of the field's several kinds."""

import itertools
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AddedToken

from llmkit.errors import RowError
from llmkit.records.rows import Row
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.prompts import PromptMaker
from llmkit.text.chat.conversations import read_turns
from llmkit.training.finetuning.columns import BadRowError, recognize
from llmkit.training.finetuning.conversations import target_spans
from llmkit.training.finetuning.encoding import encoder, kind_of
from tests.tiny import make_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are of help.<|im_end|>\n{% endif %}"
    + CHATML
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# Gemma: the system's words stand in the first turn of the user.
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ first if loop.first }}"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Mistral: no prompt of its own before the answer, and the system's words in the last turn of the user.
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% set users = rest | selectattr('role', 'equalto', 'user') | list %}"
    "{% for m in rest %}{% if m.role == 'user' %}[INST] {{ system if m == users[-1] }}{{ m.content }}[/INST]"
    "{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
# Qwen3: what was thought in turns before the last question is left out, and the last answer always thinks.
QWEN3 = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set words = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n')"
    " if '</think>' in m.content else '' %}<|im_start|>assistant\n"
    "{% if loop.index0 > ns.last and (loop.last or thought) %}<think>\n{{ thought }}\n</think>\n\n{% endif %}"
    "{{ words }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Models that only think open the thought themselves.
OPENED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1].lstrip('\n') }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
NO_END = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
END_ONLY_AT_THE_END = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{{ eos_token if loop.last and m.role == 'assistant' }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
# Phi 3: the text's end after the last turn's own.
TWO_ENDS = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
# Command A: the prompt of the next answer is always there.
ALWAYS_PROMPTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
# Qwen 3.5: a prompt opens the thoughts, and a call in the conversation has none.
CALLS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls %}"
    "<call>{{ c.function.name }}{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}"
    "</call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# Gemma 4: the result of a call stands before the words of the turn that called.
RESULT_INSIDE = (
    "{% for m in messages if m.role != 'tool' %}<|im_start|>{{ m.role }}\n{% for c in m.tool_calls %}"
    "<call>{{ c.function.name }}{{ c.function.arguments | tojson }}</call>"
    "{% if messages[2] %}<result>{{ messages[2].content }}</result>{% endif %}"
    "{% endfor %}{{ m.content }}{% if not m.tool_calls %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# LLaVA: no end, and the next turn begins after a space.
SPACED = (
    "{% for m in messages %}moon {{ m.role }}: {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}moon assistant:{% endif %}"
)
Messages = list[dict[str, Any]]


def call(content: str = "", **arguments: Any) -> dict[str, Any]:
    """A turn of the assistant that calls a tool."""
    function = {"name": "clock", "arguments": arguments}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "function": function}],
    }


RESULT = {"role": "tool", "content": "noon"}


def say(*turns: str, system: str | None = None) -> Messages:
    """A conversation in turns of user and assistant."""
    first = [{"role": "system", "content": system}] if system else []
    return [
        *first,
        *({"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)),
    ]


# The user says the assistant's words before it does.
TWICE = say("Say moon, or say dog.", "dog", "And now moon?", "moon\nand moon")
THINKING = say(
    "Say moon.", "<think>\nmoon?\n</think>\n\nmoon", "And dog?", "<think>\ndog!\n</think>\n\ndog\nhere"
)
# template, conversation, what the assistant says in it
CASES: dict[str, tuple[str, Messages, list[str]]] = {
    "a prompt that is always there": (
        ALWAYS_PROMPTS,
        TWICE,
        ["\ndog<|im_end|>", "\nmoon\nand moon<|im_end|>"],
    ),
    "a call": (
        CALLS,
        [*say("When?"), call(city="Rome"), RESULT, *say("a", "dog")[1:]],
        ["<call>clock city=Rome</call><|im_end|>", "dog<|im_end|>"],
    ),
    "a call with words": (
        CALLS,
        [*say("When?"), call("moon", city="Rome"), RESULT],
        ["moon<call>clock city=Rome</call><|im_end|>"],
    ),
    "a call with the result inside": (
        RESULT_INSIDE,
        [*say("When?"), call("moon", city="Rome"), RESULT],
        ['<call>clock{"city": "Rome"}</call>'],
    ),
    "no end and a space": (SPACED, say("a", "dog", "b", "cat"), [" dog", " cat "]),
    "chatml": (CHATML, TWICE, ["dog<|im_end|>", "moon\nand moon<|im_end|>"]),
    "generation markers": (MARKED, TWICE, ["dog<|im_end|>", "moon\nand moon<|im_end|>"]),
    "a default system prompt": (DEFAULT_SYSTEM, TWICE, ["dog<|im_end|>", "moon\nand moon<|im_end|>"]),
    "llama 3": (LLAMA3, TWICE, ["dog<|eot_id|>", "moon\nand moon<|eot_id|>"]),
    "llama 3, trimmed": (LLAMA3, say("Hi", "  dog \n"), ["dog<|eot_id|>"]),
    "gemma": (GEMMA, say("a", "b", "c", "d", system="moon"), ["b<end_of_turn>", "d<end_of_turn>"]),
    "mistral": (MISTRAL, TWICE, [" dog</s>", " moon\nand moon</s>"]),
    "mistral, the system at the last turn": (
        MISTRAL,
        say("Say dog", "dog", "Say cat", "cat", system="moon"),
        [" dog</s>", " cat</s>"],
    ),
    "qwen 3": (QWEN3, TWICE, ["dog<|im_end|>", "<think>\n\n</think>\n\nmoon\nand moon<|im_end|>"]),
    "qwen 3, thinking": (
        QWEN3,
        THINKING,
        ["moon<|im_end|>", "<think>\ndog!\n</think>\n\ndog\nhere<|im_end|>"],
    ),
    "qwen 3, two lines in an earlier turn": (
        QWEN3,
        say("a", "dog\n\ncat", "b", "moon"),
        ["dog\n\ncat<|im_end|>", "<think>\n\n</think>\n\nmoon<|im_end|>"],
    ),
    "an opened thought": (OPENED, TWICE, ["dog<|im_end|>", "moon\nand moon<|im_end|>"]),
    "an opened thought, thinking": (OPENED, THINKING, ["moon<|im_end|>", "dog\nhere<|im_end|>"]),
    "nothing at the end": (NO_END, TWICE, ["dog", "moon\nand moon"]),
    "an end at the very end": (END_ONLY_AT_THE_END, TWICE, [" dog", " moon\nand moon</s>"]),
    "two ends": (TWO_ENDS, TWICE, ["dog<|im_end|>", "moon\nand moon<|im_end|>\n</s>"]),
    "changed everywhere": (
        CHATML.replace("m.content", "m.content | upper"),
        say("a", "b", "c", "d"),
        ["B<|im_end|>", "D<|im_end|>"],
    ),
    "changed by its place": (
        CHATML.replace("m.content", "(m.content if loop.last else m.content | upper)"),
        say("a", "b", "c", "d"),
        ["B<|im_end|>", "d<|im_end|>"],
    ),
    "the assistant begins": (CHATML, say("Hi", "dog", "x", "cat")[1:], ["dog<|im_end|>", "cat<|im_end|>"]),
    "other letters": (
        CHATML,
        say("猫？", "猫在椅子上🙂", "a", "é"),
        ["猫在椅子上🙂<|im_end|>", "é<|im_end|>"],
    ),
}
MARKS = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]


@pytest.fixture(scope="module")
def speaking() -> Callable[[str], Any]:
    """A byte-level tokenizer with a template, in whose vocabulary the marks of turns are."""

    def make(template: str) -> Any:
        tokenizer = make_tokenizer()
        tokenizer.add_special_tokens(
            {"extra_special_tokens": [*MARKS, "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]}
        )
        tokenizer.chat_template = template
        return tokenizer

    return make


@pytest.mark.parametrize("case", CASES)
def test_the_targets_are_what_the_assistant_says_and_its_end(
    speaking: Callable[[str], Any], case: str
) -> None:
    template, messages, said = CASES[case]
    tokenizer = speaking(template)
    ids, spans = target_spans(tokenizer, messages)
    assert [tokenizer.decode(ids[start:end]) for start, end in spans] == said
    # All else is there too, and is as the template has it.
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(messages, tokenize=False)


def test_every_other_token_is_one_that_a_prompt_has(speaking: Callable[[str], Any]) -> None:
    """What comes before an answer in training is, token by token, what comes before it in use."""
    for case in ("chatml", "gemma", "mistral", "an opened thought", "llama 3"):
        template, messages, _ = CASES[case]
        tokenizer = speaking(template)
        ids, spans = target_spans(tokenizer, messages)
        asked = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True)["input_ids"]
        opened = len(tokenizer.encode("<think>\n", add_special_tokens=False)) if template is OPENED else 0
        assert ids[: spans[-1][0]] == asked[: len(asked) - opened], case


REFUSED = {
    "roles": (GEMMA, say("a", "b", "c")[1:], "refuses it: Conversation roles must alternate"),
    "nothing said": (CHATML, say("a"), "it has no text of the assistant"),
    "empty": (CHATML.replace("<|im_end|>\n", ""), say("a", ""), "it has no text of the assistant"),
    "left out": (
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
        say("a", "dog"),
        "leaves out what the assistant says in turn 2",
    ),
    "early turns left out": (
        "{% for m in messages[-2:] %}{{ m.role }} {{ m.content }}\n{% endfor %}",
        say("a", "b", "c", "d"),
        "changes what the assistant says in turn 2, so it cannot be found",
    ),
    "no calls": (
        CHATML,
        [*say("clock?"), call(city="Rome"), RESULT],
        "does not show the tool call of turn 2",
    ),
    "no results": (
        CALLS.replace("in messages %}", "in messages if m.role != 'tool' %}", 1),
        [*say("clock?"), call(city="Rome"), RESULT],
        "leaves out messages of role 'tool'",
    ),
    "no content": (
        "{% for m in messages %}{{ 'x' + m.content }}{% endfor %}",
        [*say("a"), {"role": "assistant", "content": None, "tool_calls": [{}]}],
        "the chat template refuses it: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_conversation_whose_answers_are_not_found_is_refused(
    speaking: Callable[[str], Any], case: str
) -> None:
    template, messages, reason = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(reason)):
        target_spans(speaking(template), messages)


def test_both_forms_of_conversations_are_read() -> None:
    shared = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "system", "value": ""}]
    assert [(m["role"], m["content"]) for m in read_turns(shared)] == [
        ("user", "a"),
        ("assistant", "b"),
        ("system", ""),
    ]
    assert read_turns(say("a", "b")) == say("a", "b")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("text", "not a list of turns"),
        ([], "not a list of turns"),
        (["a"], "turn 1 of its messages is not an object"),
        ([*say("a"), {"role": "assistant"}], "turn 2 of its messages needs a role and a content"),
        ([{"from": "human"}], "turn 1 of its messages needs a role and a content"),
    ],
)
def test_what_is_no_conversation_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_turns(value)


TOOLED = "{% if tools %}<tools>{{ tools | map(attribute='name') | join }}</tools>{% endif %}" + CHATML


def test_tools_are_rendered_and_a_turn_of_weight_0_is_not_learned(speaking: Callable[[str], Any]) -> None:
    tokenizer = speaking(TOOLED)
    messages = say("a", "dog", "b", "moon")
    messages[1]["weight"] = 0
    ids, spans = target_spans(tokenizer, messages, tools=[{"name": "clock"}])
    assert tokenizer.decode(ids).startswith("<tools>clock</tools>")
    assert [tokenizer.decode(ids[start:end]) for start, end in spans] == ["moon<|im_end|>"]


@pytest.mark.parametrize(
    ("row", "text", "learned"),
    [
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "dog"}]}
            | {"system": "Be brief.", "tools": '[{"name": "clock"}]'},
            "<tools>clock</tools><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi",
            ["dog<|im_end|>"],
        ),
        (
            {"instruction": "Hi", "output": "dog", "system": "Be brief.", "history": [["a", "b"]]},
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
            "b<|im_end|>\n<|im_start|>user\nHi",
            ["b<|im_end|>", "dog<|im_end|>"],
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    *say("", "dog")[1:],
                ]
            },
            "<|im_start|>user\nHi<|im_end|>",
            ["dog<|im_end|>"],
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}]}
            | {"chosen": {"from": "gpt", "value": "dog"}, "rejected": {"from": "gpt", "value": "cat"}}
            | {"system": "Be brief."},
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi",
            ["dog<|im_end|>", "cat<|im_end|>"],
        ),
    ],
    ids=["ShareGPT", "Alpaca", "parts", "ShareGPT preference"],
)
def test_no_part_of_a_row_is_dropped(
    speaking: Callable[[str], Any], row: dict[str, Any], text: str, learned: list[str]
) -> None:
    tokenizer = speaking(TOOLED)
    columns = recognize(row)
    (one,) = encoder(columns, kind_of(columns, "causal"), tokenizer, 200)(row)
    assert tokenizer.decode(one.ids).startswith(text)
    runs = [
        tokenizer.decode([*run])
        for ignored, run in itertools.groupby(one.targets, lambda target: target == -100)
        if not ignored
    ]
    assert runs == learned


@pytest.mark.parametrize(
    "more",
    [{"tools": "{"}, {"tools": "[1]"}, {"tools": 3}, {"system": 3}, {"history": [["a"]]}, {"history": "a"}],
)
def test_bad_columns_beside_a_conversation_are_refused(
    speaking: Callable[[str], Any], more: dict[str, Any]
) -> None:
    row = {"messages": say("a", "b"), **more}
    columns = recognize(row)
    with pytest.raises(BadRowError, match=next(iter(more))):
        encoder(columns, "causal", speaking(CHATML), 200)(row)


def test_a_function_call_of_sharegpt_is_a_tool_call() -> None:
    turns = [
        {"from": "human", "value": "Time?"},
        {"from": "function_call", "value": '{"name": "clock", "arguments": {"zone": "UTC"}}'},
        {"from": "observation", "value": "12:00"},
        {"from": "gpt", "value": "Noon", "weight": 0},
    ]
    call = {"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}
    assert read_turns(turns) == [
        {"role": "user", "content": "Time?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "12:00"},
        {"role": "assistant", "content": "Noon", "weight": 0},
    ]
    for value in ("clock()", "[]", '{"arguments": {}}'):
        with pytest.raises(ValueError, match="turn 1 of its messages is a function_call"):
            read_turns([{"from": "function_call", "value": value}])
    with pytest.raises(ValueError, match="'image_url'"):
        read_turns([{"role": "user", "content": [{"type": "image_url"}]}])


def test_generation_reads_the_same_conversations(speaking: Callable[[str], Any]) -> None:
    tokenizer = speaking(TOOLED)
    engine: Any = SimpleNamespace(
        name="m", context_length=None, tokenizer=tokenizer, is_encoder_decoder=False, has_chat_template=True
    )
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    row = Row(0, {**parts, "system": "Be brief.", "tools": [{"name": "clock"}]}, "rows.jsonl:1")
    (prepared,) = PromptMaker(engine, GenerationOptions()).prepare([row])
    assert not isinstance(prepared, RowError)
    assert tokenizer.decode(prepared.payload.ids or []) == (
        "<tools>clock</tools><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(("side", "said"), [("rstrip", " It is I."), ("lstrip", "It is I. ")])
def test_a_role_s_token_that_takes_a_space_is_no_target(side: str, said: str) -> None:
    """As in Phi-3, whose role tokens strip the white space after them."""
    tokenizer = make_tokenizer()
    names = ["<|ask|>", "<|say|>"]
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(name, special=True, **{side: True}) for name in names]}
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ 'say' if m.role == 'assistant' else 'ask' }}|>{{ m.content }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|say|>{% endif %}"
    )
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "You?"},
        {"role": "assistant", "content": "Yes."},
    ]
    ids, spans = target_spans(tokenizer, turns)
    learnt = {token for start, end in spans for token in ids[start:end]}
    assert not learnt & set(tokenizer.convert_tokens_to_ids(names))
    assert [tokenizer.decode(ids[start:end]).strip() for start, end in spans] == ["It is I.", "Yes."]
