"""How well a model predicts documents it has not seen, counted token by token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from llmkit.training.batches import RowDataset, learnt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Window = tuple[np.ndarray, int]
# Tokens of held-out documents that are in memory together.
_STRETCH = 1 << 22


@dataclass(frozen=True)
class HeldOut:
    """A loss over held-out documents.

    Attributes:
        nats: the sum of -ln p(token) over all predicted tokens.
        tokens: how many tokens were predicted: all of each document's, and the one that ends it.
        utf8_bytes: the documents' size; None where only parts of them are predicted.
        accuracy: of preferences, whose "tokens" are pairs: the share of them whose chosen text has gained
            more than the rejected one since the model was as it came; a tie is half of one.
        margin: of preferences: beta times how much more, on average.
    """

    nats: float
    tokens: int
    utf8_bytes: int | None = None
    accuracy: float | None = None
    margin: float | None = None

    @property
    def loss(self) -> float:
        """Nats a token, or a pair."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Independent of the tokenizer, unlike the other two."""
        assert self.utf8_bytes is not None
        return self.nats / math.log(2) / self.utf8_bytes


def measure(
    model: PreTrainedModel,
    documents: Iterable[Sequence[int] | np.ndarray],
    *,
    boundary: int,
    context: int,
    utf8_bytes: int,
    batch_tokens: int = 8192,
) -> HeldOut:
    """Score each document from its own start: `boundary`, its tokens, `boundary`.

    A document longer than the context goes through windows that overlap by half; each of its tokens is scored
    once, in the first window that holds it, so with at least half a context before it.

    Args:
        model: a causal language model; left in the mode (train or eval) that it was in.
        documents: token ids of each; read once, some megabytes at a time.
        boundary: the id before and after a document.
        context: tokens that the model sees at once.
        utf8_bytes: size of the documents' text.
        batch_tokens: tokens of a batch at most, padding included (one window may be more).
    """
    nats, tokens = 0.0, 0
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in _batches(_windows(documents, boundary, context), batch_tokens):
            ids, targets = _collate(batch, boundary)
            logits = model(input_ids=ids.to(model.device), use_cache=False).logits[:, :-1]
            targets = targets.to(logits.device)
            losses = F.cross_entropy(
                logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
            )
            nats += float(losses)
            tokens += int((targets != -100).sum())
    model.train(was_training)
    return HeldOut(nats, tokens, utf8_bytes)


def measure_rows(
    model: Any,
    rows: Any,
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]],
    batch_size: int,
    *,
    rank: int = 0,
    world: int = 1,
    reduce: Callable[[torch.Tensor], torch.Tensor] = lambda total: total,
) -> HeldOut:
    """The loss over held-out examples, from a model that sums it (see `losses`).

    Args:
        model: gives ``{"loss": sum}``, of preferences their ``margins`` too; left in the mode that it was in.
        rows: the examples.
        collate: examples to inputs with `labels`.
        batch_size: examples a forward pass.
        rank, world: this process and how many share the rows; each makes as many forward passes.
        reduce: sums a tensor over the processes.
    """
    lengths = np.fromiter((len(rows[i].ids) for i in range(len(rows))), dtype=np.int32, count=len(rows))
    order = np.argsort(lengths, kind="stable")
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    # A process left without rows runs some whose targets count for nothing.
    batches += [~batches[0]] * (-len(batches) % world)
    total = torch.zeros(4, dtype=torch.float64)
    was_training, device, muted = model.training, next(model.parameters()).device, RowDataset(rows)
    model.eval()
    with torch.no_grad():
        for batch in batches[rank::world]:
            inputs = {name: value.to(device) for name, value in collate([muted[i] for i in batch]).items()}
            found, count = model(**inputs), learnt(inputs)
            total[0] += float(found["loss"])
            total[1] += count
            if "margins" in found and count:
                total[2] += float((found["margins"].sign() + 1).sum() / 2)
                total[3] += float(found["margins"].sum())
    model.train(was_training)
    nats, count, right, margin = reduce(total.to(device if device.type != "mps" else "cpu")).tolist()
    if "reference" not in inputs:
        return HeldOut(nats, round(count))
    return HeldOut(nats, round(count), accuracy=right / count, margin=margin / count)


def _windows(
    documents: Iterable[Sequence[int] | np.ndarray], boundary: int, context: int
) -> Iterator[list[Window]]:
    """Lists of windows, shortest first, of some million tokens each, so that like goes with like.

    A window is its ids and the first position scored; position 0 of a document is given, not predicted.
    """
    found: list[Window] = []
    size = 0
    for document in documents:
        ids = np.array([boundary, *document, boundary])
        start, scored = 0, 1
        while scored < len(ids):
            window = ids[start : start + context]
            found.append((window, scored - start))
            size += len(window)
            scored = start + len(window)
            start = scored - context // 2
        if size >= _STRETCH:
            yield sorted(found, key=_length)
            found, size = [], 0
    yield sorted(found, key=_length)


def _length(window: Window) -> int:
    return len(window[0])


def _batches(stretches: Iterable[list[Window]], batch_tokens: int) -> Iterator[list[Window]]:
    for windows in stretches:
        batch: list[Window] = []
        for window in windows:
            if batch and (len(batch) + 1) * len(window[0]) > batch_tokens:
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch


def _collate(batch: list[Window], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(ids) for ids, _ in batch)
    inputs = torch.full((len(batch), longest), padding)
    targets = torch.full((len(batch), longest - 1), -100)
    for row, (ids, first) in enumerate(batch):
        inputs[row, : len(ids)] = torch.as_tensor(ids)
        targets[row, first - 1 : len(ids) - 1] = torch.as_tensor(ids[first:])
    return inputs, targets
