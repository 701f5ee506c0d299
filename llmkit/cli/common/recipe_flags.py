"""The flags that pretrain and finetune share, `--config`, and what both show while they run."""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, launch, options, upload
from llmkit.cli.common.options import flag

if TYPE_CHECKING:
    from llmkit.training.trainer import Step


# Flags whose names are Python's own words.
_PARAMETERS = {"from": "source_language", "to": "target_language"}


@dataclass
class RunFlags:
    """What a run leaves, and what becomes of one that is there."""

    resume: Annotated[bool, flag("--resume", help="Go on from the folder's newest whole checkpoint.")] = False
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the run in the folder.")] = False
    keep_checkpoints: Annotated[
        bool, flag("--keep-checkpoints", help="Leave the checkpoints beside the finished model.")
    ] = False
    config: Annotated[
        Path | None, flag("--config", metavar="FILE", help="YAML with any flag as a key; flags win.")
    ] = None
    dry_run: Annotated[bool, flag("--dry-run", help="Print the plan and train nothing.")] = False
    json: Annotated[bool, flag("--json", help="Print the result (or the plan) as one line of JSON.")] = False
    processes: Annotated[int, flag("--processes", help="Train in N processes on this machine (1).")] = 1
    push_to_hub: Annotated[
        str | None, flag("--push-to-hub", metavar="REPO", help="Upload the result; asks first.")
    ] = None


def merged(run: RunFlags, *groups: Any, **more: Any) -> tuple[list[Any], dict[str, Any]]:
    """The flags' values, with those of `--config` for the flags that are not on the command line.

    Args:
        run: for `--config`.
        groups: other filled-in flag groups.
        more: other flags that a config may set, with their values.

    Returns:
        `run` and the groups, and `more`, with the file's values in place.

    Raises:
        InputError: the file has a key that is no flag.
    """
    from llmkit.training.recipe import read_recipe

    whole = [run, *groups]
    if run.config is None:
        return whole, more
    types: dict[str, set[type]] = {name: {list if isinstance(more[name], list) else str} for name in more}
    for group in whole:
        for name, hint in typing.get_type_hints(type(group)).items():
            types[name] = set(typing.get_args(hint)) or {hint}
    del types["config"]
    typed = options.typed()
    found = {
        name: value
        for name, value in read_recipe(run.config, types).items()
        if _PARAMETERS.get(name, name) not in typed
    }
    return (
        [
            dataclasses.replace(
                group, **{f.name: found[f.name] for f in dataclasses.fields(group) if f.name in found}
            )
            for group in whole
        ],
        {name: found.get(name, value) for name, value in more.items()},
    )


def finished(run: RunFlags, output: Path) -> bool:
    """Whether `--resume` finds the run finished, which is told; an upload may still be wanted."""
    from llmkit.training.run import is_finished

    if not run.resume or run.overwrite or not is_finished(output):
        return False
    console.notice(f"{output} is finished already; nothing to do (--overwrite starts anew)")
    if run.push_to_hub and launch.is_main_process():
        upload.push(output, run.push_to_hub)
    return True


class TrainingDisplay:
    """Turns what a run reports into notices, and on a terminal into a table that stands and changes."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.begun = False
        self._live: Any = None
        self._rows: list[tuple[str, ...]] = []
        self._progress: console.Progress | None = None

    def start(self, steps: int) -> None:
        if console.state.quiet:
            return
        if not sys.stderr.isatty():
            self._progress = console.Progress(self.verb, total=steps)
            return
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=False)
        self._live.start()

    def step(self, step: Step) -> None:
        """Show a step, or a held-out measurement."""
        self.begun = True
        if step.held_out is not None:
            self._held_out(step)
        elif self._live is not None:
            self._draw(step)
        elif self._progress is not None:
            self._progress.update(step.step, _line(step))

    @contextmanager
    def interrupted(self, output: Path) -> Iterator[None]:
        """Put the table away whatever happens, and say how a run that was interrupted goes on."""
        try:
            yield
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception) and self.begun:  # Ctrl-C or SIGTERM
                console.notice(f"interrupted: {output} keeps what is done; --resume goes on")
            raise
        self.close()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._progress is not None:
            self._progress.close()

    def _held_out(self, step: Step) -> None:
        held = step.held_out
        assert held is not None
        bits = f", {held.bits_per_byte:.4f} bits/byte" if held.utf8_bytes is not None else ""
        if held.accuracy is None:
            more = f"perplexity {held.perplexity:.3f}{bits}"
        else:
            more = f"reward accuracy {held.accuracy:.3f}, margin {held.margin:.3f}"
        text = f"step {step.step:,}/{step.steps:,}: held-out loss {held.loss:.4f}, {more}"
        if self._live is not None:
            self._live.console.print(f"llmkit: {text}", highlight=False)
        else:
            console.notice(text)

    def _draw(self, step: Step) -> None:
        from rich.table import Table

        head = ("step", "loss", "learning rate", "gradient norm", "tokens/s", "memory", "left")
        self._rows = [*self._rows[-7:], _cells(step)]
        drawn = Table(box=None, pad_edge=False, header_style="dim")
        for name in head:
            drawn.add_column(name, justify="right")
        for row in self._rows:
            drawn.add_row(*row)
        self._live.update(drawn)


def _cells(step: Step) -> tuple[str, ...]:
    left = step.seconds_left
    return (
        f"{step.step:,}/{step.steps:,}",
        "-" if step.loss is None else f"{step.loss:.4f}",
        "-" if step.learning_rate is None else f"{step.learning_rate:.2e}",
        "-" if step.gradient_norm is None else f"{step.gradient_norm:.2f}",
        f"{step.tokens_per_second:,.0f}",
        f"{step.memory / 1e9:.1f} GB",
        "-" if left is None else f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}",
    )


def _line(step: Step) -> str:
    at, loss, rate, norm, speed, memory, left = _cells(step)
    return (
        f"step {at}, loss {loss}, learning rate {rate}, gradient norm {norm}, {speed} tokens/s, {memory},"
        f" {left} left"
    )


def show(values: dict[str, Any], as_json: bool) -> None:
    """Print a plan or a result: a name and a value a line, where there is one, or one line of JSON."""
    if as_json:
        print(json.dumps(values, default=str))
        return
    for name, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool):
            shown = f"{value:,}"
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
        if shown is not None:
            print(f"{name.replace('_', ' ')}: {shown}")
