"""Helpers of the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmkit.errors import OptionError
from llmkit.training.run import SilentProgress


class KilledError(Exception):
    """Stands for a process that ends between two steps."""


class Recorder(SilentProgress):
    """Keep everything that a run reports.

    Args:
        kill_after: step after which the run is ended by `KilledError`.
        on_step: called after each training step with its number.
    """

    def __init__(self, kill_after: int = 0, on_step: Callable[[int], None] = lambda step: None) -> None:
        self.kill_after = kill_after
        self.on_step = on_step
        self.plans: list[Any] = []
        self.steps: list[Any] = []
        self.samples: list[Any] = []
        self.notices: list[str] = []

    def planned(self, plan: Any) -> None:
        self.plans.append(plan)

    def step(self, step: Any) -> None:
        self.steps.append(step)
        if step.loss is not None:
            self.on_step(step.step)
            if step.step == self.kill_after:
                raise KilledError

    def sample(self, sample: Any) -> None:
        self.samples.append(sample)

    def notice(self, message: str) -> None:
        self.notices.append(message)


@contextmanager
def refuses(option: str, *facts: str) -> Iterator[None]:
    """Check that the block raises an `OptionError` about this option, which states these facts."""
    with pytest.raises(OptionError) as caught:
        yield
    assert caught.value.option == option
    for fact in facts:
        assert fact in str(caught.value)
