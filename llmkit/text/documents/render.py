"""Write a document, and check that its structure is that of the source."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.text.documents.document import Document
from llmkit.text.documents.formats import skeleton
from llmkit.text.documents.segment import Parts


def render_checked(document: Document, filled: Sequence[Parts | None]) -> tuple[bytes, list[int]]:
    """Render a document; segments whose translation changes its structure keep their source.

    Args:
        document: the document.
        filled: as `Document.render` takes them.

    Returns:
        The document's bytes, and the numbers of the segments that were left out.
    """
    wanted = skeleton(document.render(), document.format)

    def sound(chosen: Sequence[Parts | None]) -> bool:
        return skeleton(document.render(chosen), document.format) == wanted

    left_out: list[int] = []
    current = list(filled)
    while not sound(current):
        # Find by halving the shortest beginning that breaks the structure; its last segment is the culprit.
        done = [i for i, parts in enumerate(current) if parts is not None]
        low, high = 0, len(done)
        while low < high:
            middle = (low + high) // 2
            kept = set(done[: middle + 1])
            if sound([parts if i in kept else None for i, parts in enumerate(current)]):
                low = middle + 1
            else:
                high = middle
        if low == len(done):
            break
        current[done[low]] = None
        left_out.append(done[low])
    return document.render(current), sorted(left_out)
