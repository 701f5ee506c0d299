"""Keys and values of earlier prompts, for later prompts with the same prefixes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MOST_KEPT = 256  # maximum number, because each is compared with each new prompt
Key = tuple[str, tuple[int, ...]]


class PrefixStore:
    """Prefixes of prompts with their keys and values; the least recently used are removed first.

    Prompts of different scopes share nothing: otherwise the time to the first token would reveal the prompts
    of other clients.

    Args:
        most_bytes: limit on the memory of all prefixes together; 0 keeps none.
        piece: prefixes are kept in multiples of this many tokens, because prompts are read in such pieces.

    Attributes:
        size: number of bytes in use.
    """

    def __init__(self, most_bytes: int, piece: int) -> None:
        self.size = 0
        self._most, self._piece = most_bytes, piece
        self._kept: OrderedDict[Key, torch.Tensor] = OrderedDict()

    def find(self, scope: str, ids: Sequence[int]) -> tuple[torch.Tensor, int] | None:
        """Return keys and values of a prefix of a prompt, and the number of tokens that they cover.

        The prompt's last token is never covered: the logits after it choose the first new token.
        """
        best: tuple[Key, int] | None = None
        for key in self._kept:
            if key[0] == scope:
                count = self._whole(_common(key[1], ids, len(ids) - 1))
                if count and (best is None or count > best[1]):
                    best = key, count
        if best is None:
            return None
        self._kept.move_to_end(best[0])
        return self._kept[best[0]], best[1]

    def keep(self, scope: str, ids: Sequence[int], states: torch.Tensor) -> None:
        """Keep a copy of a prompt's prefix.

        Args:
            scope: prompts of this scope may use it.
            ids: tokens of the prompt.
            states: their keys and values, [layers, 2, tokens, heads, head_dim].
        """
        count = self._whole(len(ids))
        size = states[:, :, :count].numel() * states.element_size()
        if not count or size > self._most:
            return
        key = scope, tuple(ids[:count])
        for other in [one for one in self._kept if one[0] == scope]:
            if other[1][:count] == key[1]:  # the longer prefix covers this one
                self._kept.move_to_end(other)
                return
            if other[1] == key[1][: len(other[1])]:
                self._drop(other)
        while self.size + size > self._most or len(self._kept) == _MOST_KEPT:
            self._drop(next(iter(self._kept)))
        self._kept[key] = states[:, :, :count].clone()
        self.size += size

    def _drop(self, key: Key) -> None:
        states = self._kept.pop(key)
        self.size -= states.numel() * states.element_size()

    def _whole(self, count: int) -> int:
        return count // self._piece * self._piece


def _common(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """Return the length of the common prefix of two sequences, at most `most`."""
    most = min(len(one), len(other), most)
    return next((i for i in range(most) if one[i] != other[i]), most)
