"""`llmkit chat`: typed at a real terminal, and over rows of messages."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import run
from tests.conftest import TinyModel

PROMPT = "\x1b[?2004h"  # the first thing a prompt does: it turns bracketed paste on
SHORT = ("--max-new-tokens", "8")
ROWS = ("--input", "-")
CTRL_C, CTRL_D, CTRL_J, ALT_ENTER, UP = b"\x03", b"\x04", b"\n", b"\x1b\r", b"\x1b[A"


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Path:
    return tiny_model("llama", chat=True)


@pytest.fixture(scope="module")
def endless(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends its answer."""
    folder = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(model, folder)
    for name, change in (
        ("config.json", {"max_position_embeddings": 100_000}),
        ("generation_config.json", {"min_new_tokens": 90_000}),
    ):
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return folder


class Terminal:
    """`llmkit chat` at a terminal of its own; `stdout` may be taken away from it."""

    def __init__(self, *arguments: str | Path, stdout: int | None = None) -> None:
        self.master, slave = pty.openpty()
        self.modes = termios.tcgetattr(self.master)
        self.shown = ""
        self._slave = slave
        self._seen = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmkit", "chat", *map(str, arguments)],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            # Nobody here answers a terminal's question where its cursor is.
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        )

    def type(self, keys: str | bytes) -> None:
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def line(self, text: str, said: str) -> str:
        """Type a line, wait for what is said to it, and for the next prompt."""
        self.type(text + "\r")
        answer = self.until(said)
        # The next line is typed at the next prompt.
        self.until(PROMPT)
        return answer

    def until(self, said: str) -> str:
        """Wait until the terminal shows `said` after what was waited for before; all that came by then."""
        end = time.monotonic() + 240
        while (at := self.shown.find(said, self._seen)) < 0:
            assert time.monotonic() < end, f"{said!r} never came; shown: {self.shown[self._seen :]!r}"
            if select.select([self.master], [], [], 1)[0]:
                self.shown += os.read(self.master, 65536).decode(errors="replace")
        passed = self.shown[self._seen : at + len(said)]
        self._seen = at + len(said)
        return passed

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal() -> Iterator[type[Terminal]]:
    opened: list[Terminal] = []

    class Kept(Terminal):
        def __init__(self, *arguments: str | Path, stdout: int | None = None) -> None:
            super().__init__(*arguments, stdout=stdout)
            opened.append(self)

    yield Kept
    for one in opened:
        one.close()


def transcript(file: Path) -> list[list[tuple[str, str]]]:
    return [
        [(message["role"], message["content"]) for message in json.loads(line)["messages"]]
        for line in file.read_text().splitlines()
    ]


def test_what_is_typed_ahead_is_sent(model: Path, terminal: type[Terminal]) -> None:
    chat = terminal("-m", model, *SHORT)
    end = time.monotonic() + 60
    while termios.tcgetattr(chat.master)[0] & termios.ICRNL and time.monotonic() < end:
        time.sleep(0.02)  # the command has not begun
    chat.type("/model\r/exit\r")
    chat.until(str(model))
    assert chat.process.wait(60) == 0
    assert termios.tcgetattr(chat.master) == chat.modes


