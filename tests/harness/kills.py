"""Check what every kill of a command leaves: the states of its folder before each call that changes it."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.forks import Done, Forks, digest
from tests.harness.runs import Case

_STATE = ".state"


@dataclass
class Bench:
    """A folder in which one case runs again and again, always under the same path.

    Attributes:
        forks: runs the commands.
        inputs: folder of `make_inputs`.
        folder: for everything else.
    """

    forks: Forks
    inputs: Path
    folder: Path
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The commands' working directory, which is watched; it holds the state folder as well."""
        return self.folder / "work"

    def restore(self, state: Path | None) -> None:
        """Put the working directory into a state; None empties it."""
        shutil.rmtree(self.work, ignore_errors=True)
        if state is None:
            self.work.mkdir(parents=True)
        else:
            shutil.copytree(state, self.work, symlinks=True)

    def run(
        self,
        case: Case,
        *flags: str,
        older: bool = False,
        kill_at: int = 0,
        refuse: tuple[int, int, int] | None = None,
        copies: bool = False,
    ) -> Done:
        """Run a case's command; see `Forks.run`."""
        where = self.folder / "copies"
        if copies:
            shutil.rmtree(where, ignore_errors=True)
        return self.forks.run(
            case.arguments(self.inputs, *flags, older=older),
            cwd=self.work,
            watch=self.work if copies or kill_at or refuse else None,
            kill_at=kill_at,
            refuse=refuse,
            copies=where if copies else None,
            env={"XDG_STATE_HOME": str(self.work / _STATE)},
        )

    def files(self, case: Case) -> dict[str, bytes]:
        """Return names and contents in the working directory; of volatile files, of folders, nothing."""
        found = {}
        for path in self.work.rglob("*"):
            name = path.relative_to(self.work)
            if name.parts[0] != _STATE:
                opaque = path.is_dir() or path.name in case.volatile
                found[str(name)] = b"" if opaque else path.read_bytes()
        return found


def points(done: Done) -> list[tuple[int, Path]]:
    """Return the states of a run to check: of a row of writes to one file the first two and the last."""
    chosen: list[tuple[int, Path]] = []
    for _, run in itertools.groupby(done.states, key=lambda state: _writing(done, state[0])):
        group = list(run)
        chosen += group if not _writing(done, group[0][0]) or len(group) < 5 else [*group[:3], *group[-2:]]
    return chosen


def _writing(done: Done, number: int) -> str:
    """Return the file that the call of this number and the one before it write; or nothing."""
    if not 0 < number < len(done.calls):
        return ""
    calls = [done.calls[i].partition("write ") for i in (number - 1, number)]
    return calls[1][2] if calls[0][2] == calls[1][2] else ""


def is_refusal(done: Done) -> bool:
    """Return True if a command ended with one line of error, as the manual promises for bad input."""
    errors = [line for line in done.err.splitlines() if line.startswith("llmkit: error: ")]
    return done.code == 2 and len(errors) == 1 and not re.search("unexpected|Traceback", done.err)


def killed_when_fresh(bench: Bench, case: Case, every: int = 1) -> tuple[int, list[str]]:
    """Kill a first run everywhere; return the number of kills, and what is wrong after which of them."""
    bench.restore(None)
    whole = bench.run(case, copies=True)
    assert whole.code in (0, 3), whole.err
    wanted, states, faults = bench.files(case), points(whole)[::every], []
    for count, (number, state) in enumerate(states):
        place = f"{case.name}, killed before {_name(whole, number)}"
        if count % 4 == 0:
            faults += [f"{place}: {fault}" for fault in _after_plain(bench, case, state, whole, wanted)]
        bench.restore(state)
        faults += [f"{place}: {fault}" for fault in after_again(bench, case, whole, wanted)]
    return len(states), faults


