"""A real chat model in conversations as users have them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmkit import GenerationOptions, LoadedModel, ModelSpec, generate, load
from llmkit.tasks.chat import Conversation
from tests.command import rows_of, run
from tests.real import table

SHORT = GenerationOptions(max_new_tokens=24, greedy=True)
QUESTION = {"role": "user", "content": "What is the capital of France?"}
# Templates that differ from ChatML in one thing each.
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
ENDING = "{% if add_generation_prompt %}<|im_start|>assistant\nOPEN{% endif %}"
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% endfor %}"
)
TEMPLATE = "{% for m in messages %}" + TURN + "{% endfor %}" + ENDING


def with_template(chat_folder: Path, folder: Path, template: str, *, without: tuple[str, ...] = ()) -> Path:
    """Lay out the model with another template; its weights are linked."""
    shutil.copytree(chat_folder, folder, copy_function=linked)
    for name in ("chat_template.jinja", *without):
        (folder / name).unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def linked(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        Path(target).symlink_to(Path(source).resolve())
    else:
        shutil.copyfile(source, target)


@pytest.fixture
def retold(chat: LoadedModel) -> Any:
    """Give the model another template, for one test."""
    tokenizer: Any = chat.tokenizer
    before = tokenizer.chat_template

    def change(template: str) -> LoadedModel:
        tokenizer.chat_template = template
        return chat

    yield change
    tokenizer.chat_template = before


def test_a_long_conversation_loses_its_oldest_turns(
    chat: LoadedModel, chat_folder: Path, tmp_path: Path
) -> None:
    """More turns than a context of 1,024 tokens holds: the system message and the last turns stay."""
    template = (chat_folder / "chat_template.jinja").read_text()
    model = with_template(chat_folder, tmp_path / "model", template)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    fact = {"role": "user", "content": "My name is Zebulon. " + "I like long walks. " * 20}
    heard = {"role": "assistant", "content": "I understand. " * 10}
    messages = [{"role": "system", "content": "You are a helpful assistant."}, *[fact, heard] * 10, QUESTION]
    line = json.dumps({"messages": messages}) + "\n"
    options = ("-m", model, "--greedy", "--max-new-tokens", "24", "--json", "--input", "-")
    refused = run("generate", *options, stdin=line)
    assert refused.code == 2
    assert "--truncate" in refused.err
    rows = []
    for verb, more in (("generate", ("--truncate", "turns")), ("chat", ())):
        result = run(verb, *options, *more, stdin=line)
        assert result.code == 0, result.err
        rows += rows_of(result.out)
    assert all("Paris" in row["generated_text"] for row in rows)
    dropped = rows[1]["dropped_messages"]
    assert dropped % 2 == 0
    shown: Any = chat.tokenizer(chat_text(chat, [messages[0], *messages[1 + dropped :]]))["input_ids"]
    assert len(shown) <= 1024 - 24
    table.add(
        f"conversation of {len(messages)} messages, context of 1,024 tokens",
        f"answer with Paris, {dropped} oldest messages left out",
        "the answer",
        f"{len(shown)} tokens kept",
    )


def test_a_system_message_changes_the_answer(chat: LoadedModel) -> None:
    """The template has a system message of its own, which names the model; ours takes its place."""
    asked = {"role": "user", "content": "What is your name?"}
    system = {"role": "system", "content": "You are a helpful assistant named Zebulon."}
    assert "SmolLM" in chat_text(chat, [asked])
    assert "SmolLM" not in chat_text(chat, [system, asked])
    plain, told = (generate(chat, [one], SHORT)[0].text for one in ([asked], [system, asked]))
    assert told != plain
    assert "Zebulon" in told
    table.add("system message with a name", told.strip().replace("\n", " "), "the name in the answer", "none")


@pytest.mark.parametrize("refusal", [NO_SYSTEM, ALTERNATE], ids=["no system role", "alternate roles"])
def test_a_template_that_refuses_a_system_message_gets_it_in_the_first_turn(
    retold: Any, refusal: str
) -> None:
    chat = retold(refusal + TEMPLATE.replace("OPEN", ""))
    conversation = Conversation(chat, SHORT)
    conversation.system = "Answer in one sentence."
    for _ in range(2):
        reply = conversation.send(QUESTION["content"])
        assert "Paris" in reply.text
    tokenizer: Any = chat.tokenizer
    merged = [{**QUESTION, "content": f"Answer in one sentence.\n\n{QUESTION['content']}"}]
    expected = tokenizer.apply_chat_template(merged, tokenize=False, add_generation_prompt=True)
    assert chat_text(chat, [{"role": "system", "content": "Answer in one sentence."}, QUESTION]) == expected


def chat_text(chat: LoadedModel, messages: list[dict[str, str]]) -> str:
    from llmkit.text.chat.templates import Renderer

    return Renderer(chat.tokenizer, messages, add_generation_prompt=True).text


def test_two_turns_of_one_role_are_refused_where_roles_must_alternate(
    chat_folder: Path, tmp_path: Path
) -> None:
    model = with_template(chat_folder, tmp_path / "model", ALTERNATE + TEMPLATE.replace("OPEN", ""))
    line = json.dumps({"messages": [QUESTION, QUESTION]}) + "\n"
    result = run("generate", "-m", model, "--input", "-", stdin=line)
    assert (result.code, result.out) == (2, "")
    assert "must alternate" in result.err
    assert result.err.count("\n") == 1


def test_thoughts_that_a_template_opens_are_no_answer(chat_folder: Path, tmp_path: Path) -> None:
    """The model knows no thoughts and never closes them, unless the template does."""
    opened = TEMPLATE.replace("OPEN", "<think>\n")
    model = with_template(chat_folder, tmp_path / "model", opened)
    ask = ("generate", "-m", model, "--greedy", "--max-new-tokens", "24", QUESTION["content"])
    result = run(*ask, "--json")
    assert result.code == 0, result.err
    (row,) = rows_of(result.out)
    assert row["generated_text"] == ""  # it never closed its thoughts
    assert row["reasoning"]
    plain = run(*ask)
    assert plain.out.strip() == ""
    assert row["reasoning"].split()[0] in plain.err
    closed = TEMPLATE.replace("OPEN", "<think>\n\n</think>\n\n")
    (tmp_path / "model" / "chat_template.jinja").write_text(closed)
    (row,) = rows_of(run(*ask, "--json").out)
    assert "Paris" in row["generated_text"]
    assert "reasoning" not in row


def test_several_end_tokens_and_no_generation_config(chat_folder: Path, tmp_path: Path) -> None:
    """Without the file the ends are those of tokenizer and configuration; of several, each ends the text."""
    template = (chat_folder / "chat_template.jinja").read_text()
    model = with_template(chat_folder, tmp_path / "model", template, without=("generation_config.json",))
    ask = ("generate", "--greedy", "--max-new-tokens", "40", QUESTION["content"], "--json", "--details")
    (row,) = rows_of(run(*ask, "-m", model).out)
    assert row["generated_text"] == "The capital of France is Paris."
    assert row["finish_reason"] == "stop"
    period: Any = load(ModelSpec(str(model), device="cpu")).tokenizer(" Paris")["input_ids"]
    config = {"eos_token_id": [2, 0, *period]}
    (model / "generation_config.json").write_text(json.dumps(config))
    (row,) = rows_of(run(*ask, "-m", model).out)
    assert row["generated_text"] == "The capital of France is Paris"  # no period
    assert row["finish_reason"] == "stop"
    stops = ("--stop", "capital", "--stop", " of")
    (row,) = rows_of(run(*ask, *stops, "-m", chat_folder).out)
    assert row["generated_text"] == "The "
