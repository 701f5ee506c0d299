"""A metric is declared in one place, and everything else follows from there."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from llmkit.errors import InputError
from llmkit.evaluation import METRICS, Declaration, Example, Metric, MetricOption, declare
from llmkit.evaluation.metric import means
from llmkit.evaluation.registry import declaration_of, function_of, of_models, of_predictions
from tests.command import run


@pytest.mark.parametrize("name", METRICS)
def test_every_declared_option_is_a_parameter(name: str) -> None:
    parameters = inspect.signature(function_of(name)).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for option in declaration_of(name).options:
        assert takes_any or (option.parameter or option.name) in parameters


def test_metrics_judge_predictions_or_models() -> None:
    assert set(of_predictions()) | set(of_models()) == set(METRICS)
    assert set(of_models()) == {"perplexity", "multiple_choice", "minimal_pairs"}


def test_the_card_s_task_follows_from_the_declaration() -> None:
    tasks = {
        name: declaration_of(name).task for name in ("chrf++", "rouge", "squad_v2", "accuracy", "distinct")
    }
    assert list(tasks.values()) == [
        "translation",
        "summarization",
        "question-answering",
        "text-classification",
        "text-generation",
    ]


@declare(
    Declaration(
        "length against the reference",
        task="summarization",
        needs_references=False,
        lower_is_better=True,
        options=(MetricOption("per_letter", bool, "Count letters.", parameter="letters"),),
    )
)
def toy_length(*, letters: bool = False) -> Metric:
    """Build a metric of the tests: the mean length of a prediction."""

    def statistics(example: Example) -> list[float]:
        return [float(len(example.prediction if letters else example.prediction.split())), 1.0]

    return Metric("toy", ("toy",), "toy:1", statistics, means, scale=None)


def test_a_new_metric_takes_a_function_and_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from llmkit.evaluation import registry
    from llmkit.evaluation.card import update_card
    from llmkit.evaluation.score_lists import score

    monkeypatch.setitem(registry.METRICS, "toy", "test:toy_length")
    monkeypatch.setattr(
        registry, "function_of", lambda name: toy_length if name == "toy" else function_of(name)
    )
    result = score(["a bc", "d"], metrics="toy")
    assert (result["toy"].score, result["toy"].signature) == (1.5, "toy:1")
    assert score(["a bc", "d"], metrics="toy", per_letter=True)["toy"].score == 2.5
    card = tmp_path / "README.md"
    card.write_text("# Mine\n", encoding="utf-8")
    update_card(card, result, dataset="d")
    assert "type: summarization" in card.read_text(encoding="utf-8")


def test_the_help_text_has_all_metrics_and_their_options() -> None:
    text = " ".join(run("eval", "--help").out.split())
    for name in METRICS:
        assert name in text
        for option in declaration_of(name).options:
            assert f"--{option.name.replace('_', '-')}" in text


def test_a_name_mistyped_is_no_download() -> None:
    with pytest.raises(InputError, match="rouge"):
        function_of("rogue")
