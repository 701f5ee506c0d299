"""Flags of pretrain and finetune, `--config`, and the display of a training run."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from llmkit.cli.common import console, launch, options, progress, signals, upload
from llmkit.cli.common.options import flag
from llmkit.cli.common.recipe_trust import refuse_permissions
from llmkit.cli.common.streams import one_line
from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.training.recipe import Schedule
    from llmkit.training.run import RunOptions
    from llmkit.training.samples import SampleText
    from llmkit.training.trainer import Step

Group = TypeVar("Group")
Recipe = TypeVar("Recipe", bound="Schedule")
_AUTO = "auto|N"
_STEPS = ("epochs", "max_steps", "lr", "optimizer", "scheduler", "warmup", "weight_decay", "label_smoothing")
_BATCHES = ("batch_size", "gradient_accumulation", "max_length", "packing", "dpo_beta", "seed", "dtype")
SECTIONS = {
    "Training": (*_STEPS, *_BATCHES, "gradient_checkpointing", "compile"),
    "Checkpoints": ("save_steps", "eval_steps", "early_stopping", "report_to"),
}
"""Sections of the help page for the fields that recipes share."""


def flags_of(
    recipe: type,
    *,
    names: Mapping[str, str] | None = None,
    but: Collection[str] = (),
    groups: Mapping[str, Collection[str]] | None = None,
) -> Callable[[type[Group]], type[Group]]:
    """Add the fields of a recipe to a class as flags: a class decorator.

    Each flag takes its default and help text from the recipe's field (see `training.recipe.option`). The
    fields that the recipe declares itself come first, then those that it inherits.

    Args:
        recipe: a recipe's dataclass.
        names: field -> flag, if that is not the field's own name.
        but: fields to leave out.
        groups: section of the help page -> fields in it.

    Returns:
        A decorator. It turns the class into a flag group for `options.expand`.
    """
    fields = {one.name: one for one in dataclasses.fields(recipe)}
    hints = typing.get_type_hints(recipe)
    order = [*(name for name in recipe.__annotations__ if name in fields), *fields]
    sections = {name: section for section, members in (groups or {}).items() for name in members}
    spelled = {name: f"--{name.replace('_', '-')}" for name in fields} | dict(names or {})

    def shown(text: str) -> str:
        return re.sub(r"`(\w+)`", lambda found: spelled.get(found[1], found[0]).partition("/")[0], text)

    def declared(name: str) -> tuple[str, Any, Any]:
        one, metadata = fields[name], fields[name].metadata
        kind, default = hints[name], one.default
        if metadata["metavar"] == _AUTO:
            kind, default = str, "auto" if default is None else str(default)
        words = metadata["default_text"]
        spec = flag(
            spelled[name],
            help=shown(metadata["help"]),
            metavar=metadata["metavar"],
            default=words and shown(words),
            group=sections.get(name),
        )
        return name, Annotated[kind, spec], default

    def decorate(group: type[Group]) -> type[Group]:
        chosen = [
            declared(name) for name in dict.fromkeys(order) if fields[name].metadata and name not in but
        ]
        group.__annotations__ = {name: kind for name, kind, _ in chosen}
        for name, _, default in chosen:
            setattr(group, name, default)
        return dataclass(group)

    return decorate


def recipe_of(recipe: type[Recipe], flags: Any, **more: Any) -> Recipe:
    """Make a recipe from its filled-in flags.

    Args:
        recipe: the class whose fields became the flags.
        flags: the group of `flags_of`.
        more: fields that are not among the flags.

    Raises:
        OptionError: a number that may be "auto" is neither.
    """
    values = dataclasses.asdict(flags)
    for one in dataclasses.fields(recipe):
        if one.metadata.get("metavar") == _AUTO and one.name in values:
            text = str(values[one.name])
            if text != "auto" and not (text.isdecimal() and int(text) > 0):
                raise OptionError(one.name, f"must be a number above 0 or auto, not {text!r}")
            values[one.name] = None if text == "auto" else int(text)
    return recipe(**{**values, **more})


@dataclass
class RunFlags:
    """Flags of a training run that are not part of its recipe."""

    GROUP = "Run"

    resume: Annotated[bool, flag("--resume", help="Continue from the newest complete checkpoint.")] = False
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the run in the folder.")] = False
    keep_checkpoints: Annotated[
        bool, flag("--keep-checkpoints", help="Keep the checkpoints with the finished model.")
    ] = False
    config: Annotated[
        Path | None,
        flag(
            "--config",
            metavar="FILE",
            help="YAML file of options; the command line overrides it.",
            default="none",
        ),
    ] = None
    dry_run: Annotated[bool, flag("--dry-run", help="Print the plan and train nothing.")] = False
    json: Annotated[bool, flag("--json", help="Print the result (or the plan) as one line of JSON.")] = False
    processes: Annotated[int, flag("--processes", metavar="N", help="Train in N processes here.")] = 1
    push_to_hub: Annotated[
        str | None,
        flag("--push-to-hub", metavar="REPO", help="Upload the result, after asking.", default="none"),
    ] = None
    sample_every: Annotated[
        int | None,
        flag(
            "--sample-every", metavar="N", help="Steps between samples of the model's text.", default="none"
        ),
    ] = None
    prompt: Annotated[
        list[str] | None,
        flag(
            "--prompt", metavar="TEXT", help="Text for samples to continue; may be repeated.", default="none"
        ),
    ] = None

    def options(self, more: dict[str, Any]) -> RunOptions:
        """Return the run's options, with the verb's own `eval_data` and `save_dtype` in `more`."""
        from llmkit.training.run import RunOptions

        names = ("resume", "overwrite", "keep_checkpoints", "sample_every")
        found = {name: getattr(self, name) for name in names}
        found |= {name: more[name] for name in ("eval_data", "save_dtype")}
        return RunOptions(**found, prompt=tuple(self.prompt or ()))


def merged(run: RunFlags, *groups: Any, **more: Any) -> tuple[list[Any], dict[str, Any]]:
    """Merge the flags' values with those of `--config`; flags on the command line win.

    Args:
        run: group with the flag `--config`.
        groups: other filled-in flag groups.
        more: other parameters of the verb that a config may set, with their values.

    Returns:
        `run` and the groups, and `more`, with the file's values in place.

    Raises:
        InputError: the file has a key that is not a flag.
    """
    from llmkit.training.recipe import read_recipe

    whole = [run, *groups]
    if run.config is None:
        return whole, more
    names = {_key(name): name for name in more}
    types: dict[str, set[type]] = {
        key: {list if isinstance(more[name], list) else str} for key, name in names.items()
    }
    for group in whole:
        for name, hint in typing.get_type_hints(type(group)).items():
            names[_key(name)] = name
            kinds = typing.get_args(hint) or (hint,)
            types[_key(name)] = {typing.get_origin(kind) or kind for kind in kinds}
    del types["config"]
    typed = options.typed()
    found = {
        names[key]: value for key, value in read_recipe(run.config, types).items() if names[key] not in typed
    }
    refuse_permissions(run.config, found)
    return (
        [
            dataclasses.replace(
                group, **{f.name: found[f.name] for f in dataclasses.fields(group) if f.name in found}
            )
            for group in whole
        ],
        {name: found.get(name, value) for name, value in more.items()},
    )


def _key(parameter: str) -> str:
    """Return the key of a verb's parameter in a recipe file: its flag's name with underscores."""
    return console.with_flags(f"`{parameter}`").strip("`").removeprefix("--").replace("-", "_")


def command() -> str:
    """Return the command that starts such a run, without `--resume`."""
    return shlex.join(["llmkit", *(one for one in sys.argv[1:] if one != "--resume")])


def finished(run: RunFlags, output: Path, asked: Callable[[], dict[str, Any]]) -> bool:
    """Return True, with a notice, if `--resume` finds a finished run. It still uploads if requested.

    Args:
        run: the flags.
        output: the run's folder.
        asked: returns the value of `asked` that `TrainingRun.finish` received.
    """
    from llmkit.training.checkpoints import is_finished

    if not run.resume or run.overwrite or not is_finished(output, asked()):
        return False
    console.notice(
        f"{output} is finished already; nothing to do (--overwrite starts again;"
        f" llmkit finetune DATA -m {shlex.quote(str(output))} -o NEW continues from it)"
    )
    if run.push_to_hub and launch.is_main_process():
        upload.push(output, run.push_to_hub)
    return True


class TrainingDisplay:
    """Progress of a training run: notices, and on a terminal a live table (see `training.run.RunProgress`).

    Args:
        verb: name of the verb, for the progress line.
        describe: prints the notices about a plan.

    Attributes:
        plan: the run's plan; None before it exists.
        begun: True after the first step.
    """

    def __init__(self, verb: str, describe: Callable[[Any], None]) -> None:
        self.verb = verb
        self.plan: Any = None
        self.begun = False
        self._describe = describe
        self._live: Any = None
        self._rows: list[tuple[str, ...]] = []
        self._progress: progress.Progress | None = None
        self._reading = progress.ReadingDisplay()
        self._waiting = ExitStack()

    def read(self, documents: int, characters: int) -> None:
        self._waiting.close()
        self._reading.show(documents, characters)

    def notice(self, message: str) -> None:
        console.notice(message)

    def planned(self, plan: Any) -> None:
        signals.unwind()
        self._reading.close()
        self._waiting.close()
        self.plan = plan
        self._describe(plan)
        if console.state.quiet:
            return
        if not sys.stderr.isatty():
            self._progress = progress.Progress(self.verb, total=plan.steps)
            return
        from rich.live import Live

        self._live = Live(console=console.drawing(), refresh_per_second=4, transient=False)
        self._live.start()

    def step(self, step: Step) -> None:
        signals.check()
        self.begun = True
        if step.held_out is not None:
            self._show_held_out(step)
        elif self._live is not None:
            self._draw(step)
        elif self._progress is not None:
            self._progress.update(step.step, progress.step_line(step))

    def sample(self, sample: SampleText) -> None:
        told = f"step {sample.step:,}/{sample.steps:,}, sample: {sample.prompt}{sample.text}"
        if self._live is not None:
            self._live.console.print(f"llmkit: {one_line(told)}", highlight=False, markup=False)
        else:
            console.notice(told)

    @contextmanager
    def interrupted(self, output: Path) -> Iterator[None]:
        """Close the display at the end. After an interruption, print the way to continue the run."""
        self._waiting.enter_context(progress.waiting(f"{self.verb}: reading the data, loading the model"))
        try:
            yield
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception) and self.begun:  # Ctrl-C or SIGTERM
                console.notice(f"interrupted: {output} keeps what is done; --resume continues")
            raise
        self.close()

    def close(self) -> None:
        self._waiting.close()
        self._reading.close()
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._progress is not None:
            self._progress.close()

    def _show_held_out(self, step: Step) -> None:
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
        self._rows = [*self._rows[-7:], progress.step_cells(step)]
        drawn = Table(box=None, pad_edge=False, header_style="dim")
        for name in head:
            drawn.add_column(name, justify="right")
        for row in self._rows:
            drawn.add_row(*row)
        self._live.update(drawn)


_LABELS = {
    "kind": "training kind",
    "held_out_rows": "rows held out",
    "skipped": "invalid rows skipped",
    "dropped": "rows without targets",
    "truncated": "truncated examples",
    "eval_steps": "steps between measurements",
    "save_steps": "steps between checkpoints",
    "lr": "learning rate",
    "memory": "estimated memory",
    "train_loss": "last training loss",
    "held_out_before": "held-out loss before",
    "held_out_loss": "held-out loss",
}


def show(values: dict[str, Any], as_json: bool) -> None:
    """Print a plan or a result: one line of JSON, or a line `name: value` for each value that is not None."""
    if as_json:
        print(json.dumps(values, default=str))
        return
    reason = values.get("reason")
    for name, value in values.items():
        if name in ("memory", "peak_memory") and value is not None:
            shown: Any = f"{value / 1e9:.2f} GB"
        elif isinstance(value, int) and not isinstance(value, bool):
            shown = f"{value:,}"
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
        if name == "dtype" and reason:
            shown = f"{shown} ({reason})"
        if shown is not None and name != "reason":
            print(f"{_LABELS.get(name, name.replace('_', ' '))}: {shown}")
