"""A batch run with a pure function for a model, for tests in this process and, as a script, in others.

The function's answer tells the whole batch it came from, so that files are equal only if batches are.
"""

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path

from llmkit.errors import OutOfMemory, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.output import JournaledOutput
from llmkit.records.process import process
from llmkit.records.read import open_rows


def write_input(path, rows, seed=0):
    """A JSONL file of `rows` texts of many lengths, in several scripts."""
    rng = random.Random(seed)
    words = ["once", "upon", "снег", "雪", "🦊", 'a "quote"', "\\", "é"]
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            text = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 20)))
            file.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
    return path


def prepare(rows):
    return [
        RowError(row.where, "is marked bad")
        if "bad" in row.data.get("text", "")
        else PreparedRow(row, len(row.data["text"]), row.data["text"])
        for row in rows
    ]


def work(batch, budget=None):
    together = hashlib.sha256("|".join(prepared.payload for prepared in batch).encode()).hexdigest()[:12]
    return [{"answer": prepared.payload[::-1], "batch": together} for prepared in batch]


def work_in(memory):
    """`work` on a device that holds `memory` padded characters at a time."""

    def limited(batch, budget=None):
        if len(batch) * max(prepared.length for prepared in batch) > memory:
            raise OutOfMemory("the device is full")
        return work(batch)

    return limited


def run(source, target, *, work=work, resume=False, overwrite=False, on_error="fail", header=None, **more):
    """Process `source` into `target`; returns the summary."""
    budget = Budget(tokens=300, rows=None, new_tokens=5)
    rows = open_rows(source)
    settings = {"seed": 7, "input": rows.identity()} if header is None else header
    with JournaledOutput(target, settings, resume=resume, overwrite=overwrite) as output:
        if output.finished:
            return None
        return process(
            rows,
            prepare=prepare,
            work=work,
            output=output,
            budget=budget,
            on_error=on_error,
            **{"window": 16, **more},
        )


class Killer:
    """Kills this process in the n-th call that changes the disk: before it, or half-way through a write."""

    def __init__(self, at):
        self.at = at
        self.calls = 0
        for name in ("open", "write", "fsync", "replace", "unlink", "ftruncate"):
            setattr(os, name, self.counted(getattr(os, name), halves=name == "write"))

    def counted(self, call, halves):
        def counted_call(*args, **kwargs):
            self.calls += 1
            if self.calls == self.at:
                if halves:
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted_call


def in_child(action):
    """Run `action` in a forked child; returns its exit status (negative: the signal that ended it)."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_everywhere(source, folder, every, suffix):
    """Kill a run in every `every`-th call that changes the disk, its resumption in another, and compare.

    Returns:
        How many calls there are, and the points whose finished file is not that of an undisturbed run.
    """
    whole = folder / f"whole{suffix}"
    memory = work_in(220)
    killer_calls = folder / "calls"

    def undisturbed():
        killer = Killer(at=0)
        run(source, whole, work=memory, on_error="skip")
        killer_calls.write_text(str(killer.calls))

    assert in_child(undisturbed) == 0
    calls = int(killer_calls.read_text())
    wrong = []
    for at in range(1, calls + 1, every):
        target = folder / f"killed-{at}{suffix}"

        def first(at=at, target=target):
            Killer(at)
            run(source, target, work=memory, on_error="skip")

        def second(at=at, target=target):
            Killer(1 + at * 7919 % 40)
            run(source, target, work=memory, on_error="skip", resume=True)

        def last(target=target):
            run(source, target, work=memory, on_error="skip", resume=True)

        statuses = [in_child(first), in_child(second), in_child(last)]
        left = sorted(path.name for path in folder.glob(target.name + ".*"))
        same = target.exists() and target.read_bytes() == whole.read_bytes()
        if statuses[0] != -signal.SIGKILL or statuses[2] != 0 or left or not same:
            wrong.append([at, statuses, left, same])
    return {"calls": calls, "wrong": wrong}


def main(command, source, target, *more):
    if command == "everywhere":
        print(json.dumps(kill_everywhere(Path(source), Path(target), int(more[0]), more[1])))
    else:
        # One line a batch, so that whoever reads them can kill this process in the middle.
        run(source, target, resume=True, progress=lambda *told: print(told[0], flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
