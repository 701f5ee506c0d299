"""Measure a model: loading, first token, one stream, batch, memory. Other programs take turns with it."""

from __future__ import annotations

import gc
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmkit.benchmark import limits as machine
from llmkit.benchmark.peers import PeerContext, open_peers
from llmkit.benchmark.results import (
    BenchmarkOptions,
    BenchmarkResult,
    Bound,
    Quantity,
    SystemResult,
)
from llmkit.benchmark.systems import (
    BatchRun,
    BenchmarkPrompt,
    Clock,
    EngineSystem,
    PromptSource,
    SingleRun,
    System,
    check_context,
)
from llmkit.errors import LLMKitError, one_line
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    from llmkit.benchmark.limits import ModelWork
    from llmkit.engines.transformers.engine import TransformersEngine
    from llmkit.runtime.spec import ModelSpec

Progress = Callable[[int, int], None]
_ENOUGH_LOADING = 20.0
"""Seconds of loading after which a model is not loaded again: quantizing a large one takes minutes."""


def benchmark(
    spec: ModelSpec,
    options: BenchmarkOptions | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> BenchmarkResult:
    """Measure a model on this machine.

    Every round has new prompts. In a round each program answers one prompt alone and then a batch; the order
    of the programs changes in each round. The first round does not count.

    Args:
        spec: the model, for the task ``text-generation``.
        options: lengths, rounds, and the programs to compare with.
        progress: takes (rounds done, rounds in all).

    Raises:
        OptionError: an option has a bad value.
        InputError, LLMKitError: the model cannot be loaded or run.
    """
    options = options or BenchmarkOptions()
    options.check()
    import torch
    import transformers

    assert transformers.__version__
    before = torch.get_num_threads()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        with _guessing(options.guesses), temporary_folder("bench") as folder:
            return _benchmark(spec, options, folder, progress)
    finally:
        torch.set_num_threads(before)


def _benchmark(
    spec: ModelSpec, options: BenchmarkOptions, folder: Path, progress: Progress
) -> BenchmarkResult:
    import torch

    cores = os.cpu_count() or 1
    reasons = machine.signs_of_load(machine.load_average(), cores, machine.calibrate())
    engine, own = _load_and_warm(spec, options)
    loaded = engine.loaded
    reached = machine.measure_limits(str(loaded.device), loaded.dtype)
    context = PeerContext(
        spec,
        reached.dtype,
        loaded.is_encoder_decoder,
        options,
        torch.get_num_threads(),
        folder,
    )
    work = machine.model_work(loaded.model)
    source = PromptSource(loaded.tokenizer, options)
    peers, skipped = open_peers(context)
    ours = EngineSystem(engine)
    try:
        runs = take_turns([ours, *peers], source, options.repeats, progress)
    finally:
        for peer in peers:
            peer.close()
    if work is not None:
        own[-1] = _memory(own[-1], work, options)
    own += _starts(options)
    bounds = machine.bounds(work, reached, source.one(), source.batch()) if work else {}
    results = [_result(one, runs[one.name], bounds) for one in [ours, *peers]]
    first = results[0]
    results[0] = SystemResult(first.name, (*own, *first.measurements), first.notes)
    # The load average is our own by now; the loop is not.
    reasons += [
        f"{sign} after the rounds" for sign in machine.signs_of_load(None, cores, machine.calibrate())
    ]
    return BenchmarkResult(
        model=spec.name,
        dtype=reached.dtype,
        quantize=spec.quantize,
        device=str(loaded.device),
        threads=context.threads,
        options=options,
        limits=reached,
        systems=(*results, *skipped),
        busy=bool(reasons),
        reasons=tuple(reasons),
        notes=(*engine.notes, *_about_loading(own[0], options), *_about_limits(work)),
        versions=_versions(),
    )


def _load_and_warm(spec: ModelSpec, options: BenchmarkOptions) -> tuple[TransformersEngine, list[Quantity]]:
    """Load a model once, and again in each round if loading is fast.

    Returns:
        The model that was loaded last, and measurements of loading and memory.
    """
    from llmkit.engines.open import open_engine

    loading: list[float] = []
    memory = 0.0
    for number in range(options.repeats):
        started = time.perf_counter()
        engine = cast("TransformersEngine", open_engine(spec))
        loading.append(time.perf_counter() - started)
        if number == 0:
            # Before a second copy, or another program in this process, needs memory too.
            check_context(options, engine)
            source = PromptSource(engine.tokenizer, options)
            system = EngineSystem(engine)
            system.single(source.one())
            system.many(source.batch())
            memory = float(machine.peak_memory())
        if number + 1 == options.repeats or sum(loading) >= _ENOUGH_LOADING:
            break
        system = engine = None  # type: ignore[assignment]
        gc.collect()
    return engine, [
        Quantity("load", "s", tuple(loading)),
        Quantity("peak memory", "bytes", (memory,)),
    ]


def _about_loading(load: Quantity, options: BenchmarkOptions) -> list[str]:
    times, seconds = len(load.samples), load.median
    if times == options.repeats:
        return []
    return [f"loaded {times} instead of {options.repeats} times, since a load takes {seconds:.0f} s"]


def _about_limits(work: ModelWork | None) -> list[str]:
    if work is None:
        return ["a mixture of experts: what a step reads is not known, so no limits are given"]
    if work.quantized:
        return ["quantized: arithmetic in few bits is not measured, so only decoding has a limit"]
    return []


def _memory(found: Quantity, work: ModelWork, options: BenchmarkOptions) -> Quantity:
    """Add the limit of memory: the weights as stored, and the cache of the batch."""
    cache = options.batch * (options.prompt_tokens + options.new_tokens) * work.cache_bytes
    return Quantity(found.name, found.unit, found.samples, Bound(float(work.model_bytes + cache), "memory"))


def take_turns(
    systems: Sequence[System], source: PromptSource, repeats: int, progress: Progress
) -> dict[str, Runs]:
    """Run programs on the same prompts in alternation, so that noise affects all of them equally.

    If a program other than the first fails, it is skipped from then on, with a note.

    Args:
        systems: the programs, llmkit first.
        source: gives the prompts.
        repeats: rounds that count; one more warms up.
        progress: takes (rounds done, rounds in all).

    Returns:
        The runs by the program's name.
    """
    runs = {one.name: Runs() for one in systems}
    failed: set[str] = set()
    for number in range(repeats + 1):
        prompt, batch = source.one(), source.batch()
        turns = [systems[(number + i) % len(systems)] for i in range(len(systems))]
        for system in turns:
            if system.name in failed:
                continue
            try:
                single = system.single(prompt)
                many = system.many(batch)
            except Exception as error:
                if system is systems[0]:
                    raise
                failed.add(system.name)
                runs[system.name].failure = one_line(error)
                continue
            if number:
                runs[system.name].add(single, many)
        progress(number + 1, repeats + 1)
    return runs


class Runs:
    """The counted runs of one program.

    Attributes:
        single: runs of one prompt.
        many: runs of a batch.
        failure: reason why the program was skipped; None if it ran.
    """

    def __init__(self) -> None:
        self.single: list[SingleRun] = []
        self.many: list[BatchRun] = []
        self.failure: str | None = None

    def add(self, single: SingleRun | None, many: BatchRun | None) -> None:
        """Take the runs of a round."""
        self.single += [] if single is None else [single]
        self.many += [] if many is None else [many]


def _result(system: System, runs: Runs, bounds: dict[str, Bound]) -> SystemResult:
    if runs.failure is not None:
        return SystemResult(system.name, (), tuple(system.notes), runs.failure)
    columns = {
        ("first token", "s"): [one.first for one in runs.single],
        ("prefill", "tokens/s"): [one.prompt_tokens / one.first for one in runs.single],
        ("decode", "tokens/s"): [one.later_tokens / one.later for one in runs.single],
        ("batch", "tokens/s"): [one.tokens / one.seconds for one in runs.many],
    }
    found = [
        Quantity(name, unit, tuple(samples), bounds.get(name))
        for (name, unit), samples in columns.items()
        if samples
    ]
    return SystemResult(system.name, tuple(found), tuple(system.notes))


def _starts(options: BenchmarkOptions) -> list[Quantity]:
    """Time commands to their first byte of output."""
    found: dict[str, list[float]] = {name: [] for name, _ in options.start}
    for number in range(options.repeats + 1 if options.start else 0):
        for name, command in options.start:
            seconds = first_output(command)
            if number:
                found[name].append(seconds)
    return [Quantity(name, "s", tuple(taken)) for name, taken in found.items()]


def first_output(command: Sequence[str], clock: Clock = time.perf_counter) -> float:
    """Return the seconds from starting a command to its first byte on stdout; end it then.

    Raises:
        LLMKitError: it wrote nothing.
    """
    started = clock()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = process.stdout.read(1)
        seconds = clock() - started
        reason = "" if seen else process.stderr.read().decode(errors="replace")
        process.kill()
    if not seen:
        raise LLMKitError(f"{command[0]} wrote nothing: {one_line(reason or 'no message')}")
    return seconds


@contextmanager
def _guessing(wanted: bool) -> Iterator[None]:
    """Turn guessing of tokens on or off."""
    from llmkit.engines.transformers import step_decoder

    before = step_decoder.GUESSING_ROWS
    step_decoder.GUESSING_ROWS = before if wanted else 0
    try:
        yield
    finally:
        step_decoder.GUESSING_ROWS = before


def _versions() -> dict[str, Any]:
    import torch
    import transformers

    import llmkit

    return {
        "llmkit": llmkit.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


__all__ = ["BenchmarkPrompt", "Runs", "benchmark", "first_output", "take_turns"]
