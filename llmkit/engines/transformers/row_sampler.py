"""Choose the next tokens of several sequences, each with its own settings and random numbers.

The arithmetic equals that of `sampling`, which works inside transformers' `generate`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmkit.engines.base import Request, TokenLogprob
from llmkit.engines.transformers.sampling import Settings, random_stream

if TYPE_CHECKING:
    from llmkit.engines.base import TokenMask

# Settings of a generation_config that change logits in ways that this module does not support.
_UNKNOWN = (
    *("suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id"),
    *("exponential_decay_length_penalty", "sequence_bias", "guidance_scale", "watermarking_config"),
    *("epsilon_cutoff", "eta_cutoff", "renormalize_logits", "encoder_repetition_penalty", "top_h"),
    "encoder_no_repeat_ngram_size",
)


def reason_against(settings: Settings, known: frozenset[str] = frozenset()) -> str | None:
    """Return the first setting that `RowSampler` does not support, or None if it supports all.

    Args:
        settings: from `make_settings`.
        known: settings that the caller handles.
    """
    if settings.config.num_beams > 1:
        return "num_beams"
    if not all(map(_is_one_token, settings.config.bad_words_ids or ())):
        return "bad_words_ids"
    for name in (one for one in _UNKNOWN if one not in known):
        value = getattr(settings.config, name, None)
        if value not in (None, False, 0, 0.0, [], {}) and not (name == "guidance_scale" and value == 1):
            return name
    return None


def _is_one_token(word: object) -> bool:
    return isinstance(word, list | tuple) and len(word) == 1 and isinstance(word[0], int) and word[0] >= 0


class RowSampler:
    """Chooses the tokens of one sequence.

    Args:
        request: request with its key, limits, penalties and constraint.
        settings: from `sampling.make_settings`.

    Attributes:
        written: tokens chosen so far.
        logprobs: one for each of them, if the request asks for them.
    """

    def __init__(self, request: Request, settings: Settings) -> None:
        sampling = request.sampling
        self.request, self.settings = request, settings
        self.written: list[int] = []
        self.logprobs: list[TokenLogprob] | None = None if request.logprobs is None else []
        self._streams: dict[int, np.ndarray] = {}
        self._penalty = settings.repetition_penalty
        self._seen = dict.fromkeys(request.ids or ()) if self._penalty != 1.0 else {}
        self._counts: Counter[int] = Counter()
        self._bias = dict(sampling.logit_bias)
        self._ngrams = _Ngrams(sampling.no_repeat_ngram_size, request.ids or ())
        words = {word[0] for word in settings.config.bad_words_ids or ()}
        self._banned = torch.tensor(sorted(words.difference(settings.end_ids)), dtype=torch.long)
        self._mask: TokenMask | None = None if request.constraint is None else request.constraint.new_mask()

    @property
    def number(self) -> float:
        """Random number that draws the next token."""
        return self._number(0, 0)

    @property
    def accepting_number(self) -> float:
        """Random number that accepts or rejects a drawn guess of the next token."""
        return self._number(1, 0)

    def proposing_number(self, ahead: int) -> float:
        """Return the random number that draws a guess, `ahead` tokens after the next one."""
        return self._number(2, ahead)

    def _number(self, part: int, ahead: int) -> float:
        if part not in self._streams:
            length = self.request.sampling.max_new_tokens
            self._streams[part] = random_stream(*self.request.key, length=length, part=part)
        return float(self._streams[part][len(self.written) + ahead])

    def process(self, logits: torch.Tensor) -> None:
        """Apply all settings that depend on this sequence to its logits, float32 [vocabulary], in place."""
        self.weigh(logits)
        if len(self._banned):
            known = self._banned[self._banned < len(logits)]  # a config may name tokens that there are not
            logits.index_fill_(0, known.to(logits.device), -torch.inf)
        for token in self._ngrams.banned():
            logits[token] = -torch.inf
        if self._mask is not None:
            allowed = torch.from_numpy(self._mask.allowed())
            logits[: len(allowed)].masked_fill_(~allowed, -torch.inf)
            logits[len(allowed) :] = -torch.inf

    def weigh(self, logits: torch.Tensor, ahead: Sequence[int] = ()) -> None:
        """Apply penalties, biases and the minimum length to logits, float32 [vocabulary], in place.

        Args:
            logits: logits after the sequence and the tokens `ahead`.
            ahead: tokens that may come next.
        """
        sampling = self.request.sampling
        if self._penalty != 1.0 and (self._seen or ahead):
            ids = torch.tensor(list(dict.fromkeys([*self._seen, *ahead])))
            known = logits[ids]
            logits[ids] = torch.where(known < 0, known * self._penalty, known / self._penalty)
        if sampling.presence_penalty or sampling.frequency_penalty:
            times = Counter(self._counts)
            times.update(ahead)
            if times:
                ids = torch.tensor(list(times))
                counts = torch.tensor(list(times.values()), dtype=logits.dtype)
                logits[ids] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        for token, bias in self._bias.items():
            logits[token] += bias
        if len(self.written) + len(ahead) < sampling.min_new_tokens:
            logits[sorted(self.settings.end_ids)] = -torch.inf

    def accept(self, token: int) -> None:
        """Record the chosen token."""
        self.written.append(token)
        if self._penalty != 1.0:
            self._seen[token] = None
        if self.request.sampling.presence_penalty or self.request.sampling.frequency_penalty:
            self._counts[token] += 1
        self._ngrams.add(token)
        if self._mask is not None and token not in self.settings.end_ids:
            self._mask.accept(token)

    def note(self, logits: torch.Tensor, token: int) -> None:
        """Record the log-probabilities of a position: of the token and of the most likely tokens."""
        if self.logprobs is None:
            return
        scores = logits.log_softmax(dim=-1)
        count = min(self.request.logprobs or 0, len(scores))
        values, ids = scores.topk(count)
        top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
        self.logprobs.append(TokenLogprob(token, float(scores[token]), top))


def choose(samplers: Sequence[RowSampler], logits: torch.Tensor) -> list[int]:
    """Choose the next token of each sequence, and record it in its sampler.

    Args:
        samplers: one for each row.
        logits: float32 [rows, vocabulary]; changed in place.
    """
    raw = {i: logits[i].clone() for i, one in enumerate(samplers) if one.logprobs is not None}
    groups: dict[int, list[int]] = defaultdict(list)
    for i, one in enumerate(samplers):
        one.process(logits[i])
        groups[id(one.settings) if one.settings.drawing else 0].append(i)
    tokens = [0] * len(samplers)
    for members in groups.values():
        scores = logits if len(members) == len(samplers) else logits[members]
        settings = samplers[members[0]].settings
        if settings.drawing:
            chosen = _draw(scores, settings, [samplers[i].number for i in members])
        else:
            chosen = _likeliest(scores)
        for i, token in zip(members, chosen, strict=True):
            tokens[i] = token
    for i, (one, token) in enumerate(zip(samplers, tokens, strict=True)):
        if i in raw:
            one.note(raw[i], token)
        one.accept(token)
    return tokens


def _likeliest(scores: torch.Tensor) -> list[int]:
    """Choose the first token with the highest score of each row; scores [rows, vocabulary]."""
    if scores.device.type == "cpu" and scores.dtype == torch.float32:
        found: list[int] = scores.numpy().argmax(axis=-1).tolist()  # faster than torch's argmax
        return found
    return scores.argmax(dim=-1).tolist()


def _draw(scores: torch.Tensor, settings: Settings, numbers: Sequence[float]) -> list[int]:
    """Draw a token of each row by inversion of its cumulative distribution; scores [rows, vocabulary]."""
    nothing: Any = None  # the warpers in `Settings` do not use the ids
    plain = scores
    for warp in settings.warpers:
        scores = warp(nothing, scores)
    chosen = []
    for i, (row, number) in enumerate(zip(scores, numbers, strict=True)):
        if not math.isfinite(float(row.max())):
            chosen.append(int(plain[i].argmax()))  # settings so extreme that the scores overflow float32
            continue
        ids = torch.isfinite(row).nonzero().squeeze(1)
        total = row[ids].double().softmax(dim=-1).cumsum(dim=-1)
        at = torch.searchsorted(total, number * float(total[-1]), right=True)
        chosen.append(int(ids[min(int(at), len(ids) - 1)]))
    return chosen


class _Ngrams:
    """Index of n-grams, to find the tokens that would repeat one."""

    def __init__(self, size: int, ids: Sequence[int]) -> None:
        self._size = size
        self._ids: list[int] = []
        self._followers: dict[tuple[int, ...], list[int]] = defaultdict(list)
        if size:
            for token in ids:
                self.add(token)

    def add(self, token: int) -> None:
        if not self._size:
            return
        if len(self._ids) >= self._size - 1:
            self._followers[self._last()].append(token)
        self._ids.append(token)

    def banned(self) -> Sequence[int]:
        if not self._size or len(self._ids) < self._size - 1:
            return ()
        return self._followers.get(self._last(), ())

    def _last(self) -> tuple[int, ...]:
        return tuple(self._ids[len(self._ids) - self._size + 1 :])
