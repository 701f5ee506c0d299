"""`llmkit chat`: a conversation in the terminal, one answer, or replies to a file of conversations."""

from __future__ import annotations

import dataclasses
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.chat.commands import COMMANDS, ChatSession, Leave, obey
from llmkit.cli.chat.wrap import WordWrap
from llmkit.cli.common import console, options, rows, signals
from llmkit.cli.common.arguments import open_argument
from llmkit.cli.common.engine_flags import TextModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import argument
from llmkit.cli.common.row_flags import DetailFlags
from llmkit.errors import LLMKitError, OptionError, RowError

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.tasks.chat import Conversation, Reply
    from llmkit.tasks.decoding import GenerationOptions


EXAMPLES = [
    "llmkit chat",
    'llmkit chat "Tell me a story about a dog." --seed 1 --max-new-tokens 80',
    "llmkit chat --input conversations.jsonl -o replies.jsonl",
]


@options.expand
def run(
    *,
    message: Annotated[
        str | None,
        argument(
            "TEXT|FILE",
            help="A message to answer, or a file with a message. Without it, --input or stdin is read; on a"
            " terminal a conversation begins.",
        ),
    ] = None,
    model: TextModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    forms: FormFlags,
    details: DetailFlags,
    system: options.System = None,
    continue_final_message: options.Continue = False,
    messages: options.MessageFlags,
) -> None:
    """Chat with a model in the terminal, or answer a message or a file of conversations."""
    from llmkit.tasks.decoding import GenerationOptions

    wanted = GenerationOptions(
        **decoding.values(),
        seed=model.seed,
        system=system,
        **forms.values(),
        **details.values(),
        continue_final_message=continue_final_message,
    )
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    if message is None and inputs.input is None and at_terminal:
        about_rows = {"schema_field": forms.schema_field, **details.values()}
        _refuse_row_flags(inputs, outputs, {**about_rows, "continue_final_message": continue_final_message})
        with _enter_while_busy():
            _converse(model, wanted)
    else:
        details.to_rows(outputs)
        _reply(message, model, inputs, outputs, wanted, forms)


def _reply(
    message: str | None,
    model: TextModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    wanted: GenerationOptions,
    forms: FormFlags,
) -> None:
    """Answer one message as it is written, or each row."""
    rows.check_output(outputs)
    source, single = open_argument(message, inputs, field="prompt")
    forms.check_rows(single=single)
    if single and wanted.continue_final_message:
        raise OptionError(
            "continue_final_message", "needs conversations: give rows of `messages` with `input`"
        )
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.chat import chat_options
    from llmkit.tasks.details import detail_columns
    from llmkit.tasks.generation import Generation

    engine = open_engine(model.spec(task="text-generation", verb="chat"))
    generation = Generation(
        engine, chat_options(engine, wanted), field=inputs.field, template=inputs.template
    )
    rows.report_seed(generation.run_state, sampling=not generation.sampling.greedy)
    try:
        if single and outputs.output is None and not outputs.json and wanted.num_return_sequences == 1:
            row = next(iter(source))
            if row.error is not None:
                raise RowError(row.where, row.error)
            out = WordWrap()
            prompt = generation.prompts.prepare_one(row.data["prompt"], where=row.where)
            generation.details_of(generation.stream(prompt, _show(out)))
            out.end()
        else:
            rows.run_rows(
                generation,
                source,
                outputs,
                verb="chat",
                field="generated_text",
                answers=True,
                more=detail_columns(wanted),
            )
    finally:
        rows.report_shortened(generation.prompts)
        rows.report_cut(generation)


def _refuse_row_flags(inputs: options.InputFlags, outputs: options.OutputFlags, more: dict[str, Any]) -> None:
    given = {**dataclasses.asdict(inputs), "output": outputs.output, "json": outputs.json, **more}
    for name, value in given.items():
        if value not in (None, False):
            raise OptionError(name, "applies to rows: give them with `input`, or pipe them in")
    outputs.check()


def _converse(model: TextModelFlags, wanted: GenerationOptions) -> None:
    """Read messages and answer them until the user leaves."""
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.chat import Conversation

    def open_model(name: str | None) -> Engine:
        # A revision and an adapter belong to the model that they were given with.
        kept = name is None or name == model.model
        changed: dict[str, Any] = {} if kept else {"model": name, "revision": None, "adapter": None}
        return open_engine(dataclasses.replace(model, **changed).spec(task="text-generation", verb="chat"))

    conversation = Conversation(open_model(None), wanted, on_drop=_report_drop)
    if conversation.sampling:
        console.detail(f"seed {conversation.options.seed}")
    else:
        rows.report_unused_seed(wanted.seed, "`temperature` turns sampling on")
    session = ChatSession(conversation, lambda ask: _answer(conversation, ask), open_model)
    read = _line_reader()
    console.notice(f"{conversation.engine.name}: /help lists the commands, Ctrl-D exits")
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
            console.notice("Ctrl-D or /exit ends the conversation")
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
            console.notice("stopped; the message was removed")
            return
    out.end()
    if not reply.kept:
        console.notice("stopped; the message was removed")
    elif reply.finish_reason == "interrupted":
        console.notice("stopped; the answer so far stays (/retry generates a new answer, /undo removes it)")
    elif reply.finish_reason == "length":
        limit = conversation.options.max_new_tokens
        room = f"/continue continues it (or /set max_new_tokens {2 * limit})"
        more = room if reply.tokens >= limit else "the context is full"
        console.notice(f"cut after {reply.tokens} tokens; {more}")


def _show(out: WordWrap) -> Callable[[str, bool], None]:
    """Print the answer on stdout, from its first word on, and thoughts on stderr, dim on a terminal."""
    thought = begun = False

    def show(piece: str, is_reasoning: bool) -> None:
        nonlocal thought, begun
        if not is_reasoning:
            # Many models begin with a space or a line break, because their template does not end in one.
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
    """Keep the meaning of Enter while a model loads or answers.

    Outside a prompt, a terminal turns Enter into a line feed. The next prompt would read it as Ctrl-J, and
    not send a message that was typed in advance.
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
        "the conversation is longer than the context: the prompt no longer contains the oldest"
        f" {messages} messages"
    )


def _line_reader() -> Callable[[], str]:
    """Return a function that reads a message of one or more lines, with editing and history."""
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
        # stdout may be a file for the answers.
        output=create_output(always_prefer_tty=True),
    )
    return lambda: prompt.prompt("> ")
