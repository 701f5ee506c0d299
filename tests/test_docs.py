"""The README and docs: commands and programs run, help texts are the program's, links resolve."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmkit
from llmkit.cli import verbs
from tests import docs
from tests.command import ROOT, Result, run

README = ROOT / "README.md"
# Pages whose models are trained or opened in processes of their own: four seconds each.
LONG = {"finetuning.md", "quantize.md", "explain.md", "engines.md", "python.md"}


def with_blocks(blocks: Callable[[Path], object]) -> list[Any]:
    """The pages to run, the long ones by `make test-slow`."""
    pages = [page for page in docs.PAGES if blocks(page) and page.name != "README.zh.md"]
    return [pytest.param(one, marks=pytest.mark.slow if one.name in LONG else ()) for one in pages]


WITH_COMMANDS = with_blocks(docs.commands)
WITH_PROGRAMS = with_blocks(lambda page: docs.blocks(page, "python"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a reader has after cloning, where the commands of all pages leave their files."""
    path = tmp_path_factory.mktemp("docs")
    docs.copy_for_readers(path)
    return path


def execute(command: str) -> Result:
    """Run a command line as a reader would; without a shell in between where it needs none."""
    words = shlex.split(command)
    if words[0] == "llmkit" and not re.search(r"[|<>;&$]", re.sub(r"'[^']*'|\"[^\"]*\"", "", command)):
        return run(*words[1:])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In one test and in order: later commands use what earlier ones made.
    monkeypatch.chdir(folder)
    for command in docs.commands(page):
        done = execute(command)
        assert done.code == 0, f"{command}\n{done.err}"
        assert "-o " in command or done.out.strip(), command
        assert "Traceback" not in done.err


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=name_of)
def test_the_programs_of_a_page_run(page: Path, folder: Path) -> None:
    """The blocks of a page are one program: later ones use the names of earlier ones."""
    program = "\n".join(docs.blocks(page, "python"))
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_python_page_shows_every_public_function() -> None:
    page = ROOT / "docs" / "python.md"
    # Programs that need a model of the Hub are marked `py`, and not run.
    program = "\n".join([*docs.blocks(page, "python"), *docs.blocks(page, "py")])
    public = [name for name in llmkit.__all__ if name[0].islower()] + ["Conversation"]
    assert [name for name in public if not re.search(rf"\b{name}\(", program)] == []


def test_the_readmes_show_the_same_commands() -> None:
    other = ROOT / "README.zh.md"
    assert docs.commands(other) == docs.commands(README)
    assert docs.blocks(other, "python") == docs.blocks(README, "python")


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_extras_that_are_named_exist() -> None:
    """Readers install from a checkout, where `.[extra]` works and `llmkit[extra]` is no package yet."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources = [*docs.PAGES, *Path(llmkit.__file__).parent.rglob("*.py")]
    named = {
        (path, extra)
        for path in sources
        for extra in re.findall(r"pip install '(?:llmkit|\.)\[(\w+)\]'", path.read_text(encoding="utf-8"))
    }
    assert len({extra for _, extra in named}) >= 8
    assert not {(path, extra) for path, extra in named if extra not in extras["optional-dependencies"]}
    for page in ("README.md", "README.zh.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert "pip install '.[preferences]'" in text
        assert not re.search(r"pip install '?llmkit", text)


def test_the_set_up_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\S+)", README.read_text(encoding="utf-8"), re.M)
    assert targets == ["run", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_verb_has_a_page_with_its_help(verb: str) -> None:
    page = ROOT / "docs" / "verbs" / f"{verb}.md"
    text = page.read_text(encoding="utf-8")
    assert f"<!-- help of {verb} -->" in text
    assert docs.with_help(text) == text, "python -m tests.update_docs writes it anew"
    for index in (README, ROOT / "README.zh.md", ROOT / "docs" / "README.md"):
        if f"verbs/{verb}.md)" not in index.read_text(encoding="utf-8"):
            pytest.fail(f"{name_of(index)} has no link to docs/verbs/{verb}.md: add one")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


LINKED = sorted({*docs.PAGES, *(ROOT / "examples").rglob("*.md"), *(ROOT / "llmkit").rglob("*.md")})


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_the_links_of_a_page_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link
