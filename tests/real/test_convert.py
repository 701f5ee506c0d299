"""Real models in other formats, run by programs that share no code with llmkit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmkit import ModelSpec
from llmkit.convert import convert


@pytest.mark.parametrize("to", ["onnx", "ctranslate2"])
def test_a_real_model_answers_alike_in_float32(to: str, chat_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(to, to))
    result = convert(ModelSpec(str(chat_folder)), to, tmp_path / "out", dtype="float32")
    for check in result.checks:
        print(to, check)
        assert check.logit_difference < 1e-3
    assert result.checks[-1].same_greedy == 20


def test_a_real_model_answers_alike_in_mlx(chat_folder: Path, tmp_path: Path) -> None:
    python = os.environ.get("LLMKIT_MLX_PYTHON")
    if python is None:
        pytest.skip("LLMKIT_MLX_PYTHON is not set")
    result = convert(
        ModelSpec(str(chat_folder)), "mlx", tmp_path / "out", dtype="float16", reader_python=python
    )
    print(result.checks)
    stored, exact = result.checks[1:]
    assert (stored.reader, exact.reader) == ("mlx-lm", "mlx-lm in float32")
    assert stored.relative_difference < 0.01
    assert exact.logit_difference < 0.01
    assert exact.same_greedy == 20


def test_a_real_encoder_gives_the_same_states_in_onnx(encoder_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    result = convert(ModelSpec(str(encoder_folder)), "onnx", tmp_path / "out", dtype="float32")
    assert all(check.logit_difference < 1e-4 for check in result.checks)
