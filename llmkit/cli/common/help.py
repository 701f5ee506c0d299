"""Help pages: the options of a verb in sections, with their defaults, and examples at the end."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence

from llmkit.cli.common.flags import OWN, SHARED, Argument, Flag, Parameter, parameters

MAX_WIDTH = 100
_FIRST_COLUMN = 34  # at most
_NO_BREAK = "\u00a0"
_HELP = ("-h, --help", "Show this page and exit.")
_OF_TASK = "stories; with --task, the embedded model of that verb"
# Default of --model by verb: the help page of a verb shows its own.
_DEFAULT_MODELS = {
    "generate": "stories",
    "translate": "translator",
    "chat": "storyteller",
    "qa": "reader",
    "summarize": "none: select sentences without a model",
    "embed": "none; embed needs one",
    "quantize": "none; quantize needs one",
    "finetune": "stories",
    "bench": "stories",
    "eval": _OF_TASK,
    "bias": _OF_TASK,
    "explain": _OF_TASK,
}


def width_of_terminal() -> int:
    """Return the terminal's width in columns, at most `MAX_WIDTH`; 80 without a terminal."""
    return min(shutil.get_terminal_size().columns, MAX_WIDTH)


def verb_page(verb: str, run: Callable[..., None], examples: Sequence[str], width: int) -> str:
    """Return the help page of a verb.

    Args:
        verb: its name.
        run: its function, declared by the rules of `llmkit.cli.common.flags`. The page begins with its
            docstring.
        examples: command lines.
        width: columns of the page.
    """
    found = parameters(run)
    arguments = [one for one in found if isinstance(one.spec, Argument)]
    usage = " ".join([*(_usage(one) for one in arguments), *(_required(one) for one in found), "[options]"])
    parts = [f"Usage: llmkit {verb} " + " ".join(usage.split()), _wrapped(inspect.getdoc(run) or "", width)]
    tables = [("Arguments", arguments), *_sections(found)]
    rows = {name: [(_spelling(one), _help(one, verb)) for one in table] for name, table in tables if table}
    rows.setdefault("Messages", []).append(_HELP)
    widest = max(len(left) for table in rows.values() for left, _ in table)
    parts += [_section(name, table, width, min(widest + 4, _FIRST_COLUMN)) for name, table in rows.items()]
    if examples:
        parts.append("\n".join(["Examples:", *(f"  {example}" for example in examples)]))
    return "\n\n".join(parts) + "\n"


def root_page(about: str, sections: dict[str, dict[str, str]], width: int) -> str:
    """Return the help page of `llmkit` itself: the verbs in their sections."""
    options = [
        ("--version", "Print the version."),
        ("--install-completion", "Complete verbs and options in this shell from now on."),
        ("--show-completion", "Print the completion script, to copy it or change it."),
        _HELP,
    ]
    parts = ["Usage: llmkit VERB [options]", _wrapped(about, width)]
    parts += [_section(name, list(verbs.items()), width, first=13) for name, verbs in sections.items()]
    parts += [
        _section(OWN, options, width, first=25),
        "llmkit VERB --help, or llmkit help VERB, shows the options of a verb.",
    ]
    return "\n\n".join(parts) + "\n"


def _sections(found: Iterable[Parameter]) -> list[tuple[str, list[Parameter]]]:
    """Group options by section: the verb's own, its own groups, then the shared ones in a fixed order."""
    by_name: dict[str, list[Parameter]] = {OWN: []}
    for one in found:
        if isinstance(one.spec, Flag) and not one.spec.more.get("hidden"):
            by_name.setdefault(one.section, []).append(one)
    own = [name for name in by_name if name not in SHARED and by_name[name]]
    return [(name, by_name[name]) for name in [*own, *(name for name in SHARED if name in by_name)]]


def _usage(one: Parameter) -> str:
    name = one.metavar.removesuffix("...")
    shown = name if one.required else f"[{name}]"
    return shown + "..." * one.metavar.endswith("...")


def _required(one: Parameter) -> str:
    spec = one.spec
    return f"{spec.names[0]} {one.metavar}" if isinstance(spec, Flag) and one.required else ""


def _spelling(one: Parameter) -> str:
    if isinstance(one.spec, Argument):
        return one.metavar
    short = [name for name in one.spec.names if not name.startswith("--")]
    long = [name.replace("/", " / ") for name in one.spec.names if name.startswith("--")]
    names = ", ".join([*short, *long]) if short else "    " + ", ".join(long)
    return f"{names} {one.metavar}".rstrip()


def _help(one: Parameter, verb: str) -> str:
    text = _DEFAULT_MODELS.get(verb, one.default_text) if one.name == "model" else one.default_text
    default = f"[default: {text}]" if text else ""
    # No-break spaces keep a short default on one line: the wrapper breaks only at other spaces.
    return f"{one.spec.help} {default.replace(' ', _NO_BREAK) if len(default) <= 30 else default}".rstrip()


def _section(name: str, rows: Sequence[tuple[str, str]], width: int, first: int) -> str:
    """Return a heading and two columns; a left cell that is too wide gets a line of its own."""
    lines = [f"{name}:"]
    wrap = textwrap.TextWrapper(width=max(width - first, 30), break_long_words=False, break_on_hyphens=False)
    for left, right in rows:
        shown = f"  {left}"
        text = wrap.wrap(right) or [""]
        if len(shown) > first - 2:
            lines.append(shown)
            shown = ""
        lines.append(f"{shown:<{first}}{text[0]}".rstrip())
        lines += [" " * first + line for line in text[1:]]
    return "\n".join(lines).replace(_NO_BREAK, " ")


def _wrapped(text: str, width: int) -> str:
    """Wrap the paragraphs of a docstring."""
    return "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in text.split("\n\n"))
