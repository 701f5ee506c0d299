"""Metrics that others wrote: modules of Hugging Face's `evaluate`, by path or from the Hub.

Such a module takes all rows and gives numbers; there is nothing in between to resample, so that its numbers
come without intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llmkit.errors import InputError, RowError
from llmkit.evaluation.metric import Example
from llmkit.evaluation.scoring import Score

PREFIX = "evaluate:"


def is_module(name: str) -> bool:
    """Whether a metric's name is a module's path, or `evaluate:NAME` for one on the Hub."""
    return name.startswith(PREFIX) or "/" in name or name.endswith(".py")


class Module:
    """One loaded module that takes rows one at a time.

    Args:
        name: a path to a file or folder, or `evaluate:NAME`.
        sample: some of the rows, which tell whether each has one reference or a list of them.
        trusted: code from the Hub may be run.

    Raises:
        InputError: it cannot be loaded, or comes from the Hub and is not trusted.
    """

    def __init__(self, name: str, sample: Sequence[Example], *, trusted: bool) -> None:
        if name.startswith(PREFIX) and not trusted:
            raise InputError(
                f"{name} runs code from the Hub: read it, then allow it with --trust-remote-code"
            )
        import evaluate

        self.name = name
        self._version = evaluate.__version__
        try:
            self._module: Any = evaluate.load(name.removeprefix(PREFIX))
        except Exception as error:  # a module may raise anything, and `evaluate` lets it through
            raise InputError(f"the metric {name} does not load: {_one_line(error)}") from error
        self._single = all(len(row.references) == 1 for row in sample) and self._takes_one()
        self._rows = 0

    def add(self, row: Example) -> None:
        """Hand it a row.

        Raises:
            RowError: the module does not take such a row.
        """
        if self._single and len(row.references) != 1:
            raise RowError(row.where, f"{len(row.references)} references, where earlier rows have one")
        right = row.references[0] if self._single else list(row.references)
        columns = {"prediction": row.prediction}
        if "references" in self._module._feature_names():
            columns["reference"] = right
        try:
            self._module.add(**columns)
        except (TypeError, ValueError) as error:
            raise RowError(
                row.where, f"the metric {self.name} does not take it: {_one_line(error)}"
            ) from error
        self._rows += 1

    def scores(self) -> list[Score]:
        """Its numbers over all rows; what is no number is left out.

        Raises:
            InputError: the module failed.
        """
        try:
            results = self._module.compute()
        except Exception as error:
            raise InputError(f"the metric {self.name} failed: {_one_line(error)}") from error
        signature = f"module:{self.name}|version:evaluate-{self._version}"
        return [
            Score(name, float(value), None, None, self._rows, self.name, signature, None)
            for name, value in results.items()
            if isinstance(value, (int, float)) and math.isfinite(value)
        ]

    def _takes_one(self) -> bool:
        features = self._module.features
        kinds = features if isinstance(features, list) else [features]
        return any(
            type(kind.get("references")).__name__ not in ("Sequence", "List", "list") for kind in kinds
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
