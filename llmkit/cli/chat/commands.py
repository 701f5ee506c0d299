"""Commands inside `llmkit chat`: lines that begin with a slash. They print on stderr."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console
from llmkit.cli.common.help import width_of_terminal
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.tasks.chat import Conversation


class Leave(Exception):  # noqa: N818 (it ends the chat; it is not an error)
    """The user ends the chat."""


@dataclass
class ChatSession:
    """State that commands work on.

    Attributes:
        conversation: the conversation.
        answer: function that calls `send` or `retry` with `on_text` and `stopped`, and shows the answer.
        open_model: function that loads a model by its name, with the flags of the chat.
    """

    conversation: Conversation
    answer: Callable[[Callable[..., Any]], None]
    open_model: Callable[[str], Engine]


def obey(session: ChatSession, line: str) -> None:
    """Run a line such as ``/set temperature 0.7``.

    Raises:
        Leave: the command is /exit.
        InputError: no such command, or its argument is wrong.
    """
    name, _, argument = line.partition(" ")
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "/help lists them"
        raise InputError(f"{name}: no such command; {hint} (a message that begins with / is written //)")
    COMMANDS[name][0](session, argument.strip())


def _help(session: ChatSession, argument: str) -> None:
    width = max(len(f"{name} {takes}") for name, (_, takes, _) in COMMANDS.items())
    for name, (_, takes, about) in COMMANDS.items():
        indent = " " * (width + 4)
        line = f"  {f'{name} {takes}':<{width}}  {about}"
        _say(textwrap.fill(line, width_of_terminal(), subsequent_indent=indent))
    _say("Enter sends. Alt-Enter or Ctrl-J begins a new line; pasted lines stay together.")
    _say("Ctrl-C stops an answer, Ctrl-D leaves.")


def _save(session: ChatSession, argument: str) -> None:
    path = _path(argument, "/save")
    count = session.conversation.save(path)
    console.notice(f"{path} has {count} conversation{'s' * (count > 1)}; this one is the last")


def _load(session: ChatSession, argument: str) -> None:
    path = _path(argument, "/load")
    count = session.conversation.load(path)
    which = f"the last of {count} conversations" if count > 1 else "a conversation"
    console.notice(f"{which} with {len(session.conversation.messages)} messages")


def _system(session: ChatSession, argument: str) -> None:
    if argument:
        session.conversation.system = "" if argument == '""' else argument
    system = session.conversation.system
    _say("no system message" if system is None else f"system message: {system}")


def _undo(session: ChatSession, argument: str) -> None:
    taken = session.conversation.undo()
    start = " ".join(str(taken[0]["content"]).split())
    console.notice(f"removed: {start[:60]}{'…' * (len(start) > 60)}")


def _clear(session: ChatSession, argument: str) -> None:
    session.conversation.clear()
    console.notice("a new conversation begins")


def _retry(session: ChatSession, argument: str) -> None:
    if not session.conversation.sampling:
        console.notice("decoding is greedy: the same question gets the same answer; try /set temperature 0.7")
    session.answer(session.conversation.retry)


def _continue(session: ChatSession, argument: str) -> None:
    session.answer(session.conversation.continue_last)


def _model(session: ChatSession, argument: str) -> None:
    if argument:
        session.conversation.use(session.open_model(argument))
    _say(session.conversation.engine.name)


def _on_or_off(text: str) -> bool:
    return {"on": True, "off": False}[text]


def _stops(text: str) -> tuple[str, ...]:
    """Read stop texts, separated by spaces; \\n and \\t stand for a line break and a tab."""
    found = tuple(one.replace("\\n", "\n").replace("\\t", "\t") for one in text.split())
    if not found:
        raise ValueError
    return found


_SETTINGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "max_new_tokens": (int, "a number"),
    "temperature": (float, "a number"),
    "top_p": (float, "a number"),
    "top_k": (int, "a whole number"),
    "min_p": (float, "a number"),
    "repetition_penalty": (float, "a number"),
    "num_beams": (int, "a whole number"),
    "greedy": (_on_or_off, "on or off"),
    "seed": (int, "a whole number"),
    "stop": (_stops, "stop texts, separated by spaces"),
}


def _set(session: ChatSession, argument: str) -> None:
    name, _, text = argument.partition(" ")
    name, text = name.replace("-", "_"), text.strip()
    options = session.conversation.options
    if not name:
        for one in _SETTINGS:
            _show(session, one)
        return
    if name not in _SETTINGS:
        raise InputError(f"/set {name}: there is {', '.join(_SETTINGS)}")
    parse, wanted = _SETTINGS[name]
    if text == "default":
        value = next(field.default for field in dataclasses.fields(options) if field.name == name)
    else:
        try:
            value = parse(text)
        except (ValueError, KeyError):
            raise InputError(f"/set {name} {text}: give {wanted}, or default") from None
    session.conversation.set(**{name: value})
    _show(session, name)
    if name == "seed" and not session.conversation.sampling:
        console.notice("the seed has no effect: decoding is greedy; try /set temperature 0.7")


def _show(session: ChatSession, name: str) -> None:
    value = getattr(session.conversation.options, name)
    if name == "stop":
        value = " ".join(repr(one) for one in value) or "none"
    _say(f"{name}: {'as the model has it' if value is None else value}")


def _exit(session: ChatSession, argument: str) -> None:
    raise Leave


def _path(argument: str, command: str) -> str:
    import os

    if not argument:
        raise InputError(f"{command}: give a file, such as {command} talk.jsonl")
    return os.path.expanduser(argument)


def _say(text: str) -> None:
    console.say(text)


# name -> (function, argument, help text)
COMMANDS: dict[str, tuple[Callable[[ChatSession, str], None], str, str]] = {
    "/help": (_help, "", "Show this help."),
    "/save": (_save, "FILE", "Append the conversation to a JSONL file, one line of `messages` each."),
    "/load": (_load, "FILE", "Continue the last conversation of a JSONL file."),
    "/system": (_system, "TEXT", 'Set the system message; "" removes it; without TEXT, show it.'),
    "/undo": (_undo, "", "Remove the last turn."),
    "/clear": (_clear, "", "Start a new conversation; the system message stays."),
    "/retry": (_retry, "", "Generate a new answer to the last message."),
    "/continue": (_continue, "", "Continue the last answer."),
    "/model": (_model, "NAME", "Switch to another model; without NAME, show the current one."),
    "/set": (_set, "NAME VALUE", "Change a setting, such as temperature 0.7; without NAME, show all."),
    "/exit": (_exit, "", "End the conversation."),
}
