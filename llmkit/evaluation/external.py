"""Metrics from modules of Hugging Face's `evaluate`, by path or from the Hub.

Such a module takes all rows at once and returns numbers. They cannot be resampled, so its scores have no
intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, OptionError, RowError, one_line
from llmkit.evaluation.metric import Example
from llmkit.evaluation.results import Score

PREFIX = "evaluate:"


def is_module(name: str) -> bool:
    """Return True if a metric's name is the path of a module, or `evaluate:NAME` for one on the Hub."""
    return name.startswith(PREFIX) or "/" in name or name.endswith(".py")


class Module:
    """A loaded module that takes rows one at a time.

    Args:
        name: path of a file or folder, or `evaluate:NAME`.
        sample: some of the rows; they decide between one reference per row and a list of references.
        trusted: allow code from the Hub.

    Raises:
        InputError: the module does not load, or comes from the Hub and is not trusted.
    """

    def __init__(self, name: str, sample: Sequence[Example], *, trusted: bool) -> None:
        if name.startswith(PREFIX) and not trusted:
            raise InputError(
                f"{name} runs code from the Hub: read it, then allow it with trust_remote_code=True"
            )
        if not name.startswith(PREFIX) and not Path(name).exists():
            raise OptionError("metric", f"{name}: no such file")
        import evaluate

        self.name = name
        self._version = evaluate.__version__
        try:
            self._module: Any = evaluate.load(name.removeprefix(PREFIX))
        except Exception as error:  # a module may raise any exception, and `evaluate` does not catch it
            raise InputError(f"the metric {name} does not load: {_reason(error)}") from error
        self._single = all(len(row.references) == 1 for row in sample) and self._takes_one()
        self._rows = 0

    def add(self, row: Example) -> None:
        """Add a row.

        Raises:
            RowError: the module does not accept the row.
        """
        if self._single and len(row.references) != 1:
            raise RowError(row.where, f"{len(row.references)} references, but earlier rows have one")
        right = row.references[0] if self._single else list(row.references)
        columns = {"prediction": row.prediction}
        if "references" in self._module._feature_names():
            columns["reference"] = right
        try:
            self._module.add(**columns)
        except (TypeError, ValueError) as error:
            raise RowError(row.where, f"the metric {self.name} rejects it: {_reason(error)}") from error
        self._rows += 1

    def scores(self) -> list[Score]:
        """Return the numbers over all rows; other values that the module returns are left out.

        Raises:
            InputError: the module failed.
        """
        try:
            results = self._module.compute()
        except Exception as error:
            raise InputError(f"the metric {self.name} failed: {_reason(error)}") from error
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


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__
