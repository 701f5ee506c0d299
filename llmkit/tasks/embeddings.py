"""Vectors for sentences from a model's last hidden states."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OutOfMemory
from llmkit.runtime.memory import is_out_of_memory
from llmkit.tasks.qa.reader import most_positions

if TYPE_CHECKING:
    import numpy as np

    from llmkit.runtime.load import LoadedModel

_MOST_TOKENS = 4096  # of a sentence; a longer one is a table or a list, and its beginning is enough
_CPU_TOKENS = 4096
_GPU_TOKENS = 65536


class SentenceEmbedder:
    """Embeds a sentence as the mean of its tokens' last hidden states, scaled to length 1.

    The vectors of a call depend on its sentences alone: no other text shares a batch with them.

    Args:
        loaded: from `runtime.load`, for the task ``feature-extraction``. An encoder-decoder model runs its
            encoder only.
        progress: called during a call with the number of finished sentences and of all sentences.

    Attributes:
        window: number of tokens that the model sees of a sentence.
        tokens_at_once: padded tokens in one forward pass.
        cut: number of sentences so far that were longer than `window`.

    Raises:
        InputError: the model does not read text.
    """

    def __init__(
        self, loaded: LoadedModel, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        self.loaded = loaded
        self.progress = progress
        self.model: Any = loaded.model.get_encoder() if loaded.is_encoder_decoder else loaded.model
        base = getattr(self.model, "get_base_model", lambda: self.model)()
        self._parameters = inspect.signature(base.forward).parameters
        if "input_ids" not in self._parameters:
            raise InputError(f"{loaded.spec.name} does not read text; extractive=True needs a text model")
        self.window = int(min(loaded.tokenizer.model_max_length, most_positions(base), _MOST_TOKENS))
        self.tokens_at_once = _GPU_TOKENS if loaded.device.type == "cuda" else _CPU_TOKENS
        self.cut = 0

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Embed sentences: [sentences, hidden] in float64; a sentence without a token is all zeros.

        Raises:
            InputError: the model does not return one vector for each token, or its vectors are not finite.
            OutOfMemory: a single sentence does not fit.
        """
        import numpy as np

        encoded = self._encode(sentences)
        waiting = sorted((i for i, ids in enumerate(encoded) if ids), key=lambda i: (-len(encoded[i]), i))
        found: dict[int, np.ndarray] = {}
        tokens = self.tokens_at_once
        while waiting:
            longest = len(encoded[waiting[0]])
            batch = waiting[: max(tokens // longest, 1)]
            try:
                means = self._means([encoded[i] for i in batch])
            except OutOfMemory:
                if len(batch) == 1:
                    raise
                tokens = len(batch) * longest // 2
                continue
            found |= dict(zip(batch, means, strict=True))
            del waiting[: len(batch)]
            self.progress(len(found), len(found) + len(waiting))
        width = next((mean.size for mean in found.values()), 1)
        vectors = np.array([found.get(i, np.zeros(width)) for i in range(len(sentences))], dtype=np.float64)
        if not np.isfinite(vectors).all():
            raise InputError(f"the embeddings of {self.loaded.spec.name} overflow; try dtype=float32")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1.0)

    def _encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each sentence, at most `window`."""
        tokenizer = self.loaded.tokenizer
        encoded: list[list[int]] = tokenizer(list(sentences), truncation=True, max_length=self.window)[
            "input_ids"
        ]
        for sentence, ids in zip(sentences, encoded, strict=True):
            if len(ids) == self.window:
                self.cut += len(tokenizer(sentence, verbose=False)["input_ids"]) > self.window
        return encoded

    def _means(self, batch: list[list[int]]) -> np.ndarray:
        """Return the mean over each sentence's tokens: [sentences, hidden] in float32."""
        import torch

        longest = len(batch[0])
        pad: Any = self.loaded.tokenizer.pad_token_id
        ids = torch.full((len(batch), longest), pad)
        mask = torch.zeros_like(ids)
        for i, sentence in enumerate(batch):
            ids[i, : len(sentence)] = torch.tensor(sentence)
            mask[i, : len(sentence)] = 1
        ids, mask = ids.to(self.loaded.device), mask.to(self.loaded.device)
        more = {"use_cache": False} if "use_cache" in self._parameters else {}
        try:
            with torch.inference_mode():
                output = self.model(input_ids=ids, attention_mask=mask, **more)
                states = getattr(output, "last_hidden_state", None)
                if states is None or states.shape[:2] != ids.shape:
                    raise InputError(
                        f"{self.loaded.spec.name} gives no vector for each token; take another model"
                    )
                weights = mask[:, :, None].float()
                # masked_fill, not a product with the mask: states at padding may be NaN.
                sums = states.float().masked_fill(weights == 0, 0.0).sum(1)
                return (sums / weights.sum(1)).cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"{len(batch)} sentences of {longest} tokens do not fit into memory") from error
