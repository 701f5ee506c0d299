"""Structured output: every finished answer has its form, alone and beside others."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import jsonschema
import pytest

from llmkit import ModelSpec
from llmkit.engines import structured
from llmkit.engines.base import Constraint, Engine, Request, Sampling
from llmkit.engines.open import open_engine
from llmkit.errors import OptionError
from llmkit.tasks.streaming import decode
from tests.conftest import TinyModel

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["kind", "brave"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
LIST = {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}
NAMED = {"anyOf": [{"const": "yes"}, {"type": "number", "minimum": 0, "maximum": 5}]}


@pytest.fixture(scope="module", params=[None, "sdpa"], ids=["native steps", "generate"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """A model in native steps, and the same one by `generate`."""
    spec = ModelSpec("stories", device="cpu", dtype="float32", attn=request.param, bundled=True)
    return open_engine(spec)


def requests(engine: Engine, constraints: list[Constraint | None], tokens: int = 80) -> list[Request]:
    tokenizer: Any = engine.tokenizer
    ids = tokenizer("Once upon a time")["input_ids"]
    sampling = Sampling(max_new_tokens=tokens, temperature=1.0)
    return [Request(sampling, ids=ids, key=(1, i, 0), constraint=one) for i, one in enumerate(constraints)]


def texts(engine: Engine, asked: list[Request]) -> list[str]:
    answers = [answer for (answer,) in engine.generate(asked)]
    assert all(
        one.finish_reason == "stop" for one, request in zip(answers, asked, strict=True) if request.constraint
    )
    return [decode(engine.tokenizer, one.ids) for one in answers]


def test_each_row_of_a_batch_has_its_own_form(engine: Engine) -> None:
    schemas = [PERSON, LIST, NAMED, PERSON]
    forms: list[Constraint | None] = [structured.json_schema(one, engine) for one in schemas]
    forms += [
        structured.regex(r"[0-9]{4}-[0-9]{2}", engine),
        structured.choices(["a dog", "a cat", 'a "bird"\n'], engine),
        structured.grammar('start: "x" ("y" | "z") "!"', engine),
    ]
    asked = requests(engine, [*forms, None])
    found = texts(engine, asked)
    for schema, text in zip(schemas, found, strict=False):
        jsonschema.validate(json.loads(text), schema)
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}", found[4])
    assert found[5] in ("a dog", "a cat", 'a "bird"\n')
    assert found[6] in ("xy!", "xz!")
    assert found == [texts(engine, [one])[0] for one in asked]


def test_an_answer_that_is_cut_says_so(engine: Engine) -> None:
    (asked,) = requests(engine, [structured.json_schema(PERSON, engine)], tokens=4)
    assert engine.generate([asked])[0][0].finish_reason == "length"


def test_a_form_begins_after_the_thoughts(engine: Engine) -> None:
    form = structured.AfterThoughts(structured.choices(["yes"], engine), engine)
    mask = form.new_mask()
    tokenizer: Any = engine.tokenizer
    assert mask.allowed().sum() == len(mask.allowed()) - 1  # anything but an end
    for token in tokenizer("I think</think>", add_special_tokens=False)["input_ids"]:
        mask.accept(token)
    begins = {tokenizer.decode([token]) for token in mask.allowed().nonzero()[0]}
    assert all("yes".startswith(one) for one in begins)


def test_a_model_may_open_its_thoughts_itself(tiny_model: TinyModel) -> None:
    """By its token for that, and only as the first one; a tokenizer without it has no thoughts."""
    from transformers import AutoTokenizer

    folder = tiny_model("llama")
    plain = open_engine(ModelSpec(str(folder), device="cpu", dtype="float32"))
    form = structured.choices(["yes"], plain)
    free = structured.AfterThoughts(form, plain, begun=False).new_mask().allowed()
    assert (free == form.new_mask().allowed()).all()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<think>", "</think>"])
    engine = copy.copy(plain)
    engine.tokenizer = tokenizer
    engine.config = copy.deepcopy(plain.config)
    engine.config.vocab_size = len(tokenizer)
    mask = structured.AfterThoughts(structured.choices(["yes"], engine), engine, begun=False).new_mask()
    opens, closes = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert mask.allowed()[opens]
    mask.accept(opens)
    assert mask.allowed().sum() == len(mask.allowed()) - 1  # anything but an end
    mask.accept(closes)
    assert not mask.allowed()[opens]
    begins = {tokenizer.decode([token]) for token in mask.allowed().nonzero()[0]}
    assert all("yes".startswith(one) for one in begins)
    mask = structured.AfterThoughts(structured.choices(["yes"], engine), engine, begun=False).new_mask()
    mask.accept(int(mask.allowed().nonzero()[0][0]))
    assert not mask.allowed()[opens]


def test_a_guess_that_repeats_is_checked_against_the_form(engine: Engine) -> None:
    one = structured.regex(r"(ab){20}", engine)
    assert texts(engine, requests(engine, [one])) == ["ab" * 20]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json_schema", {"not": {"pattern": "a"}}),
        ("json_schema", {"type": "array", "uniqueItems": True}),
        ("json_schema", {"type": "king"}),
        ("json_schema", {"$ref": "file:///etc/passwd"}),
        ("json_schema", {"$ref": "https://example.org/schema.json"}),
        ("json_schema", 7),
        ("regex", "("),
        ("grammar", "start: nothing"),
        ("choices", []),
        ("choices", [""]),
        ("regex", "x" * 2_000_000),
    ],
)
def test_what_cannot_be_enforced_is_refused(engine: Engine, kind: str, value: Any) -> None:
    with pytest.raises(OptionError) as raised:
        getattr(structured, kind)(value, engine)
    assert raised.value.option == {"json_schema": "schema", "choices": "choice"}.get(kind, kind)


def test_the_refusal_names_the_keyword(engine: Engine) -> None:
    with pytest.raises(OptionError, match="uniqueItems"):
        structured.json_schema({"type": "array", "uniqueItems": True}, engine)


def test_an_encoder_decoder_has_none() -> None:
    translator = open_engine(ModelSpec("translator", device="cpu", bundled=True))
    with pytest.raises(OptionError):
        structured.choices(["x"], translator)
