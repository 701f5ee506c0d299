"""`--processes`: a bound, and workers that end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import assert_refused, run

WORKER = """
import time
from llmkit.cli.common import launch
launch.launch(2)
print("here", flush=True)
time.sleep(60)
"""
ORPHAN = """
from llmkit.cli.common import console, launch
try:
    launch.launch(2)
except console.Exit as ended:
    print(ended.code)
"""
LAUNCHER = """
import os, subprocess, sys, time
os.environ |= {"LLMKIT_LAUNCHER": str(os.getpid()), "RANK": "0", "WORLD_SIZE": "2"}
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True)
worker.stdout.readline()
print(worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
@pytest.mark.parametrize("number", ["100000", "0", "-1"])
def test_too_many_processes_are_refused_before_one_starts(verb: str, number: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The cat saw the dog.\n")
    more = ("--dry-run", "-o", tmp_path / "out")
    assert_refused(run(verb, tmp_path / "text.txt", "--processes", number, *more), number, option="processes")


def ended(pid: int) -> bool:
    """Tell if a process is gone, or a zombie that nobody collects."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells a process of its parent's end")
def test_a_worker_ends_when_its_launcher_is_killed() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, WORKER], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    worker = int(launcher.stdout.readline())
    try:
        assert not ended(worker)
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
        until = time.monotonic() + 20
        while not ended(worker) and time.monotonic() < until:
            time.sleep(0.05)
        assert ended(worker)
    finally:
        launcher.stdout.close()
        if not ended(worker):
            os.kill(worker, signal.SIGKILL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells a process of its parent's end")
def test_a_worker_whose_launcher_is_gone_ends_at_once() -> None:
    environment = {**os.environ, "LLMKIT_LAUNCHER": "1", "RANK": "0", "WORLD_SIZE": "2"}
    done = subprocess.run([sys.executable, "-c", ORPHAN], env=environment, capture_output=True, text=True)
    assert done.stdout == "143\n"
