"""Examples as token ids, in the form that collators and losses take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Ids = Sequence[int] | np.ndarray

IGNORED = -100
"""Label of a position without a target; torch's cross-entropy ignores it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example.

    Attributes:
        ids: token ids that the model reads.
        targets: labels, already shifted: `targets[i]` is the token that follows `ids[: i + 1]`, or `IGNORED`.
            For "seq2seq" these are the target's ids, for "spans" the first and last token of the answer.
        cut: part of the row did not fit and was left out.
        types: token types, if the tokenizer makes them ("spans"); for "preference" 0 for the tokens of the
            chosen text and 1 for those of the rejected text, which follows it.
        reference: for "preference", the log-probabilities of both texts under the model before training.
    """

    ids: Ids
    targets: Ids
    cut: bool = False
    types: Ids | None = None
    reference: tuple[float, float] | None = None
