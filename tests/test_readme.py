"""What the README shows is run as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.cli.verbs import VERBS
from tests.command import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", "\n".join(re.findall(r"```console\n(.*?)```", README, re.S)), re.M)
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's reader has after cloning, where its commands leave their files."""
    path = tmp_path_factory.mktemp("readme")
    for name in ("README.md", "LICENSE", "examples"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, path / name)
    return path


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_commands_of_the_readme_run(folder: Path) -> None:
    # In one test and in order: later ones use what earlier ones made.
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        done = shell(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "-o " in command or done.stdout.strip(), command
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_of_the_readme_run(program: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_table_of_verbs_is_whole() -> None:
    table = README.split("| verb | what it does |\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(VERBS)


def test_the_set_up_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", README, re.M)
    assert targets == ["run", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)
