"""The kinds of runs of `llmkit eval`, and the flags that apply to each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from llmkit.cli.eval.flags import Flags
from llmkit.errors import OptionError
from llmkit.evaluation.external import is_module
from llmkit.evaluation.registry import check_name, of_models

_EVERYWHERE = frozenset({"intervals", "report"})


@dataclass(frozen=True)
class Mode:
    """A kind of run.

    Attributes:
        groups: groups of flags that apply, by the names of `Flags`.
        run: module and function that do the work.
        options: single options of other groups that apply too.
    """

    groups: frozenset[str]
    run: str
    options: frozenset[str] = frozenset()

    def function(self) -> Callable[[Flags], None]:
        """Import the function that does the work."""
        module, _, name = self.run.partition(":")
        found: Callable[[Flags], None] = getattr(import_module(f"llmkit.cli.eval.{module}"), name)
        return found


MODES = {
    "predictions": Mode(
        frozenset({"scoring", "columns", "target", "metrics", "records", "reading"}),
        "predictions:run",
        frozenset({"seed", "offline", "trust_remote_code"}),
    ),
    "systems": Mode(
        frozenset({"columns", "target", "metrics", "reading"}),
        "systems:run",
        frozenset({"metric", "reference_field", "seed"}),
    ),
    "task": Mode(
        frozenset(
            {"scoring", "target", "metrics", "records", "task", "texts", "batches", "reading", "model"}
            | {"decoding", "forms"}
        ),
        "predict:run",
    ),
    "likelihood": Mode(
        frozenset({"scoring", "target", "records", "texts", "batches", "likelihood", "reading", "model"}),
        "likelihood:run",
    ),
    "benchmark": Mode(
        frozenset({"benchmarks", "batches", "model"}), "benchmark:run", options=frozenset({"limit"})
    ),
}

_APPLIES = {
    "scoring": "does not apply to `benchmark`, which has its own texts and metrics, or to several systems",
    "columns": "applies to predictions in files",
    "target": "does not apply to `benchmark`",
    "metrics": "applies to metrics of predictions",
    "task": "needs `task`",
    "texts": "applies to a model: set `task`, or a `metric` that runs a model ({models})",
    "batches": "applies to a model: set `task`, `benchmark`, or a `metric` that runs a model ({models})",
    "likelihood": "needs a `metric` that runs a model over texts: {models}",
    "benchmarks": "needs `benchmark`",
    "reading": "does not apply to `benchmark`, which has its own texts",
    "model": "applies to a model: set `task`, `benchmark`, or a `metric` that runs a model ({models})",
    "decoding": "needs `task`",
    "forms": "needs `task`",
    "records": "does not apply to `benchmark`, which keeps its rows in the harness, or to several systems",
}


def choose(flags: Flags) -> Mode:
    """Return the kind of run that the flags ask for.

    Raises:
        InputError: there is no such metric.
        OptionError: the metrics cannot be combined.
    """
    if flags.benchmarks.benchmark is not None:
        return MODES["benchmark"]
    names = metric_names(flags.scoring.metric)
    likely = [name for name in names if name in of_models()]
    if likely and len(names) > 1:
        other = next(name for name in names if name != likely[0])
        raise OptionError(
            "metric", f"has {likely[0]}, which runs a model over texts; measure {other} separately"
        )
    if likely:
        return MODES["likelihood"]
    if flags.task.task is not None:
        return MODES["task"]
    return MODES["systems" if len(flags.files) > 1 else "predictions"]


def refuse(mode: Mode, flags: Flags) -> None:
    """Raise an OptionError for a given option that does not apply to the run."""
    for group in dataclasses.fields(flags):
        if group.name in mode.groups | _EVERYWHERE | {"files"}:
            continue
        values = getattr(flags, group.name)
        for option in given(values):
            if option not in mode.options:
                raise OptionError(option, _APPLIES[group.name].format(models=", ".join(of_models())))


def given(group: object) -> list[str]:
    """Return the options of a group whose values differ from their defaults."""
    fields = dataclasses.fields(group)  # type: ignore[arg-type]
    return [field.name for field in fields if getattr(group, field.name) != field.default]


def metric_names(metric: str | None) -> list[str]:
    """Return the names in the value of `--metric`.

    Raises:
        InputError: there is no such metric.
    """
    if metric is None:
        return []
    names = list(dict.fromkeys(name.strip() for name in metric.split(",") if name.strip()))
    for name in names or [metric]:
        if not is_module(name):
            check_name(name)
    return names
