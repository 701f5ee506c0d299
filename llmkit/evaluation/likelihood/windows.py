"""Windows over a long token sequence that predict every token once, with context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.errors import OptionError


@dataclass(frozen=True)
class Window:
    """One pass of a causal model over a sequence x.

    Attributes:
        start: x[start] is the first input token.
        end: x[end - 1] is the last input token.
        scored: number of scored predictions, the last ones: x[end - scored + 1] to x[end].
    """

    start: int
    end: int
    scored: int


def windows(
    length: int, window: int, stride: int, *, given: int = 1, repeat_bos: bool = False
) -> Iterator[Window]:
    """Yield windows over a sequence of `length` tokens; each token that is not given is predicted once.

    The first window predicts all tokens that fit into it. Each later one predicts the next `stride` tokens
    from as many tokens before them as fit. The last one also has a full window.

    Args:
        length: length of the sequence, with the beginning-of-sequence token if there is one.
        window: maximum number of input tokens.
        stride: maximum number of tokens predicted by a window after the first; at most `window`.
        given: number of tokens at the beginning that are not predicted; at least 1.
        repeat_bos: later windows begin with the beginning-of-sequence token too, which takes one position.

    Raises:
        OptionError: the window or the stride is not possible.
    """
    check_windows(window, stride)
    done = given - 1
    first = True
    while done < length - 1:
        # A long context leaves less space in the first window than in later ones: shift it in the same way.
        end = min(max(window, done + stride) if first else done + stride, length - 1)
        start = max(0, end - window)
        if start and repeat_bos:
            start += 1
        yield Window(start, end, end - done)
        done, first = end, False


def check_windows(window: int, stride: int) -> None:
    """Raise an OptionError unless the window and the stride are possible."""
    if window < 2:
        raise OptionError("window", f"must be 2 tokens or more, not {window}")
    if not 1 <= stride <= window:
        raise OptionError("stride", f"must be between 1 and the window ({window}), not {stride}")


@dataclass(frozen=True)
class TwoSided:
    """A window of a masked model over a sequence x.

    Attributes:
        start: x[start] is the first input token.
        end: x[end - 1] is the last input token.
        scored: positions in x that are scored.
    """

    start: int
    end: int
    scored: range


def two_sided(length: int, window: int, stride: int) -> Iterator[TwoSided]:
    """Yield windows over a sequence of `length` tokens for a model that sees both sides of each token.

    Each token is scored once, by the window that has it in its middle; tokens at the ends of the sequence by
    the first or the last window.

    Args:
        length: length of the sequence, without special tokens.
        window: maximum number of input tokens, without special tokens.
        stride: number of tokens from one window to the next.

    Raises:
        OptionError: the window or the stride is not possible.
    """
    check_windows(window, stride)
    done, start = 0, 0
    while done < length:
        end = min(start + window, length)
        start = max(0, end - window)
        # The next window scores the tokens after the middle, because it has more of their right context.
        until = length if end == length else end - (window - stride) // 2
        yield TwoSided(start, end, range(done, until))
        done, start = until, start + stride
