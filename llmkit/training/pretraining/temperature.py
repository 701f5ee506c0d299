"""Choose the temperature at which a new model's text is as varied as the text that it learned.

Public: `choose_temperature`, `TOP_P`, `USUAL`, `LONGEST`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TOP_P = 0.9
USUAL = 0.8
"""Temperature where nothing is measured."""
_TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9)
# Least number of different tokens of the model's text, as a share of those of as much of the corpus.
_VARIED = 0.8
_SAMPLES, _TOKENS = 8, 128
LONGEST = _SAMPLES * _TOKENS
"""Most tokens of text to compare with."""


def choose_temperature(model: Any, text: Sequence[int], boundary: int, seed: int) -> float:
    """Return the lowest temperature at which samples have nearly as many different tokens as the text.

    A low temperature keeps to what the corpus has, and a model that learned little then repeats itself. What
    is too low therefore depends on the model and the text. No random stream of the caller moves.

    Args:
        model: a causal model with a context of more than a few tokens.
        text: token ids of the corpus, or of a part of it.
        boundary: id at which a sample begins.
        seed: seed of the samples.

    Returns:
        One of a few temperatures from 0.5 to 0.9; 0.8 if the text is too short to compare with.
    """
    from llmkit.training.samples import unchanged

    length = min(_TOKENS, model.config.max_position_embeddings - 1)
    size = _SAMPLES * length
    if len(text) < size:
        return USUAL
    wanted = _VARIED * len(set(text[:size]))
    for temperature in _TEMPERATURES[:-1]:
        with unchanged(model, seed):
            if len(set(_sampled(model, boundary, temperature, length))) >= wanted:
                return temperature
    return _TEMPERATURES[-1]


def _sampled(model: Any, boundary: int, temperature: float, length: int) -> list[int]:
    """Return the tokens of samples, which go on at the boundary between documents."""
    import torch
    from transformers import GenerationConfig

    start = torch.full((_SAMPLES, 1), boundary, device=model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=TOP_P,
        top_k=0,
        max_new_tokens=length,
        min_new_tokens=length,
        eos_token_id=boundary,
        pad_token_id=boundary,
        use_cache=True,
    )
    found = model.generate(input_ids=start, attention_mask=torch.ones_like(start), generation_config=config)
    return [one for row in found[:, 1:].tolist() for one in row]
