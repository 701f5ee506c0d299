"""What is chosen where the user did not choose."""

from __future__ import annotations

import pytest

from llmkit.errors import OptionError
from llmkit.evaluation import examples, score_rows
from llmkit.evaluation.defaults import configure

ENGLISH = examples(["a cat"], ["the cat sat."])
CHINESE = examples(["我爱北京"], ["我爱北京天安门"])
CZECH = examples(["kůň"], ["Příliš žluťoučký kůň úpěl ďábelské ódy"])
GERMAN = examples(["Grüße"], ["Schöne Grüße aus Köln sendet dir deine ganze Familie"])


@pytest.mark.parametrize(
    ("rows", "words", "notes"),
    [(ENGLISH, "default", 0), (GERMAN, "default", 0), (CZECH, "unicode", 1), (CHINESE, "unicode", 1)],
)
def test_rouge_keeps_scripts_that_its_own_words_would_drop(rows, words, notes):
    (metric,), notes_found = configure(["rouge"], {}, rows)
    assert f"|tok:{words}|sents:auto|" in metric.signature
    assert len(notes_found) == notes


def test_what_the_user_chose_stands():
    given = {"rouge_words": "default", "rouge_split": "newline", "stemmer": True, "tokenize": "13a"}
    (rouge, bleu), notes = configure(["rouge", "bleu"], given, CHINESE)
    assert "|stem:porter|tok:default|sents:newline|" in rouge.signature
    assert "|tok:13a|" in bleu.signature
    assert notes == []


def test_an_option_reaches_every_metric_that_has_it():
    metrics, _ = configure(["bleu", "chrf", "chrf++"], {"lowercase": True}, ENGLISH)
    assert all("case:lc" in metric.signature for metric in metrics)


def test_a_tokenizer_that_is_downloaded_says_so(monkeypatch):
    monkeypatch.setattr("llmkit.evaluation.defaults.make", lambda name, **options: name)
    _, (note,) = configure(["bleu"], {"tokenize": "flores200"}, ENGLISH)
    assert "flores200" in note


@pytest.mark.parametrize(
    ("names", "options", "language", "option", "owner"),
    [
        (["f1"], {"smooth": "none"}, None, "smooth", "bleu"),
        (["f1"], {"no_answer_threshold": 0.5}, None, "no_answer_threshold", "squad_v2"),
        (["rouge"], {}, "zh", "language", "bleu"),
        (["rouge"], {"stemer": True}, None, "stemer", "no metric"),
    ],
)
def test_an_option_that_no_metric_has(names, options, language, option, owner):
    with pytest.raises(OptionError) as caught:
        configure(names, options, ENGLISH, language=language)
    assert caught.value.option == option
    assert owner in caught.value.reason


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [("天安门广场", "天安门"), ("東京タワーです", "東京タワー"), ("สวัสดีครับ", "สวัสดี")],
)
def test_answers_without_spaces_are_compared_by_characters(prediction, reference):
    rows = examples([prediction], [reference])
    metrics, notes = configure(["f1", "squad", "squad_v2", "exact_match"], {}, rows)
    assert len(notes) == 1
    found = {one.name: one.score for one in score_rows(metrics, rows, resamples=2).scores}
    assert 0.5 < found["f1"] < 1
    assert found["squad_f1"] == found["squad_v2_f1"] == pytest.approx(100 * found["f1"])
    assert ["|tok:unicode|" in metric.signature for metric in metrics] == [True, True, True, False]
    chosen, notes = configure(["f1"], {"answer_words": "squad"}, rows)
    assert notes == []
    assert score_rows(chosen, rows, resamples=2)["f1"].score == 0
    exact, notes = configure(["exact_match"], {"normalize": True}, examples(["北京。"], ["北京"]))
    assert len(notes) == 1
    assert score_rows(exact, examples(["北京。"], ["北京"]), resamples=2)["exact_match"].score == 1
