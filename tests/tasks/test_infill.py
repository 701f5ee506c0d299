"""Texts with a gap, and conversations whose last message goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit import Conversation, GenerationOptions, InputError, OptionError, RowError, fill_in_middle
from llmkit.engines.base import Request, Sampling
from llmkit.engines.form import Form
from llmkit.engines.http.engine import HttpEngine
from llmkit.engines.open import open_engine
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.generation import Generation
from llmkit.tasks.streaming import decode
from tests.command import assert_refused, rows_of, run
from tests.conftest import TinyModel
from tests.tiny import make_model, make_tokenizer

MARKS = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
ASKED = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The moon"}]


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose tokenizer has tokens for texts with a gap."""
    folder = make_model("llama", tmp_path_factory.mktemp("coder"))
    tokenizer: Any = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def expected(folder: Path, ids: list[int], tokens: int = 6) -> str:
    """The greedy answer to a prompt that was put together by hand."""
    engine = open_engine(ModelSpec(str(folder), device="cpu"))
    ((answer,),) = engine.generate([Request(Sampling(max_new_tokens=tokens), ids=ids)])
    return decode(engine.tokenizer, answer.ids)


def test_a_gap_is_filled_after_its_tokens(coder: Path, tmp_path: Path) -> None:
    tokenizer: Any = open_engine(ModelSpec(str(coder), device="cpu")).tokenizer
    before, after = "The moon is", " and a cat.\n"
    head, tail, middle = tokenizer.convert_tokens_to_ids(MARKS)
    ids = [
        tokenizer.bos_token_id,
        head,
        *tokenizer(before, add_special_tokens=False)["input_ids"],
        tail,
        *tokenizer(after, add_special_tokens=False)["input_ids"],
        middle,
    ]
    text = expected(coder, ids)
    options = GenerationOptions(max_new_tokens=6, greedy=True)
    assert fill_in_middle(str(coder), before, after, options).text == text
    (tmp_path / "a.txt").write_text(before)
    (tmp_path / "b.txt").write_text(after)
    gap = ["--prefix", tmp_path / "a.txt", "--suffix", tmp_path / "b.txt"]
    asked = ["generate", "-m", coder, *gap, "--greedy", "--max-new-tokens", "6"]
    assert run(*asked).out == f"{text}\n"
    assert run(*asked, "--full-text").out == f"{before}{text}{after}"
    (row,) = rows_of(run(*asked, "--details").out)
    assert (row["prefix"], row["suffix"], row["generated_text"]) == (before, after, text)
    assert row["prompt_tokens"] == len(ids)
    assert run(*asked, "-o", tmp_path / "out.jsonl").code == 0
    assert run(*asked, "-o", tmp_path / "out.jsonl", "--resume").code == 0
    alone = run("generate", "-m", coder, "--prefix", "-", "--json", "--max-new-tokens", "2", stdin=before)
    assert rows_of(alone.out)[0]["suffix"] == ""


def test_what_does_not_go_with_a_gap_is_refused(coder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The moon")
    (tmp_path / "empty.txt").write_text("")
    asked = ["generate", "-m", coder, "--prefix", tmp_path / "a.txt"]
    for more, option in (
        (["--system", "x"], "system"),
        (["--truncate", "left"], "truncate"),
        (["--continue"], "continue"),
        (["--field", "x"], "field"),
        (["x"], "prefix"),
        (["--schema-field", "x"], "schema_field"),
    ):
        assert_refused(run(*asked, *more), option=option)
    assert_refused(run("generate", "-m", "stories", "--prefix", tmp_path / "a.txt"), "stories")
    assert_refused(run("generate", "-m", coder, "--suffix", tmp_path / "empty.txt"))
    assert_refused(run("generate", "-m", coder, "--prefix", tmp_path / "none.txt"), "none.txt")
    with pytest.raises(RowError, match="tokens"):
        fill_in_middle(str(coder), "moon " * 5000, "")


def test_the_last_message_goes_on(tiny_model: TinyModel, tmp_path: Path) -> None:
    """From the prompt that transformers' own option renders."""
    folder = tiny_model("llama", chat=True)
    tokenizer: Any = open_engine(ModelSpec(str(folder), device="cpu")).tokenizer
    text = tokenizer.apply_chat_template(ASKED, tokenize=False, continue_final_message=True)
    assert text.endswith("The moon")
    answer = expected(folder, tokenizer(text, add_special_tokens=False)["input_ids"])
    file = tmp_path / "in.jsonl"
    begun = [*ASKED[:1], {"role": "assistant", "content": ""}]
    file.write_text("".join(json.dumps({"messages": one}) + "\n" for one in (ASKED, begun, ASKED[:1])))
    flags = ["-m", folder, "--input", file, "--greedy", "--max-new-tokens", "6", "--on-error", "skip"]
    for verb in ("generate", "chat"):
        found = rows_of(run(verb, *flags, "--continue", "--json").out)
        assert found[0]["generated_text"] == answer
        assert found[1]["generated_text"] == rows_of(run(verb, *flags, "--json").out)[2]["generated_text"]
        assert "in.jsonl" in found[2]["error"] or "last message" in found[2]["error"]
    assert_refused(run("generate", "-m", folder, "x", "--continue"), option="continue")
    assert_refused(run("generate", "-m", "stories", "--input", file, "--continue"), option="continue")
    assert_refused(run("generate", *flags, "--continue", "--choice", "a"), option="continue")


def test_a_conversation_s_answer_goes_on() -> None:
    engine = open_engine(ModelSpec("storyteller", device="cpu", bundled=True))
    talk = Conversation(engine, GenerationOptions(max_new_tokens=5, greedy=True))
    with pytest.raises(InputError):
        talk.continue_last()
    first = talk.send("Tell me a story.")
    assert first.finish_reason == "length"
    tokenizer: Any = engine.tokenizer
    text = tokenizer.apply_chat_template(talk.messages, tokenize=False, continue_final_message=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ((answer,),) = engine.generate([Request(Sampling(max_new_tokens=5), ids=ids)])
    second = talk.continue_last()
    assert second.text == decode(tokenizer, answer.ids)
    assert [one["content"] for one in talk.messages] == ["Tell me a story.", first.text + second.text]
    talk.set(seed=2, greedy=False, temperature=1.0)
    assert len({talk.continue_last().text for _ in range(3)}) > 1
    talk.set(form=Form("choice", ["a"]))
    with pytest.raises(OptionError, match="choice"):
        talk.continue_last()


@pytest.mark.parametrize(
    "options",
    [
        {"form": Form("choice", ["a"])},
        {"schema_field": "s"},
        {"logprobs": 1},
        {"continue_final_message": True},
    ],
)
def test_a_server_s_tokenizer_is_elsewhere(options: dict[str, Any]) -> None:
    engine: Any = HttpEngine.__new__(HttpEngine)
    engine.name, engine.context_length = "far", None
    engine._endpoint = SimpleNamespace(url="http://far")
    name = "choice" if "form" in options else next(iter(options))
    with pytest.raises(OptionError, match=name):
        Generation(engine, GenerationOptions(**options))
    with pytest.raises(OptionError, match="suffix"):
        fill_in_middle(engine, "a", "b")
    Generation(engine, GenerationOptions(details=True))