def test_a_session_at_the_terminal(model: Path, tmp_path: Path, terminal: type[Terminal]) -> None:
    talks = tmp_path / "talks.jsonl"
    chat = terminal("-m", model, *SHORT)
    chat.until("/help lists the commands")
    chat.until(PROMPT)
    helped = chat.line("/help", "Ctrl-D leaves.")
    for command in (
        "save FILE",
        "load FILE",
        "system TEXT",
        "undo",
        "retry",
        "model NAME",
        "set NAME",
        "exit",
    ):
        assert f"/{command}" in helped
    chat.type(CTRL_C)
    chat.until("Ctrl-D or /exit ends the conversation")
    chat.until(PROMPT)
    chat.line("/rety", "/rety: no such command; did you mean /retry?")
    chat.line("/retry", "there is no message to answer again")
    chat.type(b"The cat" + CTRL_J + b"sat" + ALT_ENTER)
    chat.line("down", "cut after 8 tokens; /continue continues it (or /set max_new_tokens 16)")
    chat.line(f"/save {talks}", "has 1 conversation; this one is the last")
    ((asked, answered),) = transcript(talks)
    assert asked == ("user", "The cat\nsat\ndown")
    same = json.loads(run("chat", "-m", model, *SHORT, *ROWS, "--json", stdin=_row(asked)).out)
    assert answered == ("assistant", same["generated_text"])

    chat.line("//a path", "cut after")
    chat.line("/undo", "removed: /a path")
    chat.line("/set temperature hot", "/set temperature hot: give a number, or default")
    chat.line("/set temperature 1", "temperature: 1.0")
    chat.line("/set top-k 0", "top_k: 0")
    chat.line("/set seed 7", "seed: 7")
    chat.line("/retry", "cut after")
    chat.line("/system Be kind.", "system message: Be kind.")
    chat.line(f"/save {talks}", "has 2 conversations")
    system, *turn = transcript(talks)[1]
    assert system == ("system", "Be kind.")
    assert [role for role, _ in turn] == ["user", "assistant"]
    assert turn[0] == asked
    assert turn[1] != answered
    chat.line(f"/load {tmp_path / 'gone.jsonl'}", "no such file")
    chat.line(f"/load {talks}", "the last of 2 conversations with 3 messages")
    chat.line("/model nobody/nothing", "is not in the cache")
    chat.line("/model", f"{model}\r\n")
    chat.type(CTRL_D)
    assert chat.process.wait(60) == 0
    assert "Traceback" not in chat.shown


def test_ctrl_c_stops_the_answer_and_not_the_chat(
    endless: Path, tmp_path: Path, terminal: type[Terminal]
) -> None:
    talk, answers = tmp_path / "talk.jsonl", tmp_path / "answers"
    with answers.open("wb") as file:
        chat = terminal("-m", endless, "--max-new-tokens", "90000", stdout=file.fileno())
    chat.until(PROMPT)
    chat.type("Once upon a time\r")
    for _ in range(2):
        _grows(answers)
        chat.type(CTRL_C)
        chat.until("stopped; the answer so far stays")
        chat.until(PROMPT)
        chat.type(UP + b"\r")  # the message again, from the history
    _grows(answers)
    chat.type(CTRL_C)
    chat.until("stopped; the answer so far stays")
    chat.until(PROMPT)
    chat.line(f"/save {talk}", "has 1 conversation")
    (messages,) = transcript(talk)
    assert [role for role, _ in messages] == ["user", "assistant"] * 3
    assert {text for _, text in messages[::2]} == {"Once upon a time"}
    # stdout has the answers from their first words on, and nothing else.
    assert answers.read_bytes().decode() == "".join(text.lstrip() + "\n" for _, text in messages[1::2])
    chat.process.send_signal(signal.SIGTERM)
    assert chat.process.wait(60) == 143
    assert termios.tcgetattr(chat.master) == chat.modes, "the terminal is left as it was found"


def _grows(file: Path) -> None:
    before = file.stat().st_size
    for _ in range(20_000):
        if file.stat().st_size > before + 20:
            return
        time.sleep(0.01)
    raise AssertionError("no answer came")


def _row(*messages: tuple[str, str]) -> str:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in messages]}) + "\n"


def test_rows_of_messages_get_their_replies(model: Path, tmp_path: Path) -> None:
    rows = _row(("user", "The cat")) + _row(("user", "A"), ("assistant", "B"), ("user", "C"))
    piped = run("chat", "-m", model, *SHORT, *ROWS, "--json", stdin=rows)
    assert piped.code == 0, piped.err
    out = [json.loads(line) for line in piped.out.splitlines()]
    assert [row["messages"] for row in out] == [json.loads(line)["messages"] for line in rows.splitlines()]
    plain = run("chat", "-m", model, *SHORT, *ROWS, stdin=rows)
    texts = [row["generated_text"].lstrip() for row in out]  # JSON has it all
    assert plain.out == "".join(" ".join(text.splitlines()) + "\n" for text in texts)
    (tmp_path / "rows.jsonl").write_text(rows)
    files = ("--input", tmp_path / "rows.jsonl", "-o", tmp_path / "out.jsonl")
    assert run("chat", "-m", model, *SHORT, *files).code == 0
    assert (tmp_path / "out.jsonl").read_text() == piped.out
    assert "finished already" in run("chat", "-m", model, *SHORT, *files, "--resume").err
    lines = run("chat", "-m", model, *SHORT, "--lines", "--json", stdin="The cat\n")
    assert json.loads(lines.out) == {"prompt": "The cat", "generated_text": out[0]["generated_text"]}


