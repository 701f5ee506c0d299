"""How tokens are chosen: from the user's options to what transformers' `generate` takes.

Sampling is done here and not by `generate`, which draws a whole batch from one global generator: there a
row's sample depends on its neighbours. Here each row has its own stream of random numbers, keyed by seed,
row and sample, and each step takes one number from it (inversion of the cumulative distribution; Devroye,
Non-Uniform Random Variate Generation, 1986, chapter III.2).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessor

    from llmkit.runtime.load import LoadedModel


@dataclass(frozen=True)
class GenerationOptions:
    """What the user may say about decoding and prompts. None means: as the model's generation_config has it.

    Attributes:
        max_new_tokens: most tokens written for one prompt.
        temperature, top_p, top_k, min_p: giving one turns sampling on (temperature 0 turns it off).
        repetition_penalty: above 1, tokens that stand in the prompt or the answer become less likely.
        num_beams: beams of beam search.
        num_return_sequences: answers per prompt.
        stop: strings that end an answer; they are left out of it.
        greedy: take the likeliest token, whatever else is said.
        seed: of sampling; None draws one.
        truncate: ``left`` or ``right``: where a prompt longer than the context is cut; ``turns``: a
            conversation loses its oldest turns. None refuses it.
        chat: use the model's chat template; None uses it where there is one.
        system: system message of the chat.
        full_text: answers begin with their prompt.
    """

    max_new_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    num_beams: int | None = None
    num_return_sequences: int = 1
    stop: tuple[str, ...] = ()
    greedy: bool = False
    seed: int | None = None
    truncate: str | None = None
    chat: bool | None = None
    system: str | None = None
    full_text: bool = False

    def __post_init__(self) -> None:
        checks = [
            (self.max_new_tokens >= 1, "--max-new-tokens must be 1 or more"),
            (self.temperature is None or self.temperature >= 0, "--temperature must be 0 or more"),
            (self.top_p is None or 0 < self.top_p <= 1, "--top-p must be above 0 and at most 1"),
            (self.top_k is None or self.top_k >= 0, "--top-k must be 0 (off) or more"),
            (self.min_p is None or 0 <= self.min_p <= 1, "--min-p must be between 0 and 1"),
            (
                self.repetition_penalty is None or self.repetition_penalty > 0,
                "--repetition-penalty must be above 0",
            ),
            (self.num_beams is None or self.num_beams >= 1, "--num-beams must be 1 or more"),
            (self.num_return_sequences >= 1, "--num-return-sequences must be 1 or more"),
            (all(self.stop), "--stop must not be empty"),
            (self.truncate in {None, "left", "right", "turns"}, "--truncate must be left, right or turns"),
        ]
        for holds, message in checks:
            if not holds:
                raise InputError(message)


@dataclass(frozen=True)
class Decoding:
    """Options and the model's own generation_config, made one.

    Attributes:
        config: for `generate`, always with ``do_sample`` off unless `beam_sampling`.
        sampling: tokens are drawn.
        beam_sampling: drawn inside beam search, where only transformers' own sampler reaches.
        warpers: transformers' processors that shape the distribution to draw from.
        repetition_penalty: 1.0 for none.
        sequences: sequences computed at once for one prompt.
    """

    config: GenerationConfig
    sampling: bool
    beam_sampling: bool
    warpers: tuple[LogitsProcessor, ...]
    repetition_penalty: float
    sequences: int


def plan_decoding(loaded: LoadedModel, options: GenerationOptions) -> Decoding:
    """Bring together what the user said and what the model's generation_config says.

    Raises:
        InputError: options that exclude each other.
    """
    config = copy.deepcopy(loaded.model.generation_config)
    for name in ("temperature", "top_p", "top_k", "min_p", "num_beams", "repetition_penalty"):
        value = getattr(options, name)
        if value is not None:
            setattr(config, name, value)
    given = (options.temperature, options.top_p, options.top_k, options.min_p)
    sampling = bool(config.do_sample) or any(value is not None for value in given)
    if options.greedy or config.temperature == 0:
        sampling = False
    beams = config.num_beams or 1
    if options.num_return_sequences > beams and beams > 1:
        raise InputError(
            f"--num-return-sequences {options.num_return_sequences} is more than beam search has with"
            f" {beams} beams; give --num-beams {options.num_return_sequences}"
        )
    if options.num_return_sequences > 1 and not sampling and beams == 1:
        raise InputError(
            "--num-return-sequences gives the same text each time under greedy decoding; add --temperature,"
            f" or --num-beams of at least {options.num_return_sequences}"
        )
    penalty = float(config.repetition_penalty or 1.0)
    warpers = _warpers(config) if sampling and beams == 1 else ()
    _settle(config, loaded, options, beam_sampling=sampling and beams > 1)
    # Without beams, several answers to one prompt are rows of their own: each has its own random stream.
    config.num_return_sequences = options.num_return_sequences if beams > 1 else 1
    return Decoding(
        config=config,
        sampling=sampling,
        beam_sampling=sampling and beams > 1,
        warpers=warpers,
        repetition_penalty=penalty,
        sequences=beams if beams > 1 else options.num_return_sequences,
    )


def _settle(
    config: GenerationConfig, loaded: LoadedModel, options: GenerationOptions, *, beam_sampling: bool
) -> None:
    """Write the rest into the config that `generate` gets."""
    config.max_new_tokens = options.max_new_tokens
    config.max_length = None
    config.do_sample = beam_sampling
    config.repetition_penalty = 1.0
    if not beam_sampling:
        config.temperature, config.top_k, config.top_p = 1.0, 50, 1.0
        config.min_p = config.typical_p = None
    config.return_dict_in_generate = False
    if config.pad_token_id is None:
        config.pad_token_id = loaded.tokenizer.pad_token_id
    if config.eos_token_id is None:
        config.eos_token_id = loaded.tokenizer.eos_token_id
    stops = [*_as_list(config.stop_strings), *options.stop]
    config.stop_strings = stops or None


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _warpers(config: GenerationConfig) -> tuple[LogitsProcessor, ...]:
    """transformers' own warpers, in its order; top-k 50 is its default where nobody says anything."""
    from transformers.generation import logits_process as process

    found: list[LogitsProcessor] = []
    if config.temperature not in (None, 1.0):
        found.append(process.TemperatureLogitsWarper(config.temperature))
    top_k = 50 if config.top_k is None else config.top_k
    if top_k > 0:
        found.append(process.TopKLogitsWarper(top_k))
    if config.top_p is not None and config.top_p < 1:
        found.append(process.TopPLogitsWarper(config.top_p))
    if config.min_p:
        found.append(process.MinPLogitsWarper(config.min_p))
    if config.typical_p is not None and config.typical_p < 1:
        found.append(process.TypicalLogitsWarper(config.typical_p))
    return tuple(found)


