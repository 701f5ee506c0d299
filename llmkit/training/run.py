"""One training run: its options, its folder, its checkpoints, and resuming from them.

Public: `RunOptions`, `RunProgress`, `SilentProgress`, `check_output`, `try_writing`, `locked_output`,
`run_on_main_process`, `TrainingRun`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.errors import InputError, LLMKitError, OptionError, one_line
from llmkit.permissions import use_umask
from llmkit.records.disk import cannot_write, writing
from llmkit.records.output_folder import MODEL_FILES, locked, refuse_foreign
from llmkit.text.names import check_name
from llmkit.training import checkpoints
from llmkit.training.checkpoints import UNFINISHED
from llmkit.training.recipe import DTYPES, check_choice
from llmkit.training.samples import check_samples

if TYPE_CHECKING:
    from accelerate import PartialState

    from llmkit.training.samples import SampleText
    from llmkit.training.trainer import Job, Step, SummedLossTrainer

# Files that a run writes into its folder, besides those of the model; overwriting removes only these.
RUN_FILES = (
    *("checkpoints", "metrics.jsonl", "report.html", "loss.svg", checkpoints.FINISHED),
    *("adapter_config.json", "adapter_model.safetensors"),
)
_KNOWN = (*MODEL_FILES, *RUN_FILES, "adapter_model-*-of-*.safetensors", ".*.unfinished", UNFINISHED)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a training run that are not part of its recipe.

    Attributes:
        eval_data: file of held-out rows or documents, in place of a share of the data.
        save_dtype: dtype of saved weights: "float32", "bfloat16", "float16", or "auto": the dtype that a
            whole model was stored in; float32 for a new model. An adapter stays in float32.
        resume: continue from the newest complete checkpoint in the output folder.
        overwrite: remove the files of an earlier run from the output folder.
        keep_checkpoints: keep the checkpoints (they contain pickle files) with the finished model.
        sample_every: steps between samples, texts that the model writes in training; None writes none, or
            with a prompt some as often as `eval_steps`.
        prompt: texts that samples continue.
    """

    eval_data: str | Path | None = None
    save_dtype: str = "auto"
    resume: bool = False
    overwrite: bool = False
    keep_checkpoints: bool = False
    sample_every: int | None = None
    prompt: tuple[str, ...] = ()

    @property
    def samples(self) -> bool:
        """True if the run writes samples."""
        return self.sample_every is not None or bool(self.prompt)

    def check(self, output: Path) -> None:
        """Refuse bad options, and an output folder that cannot be used; change nothing.

        Raises:
            InputError: naming the option.
        """
        check_choice("save_dtype", self.save_dtype, ("auto", *DTYPES))
        check_name("output", output.absolute())
        check_samples(self.sample_every, self.prompt)
        check_output(output, resume=self.resume, overwrite=self.overwrite)


class RunProgress(Protocol):
    """Receiver of a training run's progress. Inherit from `SilentProgress` to override only some methods."""

    def read(self, documents: int, characters: int) -> None:
        """Report the amount of corpus read (pretraining only); called from time to time, before the plan."""

    def planned(self, plan: Any) -> None:
        """Report the plan (`FinetunePlan` or `PretrainPlan`); called once, before the first step."""

    def step(self, step: Step) -> None:
        """Report a step or a held-out measurement."""

    def sample(self, sample: SampleText) -> None:
        """Report a text that the model wrote (see `RunOptions.sample_every`)."""

    def notice(self, message: str) -> None:
        """Report a sentence that the user should read."""


class SilentProgress(RunProgress):
    """A `RunProgress` that reports nothing."""

    def read(self, documents: int, characters: int) -> None:
        return

    def planned(self, plan: Any) -> None:
        return

    def step(self, step: Step) -> None:
        return

    def sample(self, sample: SampleText) -> None:
        return

    def notice(self, message: str) -> None:
        return


