"""`llmkit chat`: a conversation in the terminal, or replies to a file of conversations."""

from __future__ import annotations

import dataclasses
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from llmkit.cli.chat.commands import COMMANDS, ChatSession, Leave, obey
from llmkit.cli.chat.wrap import WordWrap
from llmkit.cli.common import console, options, rows, signals
from llmkit.cli.common.form_flags import FormFlags
from llmkit.errors import InputError, LLMKitError

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.tasks.chat import Conversation, Reply
    from llmkit.tasks.decoding import GenerationOptions


EXAMPLES = [
    "llmkit chat",
    """echo '{"prompt": "Tell me a story about a dog."}' | llmkit chat --seed 1""",
]


@options.expand
def run(
    *,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    forms: FormFlags,
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Talk with a chat model in the terminal, or answer a file of conversations."""
    from llmkit.tasks.decoding import GenerationOptions

    wanted = GenerationOptions(**decoding.values(), seed=model.seed, system=system, form=forms.form())
    if inputs.input is None and sys.stdin is not None and sys.stdin.isatty():
        _refuse_row_flags(inputs, outputs)
        with _enter_while_busy():
            _converse(model, wanted)
    else:
        _reply_to_rows(model, inputs, outputs, wanted)


def _reply_to_rows(
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    wanted: GenerationOptions,
) -> None:
    """Answer each row; stdin is JSONL unless `--lines` makes each line a message."""
    rows.check_output(outputs)
    unnamed = inputs.input is None and not inputs.lines
    if unnamed:
        inputs = dataclasses.replace(inputs, input="-")
    source, _ = rows.open_source(None, inputs, field="prompt")
    first = source.first() if unnamed and outputs.on_error == "fail" else None
    if first is not None and first.error and first.error.startswith(("not JSON", "a JSON")):
        raise InputError(f"{first.where}: {first.error}; with --lines each line is a message")
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.chat import chat_options
    from llmkit.tasks.generation import Generation

    engine = open_engine(model.spec(task="text-generation", verb="chat"))
    generation = Generation(
        engine, chat_options(engine, wanted), field=inputs.field, template=inputs.template
    )
    rows.run_rows(generation, source, outputs, verb="chat", field="generated_text", answers=True)


def _refuse_row_flags(inputs: options.InputFlags, outputs: options.OutputFlags) -> None:
    given = {**dataclasses.asdict(inputs), "output": outputs.output, "json": outputs.json}
    for name, value in given.items():
        if value:
            raise InputError(f"--{name} is about rows: name them with --input, or pipe them in")
    outputs.check()


def _converse(model: options.ModelFlags, wanted: GenerationOptions) -> None:
    """Read messages and answer them until the user leaves."""
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.chat import Conversation

    def open_model(name: str | None) -> Engine:
        # A revision and an adapter belong to the model that they were named with.
        kept = name is None or name == model.model
        changed: dict[str, Any] = {} if kept else {"model": name, "revision": None, "adapter": None}
        return open_engine(dataclasses.replace(model, **changed).spec(task="text-generation", verb="chat"))

    conversation = Conversation(open_model(None), wanted, on_drop=_report_drop)
    console.detail(f"seed {conversation.options.seed}")
    session = ChatSession(conversation, lambda ask: _answer(conversation, ask), open_model)
    read = _line_reader()
    console.notice(f"{conversation.engine.name}: /help lists the commands, Ctrl-D leaves")
    while True:
        try:
            line = read()
            if line.startswith("/") and not line.startswith("//"):
                obey(session, line.strip())
            elif line.strip():
                text = line.removeprefix("/") if line.startswith("//") else line
                session.answer(functools.partial(conversation.send, text))
        except (EOFError, Leave):
            return
        except KeyboardInterrupt:
            signals.reset()
            console.notice("Ctrl-D or /exit leaves")
        except LLMKitError as error:
            if console.state.debug:
                raise
            console.error(str(error))


def _answer(conversation: Conversation, ask: Callable[..., Reply]) -> None:
    """Show an answer as it is written; Ctrl-C ends it, and a second Ctrl-C ends it at once."""
    out = WordWrap()
    with _interruptible() as stopped:
        try:
            reply = ask(_show(out), stopped=stopped)
        except KeyboardInterrupt:
            signals.reset()
            out.end()
            console.notice("stopped; the message is taken back")
            return
    out.end()
    if not reply.kept:
        console.notice("stopped; the message is taken back")
    elif reply.finish_reason == "interrupted":
        console.notice("stopped; the answer so far stays (/retry answers anew, /undo takes it back)")
    elif reply.finish_reason == "length":
        limit = conversation.options.max_new_tokens
        more = (
            f"/set max_new_tokens {2 * limit} allows more" if reply.tokens >= limit else "the context is full"
        )
        console.notice(f"cut after {reply.tokens} tokens; {more}")


def _show(out: WordWrap) -> Callable[[str, bool], None]:
    """Print the answer on stdout, from its first word on, and thoughts on stderr, dim on a terminal."""
    thought = begun = False

    def show(piece: str, is_reasoning: bool) -> None:
        nonlocal thought, begun
        if not is_reasoning:
            # Many models begin with the space or the line break that their template leaves open.
            piece = piece if begun else piece.lstrip()
            begun = begun or bool(piece)
        if is_reasoning:
            console.dim(piece)
        else:
            if thought:
                console.say("\n")
            out.write(piece)
        thought = is_reasoning

    return show


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True once Ctrl-C was pressed; a second Ctrl-C is a KeyboardInterrupt."""
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _enter_while_busy() -> Iterator[None]:
    """Keep Enter as it is while a model loads or answers.

    Outside a prompt, a terminal turns Enter into a line feed. The next prompt takes that for Ctrl-J, and does
    not send the message that was typed ahead.
    """
    import termios

    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError):  # no terminal
        yield
        return
    changed = [before[0] & ~termios.ICRNL, *before[1:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _report_drop(messages: int) -> None:
    console.notice(
        f"the conversation outgrew the context: the model no longer sees {messages} older messages"
    )


def _line_reader() -> Callable[[], str]:
    """Return a function that reads one message, of one or several lines, with editing and history."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output import create_output

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def new_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    prompt: PromptSession[str] = PromptSession(
        multiline=True,
        key_bindings=keys,
        prompt_continuation=". ",
        completer=WordCompleter(list(COMMANDS), sentence=True),
        complete_while_typing=False,
        # stdout may be a file that takes the answers.
        output=create_output(always_prefer_tty=True),
    )
    return lambda: prompt.prompt("> ")
