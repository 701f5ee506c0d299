"""Passes of a model over texts, and the loss of every token that it predicts.

Losses are taken from the logits in float32 (float64 where the model is), whatever the model computes in.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import LLMKitError
from llmkit.evaluation.likelihood.loss import Pass

if TYPE_CHECKING:
    import torch

    from llmkit.evaluation.likelihood.passes import ScoredText
    from llmkit.runtime.load import LoadedModel


class LossBatches:
    """Runs passes in batches, padded on the right.

    Args:
        loaded: the model.
        rows: passes per batch; None follows from `tokens`.
        tokens: the most tokens in a batch, unless one pass has more.
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
        names = inspect.signature(forward).parameters
        self._keeps = "logits_to_keep" in names
        self._options = {"use_cache": False} if "use_cache" in names else {}

    def run(self, documents: Sequence[ScoredText]) -> None:
        """Fill in the losses of all passes, longest first; halve the batches when memory runs out."""
        import torch

        waiting = [(document, index) for document in documents for index in range(len(document))]
        waiting.sort(key=lambda one: one[0].length(one[1]), reverse=True)
        done = 0
        while done < len(waiting):
            longest = waiting[done][0].length(waiting[done][1])
            size = self._rows or max(1, self.tokens // longest)
            batch = waiting[done : done + size]
            try:
                losses = self._losses([document.read(index) for document, index in batch])
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

    def _losses(self, batch: Sequence[Pass]) -> list[list[float]]:
        """The losses of each pass in nats, in the order of its targets."""
        import torch

        longest = max(len(one.fed) for one in batch)
        skipped = 0
        options: dict[str, Any] = dict(self._options)
        if batch[0].source is not None:
            options["input_ids"], options["attention_mask"] = self._padded(
                [one.source or () for one in batch]
            )
            options["decoder_input_ids"], _ = self._padded([one.fed for one in batch])
        else:
            options["input_ids"], mask = self._padded([one.fed for one in batch])
            if any(len(one.fed) < longest for one in batch):
                options["attention_mask"] = mask
        if self._keeps:
            # Logits of places that no pass scores are not even computed, where the model allows that.
            skipped = min(one.places.start for one in batch)
            options["logits_to_keep"] = longest - skipped
        with torch.inference_mode():
            logits = self._loaded.model(**options).logits
        return [
            _nll(logits[i, one.places.start - skipped : one.places.stop - skipped], one.targets)
            for i, one in enumerate(batch)
        ]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and attention mask, both (rows, longest), on the model's device."""
        import torch

        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._loaded.tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return ids.to(self._loaded.device), mask.to(self._loaded.device)


def _nll(logits: torch.Tensor, targets: Sequence[int]) -> list[float]:
    """Negative log-likelihoods in nats; logits are (targets, vocabulary)."""
    import torch

    exact = logits if logits.dtype == torch.float64 else logits.float()
    right = torch.tensor(targets, device=logits.device)
    losses: list[float] = torch.nn.functional.cross_entropy(exact, right, reduction="none").double().tolist()
    return losses
