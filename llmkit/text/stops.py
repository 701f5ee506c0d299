"""Stop strings: cut a text at the first one, whole or as it streams."""

from __future__ import annotations

from collections.abc import Sequence


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return `text` up to the earliest stop string, without it."""
    ends = [text.find(stop) for stop in stops]
    return text[: min((end for end in ends if end >= 0), default=len(text))]


class StopFilter:
    """Passes a stream of text through up to the first stop string; buffers a possible beginning of one.

    Attributes:
        found: the stop string that ended the text; None before that.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """Add a piece of the stream; return the text that can be shown now."""
        if self.found is not None:
            return ""
        self._held += text
        shown = cut_at_stop(self._held, self._stops)
        if len(shown) < len(self._held):
            self.found = next(one for one in self._stops if self._held.startswith(one, len(shown)))
            return shown
        keep = max((self._begins(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def close(self) -> str:
        """Return the remaining text at the end of the stream."""
        return self._held if self.found is None else ""

    def _begins(self, stop: str) -> int:
        longest = min(len(self._held), len(stop) - 1)
        return next((n for n in range(longest, 0, -1) if stop.startswith(self._held[-n:])), 0)
