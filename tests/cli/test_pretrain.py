import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.command import assert_refused, run

pytestmark = pytest.mark.usefixtures("frozen_imports")
TINY = [
    *("--params", "20k", "--vocab-size", "270", "--max-length", "32", "--batch-size", "4"),
    *("--device", "cpu", "--dtype", "float32"),
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.txt"
    file.write_text(
        "\n<|endoftext|>\n".join(f"Once there were {i} cats in a very old house." for i in range(80))
    )
    return file


def test_a_model_is_made_and_the_result_is_printed(corpus: Path, tmp_path: Path) -> None:
    result = run("pretrain", corpus, "-o", tmp_path / "out", *TINY, "--max-steps", "6", "--json")
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    assert printed["folder"] == str(tmp_path / "out")
    assert printed["steps"] == 6
    assert (tmp_path / "out/model.safetensors").exists()
    assert "step 6/6: held-out loss" in result.err
    assert f"perplexity {printed['perplexity']:.3f}" in result.err
    before = (tmp_path / "out/model.safetensors").stat()
    again = run("pretrain", corpus, "-o", tmp_path / "out", *TINY, "--max-steps", "6", "--json", "--resume")
    assert (again.code, again.out) == (0, "")
    assert "out is finished already; nothing to do" in again.err
    assert (tmp_path / "out/model.safetensors").stat() == before


def test_quiet_says_nothing_but_the_result(corpus: Path, tmp_path: Path) -> None:
    result = run("pretrain", corpus, "-o", tmp_path / "out", *TINY, "--max-steps", "2", "-q")
    assert result.err == ""
    assert result.out.startswith(f"folder: {tmp_path / 'out'}\nsteps: 2\n")


def test_the_plan_is_printed_and_nothing_is_trained(corpus: Path, tmp_path: Path) -> None:
    result = run("pretrain", corpus, *TINY, "--epochs", "2", "--dry-run", "--json")
    plan = json.loads(result.out)
    assert result.code == 0
    assert plan["documents"] + plan["held_out_documents"] == 80
    assert plan["steps"] == 2 * plan["steps_per_epoch"]
    assert abs(plan["parameters"] / 20_000 - 1) < 0.05
    assert os.listdir(tmp_path) == ["corpus.txt"]


@pytest.mark.parametrize(
    ("typed", "between", "config"),
    [
        (r"\n", "\n", False),
        (r"\n\t\n", "\n\t\n", True),
        ("\n", "\n", True),
        (r"\\newpage", r"\newpage", False),
        (r"\%", r"\%", False),
    ],
)
def test_a_separator_s_escapes_are_read(corpus: Path, typed: str, between: str, config: bool) -> None:
    corpus.write_text(between.join(f"Once there were {i} cats in a very old house." for i in range(80)))
    recipe = corpus.with_name("recipe.yaml")
    recipe.write_text(yaml.safe_dump({"separator": typed}))
    given = ["--config", recipe] if config else ["--separator", typed]
    result = run("pretrain", corpus, *TINY, *given, "--dry-run", "--json")
    assert result.code == 0, result.err
    plan = json.loads(result.out)
    assert plan["documents"] + plan["held_out_documents"] == 80


def test_verbose_says_which_precision_and_why(corpus: Path) -> None:
    result = run("pretrain", corpus, *TINY, "-o", corpus.parent / "out", "--max-steps", "1", "-v")
    assert "float32 on cpu: as requested" in result.err


@pytest.mark.parametrize(
    ("arguments", "fact", "option"),
    [
        (["none.txt", "-o", "out"], "none.txt: no such file", None),
        (["corpus.txt"], "folder", "output"),
        (["corpus.txt", "-o", "out", "--arch", "rnn"], "llama", "arch"),
        (["short.txt", "-o", "out"], "too short to hold out its end", "eval_split"),
        (["corpus.txt", "-o", "out", "--sample-every", "0"], "above 0", "sample_every"),
        (["corpus.txt", "-o", "out", "--prompt", "\udcff"], "UTF-8", "prompt"),
        (["corpus.txt", "-o", "out", "--prompt", "A", "--arch", "t5"], "t5 does not", "sample_every"),
        (["corpus.txt", "-o", "out", "--max-length", "90000"], "fills no block", "max_length"),
        (["corpus.txt", "-o", "corpus.txt"], "is a file", "output"),
        (["corpus.txt", "-o", "."], "not empty", "output"),
        # Reported before the corpus is read.
        (["latin1.txt", "-o", "corpus.txt/out"], "corpus.txt/out: cannot write there: Not a dir", "output"),
        (["corpus.txt", "-o", "out", "--resume"], "no unfinished run", "resume"),
        (["latin1.txt", "-o", "out"], "latin1.txt:2: not UTF-8", None),
        (["empty.txt", "-o", "out"], "empty.txt: no document in it", None),
        (["corpus.txt", "bad.jsonl", "-o", "out"], "bad.jsonl:3: not JSON", None),
        (["bad.jsonl", "-o", "out", "--field", "txt"], "bad.jsonl:1: no column 'txt'; did you mean", None),
        (["bad.jsonl", "--dry-run"], "bad.jsonl:3: not JSON", None),
        (["corpus.txt", "-o", "out", "--on-error", "retry"], "'retry'", "on_error"),
        (
            ["latin1.txt", "-o", "out", "--on-error", "skip"],
            "latin1.txt: no usable document: latin1.txt:2: not UTF-8",
            None,
        ),
        (
            ["corpus.txt", "-o", "out", "--on-error", "skip", "--eval-data", "latin1.txt"],
            "latin1.txt: no usable document: latin1.txt:2: not UTF-8",
            None,
        ),
        (["corpus.txt", "-o", "out", "--eval-data", "none.txt"], "none.txt: no such file", None),
        (["hf:nobody", "-o", "out"], "hf:nobody: ", None),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], fact: str, option: str | None
) -> None:
    monkeypatch.chdir(corpus.parent)
    Path("latin1.txt").write_bytes(b"good\nna\xefve\n")
    Path("empty.txt").write_bytes(b"\n")
    Path("short.txt").write_bytes(b"short")
    Path("bad.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": c}\n')
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert_refused(run("pretrain", *arguments), fact, option=option)
    assert not Path("out").exists()


def test_bad_rows_are_skipped_and_counted_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": f"Once there were {i} cats in a very old house."}) for i in range(80)]
    Path("rows.jsonl").write_text("\n".join([*rows[:40], '{"text": ', '{"txt": "a"}', *rows[40:]]))
    Path("held.txt").write_bytes(b"A very old house.\n<|endoftext|>\nna\xefve\n<|endoftext|>\nA cat.")
    command = ["pretrain", "rows.jsonl", "--eval-data", "held.txt", *TINY, "--on-error", "skip", "--json"]
    counted = run(*command, "--dry-run")
    assert counted.code == 0, counted.err
    plan = json.loads(counted.out)
    assert (plan["documents"], plan["held_out_documents"], plan["skipped"]) == (80, 2, 3)
    made = run(*command, "-o", "out", "--max-steps", "2")
    assert made.code == 3, made.err
    assert json.loads(made.out)["steps"] == 2
    assert Path("out/model.safetensors").exists()
    for printed in (counted.err, made.err):
        assert "skipped: rows.jsonl:41: not JSON" in printed
        assert "skipped: rows.jsonl:42: no column 'text'" in printed
        assert "skipped: held.txt:3: not UTF-8 (byte 3 of the line)" in printed
    assert "80 documents of " in made.err
    assert "; 3 skipped" in made.err


@pytest.mark.slow
def test_a_terminated_run_leaves_a_checkpoint_and_goes_on(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ["-o", str(output), *TINY, "--max-steps", "150", "--eval-steps", "150"]
    command = [sys.executable, "-m", "llmkit", "pretrain", str(corpus), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None:
        # The first line of metrics says that steps are being taken.
        if (output / "metrics.jsonl").exists() and (output / "metrics.jsonl").stat().st_size:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.01)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 143
    assert printed.decode().endswith(
        f"llmkit: interrupted: {output} keeps what is done; --resume continues\n"
    )
    (checkpoint,) = (output / "checkpoints").glob("checkpoint-*")
    assert not (output / "config.json").exists()

    resumed = run("pretrain", corpus, *options, "--resume")
    assert resumed.code == 0, resumed.err
    step = checkpoint.name.removeprefix("checkpoint-")
    assert f"resuming after step {step}" in resumed.err
    assert "\nsteps: 150\n" in resumed.out


def test_an_encoder_is_made_from_a_recipe_file(corpus: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "arch: bert\nparams: 60k\nvocab-size: 400\nmax-length: 32\nbatch-size: 4\nmax-steps: 2\n"
    )
    result = run("pretrain", corpus, "-o", tmp_path / "out", "--config", recipe, "--device", "cpu")
    assert result.code == 0, result.err
    assert "step 2/2: held-out loss" in result.err
    assert json.loads((tmp_path / "out/config.json").read_text())["model_type"] == "bert"


def test_a_dataset_is_counted_and_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    Path("org").mkdir()
    for split, count in (("train", 80), ("validation", 5)):
        rows = [{"story": f"Once there were {i} cats in a {split} house."} for i in range(count)]
        Path("org", f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["pretrain", "hf:org", "--eval-data", "hf:org:validation", "--field", "story", *TINY]
    counted = run(*command, "--dry-run", "--json")
    assert counted.code == 0, counted.err
    plan = json.loads(counted.out)
    assert (plan["documents"], plan["held_out_documents"]) == (80, 5)
    made = run(*command, "-o", "out", "--max-steps", "2")
    assert made.code == 0, made.err
    assert "80 documents" in made.err
    assert Path("out/model.safetensors").exists()


def test_token_ids_that_find_no_room_are_an_error_and_leave_nothing(corpus: Path, tmp_path: Path) -> None:
    corpus.write_text("<|endoftext|>".join(f"Once there were {i} cats in an old house." for i in range(2000)))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        result = run("pretrain", corpus, "-o", tmp_path / "out", *TINY, "--max-steps", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_refused(result, "unfinished-corpus: File too large", code=1)
    assert os.listdir(tmp_path) == ["corpus.txt"]
