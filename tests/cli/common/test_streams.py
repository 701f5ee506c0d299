"""Standard streams that are closed, full or a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.cli.common.streams import one_line, printable
from tests.command import ROOT

LLMKIT = f"{sys.executable} -m llmkit"
ESCAPES = "\x1b]0;title\x07\x1b[2J"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which `llmkit` stands for the program."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("llmkit", LLMKIT)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A good row and a bad one."""
    good = {"text": "The cat sat on the mat. It was warm."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(good) + '\n{"other": 5}\n')
    return tmp_path


def test_a_closed_stdout_is_an_error_in_one_line(tmp_path: Path) -> None:
    done = shell("llmkit --version >&-", tmp_path)
    assert (done.returncode, done.stderr) == (1, "llmkit: error: stdout: Bad file descriptor\n")


@pytest.mark.parametrize("verb", ["generate", "chat -m ./none", "summarize", "eval --metric bleu"])
def test_a_closed_stdin_is_an_empty_one(verb: str, tmp_path: Path) -> None:
    closed, empty = shell(f"llmkit {verb} <&-", tmp_path), shell(f"llmkit {verb} </dev/null", tmp_path)
    assert closed.returncode == empty.returncode
    assert closed.stderr == empty.stderr


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_messages_that_cannot_be_written_change_nothing(stderr: str, rows: Path) -> None:
    whole = shell("llmkit summarize --input rows.jsonl --json --on-error skip", rows)
    assert "1 of 2 rows failed" in whole.stderr
    without = shell(f"llmkit summarize --input rows.jsonl --json --on-error skip {stderr}", rows)
    assert (without.returncode, without.stdout) == (3, whole.stdout)


def at_terminal(*arguments: str | Path) -> str:
    """Run a command with a terminal for stdout and stderr, and return all that reaches it."""
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    seen = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the process has closed its end
            break
        if not piece:
            break
        seen += piece
    process.wait(timeout=60)
    os.close(terminal)
    return seen.decode()


def test_a_terminal_is_sent_no_control_characters_of_a_text(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(f"A cat {ESCAPES}sat here. ")
    shown = at_terminal("summarize", text)
    assert "A cat \\x1b]0;title\\x07\\x1b[2Jsat here." in shown
    assert "\x1b" not in shown
    piped = subprocess.run(
        [sys.executable, "-m", "llmkit", "summarize", text], capture_output=True, text=True
    )
    assert piped.stdout == f"A cat {ESCAPES}sat here.\n", "what is piped is data and stays as it is"


@pytest.mark.parametrize(
    "arguments",
    [
        ("summarize", f"no{ESCAPES}file.txt"),
        ("eval", "--metric", f"bl{ESCAPES}eu"),
        (f"gen{ESCAPES}erate",),
        ("generate", "x", "-m", f"./{ESCAPES}"),
    ],
)
def test_an_error_sends_no_control_characters(arguments: tuple[str, ...]) -> None:
    shown = at_terminal(*arguments)
    assert "llmkit: error: " in shown
    assert "\\x1b]0;title\\x07" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("über 日本 😀 e\u0301 \u200f", "über 日本 😀 e\u0301 \u200f"),
        ("a\x1b[31mb\x07\r\x9b1m\x7f", "a\\x1b[31mb\\x07\\x0d\\x9b1m\\x7f"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line() -> None:
    assert one_line("a.md:1: forged\nb\u2028c\x1b.txt") == "a.md:1: forged\\nb\\u2028c\\x1b.txt"