def check_output(output: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse an output folder that is in use or cannot be written; change nothing.

    Raises:
        OptionError: it is a file, it cannot be made, or it is not empty and neither `resume` nor `overwrite`
            is given.
    """
    if resume and overwrite:
        raise OptionError("resume", "and `overwrite` exclude each other")
    try:
        if output.exists() and not output.is_dir():
            raise OptionError("output", f"{output}: is a file; the model needs a folder")
        # Ignore the test files that other processes of this run write at the same moment.
        held = [
            path
            for path in (output.iterdir() if output.is_dir() else ())
            if not path.name.startswith(UNFINISHED)
        ]
        if held and not (resume or overwrite):
            raise OptionError(
                "output", f"{output}: not empty; resume=True continues its run, overwrite=True starts again"
            )
        # In the folder of an earlier run, only the files of that run are removed.
        if held and not resume and not _holds_run(output):
            refuse_foreign(output, _KNOWN)
        try_writing(output)
    except OSError as error:
        raise cannot_write(output, error, option="output") from None


@contextlib.contextmanager
def locked_output(output: Path) -> Iterator[None]:
    """Keep other runs out of an output folder; rank 0 holds the lock for all ranks.

    Raises:
        OptionError: another run is in the folder, or it cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(output))
        except OSError as error:
            raise cannot_write(output, error, option="output") from None
        yield


def _holds_run(output: Path) -> bool:
    marks = ("metrics.jsonl", f"checkpoints/{checkpoints.RUN_FILE}", UNFINISHED)
    return any((output / mark).exists() for mark in marks)


def try_writing(folder: Path) -> None:
    """Write a file into a folder, or into its nearest existing parent, and remove it again.

    Permissions are not enough: a disk may be mounted read-only, and root ignores permissions.

    Raises:
        OSError: the folder cannot be written.
    """
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    with TemporaryFile(dir=nearest, prefix=UNFINISHED):
        pass


def run_on_main_process(device: str, work: Callable[[], Any]) -> Any:
    """Run `work` on rank 0 while the others wait, and return its result on every rank.

    Args:
        device: device to train on; the processes find each other by it.
        work: function whose result can be pickled.

    Raises:
        LLMKitError: raised by `work`; on every rank.
    """
    state = _state(device)
    if state.num_processes == 1:
        return work()
    import torch.distributed as dist

    # The usual timeout is short, and this work may take hours.
    group = dist.new_group(backend="gloo", timeout=timedelta(days=30))
    result, failed = None, None
    if state.is_main_process:
        try:
            result = work()
        except LLMKitError as error:
            # The original cannot be pickled: its constructor takes other arguments.
            failed = (InputError if isinstance(error, InputError) else LLMKitError)(str(error))
    outcome = [result, failed]
    with _report_lost_processes():
        dist.broadcast_object_list(outcome, src=0, group=group)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def _state(device: str) -> PartialState:
    from accelerate import PartialState

    # Seconds to wait for a process that does not respond; torch's default is half an hour.
    wait = timedelta(seconds=int(os.environ.get("LLMKIT_PROCESS_TIMEOUT", "600")))
    return PartialState(cpu=device == "cpu", timeout=wait)


