"""Explanations of a real chat model."""

from __future__ import annotations

import pytest

import llmkit
from llmkit import ExplainOptions, LoadedModel
from tests.real import table

TEXT = "The capital of France is"


@pytest.mark.parametrize("chat_turn", [False, True])
def test_integrated_gradients_add_up(chat: LoadedModel, chat_turn: bool) -> None:
    options = ExplainOptions(method="ig", target="Paris", instead_of="London", chat=chat_turn, check=False)
    (found,) = llmkit.explain(chat, TEXT, options)
    assert found.completeness_error is not None
    assert found.baseline_value is not None
    scores = sum(unit.score for unit in found.units)
    change = found.value - found.baseline_value
    name = "in a chat turn" if chat_turn else "plain prompt"
    table.add(
        f"integrated gradients, {name}: sum of the scores, {found.steps} steps",
        f"{scores:.4f}",
        f"{change:.4f} change of the log-probability",
        f"{100 * found.completeness_error:.2f} %",
    )
    assert found.completeness_error < 0.01
    assert scores == pytest.approx(change, rel=0.01)


@pytest.mark.parametrize("method", ["components", "lens", "attnlrp"])
def test_the_inside_of_a_real_model(chat: LoadedModel, method: str) -> None:
    (found,) = llmkit.explain(chat, TEXT, ExplainOptions(method=method, target="Paris", chat=False, orders=1))
    if method == "components":
        assert len(found.components) == 30 * (9 + 1) + 1
        total = sum(one.score for one in found.components)
        table.add("direct effects of 301 components: their sum", total, found.value, total - found.value)
        assert total == pytest.approx(found.value, rel=1e-3)
    elif method == "lens":
        assert found.lens is not None
        assert len(found.lens.layers) == 31
        last = found.lens.cells[-1][-1].target
        table.add("logit lens: log-probability in the last layer", last, found.value, last - found.value)
        assert last == pytest.approx(found.value, abs=1e-3)
    else:
        assert sum(unit.score for unit in found.units) > 0


def test_a_chat_model_s_translation_is_explained(chat: LoadedModel) -> None:
    options = ExplainOptions(task="translate", source="en", target_language="fr", target="Le chien", orders=1)
    (found,) = llmkit.explain(chat, "The dog sleeps.", options)
    assert [unit.text for unit in found.units] == ["The", "dog", "sleeps", "."]
    assert found.matrix is not None
