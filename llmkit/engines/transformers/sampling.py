"""Turn `Sampling` into arguments of transformers' `generate`: its config, logits processors and criteria.

Tokens are drawn here, not by `generate`: it draws a whole batch from one global generator, so a row's sample
would depend on the other rows. Here each row has its own stream of random numbers, keyed by seed, row and
sample, and each step uses one number of it (inversion of the cumulative distribution; Devroye, Non-Uniform
Random Variate Generation, 1986, chapter III.2, https://doi.org/10.1007/978-1-4613-8643-8).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.generation import logits_process

from llmkit.engines.base import Sampling
from llmkit.runtime.generation_config import end_ids

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from llmkit.runtime.load import LoadedModel

LogitsProcessor = Callable[[Any, torch.Tensor], torch.Tensor]
"""Function of the ids so far [rows, tokens] and the logits of the next token [rows, vocabulary] to logits."""
_TOP_K = 50  # transformers' default if neither the model nor the user sets it
_NO_TOKEN = 2**31 - 1  # stands for no end token; `generate` would fill None from the model's own config


@dataclass(frozen=True)
class Settings:
    """`Sampling` in the form of transformers. All requests of one call share it.

    Attributes:
        config: for `generate`. ``do_sample`` is on for `beam_sampling` only; each call sets its limits.
        drawing: each row samples its tokens with its own random numbers.
        beam_sampling: beams sample their tokens, which only transformers' own sampler supports.
        warpers: transformers' processors that shape the distribution to draw from.
        repetition_penalty: 1.0 for none.
        stop: strings that end an answer, the model's own among them.
        end_ids: tokens that end an answer.
    """

    config: GenerationConfig
    drawing: bool
    beam_sampling: bool
    warpers: tuple[LogitsProcessor, ...]
    repetition_penalty: float
    stop: tuple[str, ...]
    end_ids: frozenset[int]


def model_defaults(loaded: LoadedModel) -> Sampling:
    """Return a model's generation_config in the form of `Engine.defaults`."""
    config: Any = loaded.model.generation_config
    length = config.max_length if loaded.is_encoder_decoder else None
    # transformers counts the decoder's start token.
    least = (config.min_length or 0) - 1 if loaded.is_encoder_decoder else 0
    return Sampling(
        max_new_tokens=length - 1 if length is not None and length >= 2 else Sampling.max_new_tokens,
        min_new_tokens=max(least, config.min_new_tokens or 0, 0),
        temperature=1.0 if config.temperature is None else float(config.temperature),
        top_k=_TOP_K if config.top_k is None else config.top_k,
        top_p=1.0 if config.top_p is None else float(config.top_p),
        min_p=float(config.min_p or 0.0),
        repetition_penalty=float(config.repetition_penalty or 1.0),
        num_beams=config.num_beams or 1,
        length_penalty=1.0 if config.length_penalty is None else float(config.length_penalty),
        early_stopping=config.early_stopping or False,
        no_repeat_ngram_size=config.no_repeat_ngram_size or 0,
        stop=tuple(_as_list(config.stop_strings)),
    )


def make_settings(
    sampling: Sampling,
    own: GenerationConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    is_encoder_decoder: bool,
) -> Settings:
    """Combine `sampling` with the model's generation_config.

    Settings outside `Sampling`, such as ``typical_p`` or ``bad_words_ids``, are those of the model.
    """
    config: Any = copy.deepcopy(own)
    beams, drawing = sampling.num_beams > 1, not sampling.greedy
    typical_p = config.typical_p
    config.num_beams = sampling.num_beams
    # Without beams, several answers to one prompt are rows of their own, each with its own random numbers.
    config.num_return_sequences = sampling.num_return_sequences if beams else 1
    config.do_sample = beams and drawing
    config.repetition_penalty = 1.0
    config.temperature, config.top_k, config.top_p = 1.0, _TOP_K, 1.0
    if config.do_sample:
        config.temperature, config.top_k, config.top_p = sampling.temperature, sampling.top_k, sampling.top_p
        # `generate` replaces None by values of the model's own config.
        config.min_p = 0.0 if not sampling.min_p and own.min_p else sampling.min_p or None
    config.length_penalty = sampling.length_penalty
    config.early_stopping = sampling.early_stopping
    config.no_repeat_ngram_size = sampling.no_repeat_ngram_size
    config.return_dict_in_generate = False
    # `no_end_before` enforces the minimum number of tokens row by row.
    config.min_length = 0 if is_encoder_decoder else config.min_length
    config.min_new_tokens = None if own.min_new_tokens is None else 0
    stop = tuple(dict.fromkeys([*_as_list(own.stop_strings), *sampling.stop]))
    config.stop_strings = list(stop) or None
    _set_tokens(config, sampling, tokenizer)
    return Settings(
        config=config,
        drawing=drawing and not beams,
        beam_sampling=drawing and beams,
        warpers=_warpers(sampling, typical_p) if drawing and not beams else (),
        repetition_penalty=sampling.repetition_penalty,
        stop=stop,
        end_ids=frozenset(token for token in _as_list(config.eos_token_id) if token != _NO_TOKEN),
    )


