"""Faithfulness of explanations on 200 beginnings of stories or of Wikipedia, against two other orders.

For each method: comprehensiveness and sufficiency (area over 10 to 50 % of the words) in the order of the
scores, with the latest words first, and in random order; the difference from each with its 95 % interval and
the p-value of the paired test by random swaps. LLMKIT_DATA names the folder with stories/tinystories.txt and
lm/wiki.test.raw. LLMKIT_EXPLAIN may name a model, the texts, their number and words,
and methods: ``stories tinystories 200 20 occlusion,ig``.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import llmkit
from llmkit.insight.explanation.explain import Explainer, load_for
from llmkit.insight.explanation.faithfulness import compare
from llmkit.insight.explanation.options import ExplainOptions
from llmkit.insight.explanation.result import Explanation

DEFAULT = "stories tinystories 200 20 occlusion,ig,attnlrp"
FILES = {
    "tinystories": ("stories/tinystories.txt", r"<\|endoftext\|>|\n\n"),
    "wiki": ("lm/wiki.test.raw", r"\n"),
}


def beginnings(folder: Path, name: str, count: int, words: int) -> list[str]:
    """The first words of paragraphs that are spread evenly over a file."""
    file, separator = FILES[name]
    parts = [part.split() for part in re.split(separator, (folder / file).read_text(encoding="utf-8"))]
    long = [" ".join(part[:words]) for part in parts if len(part) >= 2 * words]
    return long[:: max(len(long) // count, 1)][:count]


def table(method: str, found: list[Explanation]) -> list[str]:
    """The lines of one method."""
    lines = []
    for keep, name in ((False, "comprehensiveness"), (True, "sufficiency")):
        measured = [one.sufficiency if keep else one.comprehensiveness for one in found]
        each = [one for one in measured if one is not None]
        means = [
            sum(getattr(one, field) for one in each) / len(each) for field in ("value", "position", "random")
        ]
        line = f"{method:10} {name:17} {means[0]:.3f} position {means[1]:.3f} random {means[2]:.3f}"
        for against in ("position", "random"):
            gap = compare(each, against, lower_is_better=keep)
            line += f" | over {against} {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}), p {gap.p:.4f}"
        lines.append(line)
    return lines


def main() -> None:
    """Print the table."""
    data = os.environ.get("LLMKIT_DATA")
    if not data:
        print("LLMKIT_DATA is not set")
        return
    name, source, count, words, methods = (os.environ.get("LLMKIT_EXPLAIN") or DEFAULT).split()
    texts = beginnings(Path(data), source, int(count), int(words))
    loaded = load_for(name, ExplainOptions())
    print(f"{name}, llmkit {llmkit.__version__}, {len(texts)} texts of {words} words of {source}", flush=True)
    for method in methods.split(","):
        explainer = Explainer(loaded, ExplainOptions(method=method, orders=1, chat=False))
        found = []
        for i, text in enumerate(texts):
            found.append(explainer.explain(explainer.ask(text, f"text {i + 1}"), key=i))
            if (i + 1) % 20 == 0:
                print(f"{method} {i + 1} {table(method, found)}", file=sys.stderr, flush=True)
        print("\n".join(table(method, found)), flush=True)


if __name__ == "__main__":
    main()
