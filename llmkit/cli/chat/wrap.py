"""Show streamed text on a terminal with line breaks between words, not inside them."""

from __future__ import annotations

import re
import shutil
import sys

_PARTS = re.compile(r"\n|[^\S\n]+|\S+")


class WordWrap:
    """Writer to stdout; on a terminal, a word that does not fit into the line begins a new one.

    A word is kept until the next one begins, because a piece of the stream may be a part of a word.
    """

    def __init__(self) -> None:
        self._wraps = sys.stdout.isatty()
        self._column = 0
        self._word = ""

    def write(self, text: str) -> None:
        """Write a piece."""
        if not self._wraps:
            print(text, end="", flush=True)
            return
        for part in _PARTS.findall(text):
            if not part.isspace():
                self._word += part
                # Do not wait for the end of a long word: scripts without spaces are one long word.
                if len(self._word) >= 20:
                    self._flush()
                continue
            self._flush()
            # White space that does not fit ends the line; a terminal would put it into the next one.
            if part == "\n" or self._column + len(part) > shutil.get_terminal_size().columns:
                print()
                self._column = 0
            else:
                print(part, end="")
                self._column += len(part)
        sys.stdout.flush()

    def end(self) -> None:
        """Write the remaining text, and end the line."""
        self._flush()
        print(flush=True)
        self._column = 0

    def _flush(self) -> None:
        from prompt_toolkit.utils import get_cwidth

        if not self._word:
            return
        width = get_cwidth(self._word)
        columns = shutil.get_terminal_size().columns
        if self._column and self._column + width > columns:
            print()
            self._column = 0
        print(self._word, end="")
        self._column += width
        if self._column > columns:  # the terminal broke the line
            self._column %= columns
        self._word = ""
