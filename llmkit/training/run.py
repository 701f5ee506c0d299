"""One training run, whatever it teaches: its folder, its checkpoints, and the way back into them.

Public: `check_output`, `try_writing`, `is_finished`, `run_on_main_process`, `Run`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.training import checkpoints

if TYPE_CHECKING:
    from accelerate import PartialState

    from llmkit.training.trainer import Job, Step, SummedLossTrainer

# What a run writes into its folder; --overwrite removes these and nothing else.
OURS = (
    "checkpoints",
    "metrics.jsonl",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "report.html",
    "loss.svg",
    "README.md",
)
# What is made before it is known whether a run will come of it; it counts for nothing and is replaced.
UNFINISHED = "unfinished-corpus"


def check_output(output: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse an output that is in the way or cannot be written; nothing is touched yet.

    Raises:
        InputError: it is a file, nothing can be made there, or it is not empty and neither to be resumed nor
            overwritten.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    try:
        if output.exists() and not output.is_dir():
            raise InputError(f"-o {output}: is a file; the model needs a folder")
        # What another process of this run tries out in the same moment is not in the way.
        held = [
            path
            for path in (output.iterdir() if output.is_dir() else ())
            if not path.name.startswith(UNFINISHED)
        ]
        if held and not (resume or overwrite):
            raise InputError(
                f"-o {output}: not empty; --resume goes on with its run, --overwrite starts anew"
            )
        try_writing(output)
    except OSError as error:
        raise InputError(f"-o {output}: cannot write there: {error.strerror}") from None


def try_writing(folder: Path) -> None:
    """Write in a folder, or in the nearest one above that is there, and leave nothing.

    Tried, since permissions do not tell all of it (a disk mounted to be read; root, whom they do not bind).

    Raises:
        OSError: it cannot be done.
    """
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    with TemporaryFile(dir=nearest, prefix=UNFINISHED):
        pass


def is_finished(output: Path) -> bool:
    """Whether a folder holds the result of a run that came to its end, and nothing that one could go on with.

    A run removes an older result before its first step, and writes the model's configuration last of all.
    """
    begun = (output / "checkpoints" / checkpoints.RUN_FILE, output / UNFINISHED)
    if any(path.exists() for path in begun) or not (output / "metrics.jsonl").is_file():
        return False
    return any((output / name).is_file() for name in ("config.json", "adapter_config.json"))


def run_on_main_process(device: str, work: Callable[[], Any]) -> Any:
    """Have the first process do something for all, who wait for it however long it takes, and get its result.

    Raises:
        LLMKitError: what it raised, in every process.
    """
    state = _state(device)
    if state.num_processes == 1:
        return work()
    import torch.distributed as dist

    # A process does not wait long for one that does not answer; this one may work for hours.
    group = dist.new_group(backend="gloo", timeout=timedelta(days=30))
    result, failed = None, None
    if state.is_main_process:
        try:
            result = work()
        except LLMKitError as error:
            # Not as it is: an exception with arguments of its own cannot be sent.
            failed = (InputError if isinstance(error, InputError) else LLMKitError)(str(error))
    told = [result, failed]
    with _others_lost():
        dist.broadcast_object_list(told, src=0, group=group)
    if told[1] is not None:
        raise told[1]
    return told[0]


def _state(device: str) -> PartialState:
    from accelerate import PartialState

    # How long a process waits for one that does not answer; torch's half an hour is long to a user.
    wait = timedelta(seconds=int(os.environ.get("LLMKIT_PROCESS_TIMEOUT", "600")))
    return PartialState(cpu=device == "cpu", timeout=wait)


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes:
        output: the folder.
        start: the checkpoint to go on from; None begins.
        main: whether this process is the one that writes.
    """

    output: Path
    start: Path | None
    main: bool

    @property
    def checkpoints(self) -> Path:
        return self.output / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.output / "metrics.jsonl"

    @classmethod
    def open(
        cls,
        output: Path,
        options: dict[str, Any],
        steps: int,
        *,
        device: str,
        resume: bool,
        notice: Callable[[str], None],
    ) -> Run:
        """Make the folder for a run with these options, or find the place to go on in it.

        Args:
            output: checked by `check_output`.
            options: what makes it this run and no other, as JSON.
            steps: of the whole run.
            device: trained on: processes find each other by it.
            resume: go on with the run that is there.
            notice: called with a sentence that the user should read.

        Raises:
            InputError: nothing can be written there, or what is there is another run.
        """
        state = _state(device)
        folder, start = output / "checkpoints", None
        if state.is_main_process:
            if resume:
                checkpoints.check_run(folder, options)
            else:
                _make(output, folder, options)
        state.wait_for_everyone()
        if resume:
            if state.is_main_process:
                # It removes what is torn, which only one may do.
                checkpoints.newest_whole(folder, steps, notice)
            state.wait_for_everyone()
            start = checkpoints.newest_whole(folder, steps, notice)
            step = checkpoints.step_of(start) if start else 0
            if state.is_main_process:
                checkpoints.cut_metrics(output / "metrics.jsonl", step if start else -1)
                notice(
                    f"resuming after step {step}"
                    if start
                    else "no whole checkpoint: starting from the beginning"
                )
        return cls(output, start, state.is_main_process)

    def train(self, job: Job, on_step: Callable[[Step], None]) -> SummedLossTrainer:
        """Run the training; the Trainer's model then has the weights that were best on what is held out.

        SIGINT and SIGTERM let the running step end and save a checkpoint before they take their usual way.
        """
        from llmkit.training.trainer import MetricsCallback, SummedLossTrainer, no_bars, stop_at_signals

        with no_bars():
            watch = MetricsCallback(self.metrics, on_step)
            teacher = SummedLossTrainer(job, watch)
            with stop_at_signals(watch), _others_lost():
                teacher.train(resume_from_checkpoint=str(self.start) if self.start else None)
        return teacher

    def finish(self, write: Callable[[Path], None], *, last: str, keep_checkpoints: bool = False) -> None:
        """Put the finished model into the folder, whole.

        Args:
            write: writes the model's files into the folder that it is given.
            last: the file that comes last: a folder that has it holds a whole model.
            keep_checkpoints: leave them (pickle files among them) beside it.

        Raises:
            LLMKitError: the disk is full or not to be written to; the checkpoints are still there.
        """
        from accelerate import PartialState

        with _others_lost():
            # What they may still read lies among the checkpoints.
            PartialState().wait_for_everyone()
        if not self.main:
            return
        unfinished = self.checkpoints / "finished"
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            write(unfinished)
            for file in sorted(unfinished.iterdir(), key=lambda file: file.name == last):
                # safetensors makes its file readable by its owner alone; a model is not a secret.
                shutil.copymode(self.checkpoints / checkpoints.RUN_FILE, file)
                file.replace(self.output / file.name)
        except OSError as error:
            raise LLMKitError(
                f"-o {self.output}: {error.strerror or error}; --resume tries it again"
            ) from None
        if not keep_checkpoints:
            shutil.rmtree(self.checkpoints)


@contextlib.contextmanager
def _others_lost() -> Iterator[None]:
    """Tell that another process is gone, where gloo or NCCL tell of sockets."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        signs = ("gloo", "NCCL", "Timed out waiting", "Connection closed", "Connection reset", "peer")
        if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not any(sign in reason for sign in signs):
            raise
        raise LLMKitError(
            f"another process of this run is gone or does not answer ({reason[:160]}); --resume goes on from"
            " the newest checkpoint"
        ) from None


def _make(output: Path, folder: Path, options: dict[str, Any], ours: Collection[str] = OURS) -> None:
    try:
        for name in ours:
            if (output / name).is_dir():
                shutil.rmtree(output / name)
            else:
                (output / name).unlink(missing_ok=True)
        folder.mkdir(parents=True)
        checkpoints.write_run(folder, options)
    except OSError as error:
        raise InputError(f"-o {output}: cannot write there: {error.strerror}") from None
