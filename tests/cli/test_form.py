"""Structured output on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from tests.command import assert_refused, rows_of, run

SCHEMA = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2]}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_rows_of_a_file_are_valid_under_the_schema(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    rows = tmp_path / "in.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"Once {i}"}) + "\n" for i in range(4)))
    arguments = ["generate", "--input", rows, "--temperature", "1", "--seed", "1"]
    out = tmp_path / "out.jsonl"
    assert run(*arguments, "--schema", schema, "-o", out).code == 0
    found = rows_of(out.read_text())
    assert len(found) == 4
    for row in found:
        jsonschema.validate(json.loads(row["generated_text"]), SCHEMA)
    assert rows_of(run(*arguments, "--schema", json.dumps(SCHEMA), "--json").out) == found
    # Another form is another run, which does not continue this one.
    assert_refused(run(*arguments, "--regex", "a", "-o", out, "--resume"))


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [(["--choice", "yes, no"], {"yes", "no"}), (["--regex", "[ab]{2}"], {"aa", "ab", "ba", "bb"})],
)
def test_an_answer_is_one_of_the_allowed(flags: list[str], allowed: set[str]) -> None:
    assert run("generate", "Once", "--seed", "2", *flags).out.strip() in allowed
    assert run("chat", "--seed", "2", *flags, stdin='{"prompt": "Hi"}').out.strip() in allowed


def test_a_grammar_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "g.lark"
    path.write_text('start: "x" "y"+ "."')
    text = run("generate", "Once", "--seed", "2", "--temperature", "1", "--grammar", path).out.strip()
    assert re.fullmatch(r"xy+\.", text)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    assert_refused(run("generate", "x", "--schema", '{"not": {}}'), option="schema")
    assert_refused(run("generate", "x", "--schema", "{"), option="schema")
    assert_refused(run("generate", "x", "--regex", "("), option="regex")
    assert_refused(run("generate", "x", "--regex", "a", "--choice", "b"), option="choice")
    assert_refused(run("generate", "x", "--regex", "a", "--num-beams", "2"), option="num_beams")
    assert_refused(run("generate", "x", "--schema", tmp_path / "none.json"), "none.json", option="schema")


def test_each_row_has_its_own_schema(tmp_path: Path) -> None:
    """A refused schema fails its row by the keyword; an answer that is cut says so, in every output."""
    schemas = [
        SCHEMA,
        json.dumps({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}),
        {"type": "array", "uniqueItems": True},
        {"type": "string", "minLength": 300},
        None,
        "{",
    ]
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps({"prompt": "Once", "form": one}) + "\n" for one in schemas))
    flags = ["--input", file, "--schema-field", "form", "--temperature", "1", "--seed", "1"]
    flags += ["--max-new-tokens", "40", "--on-error", "skip"]
    result = run("generate", *flags, "-o", out)
    assert result.code == 3
    assert "length" in result.err
    found = rows_of(out.read_text())
    jsonschema.validate(json.loads(found[0]["generated_text"]), SCHEMA)
    jsonschema.validate(json.loads(found[1]["generated_text"]), json.loads(str(schemas[1])))
    assert [row.get("finish_reason") for row in found] == ["stop", "stop", None, "length", None, None]
    assert "uniqueItems" in found[2]["error"]
    assert "`form`" in found[4]["error"]
    assert "`form`" in found[5]["error"]
    assert_refused(run("generate", *flags, "-o", out, "--resume", "--details"))


@pytest.mark.parametrize(
    "verb",
    [
        ["translate", "-m", "storyteller", "--from", "en", "--to", "de", "Hello.\nGood bye."],
        ["qa", "-m", "storyteller", "Who ran?", "--context", "{context}"],
    ],
)
def test_other_verbs_follow_a_form(verb: list[str], tmp_path: Path) -> None:
    (tmp_path / "context.txt").write_text("Tom ran away. Lily sat on a chair.\n")
    arguments = [one.format(context=tmp_path / "context.txt") for one in verb]
    result = run(*arguments, "--choice", "Tom,Lily", "--details", "--logprobs", "1", "--seed", "1")
    (row,) = rows_of(result.out)
    assert row[{"qa": "answer", "translate": "translation_text"}[verb[0]]] in ("Tom", "Lily")
    assert (row["finish_reason"], row["tokens"], row["seed"]) == ("stop", len(row["logprobs"]), 1)


def test_eval_holds_a_model_to_a_form(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"question": "Who ran?", "context": "Tom ran. Lily sat.", "answers": ["Tom", "Lily"]}\n')
    asked = ["eval", "--task", "qa", "-m", "storyteller", "--metric", "exact_match", file, "--json"]
    result = run(*asked, "--choice", "Tom,Lily")
    assert json.loads(result.out)["scores"][0]["score"] == 1.0
    assert "|form:choice-" in result.out
    assert_refused(run("eval", file, "--metric", "f1", "--choice", "a"), option="choice")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["generate", "x", "--schema-field", "s"], "schema_field"),
        (["generate", "x", "--schema", "{}", "--schema-field", "s"], "schema_field"),
        (["generate", "x", "--choice", "a", "--stop", "b"], "stop"),
        (["generate", "x", "--logprobs", "1", "--num-beams", "2"], "num_beams"),
        (["generate", "x", "--logprobs", "-1"], "logprobs"),
        (["translate", "--from", "en", "--to", "de", "x", "--choice", "a"], "choice"),
        (["qa", "x", "--context", "-", "-m", "storyteller", "--logprobs", "1"], "logprobs"),
        (["qa", "x", "--context", "-", "-m", "storyteller", "--choice", "a", "--no-answer"], "no_answer"),
        (["qa", "x", "--context", "-", "--choice", "a"], None),
        (["summarize", "x", "-m", "storyteller", "--choice", "a"], None),
    ],
)
def test_options_that_do_not_go_with_a_form(arguments: list[str], option: str | None) -> None:
    assert_refused(run(*arguments, stdin="Tom ran."), option=option)
