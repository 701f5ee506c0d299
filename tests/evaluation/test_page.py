"""The page of `--report`: it stands alone, shows the right rows, and lets no text become markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from llmkit.evaluation import Example, examples, make, score_rows
from llmkit.evaluation.page import SAMPLED, SHOWN, PlottedRows, as_page, marked
from llmkit.evaluation.registry import declaration_of
from llmkit.evaluation.results import Record

VOID = {"meta"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and holds that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def make_page(name, rows, baseline=None, **options):
    metric = make(name)
    kept = PlottedRows(lower_is_better=metric.lower_is_better)
    options["baselines"] = {"old.jsonl": baseline} if baseline else None
    evaluation = score_rows([metric], rows, resamples=20, on_record=kept.add, **options)
    return kept, as_page(evaluation, kept, source="test", baseline="old.jsonl" if baseline else None)


def test_each_scale_has_a_plot_of_its_own():
    metrics = [make("bleu"), make("ter"), make("f1")]
    kept = PlottedRows()
    rows = examples(["a b c d", "a b x d"], ["a b c d"] * 2)
    evaluation = score_rows(metrics, rows, resamples=20, on_record=kept.add)
    page = as_page(evaluation, kept, source="test")
    captions = [text for text in read(page).text if "95% interval" in text and text != "95% interval"]
    assert captions == ["bleu, ter with their 95% intervals", "f1 with its 95% intervals"]


def test_a_row_shows_what_it_was_made_from():
    row = Example("Hallo", ["Guten Tag"], {"source": "Hello", "prediction": "Hallo", "id": "7"}, "f:1", False)
    _, page = make_page("f1", [row])
    labels = [
        text for text in read(page).text if text in ("source", "Hello", "Prediction", "prediction", "id")
    ]
    assert labels == ["source", "Hello", "Prediction"]


def test_best_and_worst_rows():
    predictions = [" ".join(["b"] * n + ["x"] * (30 - n)) for n in range(30)]
    kept, page = make_page("f1", examples(predictions, ["b " * 30] * 30))
    assert [one.row.where for one in kept.best()] == [f"row {n}" for n in range(30, 30 - SHOWN, -1)]
    assert [one.row.where for one in kept.worst()] == [f"row {n + 1}" for n in range(SHOWN)]
    text = "".join(read(page).text)
    assert text.index("Worst rows by f1") < text.index("row 1") < text.index("Best rows by f1")


def test_few_rows_are_shown_once():
    _, page = make_page("f1", examples(["a", "b"], ["a", "c"]))
    text = "".join(read(page).text)
    assert text.count("row 1") == text.count("row 2") == 1
    assert "All rows by f1" in text


def test_the_rows_that_moved_most():
    rows = examples(["c b", "c b", "x"], ["c b"] * 3)
    kept, page = make_page("f1", rows, examples(["c b", "x y", "c"], ["c b"] * 3))
    assert [one.row.where for one in kept.moved()] == ["row 2", "row 3"]
    text = "".join(read(page).text)
    assert "against old.jsonl" in text
    assert "Rows that differ most from the baseline" in text
    assert "x y" in text


def test_a_text_is_never_markup():
    evil = '<script>alert(1)</script><img src=x onerror="alert(2)">&amp;'
    rows = examples([evil, "b"], [evil + "!", evil], group=[evil, "b"])
    _, page = make_page("f1", rows, by="group")
    found = read(page)
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert evil.split("!")[0] in "".join(found.text)


def test_nothing_is_fetched():
    _, page = make_page("rouge", examples(["a b", "c"], ["a", "c d"]))
    found = read(page)
    assert not [value for name, value in found.attributes if name in {"src", "href"}]
    assert "http" not in page.replace("http-equiv", "")
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes


@pytest.mark.parametrize(
    ("prediction", "reference", "ours", "theirs"),
    [
        ("the cat sat", "the dog sat", "the <ins>cat</ins> sat", "the <del>dog</del> sat"),
        ("same", "same", "same", "same"),
        ("", "a", "", "<del>a</del>"),
        ("a<b", "a>b", "a<ins>&lt;</ins>b", "a<del>&gt;</del>b"),
    ],
)
def test_differences_are_marked(prediction, reference, ours, theirs):
    assert marked(prediction, reference) == (ours, theirs)


@pytest.mark.parametrize(
    ("name", "lower"),
    [("ter", True), ("perplexity", True), ("repetition", True), ("bleu", False), ("rouge", False)],
)
def test_direction(name, lower):
    assert declaration_of(name).lower_is_better is lower


def test_the_best_row_has_the_lowest_error():
    kept, _ = make_page("ter", examples(["a b", "x y"], ["a b", "a b"]))
    assert kept.best()[0].row.where == "row 1"


def test_memory_does_not_grow_with_the_rows():
    kept = PlottedRows()
    (row,) = examples(["a"], ["a"])
    for n in range(SAMPLED + 500):
        kept.add(Record(row, {"f1": float(n)}))
    assert len(kept.scores["f1"]) == SAMPLED
    assert max(kept.scores["f1"]) >= SAMPLED  # later rows are in the sample too
    assert [one.scores["f1"] for one in kept.best()] == [SAMPLED + 499.0 - n for n in range(SHOWN)]


def test_a_score_that_is_no_number_is_left_out():
    rows = examples(["", "a b"], ["", "a b"])
    kept, page = make_page("bleu", rows)
    read(page)
    assert kept.count == 2
