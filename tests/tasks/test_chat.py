"""A conversation: what the model sees of it, what goes through the model, and what is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from llmkit import GenerationOptions, InputError, LoadedModel, ModelSpec, load
from llmkit.errors import RowError
from llmkit.tasks.chat import Conversation
from tests import tiny
from tests.conftest import TinyModel
from tests.tiny import CHAT_TEMPLATE

SHORT = GenerationOptions(max_new_tokens=8)
SAMPLED = GenerationOptions(max_new_tokens=8, temperature=1.0, top_k=0, seed=7)


@pytest.fixture(scope="module")
def chat_model(tiny_model: TinyModel) -> Any:
    cache: dict[str, LoadedModel] = {}

    def get(family: str) -> LoadedModel:
        if family not in cache:
            cache[family] = load(ModelSpec(str(tiny_model(family, chat=True)), device="cpu"))
        return cache[family]

    return get


@pytest.fixture
def llama(chat_model: Any) -> Iterator[LoadedModel]:
    """A chat model whose template a test may change."""
    model: LoadedModel = chat_model("llama")
    yield model
    model.tokenizer.chat_template = CHAT_TEMPLATE


@contextmanager
def passes(loaded: LoadedModel) -> Iterator[list[list[int]]]:
    """The token ids of each forward pass of the model."""
    seen: list[list[int]] = []

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        seen.append(kwargs["input_ids"][0].tolist())

    handle = loaded.model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def prompt_ids(loaded: LoadedModel, messages: list[dict[str, Any]]) -> list[int]:
    encoded: Any = loaded.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )
    return list(encoded["input_ids"])


def afresh(conversation: Conversation, message: str) -> str:
    """What a conversation with the same past answers when nothing is cached."""
    other = Conversation(conversation.engine, conversation.options)
    other.messages = list(conversation.messages)
    return other.send(message).text


def test_each_turn_prefills_only_what_the_cache_does_not_hold(llama: LoadedModel) -> None:
    conversation = Conversation(llama, SHORT)
    held: list[int] = []
    before: list[int] = []
    for message in ("The cat sat", "Where is it now?", "And the dog?"):
        asked = prompt_ids(llama, [*conversation.messages, {"role": "user", "content": message}])
        with passes(llama) as seen:
            reply = conversation.send(message)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(held, asked, strict=False)))
        assert seen[0] == asked[shared:]
        assert [len(ids) for ids in seen[1:]] == [1] * (reply.tokens - 1)
        # A random model's answer is rarely tokenized as it was written; all before it is shared.
        assert shared >= len(before)
        held, before = asked[:shared] + [token for ids in seen for token in ids], asked


def test_a_retry_reads_one_token_of_its_prompt(llama: LoadedModel) -> None:
    conversation = Conversation(llama, SHORT)
    reply = conversation.send("The cat sat")
    with passes(llama) as seen:
        assert conversation.retry().text == reply.text
    assert len(seen[0]) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma3", "opt", "bloom"])
def test_the_cache_changes_no_answer(chat_model: Any, family: str) -> None:
    """gemma3's window of 16 tokens is full after the first turn."""
    conversation = Conversation(chat_model(family), SHORT)
    conversation.send("The cat sat on the mat")
    for message in ("春天来了", "And the dog?"):
        expected = afresh(conversation, message)
        assert conversation.send(message).text == expected
    conversation.undo()
    expected = afresh(conversation, "Hello")
    assert conversation.send("Hello").text == expected


def test_a_full_sliding_window_starts_afresh(chat_model: Any) -> None:
    model = chat_model("gemma3")
    conversation = Conversation(model, SHORT)
    conversation.send("The cat sat on the mat and looked at the moon")
    with passes(model) as seen:
        conversation.retry()
    assert seen[0] == prompt_ids(model, conversation.messages[:1])


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_every_attention_implementation_answers_from_the_cache(tiny_model: TinyModel, attn: str) -> None:
    model = load(ModelSpec(str(tiny_model("llama", chat=True)), device="cpu", attn=attn))
    conversation = Conversation(model, SHORT)
    conversation.send("The cat sat on the mat")
    expected = afresh(conversation, "And the dog?")
    assert conversation.send("And the dog?").text == expected


def test_recurrent_state_cannot_be_cropped_and_starts_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mamba = {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2}
    monkeypatch.setitem(tiny.FAMILIES, "mamba", ("MambaConfig", mamba))
    model = load(ModelSpec(str(tiny.make_model("mamba", tmp_path / "mamba", chat=True)), device="cpu"))
    conversation = Conversation(model, SHORT)
    conversation.send("The cat sat on the mat")
    expected = afresh(conversation, "And the dog?")
    with passes(model) as seen:
        assert conversation.send("And the dog?").text == expected
    assert seen[0] == prompt_ids(model, conversation.messages[:-1])


