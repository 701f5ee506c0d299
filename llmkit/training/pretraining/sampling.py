"""Choose the sampling settings at which a new model's text is most similar to its training text.

Public: `choose_sampling`, `SamplingSettings`, `USUAL`, `LONGEST`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of sampling, as in transformers' generation configuration."""

    temperature: float
    top_p: float


USUAL = SamplingSettings(0.8, 0.9)
"""Settings where nothing is measured."""
_TEMPERATURES, _TOP_P = (0.5, 0.6, 0.7, 0.8, 0.9), (0.8, 0.9, 0.95)
# Minimum number of different tokens in samples, as a share of those in corpus text of the same length.
_VARIED = 0.75
_SAMPLES, _TOKENS, _PASSAGES = 8, 128, 5
LONGEST = 1_000_000
"""Maximum number of tokens of corpus text to compare with."""


def choose_sampling(model: Any, text: Sequence[int], boundary: int, seed: int) -> SamplingSettings:
    """Return the settings at which samples have most pairs of tokens in common with the text.

    With a low temperature and a low top-p, the text stays close to the corpus, but a weak model repeats
    itself. So only settings are compared whose samples have nearly as many different tokens as the text. If
    there are none, the settings with the most different tokens are chosen. Random streams of the caller do
    not change.

    Args:
        model: a causal model with a context of more than a few tokens.
        text: token ids of the corpus; more than `LONGEST` are slow.
        boundary: id at which a sample begins.
        seed: seed of the samples.

    Returns:
        One of a few settings; `USUAL` if the text is too short to compare with.
    """
    import numpy as np

    from llmkit.training.samples import unchanged

    length = min(_TOKENS, model.config.max_position_embeddings - 1)
    size = _SAMPLES * length
    if len(text) < size:
        return USUAL
    ids = np.asarray(text, dtype=np.int64)
    starts = [(len(ids) - size) * number // (_PASSAGES - 1) for number in range(_PASSAGES)]
    wanted = _VARIED * sum(len(np.unique(ids[start : start + size])) for start in starts) / _PASSAGES
    known = np.unique(_pairs(ids[None]))
    best, best_score = USUAL, (-1.0, -1.0)
    for settings in itertools.starmap(SamplingSettings, itertools.product(_TEMPERATURES, _TOP_P)):
        with unchanged(model, seed):
            sampled = _sampled(model, boundary, settings, length)
        varied = len(np.unique(sampled)) / wanted
        score = (min(varied, 1.0), float(np.isin(_pairs(sampled), known).mean()))
        if score > best_score:
            best, best_score = settings, score
    return best


def _pairs(ids: np.ndarray) -> np.ndarray:
    """Return a number for each pair of neighboring tokens in rows of ids [rows, tokens]."""
    return ((ids[:, :-1] << 32) | ids[:, 1:]).ravel()


def _sampled(model: Any, boundary: int, settings: SamplingSettings, length: int) -> np.ndarray:
    """Return the tokens of samples [samples, length], which go on at the boundary between documents."""
    import numpy as np
    import torch
    from transformers import GenerationConfig

    start = torch.full((_SAMPLES, 1), boundary, device=model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        max_new_tokens=length,
        min_new_tokens=length,
        eos_token_id=boundary,
        pad_token_id=boundary,
        use_cache=True,
    )
    found = model.generate(input_ids=start, attention_mask=torch.ones_like(start), generation_config=config)
    return np.asarray(found[:, 1:].cpu(), dtype=np.int64)
