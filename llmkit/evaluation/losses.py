"""One pass of a causal model over windows of texts, and the loss of every token it predicts.

Losses are taken from the logits in float32 (float64 where the model is), whatever the model computes in.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.errors import LLMKitError
from llmkit.evaluation.windows import Window
from llmkit.records.rows import Row

if TYPE_CHECKING:
    import torch

    from llmkit.runtime.load import LoadedModel


@dataclass(frozen=True)
class Loss:
    """What a model lost on a text, or on one window's share of it.

    Args:
        nll: negative log-likelihood of the scored tokens, in nats.
        tokens: how many were scored.
        words: the text's words, as `text.words.count_words` counts them.
        bytes: the text's bytes in UTF-8.
        unknown: tokens that stand for text which the tokenizer does not know.
        token_ids: the scored tokens.
        token_losses: the loss of each, in nats.
    """

    nll: float
    tokens: int
    words: float
    bytes: float
    unknown: int
    token_ids: tuple[int, ...] = field(default=(), repr=False)
    token_losses: tuple[float, ...] = field(default=(), repr=False)


@dataclass
class Document:
    """A text's tokens and windows, and as they come the losses of each window.

    Args:
        row: where the text is from.
        text: the text.
        ids: its tokens, after the beginning-of-sequence token if it has one.
        windows: over `ids`.
        repeat_bos: each window begins with ids[0].
        unknown: the token for text that the tokenizer does not know, or None.
        words: how many the text has.
        losses: by the window's index, the loss of each token that it scores, in nats.
    """

    row: Row
    text: str
    ids: list[int]
    windows: list[Window]
    repeat_bos: bool
    unknown: int | None
    words: int
    losses: dict[int, list[float]]

    def inputs(self, index: int) -> list[int]:
        """The tokens that window `index` feeds."""
        window = self.windows[index]
        fed = self.ids[window.start : window.end]
        return [self.ids[0], *fed] if window.start and self.repeat_bos else fed

    def targets(self, index: int) -> list[int]:
        """The tokens that it predicts: the predictions at its last places."""
        window = self.windows[index]
        return self.ids[window.end - window.scored + 1 : window.end + 1]

    def loss(self, of: Sequence[int], share: float = 1.0) -> Loss:
        """What was lost in some windows, to which a share of the text's words and bytes belongs."""
        tokens = [token for index in of for token in self.targets(index)]
        losses = [loss for index in of for loss in self.losses[index]]
        return Loss(
            nll=math.fsum(losses),
            tokens=len(tokens),
            words=share * self.words,
            bytes=share * len(self.text.encode("utf-8")),
            unknown=tokens.count(self.unknown) if self.unknown is not None else 0,
            token_ids=tuple(tokens),
            token_losses=tuple(losses),
        )


class Batches:
    """Runs windows in batches, padded on the right, where a causal model does not see the padding.

    Args:
        loaded: the model.
        rows: windows per batch; None follows from `tokens`.
        tokens: the most tokens in a batch, unless one window has more.
        notice: called when a batch did not fit into memory.
        progress: called after each batch with the number of tokens scored so far.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        rows: int | None,
        tokens: int,
        notice: Callable[[str], None],
        progress: Callable[[int], None],
    ) -> None:
        self.tokens = tokens
        self._loaded, self._rows, self._notice, self._progress = loaded, rows, notice, progress
        self._scored = 0
        base: Any = loaded.model
        forward = base.get_base_model().forward if hasattr(base, "get_base_model") else base.forward
        self._keeps = "logits_to_keep" in inspect.signature(forward).parameters

    def run(self, waiting: Sequence[tuple[Document, int]]) -> None:
        """Fill in the losses of all windows; halve the batches when memory runs out."""
        import torch

        done = 0
        while done < len(waiting):
            longest = len(waiting[done][0].inputs(waiting[done][1]))
            size = self._rows or max(1, self.tokens // longest)
            batch = waiting[done : done + size]
            try:
                losses = self._losses(batch)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise LLMKitError(
                        f"one window of {longest} tokens does not fit into memory; "
                        "give a shorter --window, --dtype bfloat16 or another --device"
                    ) from None
                self._rows = len(batch) // 2
                torch.cuda.empty_cache()
                self._notice(f"out of memory: going on with {self._rows} windows at a time")
                continue
            for (document, index), loss in zip(batch, losses, strict=True):
                if not math.isfinite(sum(loss)):
                    where, dtype = document.row.where, str(self._loaded.dtype).removeprefix("torch.")
                    raise LLMKitError(
                        f"{where}: the model's loss in {dtype} is no number; try --dtype float32"
                    )
                document.losses[index] = loss
                self._scored += len(loss)
            done += len(batch)
            self._progress(self._scored)

    def _losses(self, batch: Sequence[tuple[Document, int]]) -> list[list[float]]:
        import torch

        inputs = [document.inputs(index) for document, index in batch]
        scored = [document.windows[index].scored for document, index in batch]
        longest = max(map(len, inputs))
        ids = torch.full((len(batch), longest), self._loaded.tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, fed in enumerate(inputs):
            ids[i, : len(fed)] = torch.tensor(fed)
            mask[i, : len(fed)] = 1
        # Logits of places that no window scores are not even computed, where the model allows that.
        keep = longest - min(len(fed) - count for fed, count in zip(inputs, scored, strict=True))
        options: dict[str, Any] = {"logits_to_keep": keep} if self._keeps else {}
        if any(len(fed) < longest for fed in inputs):
            options["attention_mask"] = mask.to(self._loaded.device)
        with torch.inference_mode():
            logits = self._loaded.model(ids.to(self._loaded.device), use_cache=False, **options).logits
        skipped = longest - logits.shape[1]
        return [
            _token_losses(logits[i, len(fed) - count - skipped : len(fed) - skipped], document.targets(index))
            for i, (fed, count, (document, index)) in enumerate(zip(inputs, scored, batch, strict=True))
        ]


def _token_losses(logits: torch.Tensor, targets: Sequence[int]) -> list[float]:
    """Negative log-likelihoods in nats; logits are (targets, vocabulary)."""
    import torch

    exact = logits if logits.dtype == torch.float64 else logits.float()
    right = torch.tensor(targets, device=logits.device)
    losses: list[float] = torch.nn.functional.cross_entropy(exact, right, reduction="none").double().tolist()
    return losses
