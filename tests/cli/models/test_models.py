"""`llmkit models list` and `show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from llmkit import ModelSpec
from llmkit.convert import convert
from llmkit.models.bundled import embedded_folder, embedded_models
from tests.command import run
from tests.conftest import TinyModel


def test_models_lists_embedded_and_suggested_models() -> None:
    result = run("models")
    assert result.code == 0
    lines = result.out.splitlines()
    assert any(line.split()[:2] == ["embedded", "stories"] and "text-generation" in line for line in lines)
    assert any(line.startswith("suggested ") for line in lines)


def test_models_as_json() -> None:
    rows = [json.loads(line) for line in run("models", "--json").out.splitlines()]
    (stories,) = [row for row in rows if row["model"] == "stories"]
    assert stories["where"] == "embedded"
    assert stories["license"] == "cdla-sharing-1.0"
    assert stories["bytes"] > 1_000_000
    suggested = [row for row in rows if row["where"] == "suggested"]
    assert all(row["command"].endswith(f" -m {row['model']}") and "task" not in row for row in suggested)


def test_models_lists_what_is_cached(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    rows = [json.loads(line) for line in run("models", "--json", "--cache-dir", tmp_path).out.splitlines()]
    assert [row["model"] for row in rows if row["where"] == "cached"] == ["org/tiny"]


def facts_of(*arguments: str | Path) -> dict[str, str]:
    """The lines that `models show` prints before the card."""
    result = run("models", "show", *arguments)
    assert result.code == 0, result.err
    lines = result.out.split("\n\n")[0].splitlines()
    return {line[:14].strip(): line[14:] for line in lines}


def test_models_show_prints_facts_and_the_card() -> None:
    folder = embedded_folder("stories")
    assert folder is not None
    assert run("models", "show", "stories").out.endswith((folder / "README.md").read_text(encoding="utf-8"))
    facts = facts_of("stories")
    table = load_file(folder / "model.safetensors")
    assert facts["parameters"] == f"{sum(tensor.numel() for tensor in table.values()):,}"
    assert facts["context"] == "512 tokens"
    assert facts["license"] == "cdla-sharing-1.0"


def test_models_show_reads_folders_and_gguf_files(tiny_model: TinyModel, tmp_path: Path) -> None:
    source = tiny_model("llama", chat=True)
    convert(ModelSpec(str(source)), "gguf", tmp_path / "m-Q8_0.gguf", gguf_type="Q8_0", bound=9.0)
    folder, file = facts_of(source), facts_of(tmp_path / "m-Q8_0.gguf")
    assert (folder["format"], file["format"], file["dtype"]) == ("safetensors", "GGUF", "Q8_0")
    for key in ("parameters", "context", "vocabulary", "chat"):
        assert file[key] == folder[key]
    assert facts_of(f"{tmp_path}:q8_0")["folder"] == str(tmp_path / "m-Q8_0.gguf")
    (tmp_path / "m-Q8_0.gguf").write_bytes(b"GGUF")
    assert "m-Q8_0.gguf" in facts_of(tmp_path / "m-Q8_0.gguf")["problem"]
    result = run("models", "check", tmp_path / "m-Q8_0.gguf")
    assert (result.code, "WRONG" in result.out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nothing"], "nothing is not in the cache"),
        (["show", "org/nothing"], "`llmkit models pull org/nothing` downloads it"),
        (["show", "../runtime"], "no model folder at ../runtime"),
        (["list", "stories"], "use `llmkit models list`"),
        (["show"], "models show NAME"),
        (["delete", "x"], "models rm NAME"),
        (["rm", "org/nothing", "--yes"], "org/nothing is not in the cache"),
        (["rm", "stories", "--yes"], "stories is part of llmkit"),
        (["rm", "../x", "--yes"], "USER/MODEL"),
        (["rm", "/etc", "--yes"], "USER/MODEL"),
        (["pull", "stories"], "stories is part of llmkit"),
        (["pull", "org/x"], "--offline"),
        (["show", "stories", "--yes"], "--yes"),
        (["check", "org/nothing"], "org/nothing is not in the cache"),
    ],
)
def test_models_bad_usage(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = run("models", *arguments, "--cache-dir", tmp_path)
    assert result.code == 2
    assert said in result.err


def test_embedded_models_are_found_by_name_only() -> None:
    assert embedded_folder("../runtime") is None
    assert embedded_folder("") is None
    assert [model.name for model in embedded_models()] == sorted(m.name for m in embedded_models())