def test_beam_search_converses_too(llama: LoadedModel) -> None:
    conversation = Conversation(llama, dataclasses.replace(SHORT, num_beams=2))
    pieces: list[str] = []
    first = conversation.send("The cat", lambda piece, thought: pieces.append(piece))
    assert pieces == [first.text]
    conversation.send("And the dog?")
    assert [m["role"] for m in conversation.messages] == ["user", "assistant"] * 2


def test_the_oldest_turns_leave_the_context_and_the_system_message_stays(llama: LoadedModel) -> None:
    drops: list[int] = []
    options = dataclasses.replace(SHORT, system="Be kind.")
    conversation = Conversation(llama, options, on_drop=drops.append)  # 128 positions
    shown = ""
    for turn in range(12):
        with passes(llama) as seen:
            conversation.send(f"Question {turn}, please")
        if drops:
            shown = llama.tokenizer.decode(seen[0])
            break
    assert shown, "the context never overflowed"
    assert drops[0] % 2 == 0  # whole turns
    assert len(conversation.messages) == 1 + 2 * (turn + 1)
    gone = drops[0] // 2
    seen_by_model = [conversation.messages[0], *conversation.messages[1 + drops[0] : -1]]
    asked = prompt_ids(llama, seen_by_model)
    assert llama.tokenizer.decode(asked).endswith(shown)
    assert "<|system|>Be kind." in llama.tokenizer.decode(asked)
    assert f"Question {gone - 1}," not in llama.tokenizer.decode(asked)
    assert len(asked) <= (128 - 8) * 3 // 4
    # With a quarter of the room free, the next turn fits and begins with what is cached.
    with passes(llama) as seen:
        conversation.send("And?")
    assert len(drops) == 1
    assert len(seen[0]) < len(asked)


def test_a_message_longer_than_the_context_is_refused_and_the_conversation_goes_on(
    llama: LoadedModel,
) -> None:
    conversation = Conversation(llama, SHORT)
    conversation.send("The cat")
    before = list(conversation.messages)
    with pytest.raises(RowError, match=r"turn 2: the last turn alone makes a prompt of \d+ tokens"):
        conversation.send("moon " * 200)
    assert conversation.messages == before
    assert conversation.send("And?").kept


def test_undo_and_retry(llama: LoadedModel) -> None:
    conversation = Conversation(llama, SAMPLED)
    first = conversation.send("The cat").text
    before = list(conversation.messages)
    conversation.send("And the dog?")
    assert [m["content"] for m in conversation.undo()][:1] == ["And the dog?"]
    assert conversation.messages == before
    answers = {first, conversation.retry().text, conversation.retry().text}
    assert len(answers) == 3
    assert [m["role"] for m in conversation.messages] == ["user", "assistant"]
    assert conversation.messages[-1]["content"] in answers - {first}
    conversation.undo()
    for nothing in (conversation.undo, conversation.retry):
        with pytest.raises(InputError, match="there is no message to"):
            nothing()


def test_a_seed_makes_a_conversation_repeatable_also_from_its_transcript(
    llama: LoadedModel, tmp_path: Path
) -> None:
    live = Conversation(llama, SAMPLED)
    live.send("The cat")
    live.save(tmp_path / "talk.jsonl")
    answer = live.send("And the dog?").text
    again = Conversation(llama, SAMPLED)
    again.load(tmp_path / "talk.jsonl")
    assert again.send("And the dog?").text == answer
    other = Conversation(llama, dataclasses.replace(SAMPLED, seed=8))
    other.load(tmp_path / "talk.jsonl")
    assert other.send("And the dog?").text != answer


def test_settings_and_models_change_under_a_conversation(chat_model: Any, tiny_model: TinyModel) -> None:
    conversation = Conversation(chat_model("llama"), GenerationOptions(max_new_tokens=20, seed=7))
    conversation.send("The cat")
    greedy = conversation.retry().text
    assert not conversation.sampling
    conversation.set(temperature=1.0, top_k=0)
    assert conversation.sampling
    assert conversation.retry().text != greedy
    conversation.set(max_new_tokens=3)
    cut = conversation.retry()
    assert (cut.tokens, cut.finish_reason) == (3, "length")
    with pytest.raises(InputError, match="`temperature` must be 0 or more"):
        conversation.set(temperature=-1.0)
    conversation.set(greedy=True)
    conversation.use(chat_model("gpt2"))
    assert conversation.send("And?").text == afresh_before_last(conversation)
    with pytest.raises(InputError, match="has no chat template"):
        conversation.use(load(ModelSpec(str(tiny_model("llama")), device="cpu")))
    assert conversation.engine.name == chat_model("gpt2").spec.name


