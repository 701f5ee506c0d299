"""What a run of training is measured by, from inside its process; each system's interpreter imports this."""

from __future__ import annotations

import json
import resource
import time


class Steps:
    """The ends of a run's steps, and how many tokens had been learnt from by then."""

    def __init__(self) -> None:
        self.learnt = 0
        self.ends: list[tuple[float, float, int]] = []

    def count(self, targets: int) -> None:
        """Note tokens whose loss is about to be taken: neither padding nor the first of a text."""
        self.learnt += targets

    def end(self) -> None:
        self.ends.append((time.perf_counter(), time.process_time(), self.learnt))

    def report(self) -> None:
        """Print, as JSON, what lies between the end of the first step and that of the last."""
        (wall, cpu, learnt), (wall_last, cpu_last, learnt_last) = self.ends[0], self.ends[-1]
        print()  # libraries leave lines unfinished
        print(
            json.dumps(
                {
                    "steps": len(self.ends) - 1,
                    "tokens": learnt_last - learnt,
                    "seconds": wall_last - wall,
                    "cpu_seconds": cpu_last - cpu,
                    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                }
            ),
            flush=True,
        )


def watch_trainer(steps: Steps, first: int) -> None:
    """Have every transformers Trainer of this process count the targets that it trains on.

    Args:
        steps: where they are counted.
        first: of the labels of a row; 1 where the model shifts them and nothing says what the first follows.
    """
    from transformers import Trainer

    plain = Trainer.training_step

    def training_step(self, model, inputs, *rest, **more):  # type: ignore[no-untyped-def]
        steps.count(int((inputs["labels"][:, first:] != -100).sum()))
        return plain(self, model, inputs, *rest, **more)

    Trainer.training_step = training_step  # type: ignore[method-assign]
