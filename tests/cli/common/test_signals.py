"""SIGINT, SIGTERM and SIGHUP at any moment: the right exit code, and nothing on stderr."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmkit.cli.common import signals

CODES = {number: (128 + number, -number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
# Its first statement is that of `llmkit.__main__`; before that, Python prints a traceback of its own start.
START = """
import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)
print(flush=True)
from llmkit.__main__ import main
main()
"""
TRAIN = "-q --device cpu --max-steps 100000 -o out"
# Commands that run for longer than the two seconds in which the signals come.
COMMANDS = {
    "generate": "generate Once --num-return-sequences 64",
    "rows": "generate --input {data} --field text --max-new-tokens 200 -o out.jsonl",
    "translate": "translate --from en --to de -q {text} -o out.txt",
    "finetune": f"finetune {{data}} {TRAIN}",
    "pretrain": f"pretrain {{data}} --params 1m --vocab-size 400 {TRAIN}",
    "quantize": "quantize -m stories --bits 4 --calibration {data} -o out",
    "convert": "convert -m stories --to safetensors -o out",
    "eval": "eval -q --metric perplexity -m stories {data}",
}
# A notice may say that rows are kept, or that a checkpoint is written.
NOTICE = re.compile(r"(llmkit: (interrupted|stopped)[^\n]*\n)*")


def interrupted_after(
    seconds: float, number: signal.Signals, folder: Path, verb: str = "generate"
) -> tuple[int, str]:
    """Start a long command, send it a signal, and return its exit code and its stderr."""
    data = folder / "data.jsonl"
    line = '{{"text": "Once upon a time there were {} dogs. They saw a red ball in the park."}}\n'
    data.write_text("".join(map(line.format, range(2000))))
    text = folder / "text.txt"
    text.write_text("Once upon a time there was a dog.\n\nIt saw a red ball in the park.\n\n" * 500)
    arguments = COMMANDS[verb].format(data=data, text=text).split()
    work = Path(tempfile.mkdtemp(dir=folder))
    process = subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.8])
def test_a_signal_while_starting_ends_the_command(
    seconds: float, number: signal.Signals, tmp_path: Path
) -> None:
    code, err = interrupted_after(seconds, number, tmp_path)
    assert code in CODES[number]
    assert err == ""


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "times"), [(v, 90 if v == "generate" else 30) for v in COMMANDS])
def test_signals_at_random_moments_are_never_lost(
    verb: str, times: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rng, wrong = random.Random(verb), []
    for _ in range(times):
        seconds, number = rng.uniform(0, 2), rng.choice(list(CODES))
        code, err = interrupted_after(seconds, number, tmp_path, verb)
        if code not in CODES[number] or not NOTICE.fullmatch(err):
            wrong.append((seconds, number, code, err))
    record_property("cases", f"signals: {times}")
    assert not wrong, wrong


# A command whose library swallows the signal's exception, or makes an error of its own of it.
LIBRARY = """
import os, signal, sys
from llmkit.cli import main
from llmkit.cli.common import signals

def run(arguments):
    signals.unwind()
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    except BaseException:
        {then}
    return 0

main._run = run
main.main()
"""


@pytest.mark.parametrize("then", ["pass", "signals.check()", "raise ImportError('cannot import name Llama')"])
@pytest.mark.parametrize("number", CODES)
def test_a_swallowed_signal_still_decides_the_exit_code(then: str, number: signal.Signals) -> None:
    script = LIBRARY.format(then=then)
    done = subprocess.run([sys.executable, "-c", script, number.name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (CODES[number][0], "")


# A command that was interrupted, and gets another signal while the interpreter exits.
EXITING = """
import atexit, os, signal
from llmkit.cli import main
atexit.register(os.kill, os.getpid(), signal.SIGINT)
main._run = lambda arguments: (_ for _ in ()).throw(KeyboardInterrupt)
main.main()
"""


def test_a_second_signal_during_exit_prints_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", EXITING], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in CODES}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signals.reset()


def test_an_ignored_signal_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.end_at_once()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_check_raises_again_for_a_signal_that_was_swallowed(handlers: None) -> None:
    signals.end_at_once()
    signals.unwind()
    signals.check()
    with pytest.raises(signals.Terminated):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(signals.Terminated):
        signals.check()
    signals.reset()
    signals.check()


# A library in another language that never returns to Python, as a tokenizer may.
STUCK = """
import collections, itertools, os, sys
from llmkit.cli.common import signals

signals.end_at_once()
if sys.argv[1] == "working":
    signals.unwind()
print(flush=True)
collections.deque(itertools.repeat(None), maxlen=0)
"""


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(("state", "signals_needed"), [("loading", 1), ("working", 2)])
def test_a_library_that_never_returns_can_be_ended(
    state: str, signals_needed: int, number: signal.Signals
) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK, state], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        for _ in range(signals_needed):
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(number)
        assert process.wait(timeout=10) == -number
    finally:
        process.kill()
        process.communicate()
