"""`--processes N`: the same command in N processes on this machine, through torch's own launcher."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from llmkit.cli.common import console
from llmkit.errors import InputError

_TELLING = 60
"""Seconds that a process waits for the first to tell what is wrong, and to end with it."""


def is_worker() -> bool:
    """Whether a launcher (torchrun, accelerate launch, SLURM with them) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_main_process() -> bool:
    """Whether this process is the one that prints what all of them would."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def report_once() -> Iterator[None]:
    """Of bad input, which all processes find, the first of each machine tells."""
    try:
        yield
    except InputError as error:
        if int(os.environ.get("LOCAL_RANK", "0")) == 0:
            raise
        # The launcher ends all when one has ended: the first shall have told it by then.
        time.sleep(_TELLING)
        raise typer.Exit(error.exit_code) from None


def mute_other_ranks() -> None:
    """Leave notices to the first process."""
    if not is_main_process():
        console.state.quiet = True


def launch(processes: int) -> None:
    """Run this very command in `processes` processes and exit as they do; does nothing in one of them.

    Raises:
        InputError: a number that makes no sense.
        typer.Exit: with the processes' exit code.
    """
    if processes < 1:
        raise InputError(f"--processes {processes}: at least 1")
    if is_worker() or processes == 1:
        return
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # torch's launcher tells of each signal and each child in lines of its own.
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Each process gets its share of the cores; without this every one of them would take all.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=f"llmkit-{os.getpid()}",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "llmkit", *sys.argv[1:])
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        told = [code for code in codes if code > 0]
        # What ended one process ends the others by a signal: the first that ended by itself tells why.
        raise typer.Exit(told[0] if told else 1) from None
    except SignalException as error:
        # The processes got it too, and have saved what they had.
        raise typer.Exit(128 + int(error.sigval)) from None
    raise typer.Exit(0)
