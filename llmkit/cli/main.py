"""The Typer app: which verbs there are, and what happens to signals, closed pipes and errors.

A verb's module is imported when the verb is called, and not before: `llmkit --help` reads only the table
below. tests/cli/test_start.py holds both (no verb's help imports torch, and the table says what the
verbs' own docstrings say).
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from llmkit.cli.common import console
from llmkit.errors import LLMKitError

VERBS = {
    "generate": "Continue a prompt, or a file of prompts, with a language model.",
    "translate": "Translate a text of any length, or a file of texts, line breaks and all.",
    "chat": "Talk with a chat model in the terminal, or answer a file of conversations.",
    "qa": "Answer questions from a text, with an extractive or a chat model.",
    "summarize": "Summarize a text of any length, with a model or by its own sentences.",
    "pretrain": "Train a language model from nothing on a text corpus.",
    "finetune": "Teach a model from rows of examples: an adapter, or with --full the whole model.",
    "merge": "Put a LoRA adapter into its base model, after measuring what that changes.",
    "eval": "Score predictions or a model, with confidence intervals.",
    "kernels": "List, verify or time attention kernels.",
    "models": "List the models in the box and in the cache.",
    "doctor": "Show versions, devices, what is missing and how to get it.",
}


class Terminated(BaseException):
    """SIGTERM arrived: like KeyboardInterrupt, no `except Exception` may swallow it."""


class VerbGroup(TyperGroup):
    """A command group that imports `llmkit.cli.VERB` when VERB is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            module = importlib.import_module(f"llmkit.cli.{cmd_name}")
            one = typer.Typer(add_completion=False, rich_markup_mode=None)
            one.command(cmd_name)(module.run)
            self.commands[cmd_name] = typer.main.get_command(one)
        console.use_flags(flags_of(self.commands[cmd_name]))
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # Typer suggests near names from `self.commands`, which holds only the verbs imported so far.
        if args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"no such verb: {args[0]}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


def flags_of(command: Any) -> dict[str, tuple[str, str | None]]:
    """Return each option of a command with its long flag and, for a switch, the flag that turns it off."""
    found: dict[str, tuple[str, str | None]] = {}
    for parameter in command.params:
        on = [name for name in parameter.opts if name.startswith("--")]
        off = [name for name in parameter.secondary_opts if name.startswith("--")]
        if on:
            found[parameter.name] = on[0], off[0] if off else None
    return found


def _version(value: bool) -> None:
    if value:
        from llmkit import __version__

        print(f"llmkit {__version__}")
        raise typer.Exit()


app = typer.Typer(
    cls=VerbGroup,
    name="llmkit",
    # Plain help: rich's panels double the time of `--help`.
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Load, use, teach and judge the language models that you run yourself."""


def _on_sigterm(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def main() -> NoReturn:
    """Run the command line and exit with the code that the manual promises."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    # Read once, when torch loads OpenMP. Threads that spin at every barrier make small models crawl as soon
    # as anything else runs on the machine; `python -m tests.benchmarks threads` shows by how much.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        # Model output is any text at all; a C locale must not turn it into an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _closed_pipe()
    except OSError as error:
        console.error(f"stdout: {error.strerror or error}")
        code = 1
    sys.stderr.flush()
    if "torch" in sys.modules:
        # torch's and datasets' threads hold nothing that we want back, and tearing them down takes time; but
        # layers offloaded to disk are removed at exit, and os._exit would skip that.
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command line in this process and return its exit code."""
    console.use_flags({})
    try:
        result = app(arguments, prog_name="llmkit", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except console.ClosedPipe:
        return _closed_pipe()
    except LLMKitError as error:
        if console.state.debug:
            raise
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Terminated:
        return 143
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        return _usage(error)
    except OSError as error:
        if console.state.debug:
            raise
        name = f"{error.filename}: " if error.filename else ""
        console.error(f"{name}{error.strerror or error}")
        return 1
    except Exception as error:
        if console.state.debug:
            raise
        reason = " ".join(str(error).split())
        console.error(f"unexpected {type(error).__name__}: {reason} (--debug shows where; please report it)")
        return 1


def _usage(error: Any) -> int:
    """Print what Typer says of a bad flag as one line, with the command that tells more."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        return 2
    hint = f" (try '{context.command_path} --help')" if context is not None else ""
    console.error(error.format_message().rstrip(".") + hint)
    return int(error.exit_code)


def _closed_pipe() -> int:
    """The reader has what it wanted (`| head`): stop quietly, also at interpreter exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    return 0
