"""BERTScore with a tiny encoder of our own, where its package is installed."""

from __future__ import annotations

import json

import pytest

from llmkit.errors import OptionError
from llmkit.evaluation import examples, make, score_rows
from tests.command import assert_refused, run

ROWS = [
    ("The cat sat.", ["The cat lay.", "A dog ran."]),
    ("春天来了。", ["春天来了，花都开了。"]),
    ("One day", ["One day"]),
]


def test_equal_to_its_definition(tiny_model):
    """Greedy matching of the layer's unit vectors (the paper's equations 1 and 2), by a plain loop."""
    pytest.importorskip("bert_score")
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(tiny_model("bert"))
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vectors(text):
        with torch.no_grad():
            states = encoder(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        return torch.nn.functional.normalize(states.hidden_states[1][0], dim=-1)

    def best(prediction, references):
        found = []
        for reference in references:
            alike = vectors(prediction) @ vectors(reference).T
            p, r = alike.max(1).values.mean().item(), alike.max(0).values.mean().item()
            found.append((p, r, 2 * p * r / (p + r)))
        return [max(column) for column in zip(*found, strict=True)]

    rows = examples([one for one, _ in ROWS], [right for _, right in ROWS])
    seen = []
    score_rows([make("bertscore", model=folder, layer=1)], rows, resamples=5, on_record=seen.append)
    for one, (prediction, references) in zip(seen, ROWS, strict=True):
        assert list(one.scores.values()) == pytest.approx(best(prediction, references), abs=1e-5)


def test_with_a_baseline(tiny_model, tmp_path):
    pytest.importorskip("bert_score")
    for name, shift in (("a", 0), ("b", 1)):
        lines = [
            json.dumps({"prediction": ROWS[(n + shift) % 3][0], "references": right})
            for n, (_, right) in enumerate(ROWS)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    model = ["--bertscore-model", tiny_model("bert"), "--bertscore-layer", 1]
    files = [tmp_path / "a.jsonl", "--baseline", tmp_path / "b.jsonl"]
    found = run("eval", "--metric", "bertscore", *files, *model, "--json")
    assert found.code == 0, found.err
    scores = {one["name"]: one for one in json.loads(found.out)["scores"]}
    assert scores["bertscore_f1"]["baseline"]["difference"] > 0
    assert "layer:1|idf:no" in scores["bertscore_f1"]["signature"]


def test_what_is_missing(tiny_model):
    pytest.importorskip("bert_score")
    folder = str(tiny_model("bert"))
    for option, options in [
        ("bertscore_model", {}),
        ("bertscore_layer", {"model": folder}),
        ("bertscore_model", {"model": folder, "layer": 9}),
    ]:
        with pytest.raises(OptionError) as caught:
            make("bertscore", **options)
        assert caught.value.option == option


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "bert_score", None)
    (tmp_path / "a.jsonl").write_text('{"prediction": "a", "reference": "a"}')
    assert_refused(
        run("eval", "--metric", "bertscore", tmp_path / "a.jsonl"), "pip install 'llmkit[bertscore]'"
    )
