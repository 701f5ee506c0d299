"""Examples on their way into a step: which go together, and how they stand beside each other.

Public: `Batches`, `Flattened`, `Padded`, `Pairs`, `Preferences`, `SingletonBatches`, `Spans`, `learnt`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import torch

from llmkit.training.finetuning.encoding import IGNORED, Encoded

if TYPE_CHECKING:
    import numpy as np


class SingletonBatches(Sequence[Sequence[int]]):
    """`[[0], [1], ...]` of a length, not held in memory."""

    def __init__(self, length: int) -> None:
        self._all = range(length)

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Sequence[int]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[int]]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [(row,) for row in self._all[index]]
        return (self._all[index],)


class Batches:
    """The order of an epoch, as a batch sampler: the steps first, then each step cut into batches.

    What a step learns from depends on seed and epoch alone: the same rows meet in it whether it is taken in
    one forward pass, in several, or by several processes. Where rows run out, a process that is left without
    one is given the complement (`~index`) of some row: it is run, and counts for nothing.

    Args:
        units: what goes into a forward pass together: a row each, or the rows packed into one.
        batch_size: units a forward pass.
        accumulation: forward passes a step, of each process.
        lengths: tokens of each row; with them rows of like length come together (`units` are single then).
        seed: of the order.
        rank, world: this process, and how many there are.
    """

    def __init__(
        self,
        units: Sequence[Sequence[int]],
        batch_size: int,
        accumulation: int = 1,
        *,
        lengths: Sequence[int] | None = None,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.units = units
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.lengths = lengths
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(len(self.units) / (self.batch_size * self.accumulation * self.world))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.units), self.batch_size * self.accumulation * self.world)
        return whole * self.accumulation + math.ceil(rest / (self.batch_size * self.world))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def met(self, steps: int) -> list[int]:
        """The rows that the first `steps` steps learn from, in all processes together, each once."""
        taken = steps * self.batch_size * self.accumulation * self.world
        units = self._order()[:taken] if steps < self.steps else range(len(self.units))
        return sorted(int(row) for unit in units for row in self.units[unit])

    def __iter__(self) -> Iterator[list[int]]:
        import numpy as np

        size = self.batch_size * self.world
        order = self._order()
        for start in range(0, len(order), size * self.accumulation):
            step = order[start : start + size * self.accumulation]
            rounds = math.ceil(len(step) / size)
            parts = np.array_split(step, rounds * self.world)
            for part in parts[self.rank :: self.world]:
                yield [int(row) for unit in part for row in self.units[unit]] or [
                    ~int(self.units[step[0]][0])
                ]

    def _order(self) -> np.ndarray:
        import numpy as np

        chance = np.random.default_rng([self.seed, self.epoch])
        order = chance.permutation(len(self.units))
        if self.lengths is None:
            return order
        step = self.batch_size * self.accumulation * self.world
        lengths = np.array([self.lengths[unit[0]] for unit in self.units])
        # Sorted within stretches of fifty steps, so that like goes with like and chance remains.
        stretches = [order[i : i + 50 * step] for i in range(0, len(order), 50 * step)]
        order = np.concatenate([s[np.argsort(-lengths[s], kind="stable")] for s in stretches])
        steps = [order[i : i + step] for i in range(0, len(order), step)]
        short = [steps.pop()] if len(steps[-1]) < step else []
        return np.concatenate([*(steps[i] for i in chance.permutation(len(steps))), *short])


@dataclass(frozen=True)
class RowDataset:
    """A dataset that answers `~index` with the row whose targets count for nothing."""

    items: Any

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Encoded:
        if index >= 0:
            return self.items[index]
        one = self.items[~index]
        return replace(one, targets=[IGNORED] * len(one.targets))


Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Flattened:
    """RowDataset one after another in a single one, positions counted anew in each.

    Returns `input_ids`, `position_ids` and `labels`, (1, tokens) each.

    Attributes:
        few_shapes: fill up to one of 16 lengths between each power of two and the next. oneDNN keeps code for
            each shape that it has met, some megabytes a model, and makes it when it meets one.
    """

    few_shapes: bool = False

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        length = sum(len(row.ids) for row in rows)
        rest = _rounded(length) - length if self.few_shapes else 0
        # What fills up are texts of their own, none longer than a row, from which nothing is learnt.
        longest = max(len(row.ids) for row in rows)
        return {
            "input_ids": _joined([*(row.ids for row in rows), [0] * rest]),
            "position_ids": _joined(
                [*(range(len(row.ids)) for row in rows), [i % longest for i in range(rest)]]
            ),
            "labels": _joined([*(row.targets for row in rows), [IGNORED] * rest]),
        }


@dataclass(frozen=True)
class Padded:
    """RowDataset below each other, filled up on the right.

    Returns `input_ids`, `attention_mask` and `labels`, (rows, longest) each.

    Attributes:
        padding: id.
        up_to: fill up to one of few lengths, as `Flattened` does and for its reason, none above this; 0: no.
    """

    padding: int
    up_to: int = 0

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        labels = _padded([row.targets for row in rows], IGNORED, self.up_to)
        return {**_stacked(rows, self.padding, self.up_to), "labels": labels}


@dataclass(frozen=True)
class Pairs:
    """Sources and targets: as `Padded`, with `labels` as long as the longest target, and `decoder_input_ids`.

    Attributes:
        padding: id.
        shift: from labels to what the decoder reads.
        up_to: as in `Padded`, of either side.
    """

    padding: int
    shift: Callable[[torch.Tensor], torch.Tensor]
    up_to: int = 0

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        labels = _padded([row.targets for row in rows], IGNORED, self.up_to)
        # A decoder is causal: what stands after the end of a target moves nothing before it.
        read = self.shift(labels.masked_fill(labels == IGNORED, self.padding))
        return {**_stacked(rows, self.padding, self.up_to), "decoder_input_ids": read, "labels": labels}


@dataclass(frozen=True)
class Spans:
    """Questions and contexts: as `Padded`, with `labels` (rows, 2): the answer's first and last token."""

    padding: int
    up_to: int = 0

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        found = _stacked(rows, self.padding, self.up_to)
        found["labels"] = _padded([row.targets for row in rows], IGNORED)
        if rows[0].types is not None:
            types = [() if row.types is None else row.types for row in rows]
            found["token_type_ids"] = _padded(types, 0, self.up_to)
        return found


