"""Other programs' clients against a server in a process of its own.

Each program in `programs/` runs under the client's own interpreter, from the folder `LLMKIT_CLIENTS`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.install import BROWSER, NODE, PACKAGES, interpreter
from tests.server_process import serving

pytestmark = pytest.mark.clients
PROGRAMS = Path(__file__).parent / "programs"
FOLDER = Path(os.environ.get("LLMKIT_CLIENTS", "build/clients")).absolute()
KEY = "a-key"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = ["-m", "storyteller", "-m", "stories", "-m", "translator"]
    with serving(tmp_path_factory.mktemp("server"), *models, "--offline", key=KEY) as address:
        yield address


def run(command: list[str], url: str, folder: Path) -> None:
    variables = {
        **os.environ,
        "LLMKIT_URL": url,
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_API_KEY": KEY,
        "HOME": str(folder),
        "LLM_USER_PATH": str(folder),
        "PYTHONPATH": "",
        "HF_TOKEN": KEY,
        "HF_HUB_OFFLINE": "0",
        "LLMKIT_CHROMIUM": CHROMIUM or "",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    done = subprocess.run(
        command,
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.strip().endswith("done")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_python_client(url: str, name: str, tmp_path: Path) -> None:
    python = interpreter(FOLDER, name)
    if not python.exists():
        pytest.skip(f"{name} is not installed in {FOLDER}")
    run([str(python), str(PROGRAMS / f"use_{name}.py")], url, tmp_path)


def test_openai_in_javascript(url: str, tmp_path: Path) -> None:
    if shutil.which("node") is None or not (FOLDER / NODE / "node_modules/openai").exists():
        pytest.skip(f"openai for node is not installed in {FOLDER}")
    program = FOLDER / NODE / "use_openai.mjs"  # node looks for packages beside the program
    shutil.copy(PROGRAMS / "use_openai.mjs", program)
    run(["node", str(program)], url, tmp_path)


def test_the_chat_page_in_a_browser(url: str, tmp_path: Path) -> None:
    python = interpreter(FOLDER, BROWSER)
    if CHROMIUM is None or not python.exists():
        pytest.skip(f"there is no Chromium, or playwright is not installed in {FOLDER}")
    run([str(python), str(PROGRAMS / "use_page.py")], url, tmp_path)


def test_transformers_chat(url: str, tmp_path: Path) -> None:
    """transformers' own chat program, which huggingface_hub's client talks for."""
    run([sys.executable, str(PROGRAMS / "use_transformers.py")], url, tmp_path)
