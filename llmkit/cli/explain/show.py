"""Show explanations: shaded text on a terminal, plain lines elsewhere, and the HTML page."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console
from llmkit.cli.common.streams import one_line
from llmkit.errors import InputError
from llmkit.records.disk import check_folder

if TYPE_CHECKING:
    from llmkit.insight.explanation.result import Explanation, Faithfulness

_BLUE, _ORANGE = (31, 111, 235), (205, 120, 20)
_SHOWN = 15  # components, and columns of the lens
_MOST_ON_PAGE = 100
_FEWEST = 10  # rows for a test over rows


class ReportRows:
    """Collects explanations for `--report`.

    Args:
        path: the page; None collects nothing.
        replaces: replace a page that exists.

    Raises:
        InputError: its folder does not exist, or the page does.
    """

    def __init__(self, path: Path | None, *, replaces: bool = False) -> None:
        if path is not None and not path.parent.is_dir():
            raise InputError(f"--report {path}: there is no folder {path.parent}; make it first")
        if path is not None and path.exists() and not replaces:
            raise InputError(f"--report {path} exists; --overwrite replaces it")
        if path is not None:
            check_folder(path.parent, "report", path)
        self._path = path
        self._found: list[tuple[str, Explanation]] = []
        self._count = 0
        self._measured: list[Faithfulness] = []

    def add(self, where: str, explanation: Explanation) -> None:
        """Keep one explanation, up to the number that a page shows."""
        self._count += 1
        if explanation.comprehensiveness is not None:
            self._measured.append(explanation.comprehensiveness)
        if self._path is not None and len(self._found) < _MOST_ON_PAGE:
            self._found.append((where, explanation))

    def finish(self) -> None:
        """Write the page, and report the effect of removing words over many rows."""
        if len(self._measured) >= _FEWEST:
            self._report()
        if self._path is None or not self._found:
            return
        from llmkit.insight.explanation.page import explanation_page
        from llmkit.whole_file import write_whole

        write_whole(self._path, explanation_page(self._found))
        more = f", the first {len(self._found)} of {self._count}" if self._count > len(self._found) else ""
        console.notice(f"{console.count(len(self._found), 'explanation')} in {self._path}{more}")

    def _report(self) -> None:
        from llmkit.insight.explanation.faithfulness import compare

        mean = sum(one.value for one in self._measured) / len(self._measured)
        gaps = []
        for against, name in (("position", "latest words first"), ("random", "random")):
            gap = compare(self._measured, against)
            gaps.append(f"over {name} {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}), p {gap.p:.2g}")
        count = console.count(len(self._measured), "row")
        console.notice(f"comprehensiveness of {count}: {mean:.3f}; {'; '.join(gaps)}")


def render(row: dict[str, Any], failure: str | None, field: str) -> str:
    """Return the lines of one explanation of several; the text is not shaded."""
    if failure is not None:
        console.error(failure)
        return ""
    return lines_of(row[field], shaded=False)


def show(found: dict[str, Any]) -> None:
    """Print one explanation, on a terminal with the text shaded."""
    print(lines_of(found, shaded=_colored()), end="", flush=True)


def lines_of(found: dict[str, Any], *, shaded: bool) -> str:
    """Return the lines of one explanation.

    Args:
        found: an explanation as JSON.
        shaded: print the first lines and the shaded text at once, and return only the lines after them.
    """
    lines = [*_head(found), ""]
    for note in found.get("notes", ()):
        console.notice(note)
    if found["method"] == "lens":
        return "\n".join([*lines, *_lens(found["lens"])]) + "\n"
    if found["method"] == "components":
        return "\n".join([*lines, *_components(found["components"])]) + "\n"
    if shaded:
        print("\n".join(lines))
        _shade(found)
        lines = [""]
    lines += _units(found["units"])
    for name, title in (("matrix", "from the text"), ("prefix_matrix", "from the target before it")):
        if name in found:
            lines += ["", f"{title}, the highest scores for each part of the target:", *_rows(found[name])]
    return "\n".join([*lines, *_measures(found)]) + "\n"


def _head(found: dict[str, Any]) -> list[str]:
    foil = f" instead of {found['foil']!r}" if "foil" in found else ""
    lines = [f"target      {one_line(found['target'])!r}{one_line(foil)}"]
    lines.append(
        f"explained   {found['explained']} {found['value']:.4g}; probability {found['probability']:.3g}"
    )
    method = found["method"]
    if "units" in found:
        count = console.count(len(found["units"]), found["unit"])
        steps = f", {found['steps']} steps" if "steps" in found else ""
        lines.append(
            f"method      {method} of {count}{steps}; a removed {found['unit']} is {found['baseline']}"
        )
    else:
        lines.append(f"method      {method}")
    return [console.fitted(line, 12) for line in lines]


def _units(units: Sequence[dict[str, Any]]) -> list[str]:
    parts = len({unit["part"] for unit in units}) > 1
    return [
        f"{unit['score']:+10.4f}  {one_line(unit['text'])}" + (f"  ({unit['part']})" if parts else "")
        for unit in units
    ]


def _rows(matrix: dict[str, Any]) -> list[str]:
    lines = []
    for name, scores in zip(matrix["rows"], matrix["scores"], strict=True):
        best = sorted(range(len(scores)), key=lambda i: -scores[i])[:3]
        shown = ", ".join(f"{matrix['columns'][i]} {scores[i]:+.3f}" for i in best if scores[i] > 0)
        lines.append(f"  {one_line(name)}: {one_line(shown) or 'none'}")
    return lines


def _measures(found: dict[str, Any]) -> list[str]:
    lines = [""]
    for name, better in (("comprehensiveness", "higher"), ("sufficiency", "lower")):
        if name not in found:
            continue
        one = found[name]
        spread = f" ({one['low']:+.3f} to {one['high']:+.3f})" if one.get("low") is not None else ""
        lines.append(
            f"{name} {one['value']:.3f}, {better} is better; latest words first {one['position']:.3f}; random"
            f" {one['random']:.3f}, difference {one['difference']:+.3f}{spread}"
        )
    if "completeness_error" in found:
        overlap = "; scores of occlusion overlap" if found["method"] == "occlusion" else ""
        lines.append(f"completeness error {found['completeness_error']:.2%}{overlap}")
    return [console.fitted(line, 4) for line in lines]


def _components(components: Sequence[dict[str, Any]]) -> list[str]:
    ranked = sorted(components, key=lambda one: -abs(one["score"]))
    lines = [f"{one['score']:+10.4f}  {one['name']}" for one in ranked[:_SHOWN]]
    rest = ranked[_SHOWN:]
    if rest:
        lines.append(f"{sum(one['score'] for one in rest):+10.4f}  {len(rest)} others")
    return lines


def _lens(grid: dict[str, Any]) -> list[str]:
    width = 11
    room = max((shutil.get_terminal_size().columns - 12) // width, 1) if sys.stdout.isatty() else _SHOWN
    columns = range(max(len(grid["tokens"]) - room, 0), len(grid["tokens"]))

    def cell(text: str) -> str:
        shown = one_line(text.replace("\n", "\\n")).strip()[: width - 2] or "␣"
        return shown.ljust(width)

    lines = ["logit lens, raw: the likeliest token of each layer", ""]
    lines.append(" " * 11 + "".join(cell(grid["tokens"][i]) for i in columns))
    for name, cells in zip(grid["layers"], grid["cells"], strict=True):
        lines.append(name.ljust(11) + "".join(cell(cells[i]["token"]) for i in columns))
    ranks = ", ".join(f"{cells[-1]['rank']:,}" for cells in grid["cells"])
    lines += ["", f"rank of the target at the last position, by layer: {ranks}"]
    return [line.rstrip() for line in lines]


def _colored() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _shade(found: dict[str, Any]) -> None:
    """Print the text with each unit on a background whose strength is its score."""
    most = max((abs(unit["score"]) for unit in found["units"]), default=0.0) or 1.0
    out = sys.stdout
    out.flush()
    for part in dict.fromkeys(unit["part"] for unit in found["units"]):
        text = found["question"] if part == "question" else found["text"]
        pieces, done = [], 0
        for unit in found["units"]:
            if unit["part"] == part:
                pieces.append(_safe(text[done : unit["start"]]))
                pieces.append(_painted(_safe(text[unit["start"] : unit["end"]]), unit["score"] / most))
                done = unit["end"]
        line = "".join([*pieces, _safe(text[done:])])
        # The stream escapes control characters, but these are our own.
        out.buffer.write(f"{line}\n".encode())
    out.buffer.flush()


def _safe(text: str) -> str:
    from llmkit.cli.common.streams import printable

    return printable(text)


def _painted(text: str, share: float) -> str:
    """Return text on a background between the terminal's white and a color, in black or white letters."""
    color = _BLUE if share > 0 else _ORANGE
    red, green, blue = (round(255 + (one - 255) * min(abs(share), 1.0)) for one in color)
    ink = "97" if abs(share) > 0.6 else "30"
    return f"\x1b[{ink};48;2;{red};{green};{blue}m{text}\x1b[0m"
