"""A conversation with a chat model: turns that can be undone and retried, in a bounded context.

Each answer runs through `tasks.generation`, and starts from the keys and values of the answer before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import FinishReason
from llmkit.engines.open import as_engine
from llmkit.errors import InputError, OptionError
from llmkit.tasks.decoding import GenerationOptions, refuse_row_options
from llmkit.tasks.generation import Generation, GenerationResult, OnText
from llmkit.tasks.messages import Messages
from llmkit.tasks.prompts import Prompt
from llmkit.tasks.transcripts import load_transcripts, save_transcript
from llmkit.text.chat.turns import split_system, turns_of

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.engines.open import AnyModel

_PIECES = 2**16
"""Random streams of one answer's attempts; those of its continuations come after them."""


@dataclass(frozen=True)
class Reply:
    """An answer of the model.

    Attributes:
        text: the answer, without thoughts.
        reasoning: the thoughts of a reasoning model.
        prompt_tokens: tokens of the conversation that the model saw.
        tokens: tokens that it wrote.
        finish_reason: ``stop`` if it was done, ``length`` at a limit, ``interrupted`` by `stopped`.
        seed: seed of sampling.
        kept: True if the turn is in the conversation; a turn interrupted before its first word is not.
    """

    text: str
    reasoning: str
    prompt_tokens: int
    tokens: int
    finish_reason: FinishReason
    seed: int
    kept: bool


