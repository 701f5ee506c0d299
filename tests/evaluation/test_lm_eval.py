"""The same perplexity as EleutherAI's harness, where it is installed."""

from __future__ import annotations

import json

import pytest

from llmkit.evaluation import score_rows
from llmkit.evaluation.likelihood.perplexity import measure, perplexity
from llmkit.evaluation.likelihood.windowing import windowing
from llmkit.records.read import rows_of
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from tests.command import assert_refused, run

TEXTS = [
    "Once upon a time there was a little dog. The dog lived in a big house by the sea, and every day he ran "
    "to the beach to look at the waves. One day he found a shell. “What is this?” he asked.",
    "The cat sat on the mat and looked at the moon.",
]


@pytest.mark.parametrize("window", [16, 64])
def test_same_windows_same_numbers(window):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity
    from lm_eval.models.huggingface import HFLM

    loaded = load(ModelSpec(name="stories", dtype="float32", device="cpu"))
    # The harness puts a beginning token before a text by itself; without this the tokenizer adds a second.
    theirs = HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        max_length=window,
        batch_size=2,
        add_bos_token=False,
        backend="causal",
    )
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=i)
        for i, text in enumerate(TEXTS)
    ]
    likelihoods = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    words = [(one, len(text.split())) for one, text in zip(likelihoods, TEXTS, strict=True)]
    size = [(one, len(text.encode())) for one, text in zip(likelihoods, TEXTS, strict=True)]

    # It feeds disjoint windows, with the beginning token in the first alone.
    how = windowing(loaded, window=window, stride=window, bos="first")
    found = {
        one.name: one.score
        for one in score_rows([perplexity(loaded, how)], measure(loaded, rows_of(TEXTS), how)).scores
    }
    assert found["word_perplexity"] == pytest.approx(weighted_perplexity(words), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(bits_per_byte(size), rel=1e-5)


@pytest.fixture
def own_task(tmp_path):
    """A benchmark of our own: the harness's layout, and data beside it."""
    questions = [
        {"question": "The cat sat on the", "choices": ["mat", "bright mathematics"], "answer": 0},
        {"question": "Tom and Lily went to the", "choices": ["seventeen", "park"], "answer": 1},
        {"question": "Once upon a", "choices": ["time", "parliament of fools"], "answer": 0},
        {"question": "One day the dog", "choices": ["ran", "therefore notwithstanding"], "answer": 1},
    ]
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in questions), encoding="utf-8")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "own.yaml").write_text(
        f"""task: own_questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
metadata: {{version: 3.0}}
""",
        encoding="utf-8",
    )
    return data, folder


def test_benchmarks_of_the_harness(own_task):
    """The harness and our own multiple choice agree on each score of the same questions."""
    pytest.importorskip("lm_eval")
    data, folder = own_task
    options = ["--dtype", "float32", "--device", "cpu", "--json", "-q"]
    theirs = run("eval", "--benchmark", "own_questions", "--benchmark-folder", folder, *options)
    assert theirs.code == 0, theirs.err
    ours = run("eval", "--metric", "multiple_choice", data, *options)
    harness = {one["name"]: one for one in json.loads(theirs.out)["scores"]}
    own = {one["name"]: one["score"] for one in json.loads(ours.out)["scores"]}
    assert harness["own_questions acc"]["score"] == own["accuracy"]
    assert harness["own_questions acc_norm"]["score"] == own["accuracy_per_byte"]
    assert harness["own_questions acc"]["rows"] == 4
    assert harness["own_questions acc"]["low"] <= own["accuracy"] <= harness["own_questions acc"]["high"]
    assert "task-version:3.0|shots:0" in harness["own_questions acc"]["signature"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "own_question"], "own_questions?"),
        (["--benchmark", "own_questions", "--limit", "0"], "--limit"),
        (["--benchmark", "own_questions", "--chat-prompts"], "--chat-prompts"),
    ],
)
def test_bad_benchmarks(own_task, arguments, message):
    pytest.importorskip("lm_eval")
    assert_refused(run("eval", *arguments, "--benchmark-folder", own_task[1], "-q"), message)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--benchmark", "x", "--metric", "f1"], "metric"),
        (["--benchmark", "x", "--window", "9"], "window"),
        (["--benchmark", "x", "--per-record", "y"], "per_record"),
        (["--metric", "f1", "--shots", "2", "z"], "shots"),
    ],
)
def test_flags_around_benchmarks(arguments, option):
    assert_refused(run("eval", *arguments), option=option)


def test_without_the_harness(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_refused(run("eval", "--benchmark", "arc_easy"), "pip install 'llmkit[benchmarks]'")
