"""Loss of a model on held-out documents or rows, exact to the token.

Public: `HeldOut`, `measure`, `measure_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from llmkit.runtime.padding import pad
from llmkit.training.batches import RowDataset, count_targets
from llmkit.training.encoded import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Window = tuple[np.ndarray, int]
# Number of tokens of held-out documents in memory at a time.
_SECTION_TOKENS = 1 << 22


@dataclass(frozen=True)
class HeldOut:
    """A loss over held-out documents or rows.

    Attributes:
        nats: sum of -ln p(token) over all predicted tokens; for preferences, sum of the losses of the pairs.
        tokens: number of predicted tokens (of a document all its tokens and its end token); for preferences,
            number of pairs.
        utf8_bytes: size of the documents; None if only parts of them are predicted.
        accuracy: for preferences, the share of pairs whose chosen text has gained more log-probability in
            training than the rejected one; a tie counts half.
        margin: for preferences, beta times the difference between these gains, averaged over the pairs.
    """

    nats: float
    tokens: int
    utf8_bytes: int | None = None
    accuracy: float | None = None
    margin: float | None = None

    @property
    def loss(self) -> float:
        """Nats per token, or per pair."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of text; unlike the loss and the perplexity, independent of the tokenizer."""
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

    A document longer than the context is cut into windows that overlap by half; each token is scored once, in
    the first window that contains it. So at least half a context precedes it.

    Args:
        model: a causal language model; keeps its mode (train or eval).
        documents: token ids of each document; read once, some megabytes at a time.
        boundary: id before and after each document.
        context: number of tokens that the model sees at once.
        utf8_bytes: size of the documents' text.
        batch_tokens: maximum number of tokens in a batch, padding included (a single window may exceed it).

    Returns:
        The loss over all documents.
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
                logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            nats += float(losses)
            tokens += int((targets != IGNORED).sum())
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
    """Measure the loss over held-out examples.

    Args:
        model: returns ``{"loss": sum}`` (see `loss`), and ``margins`` for preferences; keeps its mode.
        rows: dataset of examples.
        collate: turns examples into inputs with `labels`.
        batch_size: examples in a forward pass.
        rank, world: rank of this process, and number of processes that share the rows; each makes the same
            number of forward passes.
        reduce: sums a tensor over the processes.

    Returns:
        The loss over all examples, the same in every process.
    """
    lengths = np.fromiter((len(rows[i].ids) for i in range(len(rows))), dtype=np.int32, count=len(rows))
    order = np.argsort(lengths, kind="stable")
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    # A process without rows runs rows whose targets are ignored.
    batches += [~batches[0]] * (-len(batches) % world)
    total = torch.zeros(4, dtype=torch.float64)
    was_training, device, muted = model.training, next(model.parameters()).device, RowDataset(rows)
    model.eval()
    with torch.no_grad():
        for batch in batches[rank::world]:
            inputs = {name: value.to(device) for name, value in collate([muted[i] for i in batch]).items()}
            found, count = model(**inputs), count_targets(inputs)
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
    """Cut documents into windows; yield lists of them, some million tokens each, sorted by length.

    A window is its ids and the first position to score. Position 0 of a document is not predicted.
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
        if size >= _SECTION_TOKENS:
            yield sorted(found, key=_length)
            found, size = [], 0
    yield sorted(found, key=_length)


def _length(window: Window) -> int:
    return len(window[0])


def _batches(sections: Iterable[list[Window]], batch_tokens: int) -> Iterator[list[Window]]:
    for windows in sections:
        batch: list[Window] = []
        for window in windows:
            if batch and (len(batch) + 1) * len(window[0]) > batch_tokens:
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch


def _collate(batch: list[Window], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (windows, longest) and targets (windows, longest - 1), ignored where nothing is scored."""
    inputs, _ = pad([ids.tolist() for ids, _ in batch], padding)
    targets, _ = pad([[IGNORED] * (first - 1) + ids[first:].tolist() for ids, first in batch], IGNORED)
    return inputs, targets
