"""What a person and a program read of an evaluation."""

from __future__ import annotations

import json
import math

import numpy as np

from llmkit.evaluation import Comparison, Evaluation, Score, score
from llmkit.evaluation.metrics.diversity import distinct
from llmkit.evaluation.report import as_bare, as_json, as_table
from llmkit.evaluation.resampling import p_value

BLEU = Score("bleu", 27.123456, 25.0, 29.25, 3000, "bleu", "nrefs:1|tok:13a", 100)
ROUGE = Score("rougeL", 0.40524, None, None, 1, "rouge", "nrefs:1|stem:porter", 1)
BETTER = Comparison("old", 26.0, 1.123456, -0.5, 2.75, 0.0419, 0.0399)


def evaluation(*scores, by=None):
    return Evaluation(3000, list(scores), 0.95, 1000, 7, by)


def test_table():
    lines = as_table(evaluation(BLEU, ROUGE)).splitlines()
    assert lines[:3] == [
        "metric   score    95% interval  rows",
        "bleu     27.12  25.00 to 29.25  3000",
        "rougeL  0.4052                     1",
    ]
    assert lines[4:6] == ["bleu: nrefs:1|tok:13a", "rouge: nrefs:1|stem:porter"]
    assert len(lines) == 6
    drawn = Score(**{**vars(BLEU), "interval": "bootstrap"})
    assert "|seed:7|" in as_table(evaluation(drawn, ROUGE)).splitlines()[-1]


def test_table_with_a_baseline():
    compared = Score(**{**vars(BLEU), "baselines": (BETTER,)})
    lines = as_table(evaluation(compared)).splitlines()
    assert lines[1].split()[:6] == ["bleu", "27.12", "25.00", "to", "29.25", lines[1].split()[5]]
    title, over, head, row = lines[3:7]
    assert title == f"against {BETTER.name}:"
    assert [*over.split(), *head.split()[-3:]] == [
        *("95%", "p", "by", "p", "by"),
        *("interval", "bootstrap", "randomization"),
    ]
    assert row.split()[1:] == ["26.00", "+1.12", "-0.50", "to", "+2.75", "0.0419", "0.0399"]


def test_table_of_groups():
    grouped = Score(**{**vars(BLEU), "group": "de", "rows": 12})
    lines = as_table(evaluation(BLEU, grouped, by="lang")).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["lang", "(all)", "de"]
    assert lines[4:] == [lines[4]]  # one signature serves all groups


def test_json_holds_everything_and_is_json():
    infinite = Score("word_perplexity", math.inf, 1.0, math.inf, 2, "perplexity", "m", None)
    found = as_json(evaluation(BLEU, infinite))
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["scores"][0] == {
        "name": "bleu",
        "score": 27.123456,
        "low": 25.0,
        "high": 29.25,
        "rows": 3000,
        "metric": "bleu",
        "signature": "nrefs:1|tok:13a",
        "scale": 100,
        "interval": None,
        "details": {},
    }
    assert (found["scores"][1]["score"], found["scores"][1]["high"]) == (None, None)
    assert {key: found[key] for key in ("rows", "confidence", "resamples", "seed")} == {
        "rows": 3000,
        "confidence": 0.95,
        "resamples": 1000,
        "seed": 7,
    }


def test_a_baseline_without_a_score():
    """Its texts are too short for pairs of words; of an infinite difference there is no p-value."""
    long, short = ["a b c", "a c b", "b c a"], ["a", "b", "c"]
    found = score(long, metrics=[distinct(orders=[2])], baselines={"short": short, "long": long})
    table = as_table(found).splitlines()
    assert table[table.index("against short:") + 3] == "distinct_2"
    first, second = json.loads(json.dumps(as_json(found), allow_nan=False))["scores"][0]["baselines"]
    assert {value for key, value in first.items() if key != "name"} == {None}
    assert (second["difference"], second["p_randomization"]) == (0, 1)
    assert math.isnan(p_value(np.array([math.inf, math.nan]), math.inf, 100))


def test_bare_numbers_over_all_rows():
    grouped = Score(**{**vars(BLEU), "group": "de"})
    assert as_bare(evaluation(BLEU, ROUGE, grouped)) == "27.1235\n0.4052"
