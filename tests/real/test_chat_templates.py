"""Chat templates of known models, read from a folder that LLMKIT_TEMPLATES names (`*.jinja`).

The templates stay out of this repository: their licences differ. Public sources are
github.com/chujiezheng/chat_templates, github.com/axolotl-ai-cloud/axolotl and github.com/huggingface/trl.
"""

import copy
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit import GenerationOptions
from llmkit.tasks.prompts import PromptMaker
from llmkit.text.chat.templates import Renderer
from llmkit.training.finetuning.conversations import target_spans
from tests.real import table

FOLDER = os.environ.get("LLMKIT_TEMPLATES")
FILES = sorted(Path(FOLDER).glob("*.jinja")) if FOLDER else []
# Tokens that templates spell, so that the tokenizer of one model can stand for all.
SPECIAL = re.compile(
    r"<[|｜][^|｜<>{}' \n]{1,40}[|｜]>|</?(?:think|tool_call)>|<(?:start|end)_of_turn>|<\|?(?:turn|channel"
    r"|tool_call|tool_response)\|?>|<end_of_utterance>|\[/?INST\]|\[\|[a-z]+\|\]|\[/?TOOL_CALLS\]"
)
SYSTEM = {"role": "system", "content": "SYSTEM TEXT"}
USER = {"role": "user", "content": "FIRST QUESTION"}
ANSWER = {"role": "assistant", "content": "FIRST ANSWER"}
AGAIN = {"role": "user", "content": "SECOND QUESTION"}
LAST = {"role": "assistant", "content": "SECOND ANSWER"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Name"}},
            },
        },
    }
]
FUNCTION = {"name": "get_weather", "arguments": '{"city": "Rome"}'}  # as in OpenAI's messages
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call00001", "type": "function", "function": FUNCTION}],
}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "SUNNY"}

pytestmark = pytest.mark.skipif(not FILES, reason="LLMKIT_TEMPLATES names no folder of chat templates")


@pytest.fixture(scope="module")
def plain_tokenizer(chat_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(chat_folder)


def told(plain_tokenizer: Any, file: Path) -> Any:
    """Give the tokenizer a template, and the special tokens that it spells."""
    template = file.read_text(encoding="utf-8")
    loaded = copy.deepcopy(plain_tokenizer)
    loaded.add_special_tokens({"extra_special_tokens": sorted(set(SPECIAL.findall(template)))})
    loaded.chat_template = template
    return loaded


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def tokenizer(request: pytest.FixtureRequest, plain_tokenizer: Any) -> Any:
    return told(plain_tokenizer, request.param)


def test_prompts_are_those_of_transformers_or_show_more(plain_tokenizer: Any) -> None:
    """Where transformers refuses a conversation or leaves a message out, ours shows each message."""
    conversations = ([USER], [SYSTEM, USER], [USER, ANSWER, AGAIN], [SYSTEM, USER, ANSWER, AGAIN])
    counts = {"equal": 0, "refused": 0, "left out": 0}
    for file in FILES:
        tokenizer = told(plain_tokenizer, file)
        for messages in conversations:
            rendered = Renderer(tokenizer, messages, add_generation_prompt=True)
            assert rendered.left_out == [], file
            contents = [message["content"] for message in messages]
            assert all(content in rendered.text for content in contents), file
            try:
                theirs = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            except Exception:  # it refuses a system message, or a content that is no list
                counts["refused"] += 1
                continue
            if all(content in theirs for content in contents):
                assert rendered.text == theirs, file
                counts["equal"] += 1
            else:
                counts["left out"] += 1
    table.add(
        f"prompts of {len(FILES)} chat templates, {len(conversations)} conversations each",
        f"{sum(counts.values())} with each message",
        f"transformers: {counts['refused']} refused, {counts['left out']} with a message left out",
        f"{counts['equal']} of {counts['equal']} equal",
    )
    assert counts["equal"] > 2 * len(FILES)


def test_opened_thoughts_and_long_conversations(tokenizer: Any) -> None:
    """An opened `<think>` makes the answer a thought; a full context loses its oldest turns.

    Some templates have an introduction of 600 tokens, which stays.
    """
    introduction = Renderer(tokenizer, [SYSTEM, AGAIN], add_generation_prompt=True).text
    context = 512 + len(tokenizer(introduction)["input_ids"])
    engine: Any = SimpleNamespace(
        name="model",
        context_length=context,
        tokenizer=tokenizer,
        is_encoder_decoder=False,
        has_chat_template=True,
    )
    prompts = PromptMaker(engine, GenerationOptions(max_new_tokens=8, truncate="turns"))
    prompt = prompts.prepare_one([USER])
    assert prompt.ids is not None
    end = tokenizer.decode(prompt.ids).rstrip()
    assert prompt.thinking == end.endswith("<think>")
    assert prompt.may_think == (not end.endswith(("<think>", "</think>")))
    long = [SYSTEM, *[USER, {**ANSWER, "content": "word " * 60}] * 20, AGAIN]
    kept = prompts.prepare_one(long)
    assert kept.ids is not None
    text = tokenizer.decode(kept.ids)
    assert 0 < kept.dropped <= 40
    assert kept.dropped % 2 == 0
    assert len(kept.ids) < context
    assert "SYSTEM TEXT" in text
    assert "SECOND QUESTION" in text


def test_the_assistant_learns_its_own_words(tokenizer: Any) -> None:
    ids, spans = target_spans(tokenizer, [SYSTEM, USER, ANSWER, AGAIN, LAST])
    first, last = (tokenizer.decode(ids[start:end]) for start, end in spans)
    assert "FIRST ANSWER" in first
    assert "SECOND ANSWER" in last
    assert not re.search("SYSTEM|QUESTION", first + last)


def test_the_assistant_learns_its_calls(tokenizer: Any) -> None:
    try:
        ids, spans = target_spans(tokenizer, [USER, CALL, RESULT, LAST], tools=TOOLS)
    except ValueError as error:
        if re.search("refuses it|does not show|leaves out", str(error)):
            pytest.skip(f"without tools: {error}")
        raise
    first, last = (tokenizer.decode(ids[start:end]) for start, end in spans)
    assert "get_weather" in first
    assert "Rome" in first
    assert "SECOND ANSWER" in last
    assert not re.search("SUNNY|QUESTION", first + last)
