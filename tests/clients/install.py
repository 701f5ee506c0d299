"""Install the clients of `make test-clients`: ``python -m tests.clients.install FOLDER``.

Each gets a folder of its own.
A client that cannot be installed is named, and left out of the tests.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = {
    "anthropic": "anthropic",
    "instructor": "instructor",
    "langchain": "langchain-openai",
    "libretranslate": "libretranslatepy",
    "litellm": "litellm",
    "llm": "llm",
    "ollama": "ollama",
    "openai": "openai",
}
"""Name of a client -> its package."""
NODE = "node"
BROWSER = "browser"
"""Folder of playwright, which drives the machine's own Chromium over the chat page."""
_BROWSER_PACKAGES = "playwright axe-playwright-python"


def interpreter(folder: Path, name: str) -> Path:
    """The Python of a client."""
    return folder / name / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in [*PACKAGES.items(), (BROWSER, _BROWSER_PACKAGES)]:
        if (folder / name / "ready").exists():
            continue
        try:
            venv.create(folder / name, with_pip=True, clear=True)
            command = [str(interpreter(folder, name)), "-m", "pip", "install", "--quiet"]
            subprocess.run([*command, *package.split()], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"{name} could not be installed: {error}", file=sys.stderr)
        else:
            (folder / name / "ready").touch()
    if shutil.which("npm") is None:
        print("there is no npm: the JavaScript client is left out", file=sys.stderr)
    elif not (folder / NODE / "ready").exists():
        (folder / NODE).mkdir(exist_ok=True)
        (folder / NODE / "package.json").write_text('{"private": true, "type": "module"}')
        if not subprocess.run(["npm", "install", "--silent", "openai"], cwd=folder / NODE).returncode:
            (folder / NODE / "ready").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
