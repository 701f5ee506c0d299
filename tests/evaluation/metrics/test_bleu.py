"""BLEU, chrF and TER: sacrebleu's own numbers, published numbers, and numbers worked by hand."""

from __future__ import annotations

import math

import pytest

from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation import Example, examples, make, score_rows
from llmkit.evaluation.metrics.bleu import tokenizer_for

HYPOTHESES = [
    "The cat sat on the mat .",
    "He went home, didn't he?",
    "A totally different sentence; nothing in common!",
    'Price: $3,000.50 (about 10% more) -- "too much", they said.',
    "",
    "short",
]
REFERENCES = [
    ["The cat is sitting on the mat.", "There is a cat on the mat."],
    ["He went home, did he not?", "He has gone home, hasn't he?"],
    ["Completely unrelated words were written here.", "An entirely different phrase; nothing shared!"],
    ['The price is $3,000.50 (some 10% more): "too much", they said.', "It costs $3,000.50, they said."],
    ["This line got no translation.", "Nothing was said."],
    ["Short.", "short"],
]
SETTINGS = [
    ("bleu", {}, {}),
    ("bleu", {"tokenize": "intl"}, {"tokenize": "intl"}),
    ("bleu", {"tokenize": "none"}, {"tokenize": "none"}),
    ("bleu", {"tokenize": "char"}, {"tokenize": "char"}),
    ("bleu", {"tokenize": "zh"}, {"tokenize": "zh"}),
    ("bleu", {"lowercase": True}, {"lowercase": True}),
    ("bleu", {"smooth": "none"}, {"smooth_method": "none"}),
    (
        "bleu",
        {"smooth": "floor", "smooth_value": 0.01},
        {"smooth_method": "floor", "smooth_value": 0.01},
    ),
    ("bleu", {"smooth": "add-k"}, {"smooth_method": "add-k"}),
    ("bleu", {"max_ngram_order": 2}, {"max_ngram_order": 2}),
    ("bleu", {"effective_order": True}, {"effective_order": True}),
    ("chrf", {}, {}),
    ("chrf++", {}, {"word_order": 2}),
    ("chrf", {"beta": 1, "char_order": 4}, {"beta": 1, "char_order": 4}),
    ("chrf", {"lowercase": True, "whitespace": True}, {"lowercase": True, "whitespace": True}),
    ("chrf", {"eps_smoothing": True}, {"eps_smoothing": True}),
    ("ter", {}, {}),
    ("ter", {"normalized": True, "no_punct": True}, {"normalized": True, "no_punct": True}),
    ("ter", {"case_sensitive": True}, {"case_sensitive": True}),
]


def one(metric, rows, **options):
    """The only score over all rows."""
    (result,) = score_rows([metric], rows, resamples=20, **options).scores
    return result


@pytest.mark.parametrize(("name", "ours", "theirs"), SETTINGS)
@pytest.mark.parametrize("references", [1, 2])
def test_equal_to_sacrebleu(name, ours, theirs, references):
    import sacrebleu.metrics

    scorer = getattr(sacrebleu.metrics, {"bleu": "BLEU", "ter": "TER"}.get(name, "CHRF"))(**theirs)
    columns = [[row[i] for row in REFERENCES] for i in range(references)]
    expected = scorer.corpus_score(HYPOTHESES, columns)
    found = one(make(name, **ours), examples(HYPOTHESES, [row[:references] for row in REFERENCES]))
    assert found.score == pytest.approx(expected.score, abs=1e-9)
    assert found.signature == scorer.get_signature().format()


def test_nmt_bleu_published(data_folder):
    folder = data_folder / "metrics/nmt_bleu"
    hypotheses = (folder / "deen_output").read_text(encoding="utf-8").splitlines()
    references = (folder / "deen_ref_bpe").read_text(encoding="utf-8").replace("@@ ", "").splitlines()
    found = one(make("bleu", tokenize="none", smooth="none"), examples(hypotheses, references))
    assert round(found.score, 4) == 22.5847
    assert found.low < found.score < found.high
    assert found.details["brevity_penalty"] == pytest.approx(math.exp(1 - 64807 / 63211))


def test_chinese_by_hand():
    # Four characters, all of them the reference's first four of seven: precisions 1, the penalty e^(1-7/4).
    found = one(make("bleu", tokenize="zh"), examples(["我爱北京"], ["我爱北京天安门"]))
    assert found.score == pytest.approx(100 * math.exp(-0.75), abs=1e-9)
    # One word against another: without a Chinese tokenizer there is nothing in common.
    assert one(make("bleu"), examples(["我爱北京"], ["我爱北京天安门"])).score == 0


