"""Run forward passes in batches and compute the loss of every scored token.

Losses are computed from the logits in float32 for every precision of the model (float64 for a model in
float64).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import LLMKitError, OutOfMemory
from llmkit.evaluation.likelihood.engine_model import EngineModel
from llmkit.evaluation.likelihood.loss import Pass
from llmkit.runtime.memory import run_halving
from llmkit.runtime.peft import base_model

if TYPE_CHECKING:
    import torch

    from llmkit.evaluation.likelihood.passes import ScoredText
    from llmkit.runtime.load import LoadedModel


class LossBatches:
    """Run passes in batches, padded on the right.

    Args:
        loaded: the model.
        rows: passes in a batch; None uses the limit `tokens`.
        tokens: maximum number of tokens in a batch, unless a single pass has more.
        notice: receives a sentence when a batch did not fit into memory.
        progress: receives the number of tokens scored so far, after each batch.
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
        names = inspect.signature(base_model(loaded.model).forward).parameters
        self._takes_logits_to_keep = "logits_to_keep" in names
        self._options = {"use_cache": False} if "use_cache" in names else {}

    def run(self, documents: Sequence[ScoredText]) -> None:
        """Fill in the losses of all passes, longest first; halve the batches when memory runs out.

        Raises:
            OutOfMemory: a single pass does not fit into memory.
            LLMKitError: a loss is not a finite number.
        """
        waiting = [(document, index) for document in documents for index in range(len(document))]
        waiting.sort(key=lambda one: one[0].length(one[1]), reverse=True)
        done = 0
        while done < len(waiting):
            longest = waiting[done][0].length(waiting[done][1])
            size = self._rows or max(1, self.tokens // longest)
            batch = waiting[done : done + size]
            sizes = []
            try:
                for part, losses in run_halving(batch, size, self._losses_of, notice=self._notice):
                    self._store(part, losses)
                    sizes.append(len(part))
            except OutOfMemory as error:
                raise OutOfMemory(
                    f"one window of {longest} tokens does not fit into memory; "
                    'set a smaller `window`, dtype="bfloat16" or another `device`'
                ) from error
            if len(sizes) > 1:  # memory ran out; later passes are not longer than these
                self._rows = min(sizes[:-1])
            done += len(batch)

    def _losses_of(self, batch: Sequence[tuple[ScoredText, int]]) -> list[list[float]]:
        passes = [document.read(index) for document, index in batch]
        if isinstance(self._loaded, EngineModel):
            return self._loaded.losses(passes)
        return self._losses(passes)

    def _store(self, batch: Sequence[tuple[ScoredText, int]], losses: Sequence[list[float]]) -> None:
        """Put the losses of a batch into its documents."""
        for (document, index), loss in zip(batch, losses, strict=True):
            if not math.isfinite(sum(loss)):
                dtype = str(self._loaded.dtype).removeprefix("torch.")
                raise LLMKitError(
                    f"{document.row.where}: the model's loss in {dtype} is not a finite number; "
                    'try dtype="float32"'
                )
            document.losses[index] = loss
            self._scored += len(loss)
        self._progress(self._scored)

    def _losses(self, batch: Sequence[Pass]) -> list[list[float]]:
        """Return the losses of each pass in nats, in the order of its targets."""
        import torch

        longest = max(len(one.ids) for one in batch)
        skipped = 0
        options: dict[str, Any] = dict(self._options)
        if batch[0].source is not None:
            options["input_ids"], options["attention_mask"] = self._padded(
                [one.source or () for one in batch]
            )
            options["decoder_input_ids"], _ = self._padded([one.ids for one in batch])
        else:
            options["input_ids"], mask = self._padded([one.ids for one in batch])
            if any(len(one.ids) < longest for one in batch):
                options["attention_mask"] = mask
        if self._takes_logits_to_keep:
            # Logits (batch, kept, vocabulary) of positions that no pass scores are not computed.
            skipped = min(one.positions.start for one in batch)
            options["logits_to_keep"] = longest - skipped
        with torch.inference_mode():
            logits = self._loaded.model(**options).logits
        return [
            _nll(logits[i, one.positions.start - skipped : one.positions.stop - skipped], one.targets)
            for i, one in enumerate(batch)
        ]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and attention mask, both (rows, longest), on the model's device."""
        import torch

        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._loaded.tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return ids.to(self._loaded.device), mask.to(self._loaded.device)


def _nll(logits: torch.Tensor, targets: Sequence[int]) -> list[float]:
    """Return negative log-likelihoods in nats; `logits` is (targets, vocabulary)."""
    import torch

    exact = logits if logits.dtype == torch.float64 else logits.float()
    right = torch.tensor(targets, device=logits.device)
    losses: list[float] = torch.nn.functional.cross_entropy(exact, right, reduction="none").double().tolist()
    return losses