def random_stream(seed: int, row: int, sample: int, length: int) -> Any:
    """`length` uniform numbers in [0, 1) that belong to (seed, row, sample) alone, as a numpy array.

    Philox is a counter-based generator made for keyed streams (Salmon et al., 2011).
    """
    import numpy as np

    key = np.array([seed % 2**64, (row * 2**20 + sample) % 2**64], dtype=np.uint64)
    bits = np.random.Philox(key=key).random_raw(length)
    # 32 bits, so that u * total stays below total in float64 and the last token cannot be overshot.
    return (bits >> np.uint64(32)).astype(np.float64) / 2.0**32


def row_processors(
    decoding: Decoding, streams: torch.Tensor | None, mask: torch.Tensor, *, prompt_length: int
) -> list[Any]:
    """The logits processors of one batch.

    Args:
        decoding: from `plan_decoding`.
        streams: uniform numbers [rows, steps]; None under greedy decoding.
        mask: attention mask [rows, prompt_length] of the decoder's prompt.
        prompt_length: tokens in the decoder before the first new one.
    """
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    found: list[Any] = []
    if decoding.repetition_penalty != 1.0:
        penalise = RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty)
        found.append(_without_padding(penalise, mask))
    if streams is not None:
        found += decoding.warpers
        found.append(_draw(streams, prompt_length))
    return found


def no_end_before(leasts: list[int], config: GenerationConfig, *, prompt_length: int) -> Any:
    """A logits processor that keeps each row of a batch going until it has its least number of tokens."""
    import torch

    least = torch.tensor(leasts)
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        beams = len(input_ids) // len(leasts)
        early = (input_ids.shape[1] - prompt_length < least).repeat_interleave(beams).to(scores.device)
        scores = scores.clone()
        scores[:, ends] = scores[:, ends].masked_fill(early.unsqueeze(1), float("-inf"))
        return scores

    return process


def _without_padding(penalise: Any, mask: torch.Tensor) -> Any:
    """Keep padding out of the repetition penalty, which would else punish the pad token (often the
    end-of-text token) in some rows of a batch and not in others."""
    import torch

    padded = mask == 0
    first = mask.to(torch.int64).argmax(dim=1, keepdim=True)

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        length = padded.shape[1]
        prompt = input_ids[:, :length]
        beams = len(input_ids) // len(padded)
        # A row's first real token stands in it already, so repeating it changes no penalty.
        real = prompt.gather(1, first.repeat_interleave(beams, dim=0))
        real = torch.where(padded.repeat_interleave(beams, dim=0), real, prompt)
        return penalise(torch.cat([real, input_ids[:, length:]], dim=1), scores)

    return process


def _draw(streams: torch.Tensor, prompt_length: int) -> Any:
    """Pick each row's next token with its own random number and leave only that one possible."""
    import torch

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - prompt_length
        # Metal has no float64.
        wide = scores.cpu().double() if scores.device.type == "mps" else scores.double()
        total = wide.softmax(dim=-1).cumsum(dim=-1)
        wanted = streams[:, step : step + 1].to(total.device) * total[:, -1:]
        token = torch.searchsorted(total, wanted, right=True).to(scores.device)
        return torch.full_like(scores, float("-inf")).scatter_(1, token, 0.0)

    return process
