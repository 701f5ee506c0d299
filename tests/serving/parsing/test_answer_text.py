"""Text from tokens: one result however the text is cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from llmkit.engines.base import TokenLogprob
from llmkit.serving.parsing.answer_text import AnswerText
from llmkit.text.token_bytes import TokenBytes


class Characters:
    """A tokenizer whose tokens are single bytes."""

    all_special_ids = (256,)
    backend_tokenizer = None

    def decode(self, ids: Any, **_: Any) -> str:
        return bytes(one for one in ids if one != 256).decode("utf-8", errors="replace")

    def convert_ids_to_tokens(self, token: int) -> str:
        return "<end>" if token == 256 else f"<0x{token:02X}>"


def pieces_of(text: AnswerText, ids: list[int], cuts: tuple[int, ...]) -> list[Any]:
    ends = [*cuts, len(ids)]
    starts = [0, *cuts]
    found = []
    for start, end in zip(starts, ends, strict=True):
        found.append(text.put(ids[start:end], [TokenLogprob(one, -0.5) for one in ids[start:end]]))
    return [*found, text.end()]


@pytest.mark.parametrize(
    ("text", "stops", "thinking", "answer", "thoughts"),
    [
        ("a good day", (), None, "a good day", ""),
        ("héé 😀 x", (), None, "héé 😀 x", ""),
        ("one STOP two", ("STOP",), None, "one ", ""),
        ("one STO", ("STOP",), None, "one STO", ""),
        ("aab", ("ab", "b"), None, "a", ""),
        ("<think>hm</think>\nyes", (), False, "yes", "hm"),
        ("hm</think>yes", (), True, "yes", "hm"),
        ("hm</thin", (), True, "", "hm</thin"),
        ("no <think>x</think>", (), False, "no <think>x</think>", ""),
        ("hm</think>é STOP", ("STOP",), True, "é ", "hm"),
    ],
)
def test_every_cut_gives_one_result(
    text: str, stops: tuple[str, ...], thinking: bool | None, answer: str, thoughts: str
) -> None:
    tokenizer = Characters()
    ids = [*text.encode(), 256]
    cuts = [(one,) for one in range(1, len(ids))]
    cuts += [tuple(range(size, len(ids), size)) for size in range(1, 9)]
    for cut in cuts:
        made = AnswerText(tokenizer, TokenBytes(tokenizer), stops=stops, thinking=thinking)
        deltas = pieces_of(made, ids, cut)
        assert "".join(one.text for one in deltas) == answer
        assert "".join(one.reasoning for one in deltas) == thoughts
        assert not any("\N{REPLACEMENT CHARACTER}" in one.text + one.reasoning for one in deltas)
        shown = [one.token for delta in deltas for one in delta.logprobs]
        kept = (
            text
            if not any(stop in text for stop in stops)
            else text[: min(text.find(s) for s in stops if s in text)]
        )
        assert bytes(shown) == kept.encode()  # no end token, nothing of the stop string
        held = list(itertools.accumulate(one.text + one.reasoning for one in deltas))
        assert not any(stop in one for stop in stops for one in held)
