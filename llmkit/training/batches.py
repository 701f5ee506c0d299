"""Order of the examples in an epoch, and collators that turn examples into tensors.

Public: `Batches`, `RowDataset`, `SingletonBatches`, `Flattened`, `Padded`, `Pairs`, `Spans`, `Preferences`,
`sides`, `count_targets`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import torch

from llmkit.training.encoded import IGNORED, Encoded

if TYPE_CHECKING:
    import numpy as np


class SingletonBatches(Sequence[Sequence[int]]):
    """The sequence `[[0], [1], ...]` of a given length, without a list in memory."""

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
    """Batch sampler of an epoch: choose the rows of each step, then cut each step into batches.

    The rows of a step depend on seed and epoch alone: they are the same in one forward pass, in several, or
    in several processes. If rows run out, a process without a row gets the complement (`~index`) of some row:
    it runs that row, whose targets do not count.

    Args:
        units: rows that go into a forward pass together: single rows, or rows packed into one.
        batch_size: units in a forward pass.
        accumulation: forward passes in a step, of each process.
        lengths: number of tokens of each row; if given, rows of similar length are batched together (`units`
            must be single rows).
        seed: seed of the order.
        rank, world: rank of this process, and number of processes.
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
        """Number of steps in an epoch."""
        return math.ceil(len(self.units) / (self.batch_size * self.accumulation * self.world))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.units), self.batch_size * self.accumulation * self.world)
        return whole * self.accumulation + math.ceil(rest / (self.batch_size * self.world))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def first_rows(self, steps: int) -> list[int]:
        """Return the distinct rows of the first `steps` steps in all processes, sorted."""
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

        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.units))
        if self.lengths is None:
            return order
        step = self.batch_size * self.accumulation * self.world
        lengths = np.array([self.lengths[unit[0]] for unit in self.units])
        # Sort within sections of fifty steps only, which keeps the order random on the whole.
        sections = [order[i : i + 50 * step] for i in range(0, len(order), 50 * step)]
        order = np.concatenate([s[np.argsort(-lengths[s], kind="stable")] for s in sections])
        steps = [order[i : i + step] for i in range(0, len(order), step)]
        short = [steps.pop()] if len(steps[-1]) < step else []
        return np.concatenate([*(steps[i] for i in rng.permutation(len(steps))), *short])


@dataclass(frozen=True)
class RowDataset:
    """Dataset of rows; the index `~i` returns row i with all its targets ignored."""

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
    """Collator that joins rows into a single one; positions restart at 0 in each.

    Returns `input_ids`, `position_ids` and `labels`, int64 (1, tokens) each.

    Attributes:
        few_shapes: pad to one of 16 lengths between each power of two and the next. oneDNN compiles code for
            each new shape and keeps it, some megabytes per model.
    """

    few_shapes: bool = False

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        length = sum(len(row.ids) for row in rows)
        rest = _rounded(length) - length if self.few_shapes else 0
        # The padding consists of further texts, none longer than a row, without targets.
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
    """Collator that pads rows on the right.

    Returns `input_ids`, `attention_mask` and `labels`, int64 (rows, longest) each.

    Attributes:
        padding: id of the padding token.
        up_to: pad to one of few lengths (see `Flattened`), at most to this one; 0 pads to the longest row.
    """

    padding: int
    up_to: int = 0

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        labels = _padded([row.targets for row in rows], IGNORED, self.up_to)
        return {**_stacked(rows, self.padding, self.up_to), "labels": labels}


@dataclass(frozen=True)
class Pairs:
    """Collator of sources and targets for an encoder-decoder.

    Returns `input_ids` and `attention_mask`, int64 (rows, longest source), and `labels` and
    `decoder_input_ids`, int64 (rows, longest target).

    Attributes:
        padding: id of the padding token.
        shift: turns labels into the ids that the decoder reads.
        up_to: as in `Padded`, for each side.
    """

    padding: int
    shift: Callable[[torch.Tensor], torch.Tensor]
    up_to: int = 0

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        labels = _padded([row.targets for row in rows], IGNORED, self.up_to)
        # A decoder is causal: padding after a target does not change the positions before it.
        read = self.shift(labels.masked_fill(labels == IGNORED, self.padding))
        return {**_stacked(rows, self.padding, self.up_to), "decoder_input_ids": read, "labels": labels}


@dataclass(frozen=True)
class Spans:
    """Collator of questions with contexts.

    Returns `input_ids` and `attention_mask`, int64 (rows, longest), `labels`, int64 (rows, 2) with the
    answer's first and last token, and `token_type_ids` (rows, longest) if the rows have types.

    Attributes:
        padding: id of the padding token.
        up_to: as in `Padded`.
    """

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
    """Collator of preference pairs: first the chosen text of each pair, then the rejected text of each.

    Returns the tensors of `collate` for these texts, and for each text, (2 * pairs,): `lengths`, its number
    of tokens, and `reference`, its log-probability under the model before training (0 if not yet known).

    Attributes:
        collate: collator of the texts: `Flattened` or `Padded`.
    """

    collate: Callable[[Sequence[Encoded]], Inputs]

    def __call__(self, rows: Sequence[Encoded]) -> Inputs:
        pairs = [sides(row) for row in rows]
        texts = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]
        known = [row.reference or (0.0, 0.0) for row in rows]
        return {
            **self.collate(texts),
            "lengths": torch.tensor([len(text.ids) for text in texts]),
            "reference": torch.tensor(known).T.flatten(),
        }


def sides(pair: Encoded) -> tuple[Encoded, Encoded]:
    """Split a pair into the chosen and the rejected text."""
    import numpy as np

    end = len(pair.ids) - int(np.sum(np.asarray(pair.types)))
    return Encoded(pair.ids[:end], pair.targets[:end]), Encoded(pair.ids[end:], pair.targets[end:])


def count_targets(inputs: Mapping[str, torch.Tensor]) -> int:
    """Return the number of terms in a batch's summed loss: its targets, or its pairs."""
    targets = int((inputs["labels"] != IGNORED).sum())
    return len(inputs["reference"]) // 2 * bool(targets) if "reference" in inputs else targets


def _stacked(rows: Sequence[Encoded], padding: int, up_to: int) -> Inputs:
    return {
        "input_ids": _padded([row.ids for row in rows], padding, up_to),
        "attention_mask": _padded([[1] * len(row.ids) for row in rows], 0, up_to),
    }


def _rounded(length: int) -> int:
    """Round up to one of 16 even steps between powers of two; to multiples of 16 below 256."""
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
