"""From a row to the token ids of a prompt: plain text, a chat turn, or a whole conversation."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.records.batches import PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.text.reasoning import OPEN
from llmkit.text.turns import leave_turns, turns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmkit.runtime.load import LoadedModel
    from llmkit.tasks.decoding import GenerationOptions

DEFAULT_FIELDS = ("prompt", "text")


@dataclass(frozen=True)
class Prompt:
    """One prompt, ready to run.

    Attributes:
        ids: its token ids, special tokens included.
        text: what the user wrote; None for a conversation.
        new_tokens: how many tokens may follow it.
        thinking: the chat template opened the model's thoughts in the prompt.
        least_tokens: the answer may not end before it has so many.
        dropped: how many of the conversation's oldest messages are not in it.
    """

    ids: list[int]
    text: str | None
    new_tokens: int
    thinking: bool = False
    least_tokens: int = 0
    dropped: int = 0


class PromptMaker:
    """Turns rows into prompts for one model under one set of options.

    Raises:
        InputError: chat options for a model without a chat template.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        options: GenerationOptions,
        *,
        field: str | None = None,
        template: str | None = None,
    ) -> None:
        self.loaded = loaded
        self.options = options
        self.field = field
        self.template = template
        if not loaded.has_chat_template:
            for flag, given in (("--chat", options.chat), ("--system", options.system)):
                if given:
                    raise InputError(f"{flag}: {loaded.spec.name} has no chat template; leave it out")
        self.chat = loaded.has_chat_template if options.chat is None else options.chat
        if options.system is not None and not self.chat:
            raise InputError("--system speaks to a chat model; leave out --no-chat")
        if options.truncate == "turns" and not self.chat:
            raise InputError("--truncate turns is about conversations; use left or right for plain prompts")

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow | RowError]:
        """Tokenize rows together; a row that cannot be a prompt becomes its RowError."""
        texts: list[str | list[dict[str, Any]] | RowError] = [self._content(row) for row in rows]
        plain = [text for text in texts if isinstance(text, str)]
        encoded = iter([] if self.chat or not plain else self._tokenize(plain))
        made: list[PreparedRow | RowError] = []
        for row, content in zip(rows, texts, strict=True):
            if isinstance(content, RowError):
                made.append(content)
                continue
            try:
                ids, dropped = self._chat_ids(content, row) if self.chat else (next(encoded), 0)
                prompt = self._fit(ids, content if isinstance(content, str) else None, row, dropped)
            except RowError as error:
                made.append(error)
            else:
                made.append(PreparedRow(row=row, length=len(prompt.ids), payload=prompt))
        return made

    def _content(self, row: Row) -> str | list[dict[str, Any]] | RowError:
        try:
            if "messages" in row.data and self.field is None and self.template is None:
                return self._messages(row)
            return text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error

    def _messages(self, row: Row) -> list[dict[str, Any]]:
        if not self.chat:
            name = self.loaded.spec.name
            raise RowError(
                row.where, f"`messages` needs a chat model, and {name} runs without a chat template"
            )
        return messages_of(row)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # Longer than the model's limit is our own error to report, with the row's place.
        ids: list[list[int]] = self.loaded.tokenizer(texts, verbose=False)["input_ids"]
        return ids

    def _chat_ids(self, content: str | list[dict[str, Any]], row: Row) -> tuple[list[int], int]:
        """The conversation's token ids, and how many of its oldest messages had to go."""
        messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
        if self.options.system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.options.system}, *messages]
        ids = self._template_ids(messages, row)
        room = self._room()
        if self.options.truncate != "turns" or room is None or len(ids) <= room:
            return ids, 0

        def fits(turns: int) -> bool:
            # Leave a quarter free: at the very edge each further turn would drop one more, and with the
            # beginning of the prompt changed nothing that a key-value cache holds could be used again.
            return len(self._template_ids(leave_turns(messages, turns), row)) <= room * 3 // 4

        turns = min(bisect_left(range(turns_of(messages)), True, key=fits), turns_of(messages) - 1)
        kept = leave_turns(messages, max(turns, 0))
        return self._template_ids(kept, row), len(messages) - len(kept)

    def _room(self) -> int | None:
        """How many tokens a prompt may have that leaves room for an answer; None for no limit."""
        context = self.loaded.context_length
        return None if context is None else max(context - self.options.max_new_tokens, context // 2)

    def _template_ids(self, messages: list[dict[str, Any]], row: Row) -> list[int]:
        try:
            # Tokenized by the template itself: it writes its own BOS, and a second one must not follow.
            encoding: Any = self.loaded.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True
            )
        except Exception as error:
            # Templates raise jinja2 errors of their own making ("roles must alternate").
            raise RowError(
                row.where, f"the chat template refuses it: {' '.join(str(error).split())}"
            ) from error
        ids: list[int] = encoding["input_ids"]
        return ids

    def _fit(self, ids: list[int], text: str | None, row: Row, dropped: int) -> Prompt:
        tokenizer, context = self.loaded.tokenizer, self.loaded.context_length
        if not ids:
            start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            if start is None:
                raise RowError(
                    row.where, "the prompt is empty, and this model has no start token to go on from"
                )
            ids = [start]
        limit = self.options.max_new_tokens
        if context is not None:
            encoder = self.loaded.is_encoder_decoder
            if len(ids) > (context if encoder else context - 1):
                ids = self._truncate(ids, context if encoder else max(context - limit, context // 2), row)
            limit = min(limit, context - (1 if encoder else len(ids)))
        end: Any = tokenizer.decode(ids[-16:])
        thinking = self.chat and end.rstrip().endswith(OPEN)
        return Prompt(ids=ids, text=text, new_tokens=limit, thinking=thinking, dropped=dropped)

    def _truncate(self, ids: list[int], keep: int, row: Row) -> list[int]:
        """Cut to `keep` tokens, sparing the start and end tokens that the tokenizer put around the text."""
        side = self.options.truncate
        if side == "turns":
            raise RowError(
                row.where,
                f"the last turn alone makes a prompt of {len(ids)} tokens, and {self.loaded.spec.name} sees"
                f" {self.loaded.context_length}; shorten it",
            )
        if side is None:
            raise RowError(
                row.where,
                f"the prompt has {len(ids)} tokens and {self.loaded.spec.name} sees"
                f" {self.loaded.context_length}; cut it with --truncate left (keeps its end) or right",
            )
        tokenizer = self.loaded.tokenizer
        head = ids[:1] if ids[0] == tokenizer.bos_token_id else []
        tail = ids[-1:] if ids[-1] == tokenizer.eos_token_id else []
        body = ids[len(head) : len(ids) - len(tail)]
        room = max(keep - len(head) - len(tail), 1)
        return [*head, *(body[-room:] if side == "left" else body[:room]), *tail]


def messages_of(row: Row) -> list[dict[str, Any]]:
    """The conversation in a row's `messages`.

    Raises:
        RowError: it is not a list of messages with a `role` and a `content` each.
    """
    messages = row.data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RowError(row.where, "`messages` must be a list of turns with `role` and `content`")
    for turn in messages:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str) or "content" not in turn:
            raise RowError(row.where, "each of `messages` needs a `role` and a `content`")
    return messages