def test_a_row_longer_than_the_context_loses_its_oldest_turns_and_says_so(model: Path) -> None:
    turns = [(role, f"Number {i} please") for i in range(12) for role in ("user", "assistant")]
    long = _row(("system", "Be kind."), *turns, ("user", "And?"))
    row = json.loads(run("chat", "-m", model, *SHORT, *ROWS, "--json", stdin=long).out)
    dropped = row["dropped_messages"]
    assert dropped % 2 == 0
    assert 0 < dropped < 24
    left = _row(("system", "Be kind."), *turns[dropped:], ("user", "And?"))
    short = json.loads(run("chat", "-m", model, *SHORT, *ROWS, "--json", stdin=left).out)
    assert "dropped_messages" not in short
    assert short["generated_text"] == row["generated_text"]
    alone = run("chat", "-m", model, *SHORT, *ROWS, stdin=_row(("user", "moon " * 200)))
    assert alone.code == 2
    assert re.search(r"stdin:1: the last turn alone makes a prompt of \d+ tokens", alone.err)


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["--json"], None, "--json applies to rows"),
        (["-o", "out.jsonl"], None, "--output applies to rows"),
        (["--field", "question"], None, "--field applies to rows"),
        (["--resume"], None, "--resume applies to an output file"),
        (["--temperature", "-1"], None, "--temperature must be 0 or more"),
        (
            ["--num-return-sequences", "2", "--temperature", "1"],
            None,
            "a conversation continues with one answer",
        ),
        ([*ROWS], '{"messages": []}\n', "stdin:1: `messages` must be a list"),
        ([*ROWS], '{"messages": [{"role": "user"}]}\n', "stdin:1: turn 1"),
        ([*ROWS], "Tell me a story\n", "stdin:1: not JSON"),
        ([], " \n", "stdin is empty"),
    ],
)
def test_bad_usage(model: Path, arguments: list[str], stdin: str | None, said: str) -> None:
    result = run("chat", "-m", model, *arguments, stdin=stdin)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("stdin", [None, "Hello"])
def test_a_model_must_have_a_chat_template(tiny_model: TinyModel, stdin: str | None) -> None:
    plain = run("chat", "-m", tiny_model("llama"), stdin=stdin)
    assert plain.code == 2
    assert "has no chat template, so it cannot chat" in plain.err
    assert "llmkit generate" in plain.err


def test_without_a_model_the_embedded_storyteller_answers() -> None:
    asked = "Tell me a story about a dog and a red ball."
    short = ("--seed", "1", "--max-new-tokens", "60")
    result = run("chat", asked, *short)
    assert result.code == 0, result.err
    assert len(result.out.split()) > 20
    assert run("chat", *short, stdin=asked + "\n").out == result.out


def test_an_answer_is_shown_from_its_first_word_on(capsys: pytest.CaptureFixture[str]) -> None:
    from llmkit.cli.chat import _show
    from llmkit.cli.chat.wrap import WordWrap

    out = WordWrap()
    show = _show(out)
    for piece in (" ", "\n Once", " upon"):
        show(piece, False)
    out.end()
    assert capsys.readouterr().out == "Once upon\n"


def test_turns_that_the_model_does_not_see_are_told(model: Path) -> None:
    turns = [("user", "The cat"), ("assistant", "moon " * 20)] * 40
    short = run("chat", "-m", model, *SHORT, *ROWS, stdin=_row(("user", "The cat")))
    long = run("chat", "-m", model, *SHORT, *ROWS, stdin=_row(*turns, ("user", "The dog")))
    assert (short.code, long.code) == (0, 0)
    assert "their oldest turns" not in short.err
    assert "1 prompt longer than the" in long.err
    assert "their oldest turns" in long.err
