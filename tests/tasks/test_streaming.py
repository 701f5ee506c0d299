"""Streaming: whole characters only, as soon as they are whole, and in sum the whole text."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.tasks.streaming import AnswerStreamer, decode
from tests.tiny import make_tokenizer

TEXTS = [
    "Once upon a time there was a little dog.",
    "春天来了，花都开了。猫在椅子上睡觉。",
    "日本語はスペースを使いません。カタカナも。",
    "🙂🎈👩‍👩‍👧‍👦🇩🇪 emoji",
    "naïve café — “quotes” …",
    "line one\nline two\n\n  indented\ttab",
    "한국어 텍스트",
    "",
]


def stream(tokenizer: object, ids: list[int], **options: object) -> list[str]:
    pieces: list[str] = []
    streamer = AnswerStreamer(tokenizer, lambda text, thought: pieces.append(text), **options)
    for token in ids:
        streamer.put([token])
    streamer.end()
    return pieces


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_add_up(text: str) -> None:
    tokenizer = make_tokenizer()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = stream(tokenizer, ids)
    assert "".join(pieces) == text
    assert not any("�" in piece for piece in pieces)
    assert all(pieces)


def test_every_character_comes_out_when_it_is_whole() -> None:
    """Here each byte of the text is a token: three tokens make one Chinese character."""
    tokenizer = make_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(list("æĺ¥") + list("å¤©"))  # the bytes of 春天, as BPE writes them
    assert decode(tokenizer, ids) == "春天"
    assert stream(tokenizer, ids) == ["春", "天"]


def test_bytes_that_never_become_a_character_come_out_at_the_end() -> None:
    tokenizer = make_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(list("æĺ"))
    assert "".join(stream(tokenizer, ids)) == decode(tokenizer, ids) == "�"


def byte_fallback_tokenizer() -> object:
    """A vocabulary as in Llama 2: a few letters, and a token for each byte."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", *"abc ", "é", *(f"<0x{byte:02X}>" for byte in range(256))]
    core = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], byte_fallback=True))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


@pytest.mark.parametrize("make", [byte_fallback_tokenizer, make_tokenizer])
def test_broken_bytes_are_streamed_as_they_are_decoded(make: Callable[[], Any]) -> None:
    """Any row of tokens: among them letters, whole characters in bytes, and bytes that are no character."""
    tokenizer, chosen = make(), random.Random(1)
    whole = tokenizer("ab 春 é🙂", add_special_tokens=False)["input_ids"]
    for _ in range(200):
        ids: list[int] = []
        while len(ids) < 90:
            ids += whole if chosen.random() < 0.3 else [chosen.randrange(6, len(tokenizer))]
        assert "".join(stream(tokenizer, ids)) == decode(tokenizer, ids)


def test_a_long_answer_is_streamed_as_it_is_decoded() -> None:
    tokenizer = make_tokenizer()
    text = " ".join(TEXTS) * 12
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 1000
    pieces = stream(tokenizer, ids)
    assert "".join(pieces) == text
    assert len(pieces) > 500


def test_special_tokens_are_not_shown() -> None:
    tokenizer = make_tokenizer()
    ids = [*tokenizer("The cat", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert "".join(stream(tokenizer, ids)) == "The cat"


def test_thoughts_come_marked() -> None:
    tokenizer = make_tokenizer()
    ids = tokenizer("<think>hm</think>\n\nFour.", add_special_tokens=False)["input_ids"]
    seen: list[tuple[str, bool]] = []
    streamer = AnswerStreamer(tokenizer, lambda text, thought: seen.append((text, thought)), thinking=False)
    for token in ids:
        streamer.put([token])
    streamer.end()
    assert "".join(text for text, thought in seen if thought) == "hm"
    assert "".join(text for text, thought in seen if not thought) == "Four."
