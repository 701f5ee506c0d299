"""The rules by which a format writes plain text between its markup."""

from __future__ import annotations

from collections.abc import Sequence

# Source, and its role: `text`, `char`, `open`, `close`, `break`, or the kind of a piece. A number in the
# source stands for a segment inside.
Written = tuple[tuple[str | int, ...], str]


class TextWriter:
    """Writes text into a document; formats override what they need.

    Attributes:
        levels: number of ways to write a text, from the plainest to the most careful. They are tried in order
            until `accepts` returns True.
        width: maximum characters of a refilled line; 0 takes the segment's longest line.
    """

    levels: int = 1
    width: int = 0

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        """Write plain text so that the format reads it as that text.

        Args:
            text: without line breaks.
            level: 0 to `levels` - 1.
            line_start: the text begins a line.
        """
        return text

    def markup(self, opening: str, closing: str, kind: str, shown: str, level: int) -> tuple[str, str]:
        """Return the markup around a styled text.

        Args:
            opening, closing: markup in the document.
            kind: kind of the style.
            shown: new text between them.
            level: see `escape`.
        """
        return opening, closing

    def accepts(self, before: str, source: str, text: str, pieces: Sequence[str]) -> bool:
        """Check that the format reads `source` as the text, with the structure that `before` has.

        Args:
            before: the segment as the document had it; line breaks stand alone, without indentation or
                quotation marks, and a word stands for each segment inside.
            source: its translation in the same form.
            text: the translation.
            pieces: text of each piece in the translation, in order.
        """
        return True

    def finish(self, tokens: Sequence[Written]) -> list[str | int]:
        """Return the parts of a written segment."""
        return [part for parts, _ in tokens for part in parts]
