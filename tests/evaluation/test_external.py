"""Modules of `evaluate` that others wrote."""

from __future__ import annotations

import pytest

from llmkit.errors import InputError, RowError
from llmkit.evaluation import examples
from llmkit.evaluation.external import Module, is_module
from tests.command import assert_refused, run

MODULE = '''
"""A metric of the tests."""
import datasets
import evaluate


class Lengths(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features={features}
        )

    def _compute(self, predictions, references):
        if "boom" in predictions:
            raise RuntimeError("boom\\nin two lines")
        kept = {{"same": sum(p == r for p, r in zip(predictions, references)), "rows": len(predictions)}}
        return {{**kept, "all": [1, 2], "note": "text", "nothing": float("nan")}}
'''
ONE = "datasets.Features({'predictions': datasets.Value('string'), 'references': datasets.Value('string')})"
MANY = (
    "datasets.Features({'predictions': datasets.Value('string'),"
    " 'references': datasets.Sequence(datasets.Value('string'))})"
)


@pytest.fixture
def module(tmp_path, evaluate_folder):
    def write(features, name="lengths"):
        path = tmp_path / f"{name}.py"
        path.write_text(MODULE.format(features=features), encoding="utf-8")
        return str(path)

    return write


def loaded(path, rows):
    found = Module(path, rows, trusted=False)
    for row in rows:
        found.add(row)
    return found


def test_numbers_of_a_module(module):
    rows = examples(["a", "b"], ["a", "c"])
    path = module(ONE, "one")
    found = loaded(path, rows).scores()
    assert [(one.name, one.score, one.low, one.rows) for one in found] == [
        ("same", 1, None, 2),
        ("rows", 2, None, 2),
    ]
    assert found[0].signature.startswith(f"module:{path}|version:evaluate-")


def test_a_module_that_takes_lists(module):
    found = loaded(module(MANY, "many"), examples(["a", "b"], [["a"], ["c", "d"]])).scores()
    assert [one.score for one in found] == [0, 2]


def test_a_row_that_it_does_not_take(module):
    rows = examples(["a", "b"], [["a"], ["c", "d"]])
    one = Module(module(ONE, "strict"), rows[:1], trusted=False)
    one.add(rows[0])
    with pytest.raises(RowError, match="row 2: 2 references"):
        one.add(rows[1])


def test_a_module_that_fails(module):
    with pytest.raises(InputError, match=r"failing\.py failed: boom in two lines"):
        loaded(module(ONE, "failing"), examples(["boom"], ["a"])).scores()


def test_a_module_that_is_not_there(evaluate_folder):
    with pytest.raises(InputError, match=r"\./nothing\.py: no such file"):
        Module("./nothing.py", [], trusted=False)


def test_code_from_the_hub_must_be_trusted():
    with pytest.raises(InputError, match=r"evaluate:bertscore .*trust_remote_code=True"):
        Module("evaluate:bertscore", [], trusted=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bleu", False), ("evaluate:bleu", True), ("./bleu", True), ("bleu.py", True), ("chrf++", False)],
)
def test_names_of_modules(name, expected):
    assert is_module(name) is expected


def test_from_the_command_line(module, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prediction": "x y", "reference": "x z", "n": 1}\n', encoding="utf-8")
    path = module(ONE, "command")
    assert (
        run("eval", "--metric", f"f1,{path}", tmp_path / "p.jsonl", "--bare").out
        == "0.5000\n0.0000\n1.0000\n"
    )
    assert_refused(run("eval", "--metric", path, tmp_path / "p.jsonl", "--by", "n"), path, option="by")