def test_mixed_script_by_hand():
    # 我 用 Python 写 诗 歌 against 我 用 Python 写 代 码: 4/6, 3/5, 2/4, 1/3 n-grams, equal lengths.
    found = one(make("bleu", tokenize="zh"), examples(["我用Python写诗歌"], ["我用Python写代码"]))
    assert found.score == pytest.approx(100 * (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25, abs=1e-9)


def test_japanese_by_hand():
    # Characters: 5/5; 東京 は高 高い of 4; は高い of 3; none of 2, smoothed to 1/(2*2). Penalty e^(1-8/5).
    found = one(make("bleu", tokenize="char"), examples(["東京は高い"], ["東京タワーは高い"]))
    by_hand = 100 * math.exp(1 - 8 / 5) * (1 * 3 / 4 * 1 / 3 * 1 / 4) ** 0.25
    assert found.score == pytest.approx(by_hand, abs=1e-9)


def test_ter_by_hand():
    # One word of six is missing: one edit; the brackets of a second row move one word: one shift of four.
    rows = examples(["the cat sat on mat", "b c d a"], ["the cat sat on the mat", "a b c d"])
    found = one(make("ter"), rows)
    assert found.score == pytest.approx(100 * 2 / 10)
    assert found.details == {"edits": 2, "reference_length": 10}


def test_a_row_alone_has_effective_order():
    seen = []
    rows = examples(["short", "the very same"], ["short", "the very same"])
    score_rows([make("bleu")], rows, resamples=2, on_record=lambda one: seen.append(one.scores["bleu"]))
    assert seen == pytest.approx([100.0, 100.0])


def test_references_may_vary_in_number():
    found = one(make("chrf"), examples(["a cat", "a dog"], [["a cat", "one cat"], ["a dog"]]))
    assert found.score == pytest.approx(100)
    assert found.signature.startswith("nrefs:var|")


@pytest.mark.parametrize(
    ("option", "value", "allowed"), [("tokenize", "13b", "13a"), ("smooth", "exponential", "floor")]
)
def test_bad_options(option, value, allowed):
    with pytest.raises(OptionError) as caught:
        make("bleu", **{option: value})
    assert caught.value.option == option
    assert value in caught.value.reason
    assert allowed in caught.value.reason


@pytest.mark.parametrize(("name", "near"), [("blue", "bleu"), ("chrff", "chrf")])
def test_a_name_mistyped(name, near):
    with pytest.raises(InputError, match=rf"{name}.*{near}\?"):
        make(name)


def test_empty_references_and_wrong_kinds_are_row_errors():
    bad = [
        (Example("a", [], where="x.jsonl:3"), "x.jsonl:3: the list of references is empty"),
        (Example(None, ["a"], where="x.jsonl:4"), "x.jsonl:4: the prediction is null"),
        (Example(["a"], ["a"], where="x.jsonl:5"), "x.jsonl:5: the prediction is list, not a text"),
        (Example("a", [math.nan], where="x.jsonl:6"), "x.jsonl:6: the reference is nan, which is not a text"),
    ]
    for row, message in bad:
        with pytest.raises(RowError) as caught:
            score_rows([make("bleu")], [row])
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("language", "references", "tokenizer"),
    [
        ("de", [], "13a"),
        ("zh", [], "zh"),
        ("zh-Hant", [], "zh"),
        ("zho_Hans", [], "zh"),
        ("cmn", [], "zh"),
        ("Chinese", [], "zh"),
        ("th", [], "char"),
        (None, ["This is English, with 北京 in it."], "13a"),
        (None, ["我们用 Python 写代码。"], "zh"),
        (None, ["สวัสดีครับ"], "char"),
        (None, [], "13a"),
    ],
)
def test_tokenizer_follows_from_the_language(language, references, tokenizer):
    assert tokenizer_for(language, references)[0] == tokenizer


def test_japanese_tokenizer_says_what_it_needs(monkeypatch):
    monkeypatch.setattr("llmkit.evaluation.metrics.bleu._importable", lambda module: False)
    tokenizer, reason = tokenizer_for(None, ["これは日本語の文です。"])
    assert tokenizer == "char"
    assert "pip install 'llmkit[ja]'" in reason
    with pytest.raises(OptionError, match=r"ja-mecab.*pip install") as caught:
        make("bleu", tokenize="ja-mecab")
    assert caught.value.option == "tokenize"
