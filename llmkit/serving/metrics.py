"""Counters and times of the server in Prometheus' text format.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_HELP = {
    "llmkit_requests_total": ("counter", "Requests by route and status."),
    "llmkit_prompt_tokens_total": ("counter", "Prompt tokens, by model."),
    "llmkit_prompt_tokens_reused_total": (
        "counter",
        "Prompt tokens reused from earlier prompts, by model.",
    ),
    "llmkit_generated_tokens_total": ("counter", "Generated tokens, by model."),
    "llmkit_answers_total": ("counter", "Finished answers, by model and finish reason."),
    "llmkit_time_to_first_token_seconds": ("histogram", "Time from a request to its first token."),
    "llmkit_time_between_tokens_seconds": ("histogram", "Time between two tokens of an answer."),
    "llmkit_requests_running": ("gauge", "Running answers, by model."),
    "llmkit_requests_waiting": ("gauge", "Waiting answers, by model."),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms; any thread may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Labels], float] = defaultdict(float)
        self._times: dict[tuple[str, Labels], list[float]] = {}

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a time to a histogram."""
        key = name, tuple(sorted(labels.items()))
        with self._lock:
            row = self._times.setdefault(key, [0.0] * (len(_BOUNDS) + 2))
            for i, bound in enumerate(_BOUNDS):
                row[i] += seconds <= bound
            row[-2] += 1
            row[-1] += seconds

    def text(self, gauges: Mapping[tuple[str, Labels], float]) -> str:
        """Return all values in Prometheus' text format, with the current gauges."""
        with self._lock:
            counts = {**self._counts, **gauges}
            times = {key: list(row) for key, row in self._times.items()}
        lines = []
        for name, (kind, about) in _HELP.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            for (one, labels), value in sorted(counts.items()):
                if one == name:
                    lines.append(f"{name}{_labels(labels)} {value:g}")
            for (one, labels), row in sorted(times.items()):
                if one == name:
                    bounds = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]
                    for bound, value in zip(bounds, row, strict=False):
                        lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {value:g}")
                    lines.append(f"{name}_count{_labels(labels)} {row[-2]:g}")
                    lines.append(f"{name}_sum{_labels(labels)} {row[-1]:g}")
        return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
