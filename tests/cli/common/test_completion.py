"""Values of options that the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("llmkit generate -m st", {"stories", "storyteller"}),
        ("llmkit generate -m some/", {"some/model"}),  # in the cache
        ("llmkit eval --metric ch", {"chrf", "chrf++"}),
        ("llmkit eval --metric bleu,ch", {"bleu,chrf", "bleu,chrf++"}),
        ("llmkit eval --task s", {"summarize"}),
        ("llmkit generate --on-error s", {"skip"}),
        ("llmkit fine", {"finetune"}),
    ],
)
def test_values_are_completed(line: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "models--some--model").mkdir()
    asked = {
        "_LLMKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
        "HF_HUB_CACHE": str(tmp_path),
    }
    command = [sys.executable, "-m", "llmkit"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True)
    assert (set(done.stdout.split()), done.stderr) == (expected, "")
