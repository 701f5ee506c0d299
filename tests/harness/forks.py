"""Run many command lines, each in a fork of one process that has imported everything already.

As a program this is the parent: it reads a job a line and answers each with a line. `Forks` starts it and
sends it jobs. A job can name a folder to watch (see `calls.c`): the command is then killed at a given call
that would change the folder, or the folder is copied before each such call.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 120
# What the verbs import while they work, beside what importing their modules brings along.
MODULES = """
torch transformers peft accelerate safetensors.torch tokenizers yaml jinja2 pyarrow numpy gguf rich typer
transformers.trainer transformers.modeling_utils transformers.generation.utils transformers.integrations
transformers.models.llama.modeling_llama transformers.models.t5.modeling_t5
transformers.models.auto.modeling_auto transformers.models.bert.modeling_bert peft.tuners.lora
torch.utils.data torch.distributed sacrebleu
"""


@dataclass(frozen=True)
class Done:
    """A command that ended.

    Attributes:
        code: its exit code, or minus the signal that ended it.
        out, err: its two streams.
        calls: calls that would change the watched folder, in order: ``open /name`` and so on.
        states: copies of the folder, each with the number of calls before it; equal ones are kept once.
        seconds: wall-clock time.
    """

    code: int
    out: str
    err: str
    calls: list[str]
    states: list[tuple[int, Path]]
    seconds: float


class Forks:
    """A parent process for jobs; a context manager.

    Args:
        folder: for the compiled library and for the streams of the commands.
    """

    def __init__(self, folder: Path) -> None:
        library = folder / "calls.so"
        source = Path(__file__).with_name("calls.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.forks", str(folder)],
            env={**os.environ, "LD_PRELOAD": str(library), "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        watch: Path | None = None,
        kill_at: int = 0,
        refuse: tuple[int, int, int] | None = None,
        copies: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Done:
        """Run a command line of llmkit.

        Args:
            arguments: the command line without the program's name.
            cwd: its working directory.
            watch: the watched folder.
            kill_at: number of the call at which the command kills itself; 0 never does.
            refuse: calls that fail if they need space: number of the first, how many, and their error number.
            copies: folder for copies of the watched folder, one before each call and in the middle of each
                write; None makes none.
            env: more environment variables.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"arguments": arguments, "cwd": str(cwd), "kill_at": kill_at, "env": env or {}}
        job |= {"watch": str(watch or ""), "copies": str(copies or ""), "refuse": refuse}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the parent of the forks is gone"
        found = json.loads(line)
        found["states"] = [(number, Path(path)) for number, path in found["states"]]
        return Done(**found)


def digest(folder: Path, *, but: str | None = None) -> str:
    """Return the SHA-256 of a folder's names, links and contents, without names that end with `but`."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if but is not None and any(part.endswith(but) for part in path.relative_to(folder).parts):
            continue
        kind = "l" if path.is_symlink() else "d" if path.is_dir() else "f"
        found.update(f"{kind} {path.relative_to(folder)}\0".encode(errors="surrogateescape"))
        if kind == "f":
            data = path.read_bytes()
            found.update(b"%d\0" % len(data) + data)
    return found.hexdigest()


def _child(job: dict[str, Any], streams: Path, tell: int, answer: int) -> NoReturn:
    import ctypes

    from llmkit.cli.main import main

    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    for number, name in enumerate(("/dev/null", str(streams / "out"), str(streams / "err"))):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags), number)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = ["llmkit", *job["arguments"]]
    if job["watch"]:
        library = ctypes.CDLL(None)
        library.watch(os.fsencode(job["watch"]), ctypes.c_long(job["kill_at"]), tell, answer)
        if job["refuse"]:
            first, times, number = job["refuse"]
            library.refuse(ctypes.c_long(first), ctypes.c_long(times), number)
    code = 70
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os._exit(code)


def _copied(job: dict[str, Any], told: int, answer: int) -> tuple[list[str], list[tuple[int, str]]]:
    """Read what the child tells until it ends, and copy the folder each time."""
    calls: list[str] = []
    states: list[tuple[int, str]] = []
    seen = set()
    watched, copies = Path(job["watch"]), Path(job["copies"])
    with os.fdopen(told, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            mark = digest(watched)
            if mark not in seen:
                seen.add(mark)
                copy = copies / str(len(calls))
                shutil.copytree(watched, copy, symlinks=True)
                states.append((len(calls), str(copy)))
            calls.append(line.rstrip("\n"))
            os.write(answer, b".")
    return calls, states


def _do(job: dict[str, Any], streams: Path) -> dict[str, Any]:
    started = time.monotonic()
    told, tell = os.pipe()
    heard, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.close(answer)
        _child(job, streams, tell if job["copies"] else -1, heard)
    os.close(tell)
    os.close(heard)
    alarm = threading.Timer(SECONDS, os.kill, (pid, signal.SIGKILL))
    alarm.start()
    try:
        calls, states = _copied(job, told, answer) if job["copies"] else ([], [])
        status = os.waitpid(pid, 0)[1]
    finally:
        alarm.cancel()
        alarm.join()
        os.close(answer)
        if not job["copies"]:
            os.close(told)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": (streams / "out").read_text(encoding="utf-8", errors="replace"),
        "err": (streams / "err").read_text(encoding="utf-8", errors="replace"),
        "calls": calls,
        "states": states,
        "seconds": time.monotonic() - started,
    }


def main(streams: Path) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for name in MODULES.split():
        importlib.import_module(name)
    from llmkit.cli import verbs

    for verb in ("generate", "translate", "qa", "summarize", "eval", "finetune", "pretrain", "merge"):
        verbs.module(verb)
    for path in sorted(Path("llmkit").rglob("*.py")):
        if path.parts[1] in ("records", "runtime", "tasks", "training", "evaluation", "convert", "engines"):
            name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            if not any(own in name for own in ("readers", "worker.programs", "llmkit_metric")):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_do(json.loads(line), streams)), file=answers, flush=True)
    os._exit(0)  # some libraries report at the exit what they leave behind


if __name__ == "__main__":
    main(Path(sys.argv[1]))
