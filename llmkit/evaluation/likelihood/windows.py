"""Cut a long token sequence into windows so that every token is predicted once, with context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.errors import InputError


@dataclass(frozen=True)
class Window:
    """One pass through a causal model over a sequence x.

    Args:
        start: the first token fed is x[start].
        end: the last token fed is x[end - 1].
        scored: how many predictions count, the last ones: those of x[end - scored + 1] to x[end].
    """

    start: int
    end: int
    scored: int


def windows(
    length: int, window: int, stride: int, *, given: int = 1, repeat_bos: bool = False
) -> Iterator[Window]:
    """The windows over a sequence of `length` tokens; all but those given are predicted, each once.

    The first window predicts as many tokens as it can hold, each later one the next `stride`, with the
    tokens before them, as many as fit, as context. So does the last, however few tokens are left to it.

    Args:
        length: of the sequence, with the beginning-of-sequence token if it has one.
        window: the most tokens fed at a time.
        stride: the most tokens predicted by a window after the first; at most `window`.
        given: how many tokens at the beginning are not predicted; at least the first.
        repeat_bos: later windows begin with the beginning-of-sequence token too, which takes one place.

    Raises:
        InputError: the window or the stride is not possible.
    """
    check_windows(window, stride)
    done = given - 1
    first = True
    while done < length - 1:
        # Where what is given leaves the first window less room than a later one, it is moved on as those are.
        end = min(max(window, done + stride) if first else done + stride, length - 1)
        start = max(0, end - window)
        if start and repeat_bos:
            start += 1
        yield Window(start, end, end - done)
        done, first = end, False


def check_windows(window: int, stride: int) -> None:
    """Raise an InputError unless the window and the stride are possible."""
    if window < 2:
        raise InputError(f"--window is {window}; a window has at least 2 tokens")
    if not 1 <= stride <= window:
        raise InputError(f"--stride is {stride}; it lies between 1 and the window, {window}")


@dataclass(frozen=True)
class TwoSided:
    """A stretch of a sequence that a masked model reads at a time, and the part of it that is scored.

    Args:
        start, end: x[start] to x[end - 1] are read.
        scored: the places in x that are scored.
    """

    start: int
    end: int
    scored: range


def two_sided(length: int, window: int, stride: int) -> Iterator[TwoSided]:
    """Windows over a sequence of `length` tokens for a model that sees both sides of each.

    Each token is scored once, by the window in whose middle it lies, or at an end of the sequence by the
    first or the last window.

    Args:
        length: of the sequence, without special tokens.
        window: the most tokens read at a time, special tokens aside.
        stride: by how many tokens a window is moved on.

    Raises:
        InputError: the window or the stride is not possible.
    """
    check_windows(window, stride)
    done, start = 0, 0
    while done < length:
        end = min(start + window, length)
        start = max(0, end - window)
        # What lies beyond the middle is scored by the next window, which has more of what follows.
        until = length if end == length else end - (window - stride) // 2
        yield TwoSided(start, end, range(done, until))
        done, start = until, start + stride