def afresh_before_last(conversation: Conversation) -> str:
    other = Conversation(conversation.engine, conversation.options)
    other.messages = conversation.messages[:-2]
    return other.send(conversation.messages[-2]["content"]).text


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(llama: LoadedModel) -> None:
    options = GenerationOptions(max_new_tokens=40)
    whole = Conversation(llama, options).send("The cat")
    conversation = Conversation(llama, options)
    pieces: list[str] = []
    reply = conversation.send(
        "The cat", lambda piece, thought: pieces.append(piece), stopped=lambda: len(pieces) >= 5
    )
    assert (reply.finish_reason, reply.kept) == ("interrupted", True)
    assert reply.tokens < whole.tokens
    assert whole.text.startswith(reply.text)
    assert reply.text == "".join(pieces)
    assert conversation.messages[-1] == {"role": "assistant", "content": reply.text}
    expected = afresh(conversation, "And?")
    assert conversation.send("And?").text == expected


def test_an_answer_that_breaks_leaves_the_conversation_as_it_was(llama: LoadedModel) -> None:
    conversation = Conversation(llama, SHORT)
    conversation.send("The cat")
    before = list(conversation.messages)

    def interrupt(piece: str, is_reasoning: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.send("And?", interrupt)
    assert conversation.messages == before
    expected = afresh(conversation, "And the dog?")
    assert conversation.send("And the dog?").text == expected


def test_thoughts_come_marked_and_stay_only_where_the_template_reads_them(llama: LoadedModel) -> None:
    opens = CHAT_TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    for template, stays in ((opens, False), (opens + "{# m.reasoning_content #}", True)):
        llama.tokenizer.chat_template = template
        conversation = Conversation(llama, SHORT)
        heard: list[tuple[str, bool]] = []
        reply = conversation.send("The cat", lambda piece, thought, to=heard: to.append((piece, thought)))
        assert reply.reasoning
        assert reply.text == ""
        assert all(thought for _, thought in heard)
        assert conversation.messages[-1].get("reasoning_content") == (reply.reasoning if stays else None)
        # Stopped while it thinks, the model has said nothing: there is no turn to keep.
        before = list(conversation.messages)
        assert not conversation.send("And?", stopped=lambda: True).kept
        assert conversation.messages == before


def test_thoughts_that_the_template_opens_and_closes_leave_the_answer_an_answer(llama: LoadedModel) -> None:
    closed = CHAT_TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|><think>\n</think>{% endif")
    llama.tokenizer.chat_template = closed
    reply = Conversation(llama, SHORT).send("The cat")
    assert reply.reasoning == ""
    assert reply.text


def test_the_system_message_can_be_set_changed_and_taken_away(llama: LoadedModel) -> None:
    conversation = Conversation(llama, SHORT)
    assert conversation.system is None
    conversation.send("The cat")
    conversation.system = "Be brief."
    conversation.system = "Be kind."
    assert [m["role"] for m in conversation.messages] == ["system", "user", "assistant"]
    assert conversation.system == "Be kind."
    conversation.system = None
    assert [m["role"] for m in conversation.messages] == ["user", "assistant"]


def test_what_the_template_refuses_is_an_error_and_no_turn(llama: LoadedModel) -> None:
    llama.tokenizer.chat_template = "{{ raise_exception('no system role here') }}"
    conversation = Conversation(llama, SHORT)
    with pytest.raises(RowError, match="the chat template refuses it: no system role here"):
        conversation.send("The cat")
    assert conversation.messages == []


def test_several_answers_are_no_conversation(llama: LoadedModel) -> None:
    with pytest.raises(InputError, match="num_return_sequences"):
        Conversation(llama, dataclasses.replace(SAMPLED, num_return_sequences=2))


def test_a_transcript_is_a_line_of_messages_and_comes_back(llama: LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "talks.jsonl"
    conversation = Conversation(llama, dataclasses.replace(SHORT, system="Schöne Grüße 🙂"))
    conversation.send("The “cat”\nsat")
    assert conversation.save(file) == 1
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"messages": conversation.messages}
    ]
    conversation.send("And?")
    assert conversation.save(file) == 1, "the same conversation, gone on, takes its line over"
    other = Conversation(llama, SHORT)
    other.send("A dog")
    assert other.save(file) == 2
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [{"messages": conversation.messages}, {"messages": other.messages}]
    third = Conversation(llama, SHORT)
    assert third.load(file) == 2
    assert third.messages == other.messages


def test_a_file_of_other_things_is_not_written_over(llama: LoadedModel, tmp_path: Path) -> None:
    conversation = Conversation(llama, SHORT)
    with pytest.raises(InputError, match="nothing to save"):
        conversation.save(tmp_path / "x.jsonl")
    conversation.send("The cat")
    for content, said in (('{"prompt": "mine"}\n', "x.jsonl:1: `messages` must be"), ("{", "x.jsonl:1: ")):
        (tmp_path / "x.jsonl").write_text(content)
        with pytest.raises(InputError, match=said):
            conversation.save(tmp_path / "x.jsonl")
        with pytest.raises(InputError, match=said):
            conversation.load(tmp_path / "x.jsonl")
        assert (tmp_path / "x.jsonl").read_text() == content
    with pytest.raises(InputError, match=r"ends in \.jsonl"):
        conversation.save(tmp_path / "x.txt")
    with pytest.raises(InputError, match="no such file"):
        conversation.load(tmp_path / "gone.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]
