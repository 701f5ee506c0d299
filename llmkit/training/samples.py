"""Texts that a model writes while it is trained; they do not affect the training.

Public: `SampleText`, `SampleWriter`, `check_samples`, `unchanged`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llmkit.errors import OptionError

NEW_TOKENS = 60


def check_samples(every: int | None, prompts: Sequence[str]) -> None:
    """Refuse bad options of samples.

    Raises:
        OptionError: `every` is below 1, or a prompt is not UTF-8 (an argument in another encoding).
    """
    if every is not None and every < 1:
        raise OptionError("sample_every", f"must be above 0, not {every}")
    for text in prompts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise OptionError("prompt", "must be UTF-8") from None


@dataclass(frozen=True)
class SampleText:
    """A text that the model wrote.

    Attributes:
        step, steps: optimizer steps done, and those of the whole run.
        prompt: text that it continues.
        text: the continuation.
    """

    step: int
    steps: int
    prompt: str
    text: str


@dataclass(frozen=True)
class SampleWriter:
    """Writer of samples at some steps.

    Attributes:
        every: steps between samples.
        prompts: texts with their token ids: the model's input, or the encoder's.
        decode: returns the text of ids.
        seed: seed of sampling. Together with the step, it gives the same samples in a resumed run.
        settings: decoding settings that replace those of the model's own generation configuration.
        context: maximum number of tokens of prompt and sample; None is no limit.
    """

    every: int
    prompts: Sequence[tuple[str, Sequence[int]]]
    decode: Callable[[list[int]], str]
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    context: int | None = None

    def write(self, model: Any, step: int, steps: int) -> Iterator[SampleText]:
        """Yield a sample for each prompt, if this step has any.

        Args:
            model: transformers model that generates; its mode and all random streams stay unchanged.
            step, steps: optimizer steps done, and those of the whole run.
        """
        if step % self.every:
            return
        with unchanged(model, self.seed + step):
            for prompt, ids in self.prompts:
                yield SampleText(step, steps, prompt, self._sample(model, ids))

    def _sample(self, model: Any, ids: Sequence[int]) -> str:
        import torch

        both = model.config.is_encoder_decoder
        new = NEW_TOKENS if self.context is None else min(NEW_TOKENS, max(1, self.context - 1))
        if self.context is not None:
            ids = ids[-(self.context if both else self.context - new) :]
        config = copy.deepcopy(model.generation_config)
        for name, value in {"max_length": None, "min_length": 0, "use_cache": True, **self.settings}.items():
            setattr(config, name, value)
        config.max_new_tokens = new
        row = torch.tensor([list(ids)], device=model.device)
        found = model.generate(input_ids=row, attention_mask=torch.ones_like(row), generation_config=config)
        return self.decode(found[0].tolist()[0 if both else len(ids) :])


@contextmanager
def unchanged(model: Any, seed: int) -> Iterator[None]:
    """Evaluate the model with a separate random stream, then restore its mode and torch's streams."""
    import torch

    streams: Any = {"cuda": torch.cuda, "mps": torch.mps}.get(model.device.type)
    before = torch.get_rng_state()
    there = streams.get_rng_state() if streams else None
    was_training = model.training
    model.eval()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        model.train(was_training)
        torch.set_rng_state(before)
        if streams:
            streams.set_rng_state(there)
