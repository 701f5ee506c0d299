"""ROUGE: rouge_score's numbers, the Perl script's published ones, and numbers worked by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from llmkit.errors import InputError
from llmkit.evaluation import examples, make, score_rows
from llmkit.evaluation.metrics.rouge import TYPES, score


def texts(count: int) -> list[str]:
    """Texts of several lines over few words, so that ties between subsequences are common."""
    generator = random.Random(7)
    words = ["running", "runs", "ran", "a", "flies", "x1", "Café", "B_c", "don't", "y.", "y", "z"]
    return [
        "\n".join(
            " ".join(generator.choice(words) for _ in range(generator.randrange(12)))
            for _ in range(generator.randrange(5))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("stemmer", [False, True])
def test_equal_to_rouge_score(stemmer):
    from rouge_score.rouge_scorer import RougeScorer

    types = [*TYPES, "rouge3"]
    theirs = RougeScorer(types, use_stemmer=stemmer)
    for reference, prediction in zip(texts(300), reversed(texts(300)), strict=True):
        ours = score(reference, prediction, types=types, stemmer=stemmer)
        for kind, expected in theirs.score(reference, prediction).items():
            found = ours[kind]
            assert (found.precision, found.recall, found.fmeasure) == pytest.approx(tuple(expected), abs=1e-9)


def test_several_references_equal_to_rouge_score():
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(list(TYPES))
    predictions, *references = (texts(160)[i::4] for i in range(4))
    groups = [list(group) for group in zip(*references, strict=True)]
    found = score_rows([make("rouge")], examples(predictions, groups), resamples=2).scores
    expected = [theirs.score_multi(group, text) for group, text in zip(groups, predictions, strict=True)]
    for one in found:
        mean = sum(row[one.name].fmeasure for row in expected) / len(expected)
        recall = sum(row[one.name].recall for row in expected) / len(expected)
        assert one.score == pytest.approx(mean, abs=1e-9)
        assert one.details["recall"] == pytest.approx(recall, abs=1e-9)


@pytest.fixture
def perl(data_folder) -> Path:
    return data_folder / "metrics/rouge_score"


def test_perl_pairs(perl):
    targets = (perl / "target.txt").read_text(encoding="utf-8").splitlines()
    predictions = (perl / "prediction.txt").read_text(encoding="utf-8").splitlines()
    first = score(targets[0], predictions[0])
    unigrams = first["rouge1"]
    assert (unigrams.fmeasure, unigrams.precision, unigrams.recall) == pytest.approx(
        (0.51163, 0.68750, 0.40741), abs=1e-5
    )
    assert first["rouge2"].fmeasure == pytest.approx(0.39024, abs=1e-5)
    assert first["rougeL"].fmeasure == pytest.approx(0.51163, abs=1e-5)
    second = score(targets[1], predictions[1])
    assert second["rouge1"].fmeasure == pytest.approx(0.50000, abs=1e-5)
    assert second["rouge2"].fmeasure == pytest.approx(0.36364, abs=1e-5)
    assert second["rougeL"].fmeasure == pytest.approx(0.50000, abs=1e-5)
    stemmed = score(targets[1], predictions[1], stemmer=True)
    assert stemmed["rouge1"].fmeasure == pytest.approx(0.52941, abs=1e-5)


def test_perl_several_sentences(perl):
    target = (perl / "target_multi.0.txt").read_text(encoding="utf-8")
    prediction = (perl / "prediction_multi.0.txt").read_text(encoding="utf-8")
    found = score(target, prediction, stemmer=True)["rougeLsum"]
    assert (found.fmeasure, found.precision, found.recall) == pytest.approx(
        (0.47205, 0.66667, 0.36538), abs=1e-5
    )


@pytest.mark.parametrize(
    ("stemmer", "name", "published"),
    [(False, "rouge1", 0.38554), (True, "rouge1", 0.40524), (True, "rougeL", 0.40275)],
)
def test_perl_large(perl, stemmer, name, published):
    rows = examples(
        (perl / "prediction_large.txt").read_text(encoding="utf-8").splitlines(),
        (perl / "target_large.txt").read_text(encoding="utf-8").splitlines(),
    )
    (found,) = score_rows([make("rouge", types=[name], stemmer=stemmer)], rows, resamples=50).scores
    assert found.score == pytest.approx(published, abs=0.002)
    assert found.low < found.score < found.high


@pytest.mark.parametrize(
    ("reference", "prediction", "rouge1", "rouge2", "rouge_l"),
    [
        # 我 爱 of 4 and 7 characters; 我爱 of 3 and 6 pairs
        ("我爱北京天安门", "我爱上海", 4 / 11, 2 / 9, 4 / 11),
        # 5 of 5 and 8; 東京 は高 高い of 4 and 7
        ("東京タワーは高い", "東京は高い", 10 / 13, 6 / 11, 10 / 13),
        # 我 用 gpt4 写 of 5 and 6 words; three pairs of 4 and 5
        ("我用 GPT4 写代码", "我用GPT4写诗", 8 / 11, 6 / 9, 8 / 11),
        # two of three words, in the other order
        ("Привет, новый мир!", "мир новый", 4 / 5, 0, 2 / 5),
        ("مرحبا بالعالم", "مرحبا", 2 / 3, 0, 2 / 3),
        # ส วั ส ดี against ส วั: characters with their marks
        ("สวัสดี", "สวั", 4 / 6, 2 / 4, 4 / 6),
    ],
)
def test_other_scripts_by_hand(reference, prediction, rouge1, rouge2, rouge_l):
    found = score(reference, prediction, tokenize="unicode")
    scores = [found[kind].fmeasure for kind in ("rouge1", "rouge2", "rougeL")]
    assert scores == pytest.approx([rouge1, rouge2, rouge_l], abs=1e-9)


def test_the_default_words_drop_other_scripts():
    assert score("我爱北京", "我爱北京")["rouge1"].fmeasure == 0


def test_unicode_words_change_nothing_in_ascii_text():
    for reference, prediction in zip(texts(40), reversed(texts(40)), strict=True):
        one, two = reference.replace("é", "e"), prediction.replace("é", "e")
        assert score(one, two, tokenize="unicode", stemmer=True) == score(one, two, stemmer=True)


def test_summary_level_by_hand():
    # The example of Lin 2004, section 3.2: w1..w5 against "w1 w2 w6 w7 w8" and "w1 w3 w8 w9 w5": the union
    # is w1 w2 w3 w5, 4 of 5 words; the candidate has 10.
    reference, prediction = "w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"
    found = score(reference, prediction)["rougeLsum"]
    assert (found.recall, found.precision) == (4 / 5, 4 / 10)


def test_sentences_are_split_when_asked():
    reference = "The dog ran home. A cat slept."
    prediction = "A cat slept. The dog ran home."
    newline = score(reference, prediction)
    assert newline["rougeLsum"] == newline["rougeL"]
    assert newline["rougeL"].fmeasure < 1
    assert score(reference, prediction, split="auto")["rougeLsum"].fmeasure == 1
    # With line breaks in it, a text is already split.
    lines = reference.replace(". ", ".\n")
    assert score(lines, lines, split="auto") == score(lines, lines, split="newline")


def test_nothing_to_compare_scores_nothing():
    for reference, prediction in [("", ""), ("a", ""), ("", "a"), ("...", "a"), ("\n\n", "a\n")]:
        assert {overlap.fmeasure for overlap in score(reference, prediction).values()} == {0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": ["rouge0"]}, "no such ROUGE type: 'rouge0'"),
        ({"types": ["rougeW"]}, "no such ROUGE type: 'rougeW'"),
        ({"tokenize": "zh"}, "`rouge_words`"),
        ({"split": "lines"}, "`rouge_split`"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError) as caught:
        make("rouge", **options)
    assert message in str(caught.value)
