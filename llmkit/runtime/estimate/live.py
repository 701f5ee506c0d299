"""Count the bytes of tensors that live at the same time, on tensors that have shapes and no storage.

Public: `LiveBytes`, `watch_live_bytes`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass
class LiveBytes:
    """Bytes of the tensors that were made while a block ran.

    Attributes:
        now: bytes that live now.
        peak: most bytes that lived at one time.
    """

    now: int = 0
    peak: int = 0
    _known: set[int] = field(default_factory=set)

    def add(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor until it is freed, once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or size == 0:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def ignore(self, tensors: Iterable[torch.Tensor]) -> None:
        """Do not count tensors that were there before."""
        self._known |= {one.untyped_storage()._cdata for one in tensors}

    def _remove(self, key: int, size: int) -> None:
        self.now -= size
        self._known.discard(key)


@contextmanager
def watch_live_bytes(existing: Iterable[torch.Tensor] = ()) -> Iterator[LiveBytes]:
    """Count the tensors that the operations inside the block make.

    Args:
        existing: tensors that are not counted, such as the weights; the caller keeps them alive.

    Yields:
        The count. Read it inside the block or after it.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    live = LiveBytes()
    live.ignore(existing)

    class Watch(TorchDispatchMode):
        """Pass every operation on, and count what it returns."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            for one in tree_leaves(found):
                if isinstance(one, torch.Tensor):
                    live.add(one)
            return found

    with Watch():
        yield live
