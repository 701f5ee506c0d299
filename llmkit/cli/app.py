"""The Typer app: parses command lines and calls the verbs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from llmkit.cli import verbs
from llmkit.cli.common import console
from llmkit.cli.common.flags import Argument, Parameter, parameters
from llmkit.errors import did_you_mean


class _VerbCommand(TyperCommand):
    """A verb with our help page in place of Typer's."""

    def get_help(self, ctx: Any) -> str:
        return verbs.page(str(self.name)).rstrip("\n")


class _VerbGroup(TyperGroup):
    """A command group that imports `llmkit.cli.VERB` when VERB is used."""

    def get_help(self, ctx: Any) -> str:
        return verbs.page(None).rstrip("\n")

    def list_commands(self, ctx: Any) -> list[str]:
        return list(verbs.VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in verbs.VERBS:
            return None
        if cmd_name not in self.commands:
            one = typer.Typer(add_completion=False, rich_markup_mode=None)
            one.command(cmd_name, cls=_VerbCommand)(_for_typer(verbs.module(cmd_name).run))
            self.commands[cmd_name] = typer.main.get_command(one)
        console.use_flags(flags_of(self.commands[cmd_name]))
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # Typer suggests similar names from `self.commands`, which contains only the verbs imported so far.
        if args[0] not in verbs.VERBS and not args[0].startswith("-"):
            ctx.fail(f"no such verb: {args[0]}{did_you_mean(args[0], verbs.VERBS)}")
        return super().resolve_command(ctx, args)


def flags_of(command: Any) -> dict[str, tuple[str, str | None]]:
    """Return each option of a command with its long flag and, for a switch, the flag that turns it off."""
    found: dict[str, tuple[str, str | None]] = {}
    for parameter in command.params:
        on = [name for name in parameter.opts if name.startswith("--")]
        off = [name for name in parameter.secondary_opts if name.startswith("--")]
        if on:
            found[parameter.name] = on[0], off[0] if off else None
    return found


_NUMBERS = {"int_parsing": "a whole number", "float_parsing": "a number"}
_EXTRA = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)")


def usage_message(error: Any) -> str:
    """Return the message for an invalid command line, with the next step, from Typer's error."""
    context = getattr(error, "ctx", None)
    return _reason(error) + (f" (see {context.command_path} --help)" if context is not None else "")


def _reason(error: Any) -> str:
    name = type(error).__name__
    if name == "NoSuchOption":
        return (
            f"no such option: {error.option_name}{did_you_mean(error.option_name, error.possibilities or [])}"
        )
    if name == "MissingParameter":
        is_argument = error.param.param_type_name == "argument"
        return f"{error.param.metavar if is_argument else error.param.opts[-1]} is missing"
    # pydantic parses the values, and its error is the cause of Typer's error.
    details = error.__cause__.errors()[0] if hasattr(error.__cause__, "errors") else {}
    if details.get("type") in _NUMBERS:
        return f"{error.param.opts[-1]} must be {_NUMBERS[details['type']]}, not {details['input']!r}"
    message = str(error.format_message()).rstrip(".")
    extra = _EXTRA.fullmatch(message)
    if extra:
        return f"unexpected argument: {extra[1]}; {_about_arguments(error.ctx)}"
    return message[:1].lower() + message[1:]


def _about_arguments(context: Any) -> str:
    declared = context.command.params
    if any(one.param_type_name == "argument" for one in declared):
        return "put a text of several words in quotes"
    example = ", such as --model" if any(one.name == "model" for one in declared) else ""
    return f"{context.info_name} takes options only{example}"


def _for_typer(run: Any) -> Any:
    """Return a verb's function with a signature that Typer reads: one parameter for each flag."""
    kind = inspect.Parameter.KEYWORD_ONLY
    found = [inspect.Parameter("_context", kind, annotation=typer.Context)]
    for one in parameters(run):
        annotation: Any = Annotated[one.type, _declared(one)]
        found.append(inspect.Parameter(one.name, kind, default=one.default, annotation=annotation))

    def verb(_context: typer.Context, **values: Any) -> None:
        run(_context, **values)

    verb.__doc__ = run.__doc__
    verb.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
    verb.__annotations__ = {one.name: one.annotation for one in found}
    return verb


def _declared(one: Parameter) -> Any:
    spec = one.spec
    if isinstance(spec, Argument):
        return typer.Argument(metavar=spec.metavar, help=spec.help, show_default=False)
    return typer.Option(
        *spec.names,
        help=spec.help,
        metavar=spec.metavar,
        show_default=False,
        autocompletion=_completion(one),
        **spec.more,
    )


def _completion(one: Parameter) -> Callable[[str], list[str]] | None:
    """Return the function that lists the values of an option for the shell; None if there is no list."""
    choices = one.metavar.split("|")
    if one.name == "model":
        return _models
    if one.name == "metric":
        return _metrics
    if one.name == "task":
        from llmkit.evaluation.columns import TASKS

        choices = list(TASKS)
    elif len(choices) < 2 or not all(choice.islower() or choice.isdigit() for choice in choices):
        return None
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    """Names of embedded models, and of those in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    from llmkit.models.bundled import embedded_models

    cached = Path(HF_HUB_CACHE).glob("models--*")
    names = [path.name.removeprefix("models--").replace("--", "/") for path in cached]
    return [
        name
        for name in [*(one.name for one in embedded_models()), *sorted(names)]
        if name.startswith(incomplete)
    ]


def _metrics(incomplete: str) -> list[str]:
    """Names of metrics, also after a comma."""
    from llmkit.evaluation.registry import METRICS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in METRICS if name.startswith(last)]


def _version(value: bool) -> None:
    if value:
        from llmkit import __version__

        print(f"llmkit {__version__}")
        raise typer.Exit()


app = typer.Typer(
    cls=_VerbGroup,
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
    """The command line of llmkit."""