@dataclass(frozen=True)
class Preferences:
    """Pairs of texts of which one is preferred: first the chosen text of each, then the rejected one of each.

    Returns what `beside` makes of these texts, and for each of them, (2 * pairs,): `lengths`, its tokens, and
    `reference`, its log-probability by the model before it is taught (0 while that is not known).

    Attributes:
        beside: how texts stand beside each other: `Flattened` or `Padded`.
    """

    beside: Callable[[Sequence[Encoded]], Inputs]

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        texts = [text for side in zip(*(sides(row) for row in rows), strict=True) for text in side]
        known = [row.reference or (0.0, 0.0) for row in rows]
        return {
            **self.beside(texts),
            "lengths": torch.tensor([len(text.ids) for text in texts]),
            "reference": torch.tensor(known).T.flatten(),
        }


def sides(pair: Encoded) -> tuple[Encoded, Encoded]:
    """The chosen and the rejected text of a pair."""
    import numpy as np

    at = len(pair.ids) - int(np.sum(np.asarray(pair.types)))
    return Encoded(pair.ids[:at], pair.targets[:at]), Encoded(pair.ids[at:], pair.targets[at:])


def learnt(inputs: Mapping[str, torch.Tensor]) -> int:
    """How many things a batch's summed loss is a sum over: its targets, or its pairs."""
    targets = int((inputs["labels"] != IGNORED).sum())
    return len(inputs["reference"]) // 2 * bool(targets) if "reference" in inputs else targets


def _stacked(rows: Sequence[Encoded], padding: int, up_to: int) -> Inputs:
    return {
        "input_ids": _padded([row.ids for row in rows], padding, up_to),
        "attention_mask": _padded([[1] * len(row.ids) for row in rows], 0, up_to),
    }


def _rounded(length: int) -> int:
    """The next of 16 even steps from a power of two to the next one; multiples of 16 below 256."""
    step = max(16, 1 << max(0, (length - 1).bit_length() - 5))
    return -(-length // step) * step


def _joined(parts: Sequence[Any]) -> torch.Tensor:
    return torch.cat([torch.as_tensor(part, dtype=torch.long) for part in parts])[None]


def _padded(parts: Sequence[Any], value: int, up_to: int = 0) -> torch.Tensor:
    longest = max(map(len, parts))
    filled = torch.full((len(parts), max(longest, min(_rounded(longest), up_to))), value)
    for row, part in zip(filled, parts, strict=True):
        row[: len(part)] = torch.as_tensor(part, dtype=torch.long)
    return filled
