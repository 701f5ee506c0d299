"""Cut a long token sequence into windows so that every token is predicted once, with context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.errors import InputError


@dataclass(frozen=True)
class Window:
    """One pass through the model over a sequence x.

    Args:
        start: the first token fed is x[start].
        end: the last token fed is x[end - 1].
        scored: how many predictions count, the last ones: those of x[end - scored + 1] to x[end].
    """

    start: int
    end: int
    scored: int


def windows(length: int, window: int, stride: int, *, repeat_bos: bool = False) -> Iterator[Window]:
    """The windows over a sequence of `length` tokens; all but its first are predicted, each once.

    The first window predicts `window` tokens, each later one the next `stride`, with the tokens before
    them, as many as fit, as context. So does the last, however few tokens are left to it.

    Args:
        length: of the sequence, with the beginning-of-sequence token if it has one.
        window: the most tokens fed at a time.
        stride: the most tokens predicted by a window after the first; at most `window`.
        repeat_bos: later windows begin with the beginning-of-sequence token too, which takes one place.

    Raises:
        InputError: the window or the stride is not possible.
    """
    if window < 2:
        raise InputError(f"--window is {window}; a window has at least 2 tokens")
    if not 1 <= stride <= window:
        raise InputError(f"--stride is {stride}; it lies between 1 and the window, {window}")
    done = 0
    while done < length - 1:
        end = min(done + (stride if done else window), length - 1)
        start = max(0, end - window)
        if start and repeat_bos:
            start += 1
        yield Window(start, end, end - done)
        done = end
