"""Several systems on the same rows, and tables of them."""

from __future__ import annotations

import csv
import io
import random

import pytest

from llmkit.errors import InputError
from llmkit.evaluation import Example, examples, make, score_rows
from llmkit.evaluation.systems import Systems, score_systems
from llmkit.evaluation.tables import of_scores, of_systems

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"]


def texts(rows: int) -> list[str]:
    generator = random.Random(0)
    return [" ".join(generator.choices(WORDS, k=8)) for _ in range(rows)]


def corrupted(lines: list[str], share: float, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [" ".join("z" if generator.random() < share else word for word in line.split()) for line in lines]


@pytest.fixture(scope="module")
def systems() -> Systems:
    """Two systems of equal quality and one that is worse."""
    references = texts(80)
    rows: dict[str, list[Example]] = {
        name: examples(corrupted(references, share, seed), references)
        for name, share, seed in (("one_1", 0.2, 1), ("two", 0.2, 2), ("bad", 0.4, 3))
    }
    return score_systems([make("bleu"), make("ter")], rows, resamples=300)


def test_each_system_scores_as_if_it_stood_alone(systems: Systems) -> None:
    references = texts(80)
    rows = examples(corrupted(references, 0.4, 3), references)
    alone = score_rows([make("bleu"), make("ter")], rows, resamples=300)
    assert systems.evaluations["bad"].scores == alone.scores


def test_the_best_is_found_in_both_directions(systems: Systems) -> None:
    for name, better in (("bleu", max), ("ter", min)):
        scores = {system: one[name].score for system, one in systems.evaluations.items()}
        best = better(scores, key=lambda system: scores[system])
        assert best != "bad"
        assert systems.p_values[name][best] == 1
        assert systems.best(name) == {"one_1", "two"}


def test_the_p_value_is_that_of_a_baseline(systems: Systems) -> None:
    references = texts(80)
    one, bad = (corrupted(references, share, seed) for share, seed in ((0.2, 1), (0.4, 3)))
    pair = score_systems(
        [make("bleu")], {"a": examples(one, references), "b": examples(bad, references)}, resamples=300
    )
    compared = score_rows(
        [make("bleu")], examples(one, references), baselines={"b": examples(bad)}, resamples=300
    )
    assert pair.p_values["bleu"]["b"] == compared["bleu"].baselines[0].p_bootstrap


def test_text_and_csv_and_markdown(systems: Systems) -> None:
    lines = of_systems(systems, "text").splitlines()
    assert lines[0].split() == ["system", "bleu", "ter", "rows"]
    assert [line.split()[0] for line in lines[1:4]] == ["one_1", "two", "bad"]
    assert ["*" in line for line in lines[1:4]] == [True, True, False]
    found = list(csv.DictReader(io.StringIO(of_systems(systems, "csv"))))
    assert [(row["system"], row["metric"], row["best"]) for row in found[:2]] == [
        ("one_1", "bleu", "1"),
        ("one_1", "ter", "1"),
    ]
    assert float(found[-1]["score"]) == systems.evaluations["bad"]["ter"].score
    assert r"| one\_1 | **" in of_systems(systems, "markdown")


def test_a_system_that_lacks_a_score() -> None:
    """Texts of one word have no pairs of words; the others have their column and their mark."""
    rows: dict[str, list[Example]] = {
        "short": examples(["a", "b", "c"]),
        "long": examples(["a b c", "a a a", "b c d"]),
    }
    found = score_systems([make("distinct")], rows, resamples=50)
    table = [line.split() for line in of_systems(found, "text").splitlines()[:3]]
    assert table[0] == ["system", "distinct_1", "distinct_2", "distinct_3", "rows"]
    assert (table[1][0], len(table[1])) == ("short", 3)
    assert table[2][2].endswith("*")
    assert found.best("distinct_2") == {"long"}


def test_latex_is_escaped(systems: Systems) -> None:
    table = of_systems(systems, "latex")
    assert r"one\_1 & \textbf{" in table
    assert table.count(r"\\") == 4
    rows = examples(["a", "b"], ["a", "c"], lang=["50% & $_{x}^~\\", "y"])
    found = of_scores(score_rows([make("f1")], rows, by="lang", resamples=2), "latex")
    assert r"50\% \& \$\_\{x\}\textasciicircum{}\textasciitilde{}\textbackslash{}" in found


def test_other_rows_are_an_error() -> None:
    first = examples(["a", "b"], ["a", "b"])
    with pytest.raises(InputError, match="two"):
        score_systems([make("f1")], {"one": first, "two": first[:1]})
    with pytest.raises(InputError, match="no rows"):
        score_systems([make("f1")], {"one": [], "two": []})
