"""Let `RowSampler` choose the tokens inside transformers' `generate`.

Penalties that count tokens, biases, constraints and log-probabilities are state of one sequence. `generate`
receives them as one logits processor, which leaves a single possible token in each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from llmkit.engines.base import Request
from llmkit.engines.transformers.row_sampler import RowSampler, choose, reason_against
from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.engines.transformers.sampling import Settings

ABILITIES = ("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "constraint")
"""Abilities that need a `RowSampler`."""


def wanted(request: Request) -> str | None:
    """Return the first option of a request that only a `RowSampler` supports, or None."""
    sampling = request.sampling
    asked = (
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
        ("logit_bias", sampling.logit_bias),
        ("logprobs", request.logprobs is not None),
        ("constraint", request.constraint is not None),
    )
    return next((name for name, value in asked if value), None)


def check(request: Request, settings: Settings) -> None:
    """Refuse a request that needs a `RowSampler` and has settings that it does not support.

    Raises:
        OptionError: with the option's name.
    """
    option, unknown = wanted(request), reason_against(settings)
    if option is not None and unknown is not None:
        raise OptionError(option, f"cannot be combined with `{unknown}`; omit one of them")


class RowChoices:
    """A logits processor that chooses the next token of each row.

    Args:
        rows: requests without beams, one for each row.
        settings: settings of all of them.

    Attributes:
        samplers: one for each row. After the end of a row, its tokens have no meaning.
    """

    def __init__(self, rows: Sequence[Request], settings: Settings) -> None:
        self.samplers = [RowSampler(row, settings) for row in rows]

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        """Leave one possible token in each row of `scores`, [rows, vocabulary]."""
        active = [i for i, one in enumerate(self.samplers) if not _ended(one)]
        chosen = torch.full_like(scores, -torch.inf)
        chosen[:, 0] = 0.0  # the row has ended, and `generate` pads it
        if active:
            logits = scores[active].float().cpu()
            tokens = choose([self.samplers[i] for i in active], logits)
            chosen[active, 0] = -torch.inf
            chosen[active, tokens] = 0.0
        return chosen


def _ended(sampler: RowSampler) -> bool:
    written = sampler.written
    at_limit = len(written) >= sampler.request.sampling.max_new_tokens
    return at_limit or (bool(written) and written[-1] in sampler.settings.end_ids)
