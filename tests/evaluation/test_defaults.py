"""What is chosen where the user did not choose."""

from __future__ import annotations

import pytest

from llmkit.errors import InputError
from llmkit.evaluation import examples
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
    (metric,), told = configure(["rouge"], {}, rows)
    assert f"|tok:{words}|sents:auto|" in metric.signature
    assert len(told) == notes


def test_what_the_user_chose_stands():
    given = {"rouge_words": "default", "rouge_split": "newline", "stemmer": True, "tokenize": "13a"}
    (rouge, bleu), told = configure(["rouge", "bleu"], given, CHINESE)
    assert "|stem:porter|tok:default|sents:newline|" in rouge.signature
    assert "|tok:13a|" in bleu.signature
    assert told == []


def test_an_option_reaches_every_metric_that_has_it():
    metrics, _ = configure(["bleu", "chrf", "chrf++"], {"lowercase": True}, ENGLISH)
    assert all("case:lc" in metric.signature for metric in metrics)


def test_a_tokenizer_that_is_downloaded_says_so(monkeypatch):
    monkeypatch.setattr("llmkit.evaluation.defaults.make", lambda name, **options: name)
    _, told = configure(["bleu"], {"tokenize": "flores200"}, ENGLISH)
    assert told == ["BLEU's tokenizer flores200 is downloaded once, to ~/.sacrebleu"]


@pytest.mark.parametrize(
    ("names", "options", "language", "message"),
    [
        (["f1"], {"smooth": "none"}, None, "--smooth is about bleu: name it with --metric"),
        (["f1"], {"no_answer_threshold": 0.5}, None, "--no-answer-threshold is about squad_v2"),
        (["rouge"], {}, "zh", "--to chooses BLEU's tokenizer"),
    ],
)
def test_an_option_that_no_metric_has(names, options, language, message):
    with pytest.raises(InputError) as caught:
        configure(names, options, ENGLISH, language=language)
    assert message in str(caught.value)
