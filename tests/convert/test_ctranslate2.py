"""CTranslate2 end to end: logits, greedy text, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.convert.conversion import convert
from llmkit.errors import InputError
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel

pytest.importorskip("ctranslate2")


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_ctranslate2_answers_alike(family: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    result = convert(ModelSpec(str(tiny_model(family))), "ctranslate2", tmp_path / "out", dtype="float32")
    (check,) = result.checks
    assert (check.reader, check.texts, check.same_greedy) == ("CTranslate2", 20, 20)
    assert check.logit_difference < 1e-4


def test_an_encoder_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not generate text"):
        convert(ModelSpec(str(tiny_model("bert"))), "ctranslate2", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
