"""Pretraining runs that are stopped and resumed end as runs that were never stopped."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.training.pretraining import tokenize_corpus as reading
from llmkit.training.pretraining.result import PretrainResult
from tests.training.helpers import KilledError, Recorder, refuses
from tests.training.pretraining.runs import TINY, assert_same, metrics, train

# Twelve steps, nine in an epoch.
RESUMED = replace(TINY, eval_steps=3, gradient_accumulation=2)


def written(folder: Path, documents: list[str], name: str = "corpus.txt") -> Path:
    file = folder / name
    file.write_text("\n<|endoftext|>\n".join(documents), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def corpus(stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("corpus"), stories)


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `whole`, a run that was never stopped, and `stopped-N`, its folder after step N."""
    folder = tmp_path_factory.mktemp("runs")

    def keep(step: int) -> None:
        if step in (6, 9, 12):
            shutil.copytree(folder / "whole", folder / f"stopped-{step}")

    train(corpus, folder / "whole", RESUMED, progress=Recorder(on_step=keep))
    return folder


@pytest.fixture(scope="module")
def stopped(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that an error ended after step 10."""
    output = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.raises(KilledError):
        train(corpus, output, progress=Recorder(10))
    return output


@pytest.mark.parametrize("step", [6, 9, 12])
def test_a_resumed_run_equals_one_that_was_never_stopped(corpus: Path, runs: Path, step: int) -> None:
    """Stopped within an epoch, at its end, and after the last step."""
    output = runs / f"stopped-{step}"
    assert not (output / "config.json").exists()
    assert metrics(output)[-1]["step"] == step
    train(corpus, output, RESUMED, resume=True)
    assert_same(output, runs / "whole")
    tokenizers = [(folder / "tokenizer.json").read_bytes() for folder in (output, runs / "whole")]
    assert tokenizers[0] == tokenizers[1]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_torn_checkpoint_is_skipped_with_a_notice(
    corpus: Path, stopped: Path, tmp_path: Path, name: str
) -> None:
    output, progress = tmp_path / "out", Recorder(5)
    shutil.copytree(stopped, output)
    torn = output / "checkpoints/checkpoint-8" / name
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.raises(KilledError):
        train(corpus, output, resume=True, progress=progress)
    assert "checkpoint-8 is incomplete" in progress.notices[0]
    assert progress.notices[1] == "resuming after step 4"
    assert progress.steps[0].step == 5


@pytest.mark.parametrize("missing", ["", "scheduler.pt"], ids=["whole", "without its schedule"])
def test_a_run_ended_by_an_error_resumes_too(
    corpus: Path, stopped: Path, tmp_path: Path, missing: str
) -> None:
    train(corpus, tmp_path / "whole")
    shutil.copytree(stopped, tmp_path / "out")
    if missing:
        (tmp_path / "out/checkpoints/checkpoint-8" / missing).unlink()
    train(corpus, tmp_path / "out", resume=True)
    assert_same(tmp_path / "out", tmp_path / "whole")


def test_a_run_killed_before_its_first_checkpoint_starts_again(corpus: Path, tmp_path: Path) -> None:
    output, progress = tmp_path / "out", Recorder()
    with pytest.raises(KilledError):
        train(corpus, output, progress=Recorder(2))
    train(corpus, output, resume=True, progress=progress)
    assert "no complete checkpoint: starting from the beginning" in progress.notices
    assert [row["step"] for row in metrics(output) if "loss" in row] == list(range(1, 13))


def test_resuming_needs_the_same_options_and_corpus(
    corpus: Path, stopped: Path, tmp_path: Path, stories: list[str]
) -> None:
    output = tmp_path / "out"
    shutil.copytree(stopped, output)
    with refuses("resume", "`lr` was 0.01 and is now 0.02"):
        train(corpus, output, replace(TINY, lr=0.02), resume=True)
    with refuses("resume", "`corpus` was"):
        train(written(tmp_path, stories[1:]), output, resume=True)
    with refuses("resume", "no unfinished run"):
        train(corpus, tmp_path / "nothing", resume=True)


def test_what_was_skipped_belongs_to_the_run(tmp_path: Path, stories: list[str]) -> None:
    data, output, recipe = tmp_path / "data.jsonl", tmp_path / "out", replace(TINY, on_error="skip")
    data.write_text("{\n" + "".join(json.dumps({"text": text}) + "\n" for text in stories))
    progress = Recorder(6)
    with pytest.raises(KilledError):
        train(data, output, recipe, progress=progress)
    skipped = [line for line in progress.notices if "data.jsonl" in line]
    assert [line.partition("data.jsonl")[2][:10] for line in skipped] == [":1: not JS"]
    with refuses("resume", "`on_error` was 'skip' and is now 'fail'"):
        train(data, output, resume=True)
    progress = Recorder()
    train(data, output, recipe, resume=True, progress=progress)
    (found,) = progress.plans
    assert (found.documents + found.held_out_documents, found.skipped) == (60, 1)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out text in characters that training never shows: its loss rises in training."""
    return written(tmp_path_factory.mktemp("strange"), ["@#%&*+=~^{}[]<>" * 3] * 4)


def assert_first_is_best(result: PretrainResult, measurements: int) -> None:
    measured = [row["eval_loss"] for row in metrics(result.folder) if "eval_loss" in row]
    assert len(measured) == measurements
    assert measured[0] < measured[-1]
    assert result.held_out_loss == pytest.approx(measured[0], rel=1e-5)


def test_the_weights_kept_are_the_best_ones_measured_even_if_the_run_was_moved(
    corpus: Path, tmp_path: Path, strange: Path
) -> None:
    recipe = replace(TINY, max_steps=24, eval_steps=8)

    def move(step: int) -> None:
        if step == 20:
            shutil.copytree(tmp_path / "here", tmp_path / "there")

    result = train(corpus, tmp_path / "here", recipe, eval_data=strange, progress=Recorder(on_step=move))
    assert_first_is_best(result, 3)
    shutil.rmtree(tmp_path / "here")
    result = train(corpus, tmp_path / "there", recipe, eval_data=strange, resume=True)
    assert_first_is_best(result, 3)


def test_training_stops_when_the_held_out_loss_stalls(corpus: Path, tmp_path: Path, strange: Path) -> None:
    recipe = replace(TINY, max_steps=100, eval_steps=8, early_stopping=2)
    assert train(corpus, tmp_path / "out", recipe, eval_data=strange).steps == 24


@pytest.mark.parametrize("arch", ["bert", "t5"])
def test_a_resumed_run_corrupts_its_text_as_one_that_was_never_stopped(
    corpus: Path, tmp_path: Path, arch: str
) -> None:
    recipe = replace(TINY, arch=arch, params="60k", vocab_size=400, eval_steps=3)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    def keep(step: int) -> None:
        if step == 8:
            shutil.copytree(whole, stopped)

    train(corpus, whole, recipe, progress=Recorder(on_step=keep))
    train(corpus, stopped, recipe, resume=True)
    assert_same(stopped, whole)


def packed(kind: str, stories: list[str], folder: Path) -> Path:
    """The stories as rows, in a file of a kind."""
    rows = [{"text": story, "note": "x"} for story in stories]
    file = folder / f"rows.{kind}"
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return file


@pytest.mark.parametrize("kind", ["jsonl.gz", "parquet"])
def test_a_streamed_run_continues_from_its_token_ids_or_makes_them_again(
    runs: Path, stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Stopped within an epoch; and at its end, with torn token ids."""
    data, stopped, torn = packed(kind, stories, tmp_path), tmp_path / "stopped", tmp_path / "torn"

    def keep(step: int) -> None:
        if step == 6:
            shutil.copytree(torn, stopped)

    with pytest.raises(KilledError):
        train(data, torn, RESUMED, progress=Recorder(9, on_step=keep))
    ids = torn / "checkpoints/corpus/train.bin"
    ids.write_bytes(ids.read_bytes()[:-20])
    train(data, torn, RESUMED, resume=True)
    assert_same(torn, runs / "whole")
    monkeypatch.setattr(reading, "Corpus", None)  # the corpus is not opened again
    train(data, stopped, RESUMED, resume=True)
    assert_same(stopped, runs / "whole")


def test_the_same_documents_from_elsewhere_are_the_same_corpus(
    runs: Path, corpus: Path, stories: list[str], tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    with pytest.raises(KilledError):
        train(corpus, stopped, RESUMED, progress=Recorder(6))
    with refuses("resume", "`corpus` was"):
        train(packed("parquet", stories[::-1], tmp_path), stopped, RESUMED, resume=True)
    train(packed("jsonl.gz", stories, tmp_path), stopped, RESUMED, resume=True)
    assert_same(stopped, runs / "whole")
