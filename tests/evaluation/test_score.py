"""`llmkit.score`: plain arguments in, a dataclass with intervals and signatures out."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.errors import InputError, NoticeWarning, OptionError
from llmkit.evaluation import make, score

PREDICTIONS = ["the cat sat", "a dog ran home", "two birds"]
REFERENCES = [["the cat sat down", "a cat"], ["the dog ran home"], ["two small birds"]]


def test_scores_by_name() -> None:
    result = score(PREDICTIONS, REFERENCES, metrics="exact_match, f1,rouge", stemmer=True, seed=3)
    # Without articles: 2 of 2 and 3 words; 3 of 3 and 3; 2 of 2 and 3.
    assert result["f1"].score == pytest.approx((4 / 5 + 1 + 4 / 5) / 3)
    assert (result.rows, result.seed, result["f1"].rows) == (3, 3, 3)
    low, high = result["f1"].low, result["f1"].high
    assert low is not None
    assert high is not None
    assert low < result["f1"].score < high
    assert "|stem:porter|" in result["rougeL"].signature
    assert result["f1"].signature.startswith("nrefs:var|")
    with pytest.raises(KeyError, match="rouge1"):
        result["rouge"]


def test_names_and_metrics_with_options_of_their_own() -> None:
    result = score(PREDICTIONS, REFERENCES, metrics=["exact_match", make("bleu", max_ngram_order=1)])
    assert [one.name for one in result.scores] == ["exact_match", "bleu"]
    twice = score(PREDICTIONS, REFERENCES, metrics="f1, exact_match,f1,")
    assert [one.name for one in twice.scores] == ["f1", "exact_match"]


def test_baselines_and_groups() -> None:
    others = {"short": ["the", "a", "two"], "same": PREDICTIONS}
    result = score(PREDICTIONS, REFERENCES, metrics="f1", baselines=others, groups=["x", "x", "y"])
    short, same = result["f1"].baselines
    assert (short.name, same.name) == ("short", "same")
    assert short.difference == pytest.approx(result["f1"].score - short.score)
    assert short.difference > 0
    assert (same.difference, same.p_bootstrap, same.p_randomization) == (0, 1, 1)
    assert [one.group for one in result.scores] == [None, "x", "y"]
    (alone,) = score(PREDICTIONS, REFERENCES, metrics="f1", baselines={"short": others["short"]})[
        "f1"
    ].baselines
    assert alone == short  # a further baseline does not move the first


def test_a_choice_by_the_texts_is_a_warning() -> None:
    with pytest.warns(NoticeWarning, match="characters"):
        result = score(["天安门广场"], ["天安门"], metrics="f1")
    assert result["f1"].score == pytest.approx(2 * 3 / 8)


@pytest.mark.parametrize(
    ("hits", "low", "high"),
    [(6, 0.6097, 1), (0, 0, 0.3903)],  # Wilson: n / (n + z^2) at an end
)
def test_a_share_of_all_rows_has_an_interval(hits: int, low: float, high: float) -> None:
    found = score(["x"] * 6, ["x"] * hits + ["y"] * (6 - hits), metrics="accuracy,exact_match,squad")
    for name, scale in (("accuracy", 1), ("exact_match", 1), ("squad_exact", 100)):
        one = found[name]
        assert (one.low, one.high) == pytest.approx((scale * low, scale * high), abs=scale * 1e-4)
        assert one.interval == "wilson"
    # The bootstrap of rows that are all alike has no width, which says nothing.
    assert (found["squad_f1"].low, found["squad_f1"].interval) == (None, None)


def test_a_share_of_some_rows_counts_only_those() -> None:
    references: list[Any] = [["b"], ["b"], [], []]
    found = score(["b", "b", "", "x"], references, metrics="squad_v2")
    assert found["squad_v2_HasAns_exact"].low == pytest.approx(100 * 2 / (2 + 1.959964**2), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"metrics": "f1", "stemmer": True}, "stemmer"),
        ({"metrics": "f1", "no_such": 1}, "no_such"),
        ({"metrics": "f1", "confidence": 2}, "confidence"),
        ({"metrics": "bleu", "tokenize": "x"}, "tokenize"),
        ({"metrics": "f1", "language": "zh"}, "language"),
        ({"metrics": "bleu", "language": "xx-nothing"}, "language"),
        ({"metrics": []}, "metrics"),
        ({"metrics": " ,"}, "metrics"),
    ],
)
def test_bad_options(options: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as caught:
        score(PREDICTIONS, REFERENCES, **options)
    assert caught.value.option == option


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"3 predictions and 1 references"):
        score(PREDICTIONS, REFERENCES[:1], metrics="f1")
    with pytest.raises(InputError, match="no rows"):
        score([], [], metrics="f1")
    with pytest.raises(InputError, match="chrf"):
        score(PREDICTIONS, REFERENCES, metrics="chrff")
