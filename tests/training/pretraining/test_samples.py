"""Texts that a model writes in pretraining: they are shown and kept, and change nothing of the run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from tests.training.helpers import Recorder, refuses
from tests.training.pretraining.runs import TINY, assert_same, metrics, train

PROMPTS = ("Once upon", "")
SAMPLED: dict[str, Any] = {"sample_every": 3, "prompt": PROMPTS}


@pytest.fixture(scope="module")
def corpus(stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    file.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return file


def test_samples_are_reported_and_logged_and_change_nothing(corpus: Path, tmp_path: Path) -> None:
    def keep(step: int) -> None:
        if step == 8:
            shutil.copytree(tmp_path / "sampled", tmp_path / "stopped")

    progress = Recorder(on_step=keep)
    train(corpus, tmp_path / "plain")
    train(corpus, tmp_path / "sampled", progress=progress, **SAMPLED)
    told = [(one.step, one.steps, one.prompt, one.text) for one in progress.samples]
    assert [one[:3] for one in told] == [(step, 12, prompt) for step in (3, 6, 9, 12) for prompt in PROMPTS]
    assert len({one[3] for one in told}) > 4
    rows = [row for row in metrics(tmp_path / "sampled") if "sample" in row]
    assert [(row["step"], row["prompt"], row["sample"]) for row in rows] == [
        (step, prompt, text) for step, _, prompt, text in told
    ]
    page = (tmp_path / "sampled/report.html").read_text(encoding="utf-8")
    assert page.count('class="soft">step ') == 8
    # Stopped after a sample that its checkpoint lacks, and resumed.
    train(corpus, tmp_path / "stopped", resume=True, **SAMPLED)
    assert_same(tmp_path / "stopped", tmp_path / "sampled")
    log = tmp_path / "sampled/metrics.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in metrics(log.parent) if "sample" not in row))
    assert_same(tmp_path / "sampled", tmp_path / "plain")


def test_with_a_prompt_alone_there_is_a_sample_at_each_measurement(corpus: Path, tmp_path: Path) -> None:
    """With a prompt that is longer than the context, and the end token, which stays text."""
    progress = Recorder()
    train(corpus, tmp_path / "out", prompt=("one two three " * 40,), progress=progress)
    assert [one.step for one in progress.samples] == [4, 8, 12]


def test_the_model_samples_by_its_own_configuration(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "out", replace(TINY, max_steps=1))
    written = GenerationConfig.from_pretrained(tmp_path / "out")
    assert written.do_sample
    assert 0.5 < written.temperature < 1
    assert 0.8 < written.top_p <= 1
    assert not written.top_k


def test_bad_options_are_named(corpus: Path, tmp_path: Path) -> None:
    with refuses("sample_every", "not 0"):
        train(corpus, tmp_path / "out", sample_every=0)
    with refuses("prompt", "UTF-8"):
        train(corpus, tmp_path / "out", prompt=("\udcff",))
    with refuses("sample_every", "bert"):
        train(corpus, tmp_path / "out", replace(TINY, arch="bert", params="60k"), sample_every=1)
    assert not (tmp_path / "out").exists()
