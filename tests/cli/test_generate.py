"""`llmkit generate` as its user meets it: text in, text out, files, pipes, errors."""

from __future__ import annotations

import gzip
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import assert_refused, rows_of, run, spawn, without_progress
from tests.conftest import TinyModel

SHORT = ("--max-new-tokens", "6")


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Path:
    return tiny_model("llama")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.jsonl"
    rows = [{"id": i, "prompt": f"The {'little ' * (i % 4)}cat {i}"} for i in range(5)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_prompt_is_continued_on_stdout_and_nothing_else_is_said(model: Path) -> None:
    result = run("generate", "-m", model, *SHORT, "The cat")
    assert result.code == 0
    assert result.err == ""
    assert result.out.endswith("\n")
    assert len(result.out) > 1


def test_json_is_one_object_a_line(model: Path) -> None:
    plain = run("generate", "-m", model, *SHORT, "The cat").out
    (row,) = rows_of(run("generate", "-m", model, *SHORT, "--json", "The cat").out)
    assert row == {"prompt": "The cat", "generated_text": plain.removesuffix("\n")}


def test_full_text_begins_with_the_prompt(model: Path) -> None:
    plain = run("generate", "-m", model, *SHORT, "The cat").out
    assert run("generate", "-m", model, *SHORT, "--full-text", "The cat").out == f"The cat{plain}"


def test_stdin_is_one_prompt_and_with_lines_many(model: Path) -> None:
    one = run("generate", "-m", model, *SHORT, stdin="The cat\n")
    assert one.out == run("generate", "-m", model, *SHORT, "The cat").out
    many = run("generate", "-m", model, *SHORT, "--lines", "--json", stdin="The cat\nA dog\r\n\nThe sea")
    assert [row["prompt"] for row in rows_of(many.out)] == ["The cat", "A dog", "", "The sea"]


def test_with_an_argument_stdin_is_not_read(model: Path) -> None:
    result = run("generate", "-m", model, *SHORT, "The cat", stdin="something else")
    assert result.out == run("generate", "-m", model, *SHORT, "The cat").out


def test_plain_output_of_many_has_one_line_for_each(tiny_model: TinyModel) -> None:
    lines = "".join(f"The cat {i}\n" for i in range(40))
    result = run(
        "generate", "-m", tiny_model("gpt2"), "--max-new-tokens", "30", "--lines", "--temperature", "1",
        "--seed", "1", stdin=lines,
    )  # fmt: skip
    assert len(result.out.split("\n")) == 41
    assert "--json keeps them" in result.err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", '{"prompt": "The cat", "n": 1}\n{"prompt": "A dog", "n": 2}\n'),
        ("x.json", '[{"prompt": "The cat", "n": 1}, {"prompt": "A dog", "n": 2}]'),
        ("x.csv", "prompt,n\nThe cat,1\nA dog,2\n"),
        ("x.tsv", "prompt\tn\nThe cat\t1\nA dog\t2\n"),
        ("x.txt", "The cat\nA dog\n"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_rows_come_from_files_of_many_kinds(
    model: Path, tmp_path: Path, name: str, content: str, zipped: bool
) -> None:
    file = tmp_path / (name + ".gz" * zipped)
    file.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    result = run("generate", "-m", model, *SHORT, "--json", "--input", file)
    assert result.code == 0, result.err
    expected = run("generate", "-m", model, *SHORT, "--lines", "--json", stdin="The cat\nA dog\n")
    assert [r["generated_text"] for r in rows_of(result.out)] == [
        r["generated_text"] for r in rows_of(expected.out)
    ]


def test_stdin_as_jsonl_and_a_template(model: Path) -> None:
    result = run(
        "generate", "-m", model, *SHORT, "--json", "--input", "-", "--template", "Q: {question}",
        stdin='{"question": "The cat"}\n',
    )  # fmt: skip
    expected = run("generate", "-m", model, *SHORT, "Q: The cat").out.removesuffix("\n")
    assert rows_of(result.out) == [{"question": "The cat", "generated_text": expected}]


def test_an_output_file_holds_each_row_with_its_text(model: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("generate", "-m", model, *SHORT, "--input", prompts, "-o", out)
    assert result.code == 0, result.err
    assert result.out == ""
    rows = rows_of(out.read_text())
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(isinstance(row["generated_text"], str) for row in rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "prompts.jsonl"]


def test_an_output_that_is_there_is_kept_unless_told(model: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine\n")
    arguments = ("generate", "-m", model, *SHORT, "--input", prompts, "-o", out)
    assert_refused(run(*arguments), "--overwrite")
    assert out.read_text() == "mine\n"
    assert run(*arguments, "--overwrite").code == 0
    assert len(rows_of(out.read_text())) == 5
    again = run(*arguments, "--resume")
    assert again.code == 0
    assert "finished already" in again.err


def test_a_failed_row_stops_the_run_or_is_marked(model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"prompt": "The cat"}\n{"prompt": "A dog"}\n{"prompt": \n{"text": 5}\n')
    assert_refused(run("generate", "-m", model, *SHORT, "--input", file, "-o", out), "x.jsonl:3: ")
    result = run(
        "generate", "-m", model, *SHORT, "--input", file, "-o", out, "--overwrite", "--on-error", "skip"
    )
    assert result.code == 3
    assert "1 of 4 rows failed" in result.err
    rows = rows_of(out.read_text())
    assert ["error" in row for row in rows] == [False, False, True, False]
    assert "x.jsonl:3: " in str(rows[2]["error"])


def test_a_missing_column_names_those_that_are_there(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("question,answer\na,b\n")
    assert_refused(run("generate", "-m", model, "--input", file), "--field")
    assert_refused(run("generate", "-m", model, "--input", file, "--field", "quesion"), "question")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], None, "no input: give"),
        ([], "", "stdin is empty"),
        ([], b"caf\xe9\n", "stdin:1: byte 0xe9 is not UTF-8"),
        (["x", "--input", "y.jsonl"], None, "give one of them"),
        (["--input", "no-such-file.jsonl"], None, "no-such-file.jsonl"),
        (["x", "--field", "a"], None, "--field applies to rows of a file"),
        (["x", "--lines"], None, "--lines applies to stdin"),
        (["x", "--batch-size", "0"], None, "--batch-size 0: give a number of rows, or auto"),
        (["x", "--batch-size", "²"], None, "--batch-size ²: give a number of rows, or auto"),
        (["x", "--on-error", "retry"], None, "--on-error retry: use fail or skip"),
        (["x", "--resume"], None, "--resume applies to an output file"),
        (["x", "--top-p", "7"], None, "--top-p must be above 0"),
        (["x", "--device", "tpu"], None, "--device tpu: not a device"),
        (["x", "--system", "Be brief"], None, "--system needs a chat template"),
        (["x", "-o", "/nowhere/out.jsonl"], None, "/nowhere"),
    ],
)
def test_bad_usage(model: Path, arguments: list[str], stdin: str | bytes | None, said: str) -> None:
    assert_refused(run("generate", "-m", model, *arguments, stdin=stdin), said)


def test_skipped_rows_leave_an_empty_line_and_are_told_by_number(model: Path) -> None:
    rows = '{"prompt": "A dog"}\n{"prompt": null}\n'
    result = run("generate", "-m", model, *SHORT, "--input", "-", "--on-error", "skip", stdin=rows)
    assert result.code == 3
    assert len(result.out.splitlines()) == 2
    assert result.out.endswith("\n\n")
    told = result.err.splitlines()
    assert told == ["llmkit: error: row 2: column 'prompt' is null", "llmkit: 1 of 2 rows failed"]


def test_the_reason_of_a_failed_row_names_flags(model: Path) -> None:
    rows = '{"prompt": "A dog"}\n{"a": "x", "b": "y"}\n'
    result = run("generate", "-m", model, *SHORT, "--input", "-", "--on-error", "skip", "--json", stdin=rows)
    assert rows_of(result.out)[1]["error"].endswith("give one with --field")


@pytest.mark.parametrize("count", [1, 2])
def test_several_results_of_a_prompt_are_separated(model: Path, count: int) -> None:
    more = ("--num-return-sequences", "2", "--temperature", "1", "--seed", "1")
    both = rows_of(run("generate", "-m", model, *SHORT, *more, "--json", "The cat").out)[0]["generated_text"]
    assert run("generate", "-m", model, *SHORT, *more, "The cat").out == "\n---\n".join(both) + "\n"
    lines = run("generate", "-m", model, *SHORT, *more, "--lines", stdin="The cat\n" * count).out
    assert [part.count("\n") for part in lines.split("\n\n")[:-1]] == [1] * count


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_cut_prompt_is_told(model: Path, side: str) -> None:
    rows = '{"prompt": "' + "moon " * 300 + '"}\n{"prompt": "A dog"}\n'
    result = run("generate", "-m", model, *SHORT, "--input", "-", "--truncate", side, stdin=rows)
    assert result.code == 0
    assert "1 prompt longer than the" in result.err


def test_an_unknown_model(tmp_path: Path) -> None:
    assert_refused(
        run("generate", "-m", "nobody/nothing", "x"), "is not in the cache, and this run is offline"
    )
    assert_refused(run("generate", "-m", tmp_path / "gone", "x"), "no model folder at")
    assert_refused(run("generate", "-m", "", "x"), "is empty", option="model")


def test_a_prompt_longer_than_the_context(model: Path, tmp_path: Path) -> None:
    long = "moon " * 300
    assert_refused(run("generate", "-m", model, long), "prompt:1: the prompt has")
    assert run("generate", "-m", model, *SHORT, "--truncate", "left", long).code == 0
    file = tmp_path / "x.txt"
    file.write_text(f"The cat\n{long}\n")
    assert_refused(run("generate", "-m", model, "--input", file), "x.txt:2: the prompt has")


def test_verbose_says_what_was_chosen_and_why(model: Path) -> None:
    said = run("generate", "-m", model, *SHORT, "-v", "--temperature", "1", "x").err
    for part in ("device cpu", "dtype float32: stored as float32", "attention sdpa", "seed "):
        assert part in said


def test_a_seed_makes_sampling_repeatable(model: Path) -> None:
    sampled = ("generate", "-m", model, "--temperature", "1", "--max-new-tokens", "20", "The cat")
    assert run(*sampled, "--seed", "7").out == run(*sampled, "--seed", "7").out
    assert run(*sampled, "--seed", "7").out != run(*sampled, "--seed", "8").out
    assert run(*sampled).out != run(*sampled).out


def test_a_bug_is_one_line_and_its_traceback_is_for_debug(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("llmkit.runtime.load.load", broken)
    assert_refused(run("generate", "-m", model, "x"), "unexpected KeyError: 'oops'", code=1)
    with pytest.raises(KeyError):
        run("generate", "-m", model, "x", "--debug")


# What only a process of its own can show.


def test_a_closed_pipe_ends_it_quietly(model: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "llmkit", "generate", "-m", model, "The cat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert without_progress(process.stderr.read().decode()) == ""
        assert process.wait(60) == 0


def test_a_full_disk_on_stdout_is_an_error(model: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:
        done = spawn("generate", "-m", model, *SHORT, "x", capture_output=False, stdout=full, stderr=-1)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert errors == ["llmkit: error: stdout: No space left on device (free some space)"]


def test_a_terminal_shows_the_prompt_and_a_pipe_does_not(model: Path) -> None:
    """On a terminal the prompt stands, dim, before the text: it goes to stderr."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "llmkit", "generate", "-m", str(model), *SHORT, "The cat"]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave) as process:
        os.close(slave)
        shown = b""
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            try:
                shown += os.read(master, 4096)
            except OSError:
                break
    os.close(master)
    plain = run("generate", "-m", model, *SHORT, "The cat").out
    assert without_progress(shown.decode()).replace("\r\n", "\n") == f"\x1b[2mThe cat\x1b[0m{plain}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_run_that_resume_finishes(
    model: Path, tmp_path: Path, number: int, code: int
) -> None:
    arguments = _big_run(model, tmp_path)
    with subprocess.Popen([sys.executable, "-m", "llmkit", *arguments], stderr=subprocess.PIPE) as process:
        _wait_for_batches(tmp_path / "out.jsonl.journal", 2)
        process.send_signal(number)
        assert process.stderr is not None
        told = without_progress(process.stderr.read().decode())
        assert re.fullmatch(
            r"llmkit: interrupted: \d+ rows are finished and " "kept; --resume continues\n", told
        )
        assert process.wait(60) == code
    assert not (tmp_path / "out.jsonl").exists()
    resumed = spawn(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == _uninterrupted(model, tmp_path)


@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param((), id="greedy", marks=pytest.mark.slow),
        pytest.param(("--temperature", "0.8", "--seed", "7"), id="sampled"),
    ],
)
def test_a_killed_run_resumes_byte_for_byte(model: Path, tmp_path: Path, sampling: tuple[str, ...]) -> None:
    arguments = (*_big_run(model, tmp_path), *sampling)
    _kill_after(arguments, tmp_path / "out.jsonl.journal", batches=2)
    resumed = spawn(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == _uninterrupted(model, tmp_path, *sampling)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling",
    [(), ("--temperature", "0.8"), ("--temperature", "0.8", "--seed", "7", "--num-return-sequences", "2")],
    ids=["greedy", "drawn-seed", "two-samples"],
)
def test_killed_at_random_again_and_again(model: Path, tmp_path: Path, sampling: tuple[str, ...]) -> None:
    arguments = (*_big_run(model, tmp_path), *sampling)
    chance = random.Random(0)
    for _ in range(4):
        _kill_after((*arguments, "--resume"), tmp_path / "out.jsonl.journal", batches=chance.randint(1, 3))
    if "--temperature" in sampling and "--seed" not in sampling:
        header = json.loads((tmp_path / "out.jsonl.journal").read_bytes().split(b"\n")[0])
        sampling = (*sampling, "--seed", str(_find(header, "seed")))
    assert spawn(*arguments, "--resume").returncode == 0
    assert (tmp_path / "out.jsonl").read_bytes() == _uninterrupted(model, tmp_path, *sampling)


def test_resume_with_other_options_is_refused(model: Path, tmp_path: Path) -> None:
    arguments = _big_run(model, tmp_path)
    _kill_after(arguments, tmp_path / "out.jsonl.journal", batches=1)
    assert_refused(run(*arguments, "--resume", "--temperature", "1"), "temperature")
    assert_refused(run(*arguments), "--resume")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "another input"}\n')
    assert_refused(run(*arguments, "--resume"), "input")


def _big_run(model: Path, folder: Path) -> tuple[str, ...]:
    rows = [{"prompt": "The " + "little " * (i % 7) + f"cat {i}"} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return (
        "generate", "-m", str(model), "--max-new-tokens", "24", "--batch-size", "4",
        "--input", str(folder / "rows.jsonl"), "-o", str(folder / "out.jsonl"),
    )  # fmt: skip


def _uninterrupted(model: Path, folder: Path, *more: str) -> bytes:
    whole = folder / "whole"
    whole.mkdir()
    result = run(*_big_run(model, whole), *more)
    assert result.code == 0, result.err
    return (whole / "out.jsonl").read_bytes()


def _wait_for_batches(journal: Path, batches: int) -> None:
    for _ in range(3000):
        if journal.exists() and journal.read_bytes().count(b'{"batch"') >= batches:
            return
        time.sleep(0.01)
    raise AssertionError("the run never got there")


def _kill_after(arguments: tuple[str, ...], journal: Path, batches: int) -> None:
    """Run until the journal holds `batches` more finished batches, then kill -9."""
    before = journal.read_bytes().count(b'{"batch"') if journal.exists() else 0
    with subprocess.Popen([sys.executable, "-m", "llmkit", *arguments], stderr=subprocess.DEVNULL) as process:
        _wait_for_batches(journal, before + batches)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL


def _find(value: object, key: str) -> object:
    """The value of `key` at any depth of a JSON object."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        found = [_find(inner, key) for inner in value.values()]
        return next((one for one in found if one is not None), None)
    return None
