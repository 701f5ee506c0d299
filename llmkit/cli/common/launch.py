"""`--processes N`: run the same command in N processes on this machine, with torch's launcher."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from llmkit.cli.common import console
from llmkit.errors import InputError, OptionError
from llmkit.temporary import temporary_folder

_SECONDS_TO_REPORT = 60
"""Seconds that other ranks wait while rank 0 reports an error and exits."""


# Number of processes that is allowed on any machine; a larger number must not exceed the cores.
_FEW = 8
_LAUNCHER = "LLMKIT_LAUNCHER"
_PR_SET_PDEATHSIG = 1


def is_worker() -> bool:
    """Return True if a launcher (torchrun or accelerate launch, also under SLURM) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_main_process() -> bool:
    """Return True if this process prints for all processes."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def report_once() -> Iterator[None]:
    """Let only local rank 0 report bad input, because all ranks find the same errors."""
    try:
        yield
    except InputError as error:
        if int(os.environ.get("LOCAL_RANK", "0")) == 0:
            raise
        # The launcher kills every rank when one exits, so wait until rank 0 has printed.
        time.sleep(_SECONDS_TO_REPORT)
        raise console.Exit(error.exit_code) from None


def mute_other_ranks() -> None:
    """Disable notices, except on rank 0."""
    if not is_main_process():
        console.state.quiet = True


def _end_with_launcher() -> None:
    """Let Linux end this process if the launcher is killed: otherwise its training would continue.

    The signal is SIGTERM, so that the training saves a checkpoint first.
    """
    launcher = os.environ.get(_LAUNCHER)
    if launcher is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(launcher):  # it was killed before the call
        raise console.Exit(128 + signal.SIGTERM)


def launch(processes: int) -> None:
    """Run this command in `processes` processes and exit with their code. In one of them, return at once.

    Raises:
        OptionError: `processes` is below 1, or more than the machine can run.
        console.Exit: with the processes' exit code.
    """
    if processes < 1:
        raise OptionError("processes", f"must be 1 or more, not {processes}")
    most = max(_FEW, os.cpu_count() or 1)
    if processes > most:
        raise OptionError("processes", f"must be at most {most} on this machine, not {processes}")
    if is_worker():
        _end_with_launcher()
        return
    if processes == 1:
        return
    import torch.distributed.launcher.api  # noqa: F401

    # torch's launcher logs each signal and each child process.
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Give each process its share of the cores; by default each would use all of them.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ[_LAUNCHER] = str(os.getpid())
    with temporary_folder("launch") as logs:
        _run(processes, logs)


def _run(processes: int, logs: Path) -> NoReturn:
    """Start the processes, wait for them, and exit with their code."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=f"llmkit-{os.getpid()}",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(logs)),  # otherwise torch leaves a folder in $TMPDIR
    )
    try:
        elastic_launch(config, sys.executable)("-m", "llmkit", *sys.argv[1:])
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        own = [code for code in codes if code > 0]
        # The first process that exits by itself shows the cause; the launcher kills the others by a signal.
        raise console.Exit(own[0] if own else 1) from None
    except SignalException as error:
        # The processes received it too, and have saved their state.
        raise console.Exit(128 + int(error.sigval)) from None
    raise console.Exit(0)
