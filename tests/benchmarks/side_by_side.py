"""Time several things by turns, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence


def seconds_of(things: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median wall-clock seconds of each thing over `rounds` rounds, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in things}
    for number in range(rounds + 1):
        for name, thing in things.items():
            started = time.perf_counter()
            thing()
            if number:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def command(arguments: Sequence[str], until_output: bool = False) -> Callable[[], object]:
    """A function that runs a command to its end, or to its first byte on stdout."""

    def run() -> None:
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            if until_output:
                assert process.stdout.read(1), arguments
                process.kill()
            else:
                process.stdout.read()
                assert process.wait() == 0, arguments

    return run


def report(title: str, seconds: Mapping[str, float], base: str, goal: str = "") -> None:
    """Print each median and its ratio to `base`."""
    print(f"\n{title}{f' (goal {goal})' if goal else ''}")
    for name, taken in seconds.items():
        print(f"  {name:<46}{taken * 1000:>10.1f} ms  x{taken / seconds[base]:.2f}")
