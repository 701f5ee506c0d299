"""Choose the sampling settings at which a new model's text is most similar to its training text.

Public: `choose_sampling`, `SamplingSettings`, `USUAL`, `LONGEST`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of sampling, as in transformers' generation configuration."""

    temperature: float
    top_p: float
    repetition_penalty: float = 1.0


USUAL = SamplingSettings(0.8, 0.9)
"""Settings where nothing is measured."""
_TEMPERATURES = tuple(number / 20 for number in range(8, 21))
# Pairs of top-p and repetition penalty. With a penalty, a small model says as many different words at a lower
# temperature, and invents fewer. 1.2 is the value of Keskar et al. 2019 (CTRL, arXiv 1909.05858).
_COMBINATIONS = ((0.8, 1.0), (0.9, 1.1), (0.9, 1.2))
# Minimum number of different words in samples, as a share of those in corpus text of the same length.
_VARIED = 0.75
_SAMPLES, _TOKENS, _PASSAGES = 16, 256, 5
LONGEST = 1_000_000
"""Maximum number of tokens of corpus text to compare with."""


def choose_sampling(
    model: Any, text: Sequence[int], decode: Callable[[list[int]], str], boundary: int, seed: int
) -> SamplingSettings:
    """Return the settings at which samples have most pairs of words in common with the text.

    At a low temperature, text stays close to the corpus, but a model that learned little repeats itself. So
    for each combination of top-p and repetition penalty, a bisection finds the lowest temperature at which
    the samples have nearly as many different words as the text, and only these settings are compared. In
    scripts without spaces each character is a word. Random streams of the caller do not change.

    Args:
        model: a causal model with a context of more than a few tokens.
        text: token ids of the corpus; more than `LONGEST` take long.
        decode: returns the text of ids.
        boundary: id at which a sample begins.
        seed: seed of the samples.

    Returns:
        One of a few settings; `USUAL` if the text is too short to compare with.
    """
    from llmkit.training.samples import unchanged

    length = min(_TOKENS, model.config.max_position_embeddings - 1)
    if len(text) < _SAMPLES * length:
        return USUAL
    words = _words(decode(list(text)))
    known = set(itertools.pairwise(words))

    def measured(settings: SamplingSettings) -> tuple[float, float]:
        """Return the variety of samples, at most 1, and the share of known ones in their pairs of words."""
        with unchanged(model, seed):
            sampled = [_words(decode(row)) for row in _sampled(model, boundary, settings, length)]
        pairs = [pair for sample in sampled for pair in itertools.pairwise(sample)]
        varied = _variety([word for sample in sampled for word in sample], words) / _VARIED
        return min(varied, 1.0), sum(pair in known for pair in pairs) / max(len(pairs), 1)

    found = [_lowest_varied(top_p, penalty, measured) for top_p, penalty in _COMBINATIONS]
    return max(found, key=lambda one: one[1])[0]


def _lowest_varied(
    top_p: float, penalty: float, measured: Callable[[SamplingSettings], tuple[float, float]]
) -> tuple[SamplingSettings, tuple[float, float]]:
    """Return the lowest temperature that gives variety 1, otherwise the highest; and what was measured."""
    low, high = 0, len(_TEMPERATURES) - 1
    best = SamplingSettings(_TEMPERATURES[high], top_p, penalty)
    numbers: tuple[float, float] | None = None
    while low < high:
        middle = (low + high) // 2
        settings = SamplingSettings(_TEMPERATURES[middle], top_p, penalty)
        found = measured(settings)
        if found[0] < 1:
            low = middle + 1
        else:
            high, best, numbers = middle, settings, found
    return best, numbers or measured(best)


def _words(text: str) -> list[str]:
    from llmkit.text.words import unicode_words

    return unicode_words(text.casefold())


def _variety(sampled: Sequence[str], words: Sequence[str]) -> float:
    """Return the number of different sampled words, over that of as many of the corpus (mean of passages)."""
    size = min(len(sampled), len(words))
    if not size:
        return 0.0
    starts = [(len(words) - size) * number // (_PASSAGES - 1) for number in range(_PASSAGES)]
    return len(set(sampled)) * _PASSAGES / sum(len(set(words[start : start + size])) for start in starts)


def _sampled(model: Any, boundary: int, settings: SamplingSettings, length: int) -> list[list[int]]:
    """Return the tokens of samples [samples, length], which continue at the boundary between documents."""
    import torch
    from transformers import GenerationConfig

    start = torch.full((_SAMPLES, 1), boundary, device=model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=settings.temperature,
        top_p=settings.top_p,
        repetition_penalty=settings.repetition_penalty,
        top_k=0,
        max_new_tokens=length,
        min_new_tokens=length,
        eos_token_id=boundary,
        pad_token_id=boundary,
        use_cache=True,
    )
    found = model.generate(input_ids=start, attention_mask=torch.ones_like(start), generation_config=config)
    rows: list[list[int]] = found[:, 1:].tolist()
    return rows
