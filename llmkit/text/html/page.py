"""A self-contained HTML page: no script, no network, light or dark as the reader's system.

Public: `page`, `table`, `escape`, `coded`, `Cell`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #5c6570; --line: #d9dee4; --paper: #ffffff;
  --panel: #f5f7f9; --main: #1f6feb; --other: #9a6700; --good: #dafbe1; --bad: #ffebe9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4af; --line: #343a41;
  --paper: #14171a; --panel: #1d2125; --main: #6cb0ff; --other: #e3b341; --good: #12381f; --bad: #4a1d1b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, pre, .text { overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; } p { margin: .25rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: normal; } .left { text-align: left; }
code, pre { font: .85em/1.5 ui-monospace, monospace; } pre { white-space: pre-wrap; background: var(--panel);
  padding: .6rem .8rem; border-radius: 6px; margin: .5rem 0; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 12px system-ui; }
figure { margin: .5rem 0 1rem; } figcaption { color: var(--soft); font-size: .9rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
article { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .9rem; margin: .75rem 0; }
article header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; color: var(--soft); font-size: .9rem; }
.text { white-space: pre-wrap; background: var(--panel); border-radius: 6px; padding: .5rem .7rem; }
ins { background: var(--bad); text-decoration: none; border-bottom: 2px solid var(--soft); }
del { background: var(--good); text-decoration: none; }
"""


def escape(text: str) -> str:
    """Escape a text for HTML, also for attributes."""
    return html.escape(text, quote=True)


def coded(text: str) -> str:
    """Escape a text for HTML, and show its parts in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def page(title: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: plain text.
        body: HTML; text from outside must be escaped already.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src'
        " 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `left` aligns it to the left, as for names."""

    text: str
    left: bool = False


def table(head: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table that scrolls sideways on a narrow screen."""

    def line(tag: str, cells: Sequence[Cell]) -> str:
        inside = "".join(
            f"<{tag}{' class=left' if cell.left else ''}>{escape(cell.text)}</{tag}>" for cell in cells
        )
        return f"<tr>{inside}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>\n{line("th", head)}\n{body}\n</table></div>'
