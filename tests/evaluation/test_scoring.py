"""Scores with intervals, groups and baselines, over rows that pass once."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation import Example, examples, make, score_rows
from llmkit.evaluation.resampling import BLOCK

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then", "slept", "ate"]


def corpus(rows: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(4, 12))) for _ in range(rows)]


def corrupted(texts: list[str], share: float, seed: int = 1) -> list[str]:
    """The texts with a share of their words replaced."""
    generator = random.Random(seed)
    return [" ".join("zzz" if generator.random() < share else w for w in text.split()) for text in texts]


def test_identical_systems_do_not_differ():
    references = corpus(60)
    system = corrupted(references, 0.4)
    metrics = [make("bleu"), make("chrf"), make("rouge"), make("f1")]
    result = score_rows(
        metrics, examples(system, references), baselines={"other": examples(system)}, resamples=200
    )
    assert len(result.scores) == 7
    for one in result.scores:
        assert one.baseline.difference == 0
        assert (one.baseline.low, one.baseline.high) == (None, None)
        assert one.baseline.p_bootstrap == one.baseline.p_randomization == 1


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter", "rouge", "f1"])
def test_a_planted_difference_is_found(name):
    references = corpus(80)
    good, bad = corrupted(references, 0.2), corrupted(references, 0.35, seed=2)
    result = score_rows(
        [make(name)], examples(good, references), baselines={"other": examples(bad)}, resamples=300
    )
    for one in result.scores:
        compared = one.baseline
        assert compared.p_bootstrap < 0.05
        assert compared.p_randomization < 0.05
        assert compared.low < compared.difference < compared.high
        assert not compared.low <= 0 <= compared.high
        assert (compared.difference < 0) == (name == "ter")
        assert compared.difference == pytest.approx(one.score - compared.score)


def test_intervals_agree_with_sacrebleu():
    """sacrebleu draws other samples of the same corpus, so that the two agree roughly."""
    from sacrebleu.metrics import BLEU

    references = corpus(300)
    system = corrupted(references, 0.3)
    theirs = BLEU().corpus_score(system, [references], n_bootstrap=1000)
    (ours,) = score_rows([make("bleu")], examples(system, references)).scores
    assert (ours.high - ours.low) / 2 == pytest.approx(theirs._ci, rel=0.15)


def test_a_group_scores_as_if_it_stood_alone():
    references = corpus(40)
    system = corrupted(references, 0.3)
    languages = ["de" if i % 3 else "fr" for i in range(40)]
    rows = examples(system, references, lang=languages)
    result = score_rows([make("bleu"), make("rouge")], rows, by="lang", resamples=100)
    assert [one.group for one in result.scores] == [None] * 5 + ["fr"] * 5 + ["de"] * 5
    for language in ("fr", "de"):
        alone = score_rows(
            [make("bleu"), make("rouge")], [r for r in rows if r.data["lang"] == language], resamples=100
        )
        grouped = [one for one in result.scores if one.group == language]
        assert sum(one.rows for one in grouped) == 5 * languages.count(language)
        for one, other in zip(grouped, alone.scores, strict=True):
            assert (one.score, one.low, one.high) == (other.score, other.low, other.high)


def test_groups_are_few():
    rows = examples(corpus(300), corpus(300), id=list(range(300)))
    with pytest.raises(InputError, match="'id' has more than 200 values"):
        score_rows([make("f1")], rows, by="id", resamples=2)


def test_a_group_that_a_row_lacks():
    with pytest.raises(RowError, match="row 1: no column 'lang' to group by; its columns are source"):
        score_rows([make("f1")], examples(["a"], ["a"], source=["x"]), by="lang")


def test_one_row_has_no_interval():
    (one,) = score_rows([make("f1")], examples(["a cat"], ["a dog cat"])).scores
    assert one.score == pytest.approx(2 / 3)
    assert (one.low, one.high, one.rows) == (None, None, 1)


def test_memory_does_not_grow_with_rows():
    def rows(count: int):
        return (Example(f"the cat {i % 7} sat", ["the cat 3 sat"]) for i in range(count))

    metrics = [make("f1"), make("exact_match")]
    score_rows(metrics, rows(10), resamples=100)
    peaks = []
    for count in (2 * BLOCK, 6 * BLOCK):
        tracemalloc.start()
        score_rows(metrics, rows(count), resamples=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_more_rows_narrow_the_interval():
    few, many = (
        score_rows([make("f1")], examples(corrupted(corpus(n), 0.3), corpus(n))).scores[0]
        for n in (100, 2000)
    )
    assert (many.high - many.low) < 0.35 * (few.high - few.low)


def test_confidence_widens_the_interval():
    rows = examples(corrupted(corpus(200), 0.3), corpus(200))
    narrow, wide = (score_rows([make("f1")], rows, confidence=c).scores[0] for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_records_reach_the_caller_in_order():
    seen = []
    rows = examples(["a", "b c"], ["a", "c"])
    score_rows(
        [make("f1"), make("exact_match")],
        rows,
        on_record=lambda one: seen.append((one.row.where, one.scores)),
    )
    assert seen == [
        ("row 1", {"f1": 1.0, "exact_match": 1.0}),
        ("row 2", {"f1": pytest.approx(2 / 3), "exact_match": 0.0}),
    ]


@pytest.mark.parametrize(("system", "baseline", "longer"), [(3, 2, "the system"), (2, 3, "other")])
def test_a_baseline_of_another_length(system, baseline, longer):
    with pytest.raises(InputError) as caught:
        score_rows(
            [make("f1")],
            examples(["a"] * system, ["a"] * system),
            baselines={"other": examples(["a"] * baseline)},
        )
    assert str(caught.value).startswith(longer)
    assert "after 2" in str(caught.value)


def test_a_baseline_on_other_references():
    with pytest.raises(RowError, match="row 2"):
        score_rows(
            [make("f1")],
            examples(["a", "b"], ["a", "b"]),
            baselines={"other": examples(["a", "b"], ["a", "x"])},
        )


@pytest.mark.parametrize("rows", [3, BLOCK + 3])
def test_a_baseline_on_many_rows(rows):
    references = corpus(rows)
    system = corrupted(references, 0.2)
    result = score_rows(
        [make("f1")], examples(system, references), baselines={"other": examples(references)}, resamples=50
    )
    assert result.scores[0].baseline.score == 1
    assert result.rows == rows


@pytest.mark.parametrize(
    ("option", "value"), [("confidence", 95), ("confidence", 0), ("seed", -1), ("resamples", 0)]
)
def test_bad_options(option, value):
    with pytest.raises(OptionError) as caught:
        score_rows([make("f1")], examples(["a"], ["a"]), **{option: value})
    assert caught.value.option == option
    assert str(value) in caught.value.reason


def test_no_rows():
    with pytest.raises(InputError, match="there is nothing to score: the input has no rows"):
        score_rows([make("f1")], [])


def test_lists_of_different_lengths():
    with pytest.raises(InputError, match="there are 2 predictions and 1 references"):
        examples(["a", "b"], ["a"])


def test_perplexity_is_not_for_predictions():
    with pytest.raises(InputError, match="perplexity runs a model"):
        make("perplexity")
