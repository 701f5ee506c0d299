"""How long a user waits for help, and for the first token."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.side_by_side import command, report, seconds_of

TWO_COMMANDS = """
import typer
app = typer.Typer({options})
@app.command()
def first(name: str) -> None:
    "The first."
@app.command()
def second(name: str) -> None:
    "The second."
app()
"""


def main() -> None:
    """Compare `llmkit --help` with a two-command Typer app's, and the first token with `import torch`."""
    llmkit = [sys.executable, "-m", "llmkit"]
    with tempfile.TemporaryDirectory() as folder:
        bare, plain = Path(folder, "bare.py"), Path(folder, "plain.py")
        bare.write_text(TWO_COMMANDS.format(options=""))
        plain.write_text(TWO_COMMANDS.format(options="rich_markup_mode=None"))
        helps = {
            "two-command Typer app --help": command([sys.executable, str(bare), "--help"]),
            "the same without rich formatting": command([sys.executable, str(plain), "--help"]),
            "llmkit --help": command([*llmkit, "--help"]),
            "llmkit generate --help": command([*llmkit, "generate", "--help"]),
        }
        report("Help", seconds_of(helps, 15), "two-command Typer app --help", "0.55")
    story = str(Path(__file__).parents[2] / "examples" / "story.txt")
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "request.jsonl")
        request.write_text('{"prompt": "Tell me a story about a dog and a red ball."}\n')
        verbs = {
            "generate, to its first token": ["generate", "Once upon a time"],
            "translate": ["translate", "--from", "en", "--to", "de", "Where is my book?"],
            "qa": ["qa", "--question", "Who came out of the grass?", "--context", story],
            "summarize": ["summarize", story],
            "chat, a row's answer of 60 tokens": ["chat", "--input", str(request), "--max-new-tokens", "60"],
        }
        starts = {"python -c 'import torch'": command([sys.executable, "-c", "import torch"])}
        for name, arguments in verbs.items():
            starts[f"llmkit {name}"] = command([*llmkit, *arguments], until_output=True)
        report("Start", seconds_of(starts, 9), "python -c 'import torch'", "3.2")