def killed_when_replacing(bench: Bench, case: Case, every: int = 1) -> tuple[int, list[str]]:
    """Kill a run that replaces an older result everywhere."""
    bench.restore(None)
    assert bench.run(case, older=True).code in (0, 3)
    older = bench.files(case)
    whole = bench.run(case, "--overwrite", copies=True)
    assert whole.code in (0, 3), whole.err
    wanted, states, faults = bench.files(case), points(whole)[::every], []
    for number, state in states:
        place = f"{case.name}, replacing an older result, killed before {_name(whole, number)}"
        bench.restore(state)
        left = bench.files(case)
        for group in case.kept:
            names = group.split("+")
            if not any(all(left.get(name) == of[name] for name in names) for of in (older, wanted)):
                faults.append(f"{place}: {group} is lost or torn")
        for path, proof in ((n, f"{n}.proof.json") for n in older if f"{n}.proof.json" in left):
            if not any((left[path], left[proof]) == (of[path], of[proof]) for of in (older, wanted)):
                faults.append(f"{place}: {proof} is about another file")
        faults += [f"{place}: {fault}" for fault in after_again(bench, case, whole, wanted)]
    return len(states), faults


def _name(done: Done, number: int) -> str:
    call = done.calls[number] if number < len(done.calls) else "the end"
    return f"call {number} of {len(done.calls)} ({call})"


def _after_plain(
    bench: Bench, case: Case, state: Path, whole: Done, wanted: dict[str, bytes]
) -> Iterator[str]:
    """Run the same command again, without a flag: it does its work, or refuses and changes nothing.

    It may remove what the killed command left in its hidden folder.
    """
    bench.restore(state)
    before = digest(bench.work, but=".unfinished")
    done = bench.run(case)
    if done.code == whole.code:
        yield from _differences(bench, case, wanted, "run again")
    elif not is_refusal(done):
        yield f"run again: code {done.code}: {done.err[-300:]}"
    elif digest(bench.work, but=".unfinished") != before:
        yield "run again: it refuses, and changes the folder"


def after_again(bench: Bench, case: Case, whole: Done, wanted: dict[str, bytes]) -> Iterator[str]:
    """Continue: the same bytes, or a refusal that `--overwrite` clears."""
    done = bench.run(case, case.again)
    if done.code == whole.code or (done.code == 0 and "finished already" in done.err):
        yield from _differences(bench, case, wanted, case.again)
        return
    if not is_refusal(done):
        yield f"{case.again}: code {done.code}: {done.err[-300:]}"
    else:
        bench.counts["refused"] = bench.counts.get("refused", 0) + 1
    done = bench.run(case, "--overwrite")
    if done.code != whole.code:
        yield f"--overwrite after {case.again}: code {done.code}: {done.err[-300:]}"
    else:
        yield from _differences(bench, case, wanted, "--overwrite")


def _differences(bench: Bench, case: Case, wanted: dict[str, bytes], flag: str) -> Iterator[str]:
    found = bench.files(case)
    names = [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
    if names:
        kinds = ["left over" if n not in wanted else "missing" if n not in found else "other" for n in names]
        yield f"{flag}: " + ", ".join(f"{n} ({k})" for n, k in zip(names[:4], kinds, strict=False))


def killed_when_continuing(bench: Bench, case: Case, every: int = 1) -> tuple[int, list[str]]:
    """Kill a first run in the middle, and the run that continues it everywhere."""
    bench.restore(None)
    whole = bench.run(case, copies=True)
    wanted, faults = bench.files(case), []
    bench.restore(whole.states[len(whole.states) * 2 // 3][1])
    again = bench.run(case, case.again, copies=True)
    states = points(again)[1::every]
    for number, state in states:
        place = f"{case.name}, killed while it continued before {_name(again, number)}"
        bench.restore(state)
        faults += [f"{place}: {fault}" for fault in after_again(bench, case, whole, wanted)]
    return len(states), faults


def killed_for_real(bench: Bench, case: Case, every: int = 1) -> tuple[int, list[str]]:
    """Let a first run end itself by SIGKILL at six places: what the copies stand for."""
    bench.restore(None)
    whole = bench.run(case, copies=True)
    wanted, faults = bench.files(case), []
    numbers = range(1, len(whole.calls) + 1, max(len(whole.calls) // 5, 1))
    for number in numbers:
        place = f"{case.name}, ended by SIGKILL before {_name(whole, number - 1)}"
        bench.restore(None)
        done = bench.run(case, kill_at=number)
        if done.code != -signal.SIGKILL:
            faults.append(f"{place}: code {done.code}")
        faults += [f"{place}: {fault}" for fault in after_again(bench, case, whole, wanted)]
    return len(numbers), faults