class Conversation:
    """Messages, and the model that answers them.

    A turn that fails leaves the conversation as it was. If it is longer than the context, the prompt omits
    the oldest turns, but never the system message; `messages` keeps all of them.

    Args:
        model: a chat model: loaded, an engine, or a name, path or `ModelSpec` to load.
        options: see `GenerationOptions`; `system` begins the conversation.
        on_drop: takes the number of messages that the model no longer sees.

    Attributes:
        messages: the whole conversation, as dicts with ``role`` and ``content``.
        engine: the model.
        options: as given, with the seed that was drawn.

    Raises:
        InputError: the model has no chat template, or the options cannot be combined with a conversation.
    """

    def __init__(
        self,
        model: AnyModel,
        options: GenerationOptions | None = None,
        *,
        on_drop: Callable[[int], None] | None = None,
    ) -> None:
        refuse_row_options(options)
        options = options or GenerationOptions()
        self.options: GenerationOptions
        self.messages: Messages = []
        self._on_drop = on_drop
        self._unseen = 0  # messages after the system message that the model no longer sees
        self._attempt = 0  # how often the last turn was answered again
        self._pieces = 0  # how often the last answer went on
        self.use(model, dataclasses.replace(options, system=None))
        if options.system:
            self.system = options.system

    def use(self, model: AnyModel, options: GenerationOptions | None = None) -> None:
        """Continue with another model, and other options if given.

        Raises:
            InputError: as when a conversation begins; it then stays with its model.
        """
        engine = as_engine(model)
        options = chat_options(engine, options or self.options)
        if options.num_return_sequences > 1:
            raise OptionError("num_return_sequences", "must be 1: a conversation continues with one answer")
        self._generation = Generation(engine, options)
        self.engine = engine
        self.options = dataclasses.replace(options, seed=self._generation.run_state.seed)
        self._session = engine.session()
        self._unseen = 0

    def set(self, **changes: Any) -> None:
        """Change fields of `options`, such as ``temperature=0.7``.

        Raises:
            OptionError: a value is out of range.
        """
        options = dataclasses.replace(self.options, **changes)
        self._generation = Generation(self.engine, options)
        self.options = options

    @property
    def sampling(self) -> bool:
        """True if answers are sampled, so that another try gives another answer."""
        return not self._generation.sampling.greedy

    @property
    def system(self) -> str | None:
        """The system message; setting it to None or an empty text removes it."""
        head = split_system(self.messages)[0]
        return head[0]["content"] if head else None

    @system.setter
    def system(self, text: str | None) -> None:
        rest = split_system(self.messages)[1]
        self.messages = [*([{"role": "system", "content": text}] if text else []), *rest]

    def send(
        self, text: str, on_text: OnText | None = None, *, stopped: Callable[[], bool] | None = None
    ) -> Reply:
        """Send a message and return the answer.

        Args:
            text: the user's message.
            on_text: takes `(piece, is_reasoning)` as the answer is written.
            stopped: called after each token; True ends the answer there.

        Raises:
            RowError: the chat template refuses the conversation, or the message is longer than the context.
            OutOfMemory: it does not fit into memory.
        """
        return self._answer([*self.messages, {"role": "user", "content": text}], 0, on_text, stopped)

    def retry(self, on_text: OnText | None = None, *, stopped: Callable[[], bool] | None = None) -> Reply:
        """Answer the last message again with other random numbers; see `send`."""
        asked = self.messages[: self._last_turn("answer again") + 1]
        return self._answer(asked, self._attempt + 1, on_text, stopped)

    def continue_last(
        self, on_text: OnText | None = None, *, stopped: Callable[[], bool] | None = None
    ) -> Reply:
        """Continue the last answer; see `send`. The reply contains only the new text."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise InputError("there is no answer to continue")
        if self.options.formed is not None:
            raise OptionError(self.options.formed, "cannot be used when an answer is continued")
        *asked, last = self.messages
        options = dataclasses.replace(self.options, continue_final_message=True)
        going_on = Generation(self.engine, options)
        self._pieces += 1
        result = going_on.stream(
            self._prompt(self.messages, going_on),
            on_text or _ignore,
            sample=self._attempt + _PIECES * self._pieces,
            session=self._session,
            stopped=stopped,
        )
        kept = bool(result.text)
        if kept:
            self.messages = [*asked, {**last, "content": last["content"] + result.text}]
        return _reply(result, kept=kept)

    def undo(self) -> Messages:
        """Remove the last turn and return its messages."""
        start = self._last_turn("take back")
        taken, self.messages = self.messages[start:], self.messages[:start]
        self._unseen = self._attempt = 0
        return taken

    def clear(self) -> None:
        """Begin a new conversation: all turns are taken back, and the system message stays."""
        system, _ = split_system(self.messages)
        self.messages = list(system)
        self._unseen = self._attempt = 0

    def save(self, path: str | Path) -> int:
        """Add the conversation to a transcript, as `save_transcript` does."""
        return save_transcript(path, self.messages)

    def load(self, path: str | Path) -> int:
        """Continue the last conversation of a transcript; return the number of conversations in the file."""
        there = load_transcripts(path)
        self.messages = there[-1]
        self._unseen = self._attempt = 0
        return len(there)

    def _last_turn(self, purpose: str) -> int:
        """Return the index of the last user message."""
        found = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        if not found:
            raise InputError(f"there is no message to {purpose}")
        return found[-1]

    def _answer(
        self,
        messages: Messages,
        attempt: int,
        on_text: OnText | None,
        stopped: Callable[[], bool] | None,
    ) -> Reply:
        """Answer `messages`, and make them and the answer the conversation."""
        prompt = self._prompt(messages)
        if prompt.dropped and self._on_drop is not None:
            self._on_drop(prompt.dropped)
        result = self._generation.stream(
            prompt, on_text or _ignore, sample=attempt, session=self._session, stopped=stopped
        )
        kept = bool(result.text.strip()) or result.finish_reason != "interrupted"
        if kept:
            self.messages = [*messages, self._message(result.text, result.reasoning)]
            self._unseen += prompt.dropped
            self._attempt, self._pieces = attempt, 0
        return _reply(result, kept=kept)

    def _prompt(self, messages: Messages, generation: Generation | None = None) -> Prompt:
        system, rest = split_system(messages)
        turn = turns_of(messages)
        # With its turn as the key, an answer draws the same numbers however the conversation came there.
        return (generation or self._generation).prompts.prepare_one(
            [*system, *rest[self._unseen :]], key=turn, where=f"turn {turn}"
        )

    def _message(self, text: str, reasoning: str) -> dict[str, Any]:
        """Return the answer as a message; thoughts stay in it only if the chat template reads them."""
        message = {"role": "assistant", "content": text}
        if reasoning and "reasoning_content" in str(getattr(self.engine.tokenizer, "chat_template", None)):
            message["reasoning_content"] = reasoning
        return message


def chat_options(engine: Engine, options: GenerationOptions) -> GenerationOptions:
    """Return `options` for conversations, which lose their oldest turns if they outgrow the context.

    Raises:
        InputError: the model has no chat template.
    """
    if not engine.has_chat_template:
        raise InputError(
            f"{engine.name} has no chat template, so it cannot chat; continue texts with"
            " `llmkit generate`, or give a chat model with `model` (see `llmkit models`)"
        )
    # Without a local tokenizer nobody here can count: the engine refuses what is too long.
    return dataclasses.replace(options, chat=True, truncate="turns" if engine.tokenizer is not None else None)


def _reply(result: GenerationResult, *, kept: bool) -> Reply:
    return Reply(
        text=result.text,
        reasoning=result.reasoning,
        prompt_tokens=result.prompt_tokens,
        tokens=result.tokens,
        finish_reason=result.finish_reason,
        seed=result.seed,
        kept=kept,
    )


def _ignore(piece: str, is_reasoning: bool) -> None:
    pass
