"""Cut protected terms out of the passages of a text."""

from __future__ import annotations

from bisect import bisect_right

from llmkit.text.layout import TextLayout
from llmkit.text.protected_spans import ProtectedSpans


def around(passage: str, protected: ProtectedSpans) -> TextLayout:
    """Return the pieces of a passage between its protected terms that have letters."""
    return TextLayout(passage, ((0, len(passage)),)).without(protected.spans(passage))


def without_protected(layout: TextLayout, protected: ProtectedSpans) -> TextLayout:
    """Drop passages that contain only protected terms, and remove terms that a boundary splits.

    A border between passages can run through a term, as in `<a title="Oh. No">`.
    """
    starts = [start for start, _ in layout.spans]
    broken = []
    for begin, end in protected.spans(layout.text):
        holder = bisect_right(starts, begin) - 1
        if holder < 0 or layout.spans[holder][1] < end:
            broken.append((begin, end))
    intact = layout.without(broken) if broken else layout
    spans = (span for span in intact.spans if around(layout.text[slice(*span)], protected).spans)
    return TextLayout(layout.text, tuple(spans))
