"""A small model that drafts tokens; a larger model verifies them (see `verification`).

Public: `draft_for`, `DraftModel`, `Drafter`, `DraftRow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from llmkit.engines.transformers import native_decoder
from llmkit.engines.transformers.native_decoder import NativeDecoder, Slot, step_bytes
from llmkit.engines.transformers.speculation import VERIFYING, can_pay
from llmkit.engines.transformers.verification import DraftToken, propose
from llmkit.errors import OptionError
from llmkit.runtime.estimate.cache import token_bytes
from llmkit.runtime.peft import base_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmkit.engines.transformers.row_sampler import RowSampler
    from llmkit.runtime.load import LoadedModel

_READ = 512  # number of prompt tokens to read at a time
_PROPOSING = 0.05  # time to choose a token, at most, as a share of a step of the target
_OVERHEAD = 4_000_000  # overhead of a step, as the bytes that could be read in that time


class DraftModel:
    """A draft model for a target model.

    Args:
        draft: the draft model.
        target: the model that verifies.

    Attributes:
        loaded: the draft model.
        cost: time to draft and to verify a token, as a share of a step of `target`. It is computed from the
            sizes of the weights, not measured: with measured times, sampled texts would differ between runs.
        positions: maximum number of tokens that the draft model can read; None is any number.
        token_bytes: bytes of its cache for one token.

    Raises:
        OptionError: the draft model does not run in native steps, has another vocabulary, or is too large.
    """

    def __init__(self, draft: LoadedModel, target: LoadedModel) -> None:
        if draft.is_encoder_decoder:
            raise OptionError("draft", f"{draft.spec.name} is an encoder-decoder; give a decoder-only model")
        if (reason := native_decoder.reason_against(draft.model)) is not None:
            raise OptionError(
                "draft", f"needs a model that runs in native steps, and {draft.spec.name} does not: {reason}"
            )
        _check_vocabulary(draft, target)
        self.loaded = draft
        steps = [step_bytes(one.model) + _OVERHEAD for one in (draft, target)]
        self.cost = steps[0] / steps[1] + VERIFYING + _PROPOSING
        if not can_pay(self.cost):
            raise OptionError(
                "draft",
                f"must be much smaller than {target.spec.name}: a step of {draft.spec.name} reads"
                f" {step_bytes(draft.model) / 1e6:,.0f} MB of weights, and one of the model"
                f" {step_bytes(target.model) / 1e6:,.0f} MB",
            )
        self.positions = draft.context_length
        self.token_bytes = token_bytes(draft.model.config, draft.dtype)
        embedding: Any = base_model(draft.model).get_input_embeddings()
        self.vocabulary = int(embedding.weight.shape[0])

    def identity(self) -> dict[str, Any]:
        """Return the settings that sampled tokens depend on, for a journal."""
        return self.loaded.identity()


def draft_for(draft: LoadedModel, target: LoadedModel, reason: str | None) -> DraftModel:
    """Return a draft model for a model.

    Args:
        draft: the draft model.
        target: the model.
        reason: reason why `target` does not run in native steps; None if it does.

    Raises:
        OptionError: `target` cannot verify its guesses, or as `DraftModel`.
    """
    if reason is not None:
        raise OptionError(
            "draft",
            f"needs a model that verifies in native steps, and {target.spec.name} does not: {reason}",
        )
    found = DraftModel(draft, target)
    share = step_bytes(draft.model) / step_bytes(target.model)
    target.notes.append(f"draft {draft.spec.name}: a step reads {share:.0%} of the bytes of the model's")
    return found


@dataclass
class DraftRow:
    """A sequence whose next tokens are guessed.

    Attributes:
        slot: its range in the target's cache.
        last: its newest token, which the target has not read.
        prompt_tokens: tokens of its prompt.
        sampler: chooses its tokens.
        count: maximum number of tokens to guess, 1 or more.
        cost: time to guess and to verify one of them, as a share of a step.
    """

    slot: Slot
    last: int
    prompt_tokens: int
    sampler: RowSampler
    count: int
    cost: float


class Drafter:
    """Guesses tokens with a draft model, whose cache mirrors that of the target's decoder.

    Args:
        draft: the draft model.
        tokens: size of the target's cache.
        width: logits of the target.

    Raises:
        MemoryError: the cache does not fit.
    """

    def __init__(self, draft: DraftModel, tokens: int, width: int) -> None:
        self.draft = draft
        self._width = width
        self.native = NativeDecoder(draft.loaded.model, tokens)
        self._mirrors: dict[int, tuple[Slot, Slot]] = {}  # offset -> the target's slot and ours

    def mirror(self, slot: Slot) -> Slot:
        """Return the slot of a sequence in the draft model's cache."""
        found = self._mirrors.get(slot.offset)
        if found is None or found[0] is not slot:
            found = self._mirrors[slot.offset] = slot, Slot(slot.offset, slot.capacity, [])
        return found[1]

    def settle(self, slot: Slot) -> None:
        """Drop the tokens at the end of a sequence that the target dropped or replaced."""
        ids = self.mirror(slot).ids
        del ids[len(slot.ids) :]
        if ids != slot.ids[: len(ids)]:
            del ids[next(i for i, token in enumerate(ids) if token != slot.ids[i]) :]

    def copy(self, source: Slot, target: Slot, count: int) -> None:
        """Copy the part of a sequence that the draft model has read to the beginning of an empty one."""
        begin, end = self.mirror(source), self.mirror(target)
        self.native.copy(begin, end, min(count, len(begin.ids)))

    def propose(self, rows: Sequence[DraftRow]) -> list[list[DraftToken]]:
        """Guess the next tokens of sequences; fewer than requested if they are unlikely to be right."""
        found: list[list[DraftToken]] = [[] for _ in rows]
        able = [i for i, row in enumerate(rows) if self._able(row)]
        if not able:
            return found
        # 1. The tokens that the target has read since the last guesses, and the newest token.
        behind = [self._behind(rows[i]) for i in able]
        read = self.native.step(behind)
        ends = torch.tensor([len(ids) for _, ids in behind]).cumsum(0) - 1
        logits = read[ends]
        # 2. One guess for each sequence per round; sequences that continue read their newest guess.
        while able:
            on: list[int] = []
            for i, line in zip(able, logits, strict=True):
                guesses = found[i]
                ahead = [one.token for one in guesses]
                guesses.append(propose(rows[i].sampler, self._widened(line), ahead))
                if len(guesses) < rows[i].count and _goes_on(guesses, rows[i].cost):
                    on.append(i)
            able = on
            if able:
                logits = self.native.step([(self.mirror(rows[i].slot), [found[i][-1].token]) for i in able])
        return found

    def _able(self, row: DraftRow) -> bool:
        """Return True if the draft model can read a sequence and the guesses."""
        length = len(row.slot.ids) + 1 + row.count
        fits = self.draft.positions is None or length <= self.draft.positions
        unread = row.slot.ids[len(self.mirror(row.slot).ids) :]
        return fits and all(token < self.draft.vocabulary for token in (*unread, row.last))

    def _behind(self, row: DraftRow) -> tuple[Slot, list[int]]:
        """Read the rest of a sequence's prompt; return the tokens to read after it."""
        mirror = self.mirror(row.slot)
        while len(mirror.ids) < row.prompt_tokens:
            begin = len(mirror.ids)
            self.native.prefill([(mirror, row.slot.ids[begin : min(begin + _READ, row.prompt_tokens)])])
        return mirror, [*row.slot.ids[len(mirror.ids) :], row.last]

    def _widened(self, line: torch.Tensor) -> torch.Tensor:
        """Pad or cut the draft model's logits to the target's width."""
        missing = self._width - len(line)
        if missing <= 0:
            return line[: self._width]
        return torch.nn.functional.pad(line, (0, missing), value=-torch.inf)


def _goes_on(guesses: Sequence[DraftToken], cost: float) -> bool:
    """Return True if one more guess is worth its time."""
    if guesses[-1].drawn_from is not None:
        return True  # the sequence's `Pace` decides
    hope = 1.0
    for guess in guesses:
        hope *= guess.confidence
    return hope > min(0.9, 1.5 * cost)


def _check_vocabulary(draft: LoadedModel, target: LoadedModel) -> None:
    """Refuse a draft model with another token for an id.

    One vocabulary may be longer than the other; its further tokens are not drafted.
    """
    ours, theirs = target.tokenizer.get_vocab(), draft.tokenizer.get_vocab()
    if ours == theirs:
        return
    tokens = {index: token for token, index in ours.items()}
    for token, index in theirs.items():
        other = tokens.get(index, token)
        if other != token or ours.get(token, index) != index:
            raise OptionError(
                "draft",
                f"needs the vocabulary of {target.spec.name}, and token {index} of {draft.spec.name} is"
                f" {token!r}, not {other!r}; give a model with the same tokenizer",
            )