def _set_tokens(config: Any, sampling: Sampling, tokenizer: PreTrainedTokenizerBase) -> None:
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    if sampling.eos_token_ids is not None:
        config.eos_token_id = list(sampling.eos_token_ids) or [_NO_TOKEN]
    else:
        config.eos_token_id = end_ids(config, tokenizer) or None
    if sampling.first_token is not None:
        config.forced_bos_token_id = sampling.first_token
    if sampling.decoder_start_token is not None:
        config.decoder_start_token_id = sampling.decoder_start_token


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _warpers(sampling: Sampling, typical_p: float | None) -> tuple[LogitsProcessor, ...]:
    """Return transformers' own warpers, in its order."""
    found: list[LogitsProcessor] = []
    if sampling.temperature != 1.0:
        found.append(logits_process.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        found.append(logits_process.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        found.append(logits_process.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        found.append(logits_process.MinPLogitsWarper(sampling.min_p))
    if typical_p is not None and typical_p < 1:
        found.append(logits_process.TypicalLogitsWarper(typical_p))
    return tuple(found)


def random_stream(seed: int, row: int, sample: int, length: int, part: int = 0) -> np.ndarray:
    """Return `length` uniform numbers in [0, 1) that depend only on (seed, row, sample, part).

    Philox is a counter-based generator made for keyed streams (Salmon et al., 2011,
    https://doi.org/10.1145/2063384.2063405).
    """
    key = np.array([seed % 2**64, (row * 2**20 + sample) % 2**64], dtype=np.uint64)
    bits = np.random.Philox(key=key, counter=[0, 0, 0, part]).random_raw(length)
    # 32 bits, so that u * total stays below total in float64 and the index stays within the vocabulary.
    return (bits >> np.uint64(32)).astype(np.float64) / 2.0**32


def row_processors(
    settings: Settings, streams: torch.Tensor | None, mask: torch.Tensor, *, prompt_length: int
) -> list[LogitsProcessor]:
    """Return the logits processors of one batch.

    Args:
        settings: from `make_settings`.
        streams: uniform numbers [rows, steps]; None under greedy decoding.
        mask: attention mask [rows, prompt_length] of the decoder's prompt.
        prompt_length: tokens in the decoder before the first new one.
    """
    found: list[LogitsProcessor] = []
    if settings.repetition_penalty != 1.0:
        penalize = logits_process.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)
        found.append(_without_padding(penalize, mask))
    if streams is not None:
        found += settings.warpers
        found.append(_draw(streams, prompt_length))
    return found


def no_end_before(leasts: Sequence[int], end_ids: frozenset[int], *, prompt_length: int) -> LogitsProcessor:
    """Return a logits processor that forbids the end of each row before its minimum number of new tokens."""
    least, ends = torch.tensor(leasts), sorted(end_ids)

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        beams = len(input_ids) // len(leasts)
        early = (input_ids.shape[1] - prompt_length < least).repeat_interleave(beams).to(scores.device)
        scores = scores.clone()
        scores[:, ends] = scores[:, ends].masked_fill(early.unsqueeze(1), float("-inf"))
        return scores

    return process


def begin_with(prefixes: Sequence[tuple[int, ...] | None], *, prompt_length: int) -> LogitsProcessor:
    """Return a logits processor that makes each row begin with its tokens."""

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step, beams = input_ids.shape[1] - prompt_length, len(input_ids) // len(prefixes)
        for i, prefix in enumerate(prefixes):
            if prefix and step < len(prefix):
                rows = slice(i * beams, (i + 1) * beams)
                own = scores[rows, prefix[step]].clone()
                scores[rows] = float("-inf")
                scores[rows, prefix[step]] = own.clamp(min=-1e4)
        return scores

    return process


def stop_at(limits: Sequence[int], prompt_length: int) -> Callable[..., torch.Tensor]:
    """Return a stopping criterion that ends each row at its own maximum number of new tokens."""
    most = torch.tensor(limits)

    def criterion(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        rows = most.repeat_interleave(input_ids.shape[0] // len(limits)).to(input_ids.device)
        return input_ids.shape[1] - prompt_length >= rows

    return criterion


def stop_when(stopped: Callable[[], bool]) -> Callable[..., torch.Tensor]:
    """Return a stopping criterion that ends all rows as soon as `stopped` returns True."""

    def criterion(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), stopped(), dtype=torch.bool, device=input_ids.device)

    return criterion


def _without_padding(penalize: LogitsProcessor, mask: torch.Tensor) -> LogitsProcessor:
    """Exclude padding from the repetition penalty.

    Otherwise the pad token, which is often the end token, would be penalized only in padded rows of a batch.
    """
    padded = mask == 0
    first = mask.to(torch.int64).argmax(dim=1, keepdim=True)

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        length = padded.shape[1]
        prompt = input_ids[:, :length]
        beams = len(input_ids) // len(padded)
        # A row's first real token already counts, so repeating it changes no penalty.
        real = prompt.gather(1, first.repeat_interleave(beams, dim=0))
        real = torch.where(padded.repeat_interleave(beams, dim=0), real, prompt)
        return penalize(torch.cat([real, input_ids[:, length:]], dim=1), scores)

    return process


def _draw(streams: torch.Tensor, prompt_length: int) -> LogitsProcessor:
    """Draw each row's next token with its own random number, and leave only that token possible."""

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - prompt_length
        # Metal has no float64.
        wide = scores.cpu().double() if scores.device.type == "mps" else scores.double()
        total = wide.softmax(dim=-1).cumsum(dim=-1)
        wanted = streams[:, step : step + 1].to(total.device) * total[:, -1:]
        token = torch.searchsorted(total, wanted, right=True).to(scores.device)
        return torch.full_like(scores, float("-inf")).scatter_(1, token, 0.0)

    return process
