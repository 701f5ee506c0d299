"""The documentation: its pages, the commands and programs in them, and the help texts that they show."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from llmkit.cli import verbs
from llmkit.cli.common import help
from tests.command import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
HELP_WIDTH = 90
_HELP = re.compile(r"<!-- help of (\w+) -->\n(?:\n```text\n.*?```\n)?", re.S)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def commands(page: Path) -> list[str]:
    """The command lines of a page: lines with ``$ `` in front, in blocks marked ``console``."""
    return re.findall(r"^\$ (.+)$", "\n".join(blocks(page, "console")), re.M)


def with_help(text: str) -> str:
    """A page with the program's own help texts behind its marks."""

    def shown(mark: re.Match[str]) -> str:
        module = verbs.module(mark[1])
        page = help.verb_page(mark[1], module.run, module.EXAMPLES, HELP_WIDTH)
        return f"<!-- help of {mark[1]} -->\n\n```text\n{page}```\n"

    return _HELP.sub(shown, text)


def copy_for_readers(folder: Path) -> None:
    """Copy what a reader has after cloning, so that commands can leave their files."""
    shutil.copytree(
        ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("models", "finetune")
    )
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
