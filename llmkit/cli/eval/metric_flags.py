"""Flags for the options of metrics, made from the declarations of the metrics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common.options import flag
from llmkit.evaluation.metric import MetricOption
from llmkit.evaluation.registry import METRICS, declaration_of


def _metric_fields() -> list[tuple[str, Any, Any]]:
    """Return a field for each option that metrics declare; its help ends with the names of those metrics."""
    found: dict[str, list[str]] = {}
    declared: dict[str, MetricOption] = {}
    for metric in METRICS:
        for option in declaration_of(metric).options:
            declared.setdefault(option.name, option)
            found.setdefault(option.name, []).append(metric)
    fields: list[tuple[str, Any, Any]] = []
    for name, option in declared.items():
        spelling = f"--{name.replace('_', '-')}"
        declaration = flag(
            spelling,
            help=f"{', '.join(found[name])}: {option.help}",
            metavar=option.metavar,
            default=option.default,
        )
        fields.append((name, Annotated[option.type | None, declaration], dataclasses.field(default=None)))
    return fields


if TYPE_CHECKING:

    @dataclass
    class MetricFlags:
        """Options of the metrics, from their declarations; None leaves the choice to the metric."""

else:
    MetricFlags = dataclasses.make_dataclass(
        "MetricFlags", _metric_fields(), namespace={"GROUP": "Metrics", "__doc__": "Options of the metrics."}
    )