@dataclass(frozen=True)
class TrainingRun:
    """A run in its folder.

    Attributes:
        output: the folder.
        start: the checkpoint to resume from; None starts from the beginning.
        main: True in the process that writes files.
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
    ) -> TrainingRun:
        """Make the folder of a new run, or find the checkpoint to resume from.

        Args:
            output: folder that `check_output` accepted.
            options: everything that the run's weights depend on, as JSON.
            steps: number of steps of the whole run.
            device: device to train on; the processes find each other by it.
            resume: continue the run in the folder.
            notice: called with a sentence that the user should read.

        Raises:
            InputError: the folder cannot be written, or its run has other options.
        """
        state = _state(device)
        folder, start = output / "checkpoints", None
        if state.is_main_process:
            if resume:
                checkpoints.check_run(folder, options, notice)
            else:
                _make_folder(output, folder, options)
        state.wait_for_everyone()
        if resume:
            if state.is_main_process:
                # It removes incomplete checkpoints; only one process may do this.
                checkpoints.newest_whole(folder, steps, notice)
            state.wait_for_everyone()
            start = checkpoints.newest_whole(folder, steps, notice)
            step = checkpoints.step_of(start) if start else 0
            if state.is_main_process:
                checkpoints.restore_metrics(output / "metrics.jsonl", start)
                notice(
                    f"resuming after step {step}"
                    if start
                    else "no complete checkpoint: starting from the beginning"
                )
        return cls(output, start, state.is_main_process)

    def train(self, job: Job, progress: RunProgress) -> SummedLossTrainer:
        """Run the training and return its trainer, whose model has the best weights by held-out loss.

        At SIGINT, SIGTERM or SIGHUP the current step ends and a checkpoint is saved, then the signal takes
        effect.

        Args:
            job: model, data and arguments of the training.
            progress: receives each step and sample.
        """
        from llmkit.training.trainer import MetricsCallback, SummedLossTrainer, no_bars, stop_at_signals

        with no_bars():
            callback = MetricsCallback(self.metrics, progress.step, progress.sample)
            trainer = SummedLossTrainer(job, callback)
            with stop_at_signals(callback), _report_lost_processes():
                trainer.train(resume_from_checkpoint=str(self.start) if self.start else None)
        return trainer

    def finish(
        self,
        write: Callable[[Path], None],
        *,
        last: str,
        asked: dict[str, Any],
        keep_checkpoints: bool = False,
    ) -> None:
        """Put the finished model into the folder.

        Args:
            write: writes the model's files into the folder in its argument.
            last: name of the file to move last; a folder with this file contains a complete model.
            asked: options and data that the user gave, as JSON; `is_finished` compares them.
            keep_checkpoints: keep the checkpoints (they contain pickle files).

        Raises:
            LLMKitError: the disk is full or read-only; the checkpoints are still there.
        """
        from accelerate import PartialState

        with _report_lost_processes():
            # Other processes may still read from the checkpoints.
            PartialState().wait_for_everyone()
        if not self.main:
            return
        unfinished = self.checkpoints / "finished"
        with writing(unfinished, self.output, "the checkpoints are kept: resume=True writes the model again"):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            write(unfinished)
            checkpoints.write_finished(unfinished, asked)
            use_umask(self.checkpoints)
            for file in sorted(unfinished.iterdir(), key=lambda file: file.name == last):
                file.replace(self.output / file.name)
        if not keep_checkpoints:
            # Without the mark of a run the folder counts as finished, even if a kill leaves some checkpoints.
            (self.checkpoints / checkpoints.RUN_FILE).unlink(missing_ok=True)
            shutil.rmtree(self.checkpoints)


@contextlib.contextmanager
def _report_lost_processes() -> Iterator[None]:
    """Turn socket errors of gloo and NCCL into an error: another process has ended."""
    try:
        yield
    except RuntimeError as error:
        reason = one_line(error, 160)
        text = str(error)
        signs = ("gloo", "NCCL", "Timed out waiting", "Connection closed", "Connection reset", "peer")
        if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not any(sign in text for sign in signs):
            raise
        raise LLMKitError(
            f"another process of this run has ended or does not respond ({reason}); resume=True continues"
            " from the newest checkpoint"
        ) from None


def _make_folder(output: Path, folder: Path, options: dict[str, Any]) -> None:
    try:
        # Remove the record of a finished run first: after a kill, the rest must not look complete. Remove the
        # metrics last: they show the next command that the remaining files are from llmkit.
        found = list(output.iterdir()) if output.is_dir() else []
        found.sort(key=lambda path: (path.name != "finished.json", path.name == "metrics.jsonl"))
        for path in found:
            if path.is_dir() and not path.is_symlink():
                if path.name in ("checkpoints", "additional_chat_templates"):
                    shutil.rmtree(path)
            elif any(fnmatchcase(path.name, pattern) for pattern in _KNOWN):
                path.unlink()
        folder.mkdir(parents=True)
        checkpoints.write_run(folder, options)
    except OSError as error:
        raise cannot_write(output, error, option="output") from None
