"""Vectors of texts from a model's last hidden states, by the steps that the model specifies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, OutOfMemory, did_you_mean
from llmkit.runtime.memory import is_out_of_memory
from llmkit.tasks.embeddings.modules import POOLINGS, EncoderModules, load_dense, read_modules
from llmkit.tasks.qa.reader import most_positions

if TYPE_CHECKING:
    import numpy as np

    from llmkit.runtime.load import LoadedModel

_MOST_TOKENS = 4096  # of a sentence; a longer one is a table or a list, and its beginning is enough
_CPU_TOKENS = 4096
_GPU_TOKENS = 65536


class SentenceEmbedder:
    """Embeds texts: pools their tokens' last hidden states, and scales the vectors to length 1.

    The model's `modules.json` specifies the steps (see `EncoderModules`); without it, the mean over the
    tokens is used. The vectors of a call depend on its sentences alone: no other text shares a batch with
    them.

    Args:
        loaded: from `runtime.load`, for the task ``feature-extraction``. An encoder-decoder model runs its
            encoder only.
        progress: called during a call with the number of finished sentences and of all sentences.
        pooling: ``mean``, ``cls`` or ``last``; None takes the model's own.
        normalize: scale vectors to length 1; None does so if the model's description says it.
        prompt: name of the model's prompt to put in front of each text; None takes its default, if any.

    Attributes:
        modules: how vectors are made, the options included.
        window: number of tokens that the model sees of a sentence.
        tokens_at_once: padded tokens in one forward pass.
        cut: number of sentences so far that were longer than `window`.

    Raises:
        InputError: the model does not read text, or its description has steps that are not supported.
        OptionError: there is no such pooling or prompt.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        pooling: str | None = None,
        normalize: bool | None = True,
        prompt: str | None = None,
    ) -> None:
        self.loaded = loaded
        self.progress = progress
        self.model: Any = loaded.model.get_encoder() if loaded.is_encoder_decoder else loaded.model
        base = getattr(self.model, "get_base_model", lambda: self.model)()
        self._parameters = inspect.signature(base.forward).parameters
        if "input_ids" not in self._parameters:
            raise InputError(f"{loaded.spec.name} does not read text; extractive=True needs a text model")
        self.modules = _with_options(
            read_modules(loaded.folder, loaded.spec.name), pooling, normalize, prompt
        )
        longest = self.modules.max_tokens or _MOST_TOKENS
        self.window = int(min(loaded.tokenizer.model_max_length, most_positions(base), longest))
        self.tokens_at_once = _GPU_TOKENS if loaded.device.type == "cuda" else _CPU_TOKENS
        self.cut = 0
        self._dense = [
            (*load_dense(layer, loaded.spec.name), layer.activation) for layer in self.modules.dense
        ]

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Embed sentences: [sentences, hidden] in float64; a sentence without a token is all zeros.

        Raises:
            InputError: the model does not return one vector for each token, or its vectors are not finite.
            OutOfMemory: a single sentence does not fit.
        """
        import numpy as np

        encoded = self.encode(sentences)
        waiting = sorted((i for i, ids in enumerate(encoded) if ids), key=lambda i: (-len(encoded[i]), i))
        found: dict[int, np.ndarray] = {}
        tokens = self.tokens_at_once
        while waiting:
            longest = len(encoded[waiting[0]])
            batch = waiting[: max(tokens // longest, 1)]
            try:
                vectors = self.vectors([encoded[i] for i in batch])
            except OutOfMemory:
                if len(batch) == 1:
                    raise
                tokens = len(batch) * longest // 2
                continue
            found |= dict(zip(batch, vectors, strict=True))
            del waiting[: len(batch)]
            self.progress(len(found), len(found) + len(waiting))
        width = next((vector.size for vector in found.values()), 1)
        return np.array([found.get(i, np.zeros(width)) for i in range(len(sentences))], dtype=np.float64)

    def identity(self) -> dict[str, Any]:
        """Return, as JSON, all that vectors depend on."""
        from llmkit.runtime.loaded_model import fingerprints

        modules = self.modules
        return {
            **self.loaded.identity(),
            "pooling": modules.pooling,
            "normalize": modules.normalize,
            "prompt": self._prompt,
            "window": self.window,
            "dense": [[one.activation, fingerprints(one.file)] for one in modules.dense],
        }

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each sentence, its prompt in front, at most `window`."""
        if not sentences:
            return []
        tokenizer = self.loaded.tokenizer
        texts = [self._prompt + sentence for sentence in sentences]
        encoded: list[list[int]] = tokenizer(texts, truncation=True, max_length=self.window)["input_ids"]
        for text, ids in zip(texts, encoded, strict=True):
            if len(ids) == self.window:
                self.cut += len(tokenizer(text, verbose=False)["input_ids"]) > self.window
        return encoded

    def vectors(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the vectors of sentences' tokens in one forward pass: [sentences, hidden] in float64.

        Raises:
            InputError: as a call.
            OutOfMemory: they do not fit into memory together.
        """
        import numpy as np

        vectors = self._pooled(batch).astype(np.float64)
        if not np.isfinite(vectors).all():
            raise InputError(f"the embeddings of {self.loaded.spec.name} overflow; try dtype=float32")
        if not self.modules.normalize:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1.0)
        return scaled

    @property
    def _prompt(self) -> str:
        name = self.modules.default_prompt
        return "" if name is None else self.modules.prompts[name]

    def _pooled(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        """Return one vector for each sentence's tokens: [sentences, hidden] in float32."""
        import torch

        longest = max(map(len, batch))
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
                        f"{self.loaded.spec.name} returns no vector for each token; use another model"
                    )
                pooled = _pool(states.float(), mask, self.modules.pooling).cpu()
                for weight, bias, activation in self._dense:
                    pooled = torch.nn.functional.linear(pooled, weight, bias)
                    pooled = pooled.tanh() if activation == "tanh" else pooled
                found: np.ndarray = pooled.numpy()
                return found
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"{len(batch)} sentences of {longest} tokens do not fit into memory") from error


def _pool(states: Any, mask: Any, pooling: str) -> Any:
    """Return a vector for each row; states [rows, tokens, hidden], mask [rows, tokens], padded at the end."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        last = mask.sum(1) - 1
        return states[range(len(states)), last]
    weights = mask[:, :, None].float()
    # masked_fill, not a product with the mask: states at padding may be NaN.
    return states.masked_fill(weights == 0, 0.0).sum(1) / weights.sum(1)


def _with_options(
    modules: EncoderModules, pooling: str | None, normalize: bool | None, prompt: str | None
) -> EncoderModules:
    if pooling is not None and pooling not in POOLINGS:
        raise OptionError("pooling", f"cannot be {pooling!r}; use {', '.join(POOLINGS)}")
    if prompt is not None and prompt not in modules.prompts:
        known = ", ".join(modules.prompts) or "none"
        hint = did_you_mean(prompt, modules.prompts)
        raise OptionError("prompt", f"{prompt!r} is not a prompt of this model, which has {known}{hint}")
    return replace(
        modules,
        pooling=pooling or modules.pooling,
        normalize=modules.normalize if normalize is None else normalize,
        default_prompt=modules.default_prompt if prompt is None else prompt,
    )
