"""`llmkit bench` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmkit.benchmark import limits
from tests.command import assert_refused, run
from tests.conftest import TinyModel

SHORT = ["--prompt-tokens", "16", "--new-tokens", "4", "--batch", "2", "--repeats", "1"]


def test_json_has_limits_and_says_that_the_machine_is_busy(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "load_average", lambda: 1e6)
    done = run("bench", "-m", tiny_model("llama"), *SHORT, "--json", "--compare", "pipeline")
    assert done.code == 0, done.err
    assert "the machine is busy" in done.err
    result = json.loads(done.out)
    assert result["busy"] is True
    assert [one["name"] for one in result["systems"]] == ["llmkit", "pipeline"]
    decode = next(one for one in result["systems"][0]["measurements"] if one["name"] == "decode")
    assert decode["share"] == pytest.approx(decode["median"] / decode["limit"])
    assert decode["limit_by"] in {"bandwidth", "arithmetic"}
    assert result["options"]["prompt_tokens"] == 16


def test_a_quiet_machine_gives_no_notice(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "load_average", lambda: 0.0)
    monkeypatch.setattr(limits, "calibrate", lambda: [1.0] * 40)
    done = run("bench", "-m", tiny_model("llama"), *SHORT, "--quantize", "int8", "--markdown")
    assert done.code == 0, done.err
    assert "busy" not in done.out + done.err
    rows = [line for line in done.out.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {8}
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        *("load", "peak memory", "first token", "prefill", "decode", "batch")
    ]
    assert "int8, float32" in done.out or "int8, bfloat16" in done.out


@pytest.mark.parametrize(
    ("flags", "fact", "option"),
    [
        (["--new-tokens", "1"], "must be 2 to", "new_tokens"),
        (["--compare", "pipelin"], "did you mean pipeline?", "compare"),
        (["--json", "--markdown"], "give one of them", "markdown"),
        (["--quantize", "int3"], "use int8 or int4", "quantize"),
        (["--prompt-tokens", "2000"], "128", "prompt_tokens"),
    ],
)
def test_bad_options_are_named(tiny_model: TinyModel, flags: list[str], fact: str, option: str) -> None:
    model: Path = tiny_model("llama")
    assert_refused(run("bench", "-m", model, "-q", *flags), fact, option=option)
