"""A conversation with a chat model: turns that can be taken back and answered anew, in a bounded context.

Each answer runs through `tasks.generation`, and starts from the keys and values of the answer before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.transformers.prefix_cache import PrefixCache
from llmkit.errors import InputError
from llmkit.records.rows import Row
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.generation import Generation
from llmkit.tasks.transcripts import load_transcripts, save_transcript
from llmkit.text.turns import parted, turns_of

if TYPE_CHECKING:
    from llmkit.records.batches import PreparedRow
    from llmkit.runtime.load import LoadedModel

OnText = Callable[[str, bool], None]


@dataclass(frozen=True)
class Reply:
    """What the model answered.

    Attributes:
        text: the answer, without thoughts.
        reasoning: the thoughts of a reasoning model.
        tokens: how many tokens it wrote.
        finish_reason: ``stop`` where it was done, ``length`` at a limit, ``interrupted`` by `stopped`.
        kept: the turn is in the conversation; one interrupted before its first word is not.
    """

    text: str
    reasoning: str
    tokens: int
    finish_reason: str
    kept: bool


class Conversation:
    """Messages, and the model that answers them.

    A turn that fails leaves the conversation as it was. When it outgrows the model's context, the oldest
    turns are no longer shown to the model (the system message always is); `messages` keeps them.

    Args:
        loaded: a model with a chat template.
        options: see `GenerationOptions`; `system` begins the conversation.
        on_drop: called with the number of messages that the model no longer sees.

    Attributes:
        messages: the whole conversation, as dicts with ``role`` and ``content``.
        loaded: the model.
        options: as given, with the seed that was drawn.

    Raises:
        InputError: the model has no chat template, or the options do not go with a conversation.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        options: GenerationOptions | None = None,
        *,
        on_drop: Callable[[int], None] | None = None,
    ) -> None:
        options = options or GenerationOptions()
        self.options: GenerationOptions
        self.messages: list[dict[str, Any]] = []
        self._on_drop = on_drop
        self._unseen = 0  # messages after the system message that the model no longer sees
        self._attempt = 0  # how often the last turn was answered anew
        self.use(loaded, dataclasses.replace(options, system=None))
        if options.system:
            self.system = options.system

    def use(self, loaded: LoadedModel, options: GenerationOptions | None = None) -> None:
        """Go on with another model, and other options if given.

        Raises:
            InputError: as when a conversation begins; it then stays with its model.
        """
        options = chat_options(loaded, options or self.options)
        if options.num_return_sequences > 1:
            raise InputError("--num-return-sequences: a conversation goes on with one answer; leave it out")
        self._generation = Generation(loaded, options)
        self.loaded = loaded
        self.options = dataclasses.replace(options, seed=self._generation.seed)
        self._cache = PrefixCache(loaded)
        self._unseen = 0

    def set(self, **changes: Any) -> None:
        """Change fields of `options`, such as ``temperature=0.7``.

        Raises:
            InputError: a value that cannot be.
        """
        options = dataclasses.replace(self.options, **changes)
        self._generation = Generation(self.loaded, options)
        self.options = options

    @property
    def sampling(self) -> bool:
        """Answers are drawn, so that answering anew gives another one."""
        return self._generation.decoding.sampling

    @property
    def system(self) -> str | None:
        """The system message; setting it to None or an empty text takes it away."""
        head = parted(self.messages)[0]
        return head[0]["content"] if head else None

    @system.setter
    def system(self, text: str | None) -> None:
        rest = parted(self.messages)[1]
        self.messages = [*([{"role": "system", "content": text}] if text else []), *rest]

    def send(
        self, text: str, on_text: OnText | None = None, *, stopped: Callable[[], bool] | None = None
    ) -> Reply:
        """Say something, and get the answer.

        Args:
            text: the user's message.
            on_text: called with `(piece, is_reasoning)` as the answer is made.
            stopped: asked after each token whether to stop; what was written till then is the answer.

        Raises:
            RowError: the chat template refuses the conversation, or the message is longer than the context.
            OutOfMemory: it does not fit into memory.
        """
        return self._answer([*self.messages, {"role": "user", "content": text}], 0, on_text, stopped)

    def retry(self, on_text: OnText | None = None, *, stopped: Callable[[], bool] | None = None) -> Reply:
        """Answer the last message anew, from other random numbers; else as `send`."""
        asked = self.messages[: self._last_turn("answer again") + 1]
        return self._answer(asked, self._attempt + 1, on_text, stopped)

    def undo(self) -> list[dict[str, Any]]:
        """Take the last turn back and return its messages."""
        start = self._last_turn("take back")
        taken, self.messages = self.messages[start:], self.messages[:start]
        self._unseen = self._attempt = 0
        return taken

    def save(self, path: str | Path) -> int:
        """Add the conversation to a transcript, as `save_transcript` does."""
        return save_transcript(path, self.messages)

    def load(self, path: str | Path) -> int:
        """Go on with the last conversation of a transcript; returns how many the file holds."""
        there = load_transcripts(path)
        self.messages = there[-1]
        self._unseen = self._attempt = 0
        return len(there)

    def _last_turn(self, purpose: str) -> int:
        """Where the last user message stands."""
        found = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        if not found:
            raise InputError(f"there is no message to {purpose}")
        return found[-1]

    def _answer(
        self,
        messages: list[dict[str, Any]],
        attempt: int,
        on_text: OnText | None,
        stopped: Callable[[], bool] | None,
    ) -> Reply:
        """Answer `messages`, and make them and the answer the conversation."""
        prompt = self._prompt(messages)
        if prompt.payload.dropped and self._on_drop is not None:
            self._on_drop(prompt.payload.dropped)
        interrupted = False

        def stop_here() -> bool:
            nonlocal interrupted
            interrupted = stopped is not None and stopped()
            return interrupted

        result = self._generation.stream(
            prompt, on_text or _unheard, sample=attempt, cache=self._cache, stopped=stop_here
        )
        kept = bool(result.text.strip()) or not interrupted
        if kept:
            self.messages = [*messages, self._message(result.text, result.reasoning)]
            self._unseen += prompt.payload.dropped
            self._attempt = attempt
        return Reply(
            text=result.text,
            reasoning=result.reasoning,
            tokens=result.tokens,
            finish_reason="interrupted" if interrupted else result.finish_reason,
            kept=kept,
        )

    def _prompt(self, messages: list[dict[str, Any]]) -> PreparedRow:
        system, rest = parted(messages)
        turn = turns_of(messages)
        # Keyed by its turn, an answer draws the same numbers however the conversation came there.
        row = Row(index=turn, data={"messages": [*system, *rest[self._unseen :]]}, where=f"turn {turn}")
        (prompt,) = self._generation.prepare([row])
        if isinstance(prompt, Exception):
            raise prompt
        return prompt

    def _message(self, text: str, reasoning: str) -> dict[str, Any]:
        """The answer as a message; thoughts stay in it only if the chat template has a use for them."""
        message = {"role": "assistant", "content": text}
        if reasoning and "reasoning_content" in str(self.loaded.tokenizer.chat_template):
            message["reasoning_content"] = reasoning
        return message


def chat_options(loaded: LoadedModel, options: GenerationOptions) -> GenerationOptions:
    """`options` for conversations, which lose their oldest turns where they outgrow the context.

    Raises:
        InputError: the model has no chat template.
    """
    if not loaded.has_chat_template:
        raise InputError(
            f"{loaded.spec.name} has no chat template, so it does not converse; continue texts with"
            " `llmkit generate`, or name a chat model with -m (see `llmkit models`)"
        )
    return dataclasses.replace(options, chat=True, truncate="turns")


def _unheard(piece: str, is_reasoning: bool) -> None:
    pass
