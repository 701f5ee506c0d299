"""Real models in other formats, run by programs that share no code with llmkit."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit import ModelSpec
from llmkit.convert import convert, proof, to_mlx
from llmkit.convert.result import ConvertResult
from tests.real import table


def noted(name: str, result: ConvertResult) -> None:
    """Add a row for each program that read the model."""
    for check in result.checks:
        greedy = "" if check.same_greedy is None else f", {check.same_greedy} greedy texts equal"
        table.add(
            f"{name} as {result.to}, {result.stored}: outputs for {check.texts} texts",
            f"the source{greedy}",
            check.reader,
            check.logit_difference,
        )


@pytest.mark.parametrize("to", ["onnx", "ctranslate2"])
def test_a_real_model_answers_alike_in_float32(to: str, chat_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(to, to))
    result = convert(ModelSpec(str(chat_folder)), to, tmp_path / "out", dtype="float32")
    noted("SmolLM2", result)
    assert all(check.logit_difference < 1e-3 for check in result.checks)
    assert result.checks[-1].same_greedy == 20


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_real_model_answers_alike_in_mlx(
    dtype: str, chat_folder: Path, mlx_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU mlx multiplies numbers of 16 bits very slowly, so a few texts stand for them."""
    texts = proof.TEXTS if dtype == "float32" else proof.TEXTS[3:6]  # code, German, Chinese
    for module in (proof, to_mlx):
        monkeypatch.setattr(module, "TEXTS", texts)
    result = convert(
        ModelSpec(str(chat_folder)), "mlx", tmp_path / "out", dtype=dtype, reader_python=mlx_python
    )
    noted("SmolLM2", result)
    _, stored, *exact = result.checks
    assert stored.reader == "mlx-lm"
    assert stored.relative_difference < 0.01
    assert [check.reader for check in exact] == ["mlx-lm in float32"] * (dtype == "float16")
    for check in exact or [stored]:
        assert check.logit_difference < 0.01
        assert check.same_greedy == len(texts)


def test_a_real_encoder_gives_the_same_states_in_onnx(encoder_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    result = convert(ModelSpec(str(encoder_folder)), "onnx", tmp_path / "out", dtype="float32")
    noted("MiniLM", result)
    assert all(check.logit_difference < 1e-4 for check in result.checks)
