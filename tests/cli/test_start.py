"""Time and content of every verb's `--help`, and the command line before a verb runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit import __version__
from llmkit.cli import verbs
from llmkit.cli.common import flags
from llmkit.cli.verbs import VERBS
from llmkit.models.bundled import DEFAULTS
from tests.command import run, spawn

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "peft",
    "accelerate",
    "numpy",
    "tokenizers",
    "pyarrow",
    "pydantic",
    "typer",
    "rich",
    "llmkit.records.read",
    "llmkit.text.documents",
)

PROBE = """
import sys
from llmkit.cli.main import run_command
code = run_command(sys.argv[1:])
loaded = [name for name in {heavy!r} if name in sys.modules]
sys.exit(f"{{code}} {{loaded}}" if code or loaded else 0)
"""


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_imports_nothing_heavy(verb: str | None) -> None:
    arguments = ["--help"] if verb is None else [verb, "--help"]
    probe = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments], capture_output=True, text=True
    )
    assert probe.returncode == 0, probe.stderr
    assert probe.stdout.startswith("Usage: llmkit")
    assert probe.stderr == ""


# Verbs with help of the old form; this list must be empty.
UNCONVERTED: set[str] = set()


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_page_is_readable(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    page = run(verb, "--help").out
    described, examples = page.split("\nExamples:\n")
    assert max(map(len, described.splitlines())) <= 100
    assert max(map(len, examples.splitlines())) <= 80
    assert examples.startswith(f"  llmkit {verb}") or f"| llmkit {verb}" in examples
    assert "<" not in described.replace("<|endoftext|>", "")
    assert page == run(verb, "-q", "--help").out, "Typer shows another page"


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_with_a_value_has_a_default_in_words(verb: str) -> None:
    for one in flags.parameters(verbs.module(verb).run):
        if isinstance(one.spec, flags.Flag) and not one.is_switch and not one.required:
            assert one.default_text, one.name


@pytest.mark.parametrize("verb", DEFAULTS)
def test_the_help_page_names_the_embedded_model(verb: str) -> None:
    assert f"[default: {DEFAULTS[verb]}]" in run(verb, "--help").out


def test_help_is_a_verb_too() -> None:
    assert run("help").out == run("--help").out
    assert run("help", "generate").out == run("generate", "--help").out
    assert run("help", "nosuch").code == 2


def test_the_help_of_generate_stands_in_sections() -> None:
    headings = re.findall(r"^(\w.*):$", run("generate", "--help").out, re.M)
    own, shared = ["Arguments", "Options", "Fill in the middle"], ["Model", "Input", "Output", "Decoding"]
    assert headings == [*own, *shared, "Structured output", "Chat", "Messages", "Examples"]


def test_a_help_page_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    described = run("generate", "--help").out.split("\nExamples:\n")[0]
    assert max(map(len, described.splitlines())) <= 64


def test_import_llmkit_imports_nothing_heavy() -> None:
    code = f"import sys, llmkit; print([name for name in {HEAVY!r} if name in sys.modules])"
    probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert probe.stdout == "[]\n", probe.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_of_verbs_says_what_each_verb_says(verb: str) -> None:
    help_text = " ".join(run(verb, "--help").out.split())
    assert VERBS[verb] in help_text


def test_version() -> None:
    assert run("--version").out == f"llmkit {__version__}\n"


def test_version_of_the_module() -> None:
    assert spawn("--version").stdout == f"llmkit {__version__}\n"


def test_completion_can_be_installed(tmp_path: Path) -> None:
    # Typer asks the process above for its shell; this makes it ask the argument.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = spawn("--show-completion", "bash", env=named)
    assert shown.returncode == 0
    assert "complete" in shown.stdout
    installed = spawn("--install-completion", "bash", env=named)
    assert installed.returncode == 0, installed.stderr
    assert "llmkit" in (tmp_path / ".bashrc").read_text()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gen", ["generate"]),
        ("generate -m story", ["storyteller"]),
        ("eval --metric ro", ["rouge"]),
        ("eval --metric bleu,te", ["bleu,ter"]),
        ("eval --task su", ["summarize"]),
        ("generate --quantize int", ["int8", "int4"]),
        ("generate --on-error s", ["skip"]),
    ],
)
def test_completion_lists_verbs_and_values(line: str, expected: list[str]) -> None:
    environment = {
        "_LLMKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": f"llmkit {line}",
        "COMP_CWORD": str(len(line.split())),
    }
    script = "import sys; sys.argv[0] = 'llmkit'; from llmkit.cli.main import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert shown.stdout.split() == expected


def test_a_mistyped_verb_is_bad_usage_with_the_nearest_name() -> None:
    result = run("genrate")
    assert result.code == 2
    assert result.out == ""
    assert result.err == "llmkit: error: no such verb: genrate; did you mean generate? (see llmkit --help)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "--temprature", "1", "x"], "no such option: --temprature; did you mean --temperature?"),
        (["generate", "--top-k", "many", "x"], "--top-k must be a whole number, not 'many'"),
        (["generate", "x", "y"], "unexpected argument: y; put a text of several words in quotes"),
        (
            ["quantize", "stories", "-o", "x"],
            "unexpected argument: stories; quantize takes options only, such as --model",
        ),
        (["doctor", "x"], "doctor takes options only (see"),
    ],
)
def test_bad_usage_is_one_line_and_exits_with_2(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("llmkit: error: ")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_without_arguments_help_is_shown_and_the_usage_was_bad() -> None:
    result = run()
    assert result.code == 2
    assert result.err == run("--help").out
    assert result.out == ""


def test_what_is_to_be_removed_at_exit_is_removed(tmp_path: Path) -> None:
    """Layers offloaded to disk are; the quick way out of a process with torch in it must not skip that."""
    folder = tmp_path / "offloaded"
    folder.mkdir()
    script = (
        "import atexit, os, sys, torch; from llmkit.cli.main import main;"
        "atexit.register(os.rmdir, sys.argv.pop()); main()"
    )
    ended = subprocess.run([sys.executable, "-c", script, "--version", str(folder)], capture_output=True)
    assert ended.returncode == 0, ended.stderr
    assert not folder.exists()
