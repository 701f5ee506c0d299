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
    assert_refused(run("generate", "x", "--schema", tmp_path / "none.json"), "none.json", code=1)
