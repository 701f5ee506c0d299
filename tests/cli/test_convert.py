"""`llmkit convert` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command import assert_refused, run
from tests.conftest import TinyModel


def test_it_prints_what_was_measured(tiny_model: TinyModel, tmp_path: Path) -> None:
    model, output = str(tiny_model("llama")), str(tmp_path / "m.gguf")
    done = run("convert", "-m", model, "--to", "gguf", "--gguf-type", "F16", "-o", output)
    assert done.code == 0, done.err
    assert f"output: {output}\n" in done.out
    assert "checked by llmkit: largest difference" in done.out
    assert "same top token at" in done.out
    assert "llama.cpp" in done.out
    refused = run("convert", "-m", model, "--to", "gguf", "-o", output)
    assert_refused(refused, "--overwrite replaces it")
    again = run("convert", "-m", model, "--to", "gguf", "-o", output, "--overwrite", "--json", "-q")
    result = json.loads(again.out)
    assert (result["stored"], result["checks"][0]["reader"]) == ("F32", "llmkit")


def test_options_are_named_as_flags(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = str(tiny_model("llama"))
    for flags, said in (
        (["--to", "gguf", "--gguf-type", "Q9"], "--gguf-type must be"),
        (["--to", "pdf"], "--to must be"),
    ):
        assert_refused(run("convert", "-m", model, *flags, "-o", str(tmp_path / "o")), said)
