"""`llmkit.explain`: its options, targets, errors and pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import llmkit
from llmkit import ExplainOptions, Explanation
from llmkit.insight.explanation.page import explanation_page
from llmkit.insight.explanation.prompts import spaced
from llmkit.insight.explanation.units import TokenSpan, find_units

Loaded = Callable[..., llmkit.LoadedModel]


def pieces(text: str, tokens: list[str]) -> list[TokenSpan]:
    """Tokens that follow each other in a text; a `*` is one more piece of the character before it."""
    found: list[TokenSpan] = []
    at = 0
    for i, token in enumerate(tokens):
        if token == "*":
            found.append(TokenSpan(i, found[-1].end - 1, found[-1].end))
            continue
        assert text[at : at + len(token)] == token
        found.append(TokenSpan(i, at, at + len(token)))
        at += len(token)
    assert at == len(text)
    return found


UNITS = [
    ("word", "Don't stop, un-Tom!", ["Don", "'t", " stop", ",", " un", "-T", "om", "!"]),
    ("token", "a café 🎈", ["a", " ca", "f", "é", "*", " 🎈", "*", "*"]),
    ("word", "a café 🎈", ["a", " ca", "f", "é", "*", " 🎈", "*", "*"]),
    ("word", "春天来", ["春", "*", "天", "来"]),
    ("word", "\n\nOne  two\n", ["\n\n", "One", " ", " two", "\n"]),
    ("sentence", "One day. Two days!", ["One", " day", ".", " Two", " days", "!"]),
]
FOUND = [
    ["Don't", "stop", ",", "un-Tom", "!"],
    ["a", "ca", "f", "é", "🎈"],
    ["a", "café", "🎈"],
    ["春", "天", "来"],
    ["One", "two"],
    ["One day.", "Two days!"],
]


@pytest.mark.parametrize(
    ("kind", "text", "tokens", "expected"), [(*a, b) for a, b in zip(UNITS, FOUND, strict=True)]
)
def test_tokens_are_grouped(kind: str, text: str, tokens: list[str], expected: list[str]) -> None:
    units = find_units(text, pieces(text, tokens), kind)
    assert [unit.text for unit in units] == expected
    assert [text[unit.start : unit.end] for unit in units] == expected
    # Each token belongs to exactly one unit.
    assert sorted(at for unit in units for at in unit.positions) == list(range(len(tokens)))


@pytest.mark.parametrize(
    ("before", "target", "expected"),
    [
        ("is", "Paris", " Paris"),
        ("is ", "Paris", "Paris"),
        ("is", ".", "."),
        ("是", "巴", "巴"),
        ("is", " x", " x"),
    ],
)
def test_a_word_gets_its_space(before: str, target: str, expected: str) -> None:
    assert spaced(before, target, chat=False) == expected
    assert spaced(before, target, chat=True) == target


REFUSED = [
    ({"method": "attention"}, "method"),
    ({"method": "gradient"}, "method"),
    ({"method": "gradient x input"}, "method"),
    ({"method": "igg"}, "method"),
    ({"unit": "letter"}, "unit"),
    ({"task": "chat"}, "task"),
    ({"baseline": "zero"}, "baseline"),
    ({"baseline": "mean"}, "baseline"),
    ({"steps": 1}, "steps"),
    ({"orders": 0}, "orders"),
    ({"target": ""}, "target"),
    ({"target": "a", "instead_of": "a"}, "instead_of"),
    ({"target": "a", "target_tokens": 2}, "target_tokens"),
    ({"question": "Who?"}, "question"),
    ({"target_language": "de"}, "target_language"),
    ({"task": "qa", "chat": True}, "chat"),
    ({"seed": -1}, "seed"),
]


@pytest.mark.parametrize(("options", "option"), REFUSED, ids=[str(one[0]) for one in REFUSED])
def test_bad_options_are_refused(options: dict[str, Any], option: str) -> None:
    with pytest.raises(llmkit.OptionError) as refused:
        ExplainOptions(**options)
    assert refused.value.option == option


BAD_TEXTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("stories", "", {}, "empty"),
    ("stories", " \n ", {}, "empty"),
    ("stories", "The dog bark", {"target": "'s\u0301", "instead_of": "'s\u0301"}, "target"),
    ("stories", "word " * 600, {}, "512"),
    ("stories", "The dog", {"target": "word " * 520}, "512"),
    ("translator", "The dog", {"task": "translate", "target_language": "de", "target": "Hund " * 70}, "64"),
    ("stories", "half \ud800 of a pair", {}, "surrogate"),
    ("stories", "The dog", {"baseline": "two words"}, "baseline"),
    ("stories", "The dog", {"task": "translate", "target_language": "de"}, "translate"),
    ("stories", "The dog", {"task": "qa", "question": "Who?"}, "stories"),
    ("stories", "The dog", {"chat": True}, "chat"),
    ("translator", "The dog", {"method": "attnlrp", "task": "translate", "target_language": "de"}, "bart"),
    ("translator", "The dog", {"method": "lens", "task": "translate", "target_language": "de"}, "bart"),
]


@pytest.mark.parametrize(("model", "text", "options", "mention"), BAD_TEXTS[:2] + BAD_TEXTS[3:])
def test_bad_texts_are_refused(
    loaded: Loaded, model: str, text: str, options: dict[str, Any], mention: str
) -> None:
    with pytest.raises(llmkit.InputError, match=mention):
        llmkit.explain(loaded(model), text, ExplainOptions(**options))


def test_a_target_inside_a_token_is_refused(loaded: Loaded) -> None:
    """The tokenizer joins `bal` and `l` to one token, so no token of the target follows the text."""
    with pytest.raises(llmkit.RowError, match="joins the two"):
        llmkit.explain(loaded("stories"), "She threw the ", ExplainOptions(target="ball"))


def test_the_model_s_own_continuation_is_the_target(loaded: Loaded) -> None:
    (found,) = llmkit.explain(loaded("stories"), "Once upon a", ExplainOptions(target_tokens=2, orders=1))
    (said,) = llmkit.generate(
        loaded("stories"), "Once upon a", llmkit.GenerationOptions(max_new_tokens=2, greedy=True)
    )
    assert found.target == said.text
    assert found.matrix is not None
    assert found.prefix_matrix is not None
    # The second token may come from the first, and never the other way round.
    assert found.prefix_matrix.scores[0] == (0.0, 0.0)
    assert found.prefix_matrix.scores[1][0] != 0


def test_many_words_are_integrated(loaded: Loaded) -> None:
    (found,) = llmkit.explain(loaded("stories"), "Tom ran. " * 22, ExplainOptions(check=False))
    assert found.method == "ig"
    assert len(found.units) == 66


def test_an_answer_is_explained_by_its_context(loaded: Loaded) -> None:
    text = "Tom had a red ball. He gave the ball to Lily."
    options = ExplainOptions(task="qa", question="Who got the ball?", orders=1)
    (found,) = llmkit.explain(loaded("reader", "question-answering"), text, options)
    (said,) = llmkit.answer("reader", "Who got the ball?", text)
    best = said.best if hasattr(said, "best") else said
    assert found.target in str(best)
    assert {unit.part for unit in found.units} == {"context", "question"}
    for unit in found.units:
        whole = text if unit.part == "context" else "Who got the ball?"
        assert whole[unit.start : unit.end] == unit.text
    with pytest.raises(llmkit.RowError, match="not in the text"):
        llmkit.explain(
            loaded("reader", "question-answering"),
            text,
            ExplainOptions(task="qa", question="Who?", target="Zebra"),
        )


def test_the_effect_of_removing_words_is_measured(toy: llmkit.LoadedModel) -> None:
    """In the toy model one word decides: without it all words are equally likely."""
    import math

    from tests.insight.explanation.toy import PROBABILITY, PROMPT, WORDS

    lost = math.log(PROBABILITY * WORDS)

    (found,) = llmkit.explain(toy, PROMPT, ExplainOptions(method="occlusion"))
    assert found.comprehensiveness is not None
    assert found.sufficiency is not None
    assert found.comprehensiveness.value == pytest.approx(lost, abs=1e-3)
    assert found.sufficiency.value == pytest.approx(0, abs=1e-4)
    # The last three of six words do not hold it.
    assert found.comprehensiveness.position == pytest.approx(0, abs=1e-4)
    assert found.sufficiency.position == pytest.approx(lost, abs=1e-3)
    assert found.comprehensiveness.orders == 5


HOSTILE = '<script>alert(1)</script> "quoted" & \'>'


@pytest.mark.parametrize("method", ["occlusion", "lens", "components"])
def test_the_page_shows_hostile_text_as_text(loaded: Loaded, method: str) -> None:
    options = ExplainOptions(method=method, target=f" {HOSTILE}", orders=1)
    (found,) = llmkit.explain(loaded("stories"), HOSTILE, options)
    page = explanation_page([(HOSTILE, found), ("second", found)])
    assert "<script" not in page.lower()
    assert "default-src 'none'" in page
    assert " src=" not in page
    assert "http" not in page.replace("http-equiv", "")
    # Quotes that are not escaped would end an attribute; lxml-like parsing shows the same text again.
    assert "alert(1)" in _text_of(page) or method != "occlusion"


def _text_of(page: str) -> str:
    from html.parser import HTMLParser

    shown: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag != "script"
            assert all(not name.startswith("on") for name, _ in attrs)

        def handle_data(self, data: str) -> None:
            shown.append(data)

    Reader().feed(page)
    return "".join(shown)


def test_an_explanation_is_public() -> None:
    assert Explanation.__doc__
