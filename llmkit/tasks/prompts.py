"""Make prompts: plain text, a chat turn or a whole conversation as token ids that fit the model's context."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import NoticeWarning, OptionError, RowError, one_line
from llmkit.records.batches import PreparedRow
from llmkit.records.rows import Row, check_text, text_of
from llmkit.tasks.messages import Messages, check_messages, last_answer, tools_of, with_columns
from llmkit.text.chat.conversations import MessageList
from llmkit.text.chat.reasoning import CLOSE, OPEN
from llmkit.text.chat.templates import Renderer
from llmkit.text.chat.turns import leave_turns, turns_of

if TYPE_CHECKING:
    from llmkit.engines.base import Constraint, Engine
    from llmkit.tasks.decoding import GenerationOptions

DEFAULT_FIELDS = ("prompt", "text")
Encode = Callable[[list[str]], list[list[int]]]
_ELSEWHERE = "the tokenizer of {}, which is not here"
_CHARACTERS = 4  # of a token, where no tokenizer is here to count


@dataclass(frozen=True)
class Prompt:
    """One prompt, ready to run.

    Attributes:
        ids: its token ids, special tokens included; None if the model's tokenizer is elsewhere.
        text: the user's text; None for a conversation.
        messages: the conversation; None for plain text.
        new_tokens: limit on the tokens that follow it.
        least_tokens: the answer does not end before it has this many tokens; None: as the model has it.
        key: number that, with the seed, chooses its random numbers.
        thinking: True if the chat template opened the model's thoughts in the prompt.
        dropped: how many of the conversation's oldest messages are not in it.
        answer_prefix: token ids that the answer begins with; None leaves it free.
        may_think: True if the answer may begin with thoughts.
        constraint: form of this answer alone; None takes that of the options.
    """

    ids: list[int] | None
    text: str | None
    new_tokens: int
    messages: Messages | None = None
    least_tokens: int | None = None
    key: int = 0
    thinking: bool = False
    dropped: int = 0
    answer_prefix: tuple[int, ...] | None = None
    may_think: bool = False
    constraint: Constraint | None = None

    @property
    def length(self) -> int:
        """Return the number of its tokens, or an estimate if they are not known."""
        if self.ids is not None:
            return len(self.ids)
        texts = [self.text or "", *(str(one.get("content")) for one in self.messages or ())]
        return sum(map(len, texts)) // _CHARACTERS + 1


class PromptMaker:
    """Makes prompts for one model under one set of options.

    Args:
        engine: gives the tokenizer, the context length and whether there is a chat template.
        options: see `GenerationOptions`.
        field: column with the prompt; None takes `prompt`, `text` or the only one.
        template: prompt over several columns, such as ``Q: {question}``.
        encode: tokenizes texts; None takes the tokenizer as it is.

    Attributes:
        chat: True if prompts go through the chat template.
        shortened: number of prompts so far that lost a part by `truncate`.

    Raises:
        OptionError: chat options for a model without a chat template, or truncation without a tokenizer.
    """

    def __init__(
        self,
        engine: Engine,
        options: GenerationOptions,
        *,
        field: str | None = None,
        template: str | None = None,
        encode: Encode | None = None,
    ) -> None:
        self.options = options
        self.field = field
        self.template = template
        self.name = engine.name
        self.context_length = engine.context_length
        self.shortened = 0
        self._tokenizer: Any = engine.tokenizer
        self._is_encoder_decoder = engine.is_encoder_decoder
        self._encode = encode or self._tokenize
        if not engine.has_chat_template:
            for option, given in (("chat", options.chat), ("system", options.system)):
                if given:
                    raise OptionError(option, f"needs a chat template, and {self.name} has none; omit it")
        self._left_out: set[str] = set()
        self.chat = engine.has_chat_template if options.chat is None else options.chat
        if options.system is not None and not self.chat:
            raise OptionError("system", "needs a chat template; omit chat=False")
        if options.continue_final_message:
            reason = f"needs a chat template, and {self.name} runs without one" if not self.chat else None
            reason = reason or (f"needs {_ELSEWHERE.format(self.name)}" if self._tokenizer is None else None)
            reason = reason or (f"cannot be combined with `{options.formed}`" if options.formed else None)
            if reason is not None:
                raise OptionError("continue_final_message", f"{reason}; omit it")
        if options.truncate == "turns" and not self.chat:
            raise OptionError(
                "truncate", "can be turns only in a conversation; cut plain prompts left or right"
            )
        if options.truncate is not None and self._tokenizer is None:
            raise OptionError("truncate", f"needs {_ELSEWHERE.format(self.name)}; omit it")

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[Prompt] | RowError]:
        """Make the prompts of rows together; a row that cannot be a prompt becomes its RowError."""
        contents = [self._content(row) for row in rows]
        prompts = self._make(contents, [row.where for row in rows], [row.index for row in rows])
        return [
            prompt if isinstance(prompt, RowError) else PreparedRow(row, prompt.length, prompt)
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def prepare_one(self, content: str | Messages, *, key: int = 0, where: str = "prompt") -> Prompt:
        """Make one prompt.

        Args:
            content: text, or a conversation as dicts with ``role`` and ``content``.
            key: number that, with the seed, chooses its random numbers.
            where: its place, for errors.

        Raises:
            RowError: it cannot be a prompt.
        """
        return self.prepare_all([content], first_key=key, where=where)[0]

    def prepare_all(
        self,
        contents: Sequence[str | Messages],
        *,
        first_key: int = 0,
        where: str | Sequence[str] = "prompt",
    ) -> list[Prompt]:
        """Make prompts together.

        Args:
            contents: texts and conversations.
            first_key: key of the first; each further one has the next number.
            where: place of all of them, or of each.

        Raises:
            RowError: one of them cannot be a prompt.
        """
        places = [where] * len(contents) if isinstance(where, str) else where
        keys = range(first_key, first_key + len(contents))
        checked = [self._checked(one, place) for one, place in zip(contents, places, strict=True)]
        made = []
        for prompt in self._make(checked, places, keys):
            if isinstance(prompt, RowError):
                raise prompt
            made.append(prompt)
        return made

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, special ones left out; estimated without a tokenizer."""
        if self._tokenizer is None:
            return [len(text) // _CHARACTERS + 1 for text in texts]
        if not texts:
            return []
        encoded: Any = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def count_chat_tokens(self, messages: Messages) -> int:
        """Return the number of tokens of a conversation's prompt; an estimate without a tokenizer.

        Raises:
            RowError: the chat template refuses it.
        """
        if self._tokenizer is None:
            return self._remote(messages, 0).length
        return len(self._template_ids(messages, "prompt", tools_of(messages)))

    def _content(self, row: Row) -> str | Messages | RowError:
        try:
            if "messages" in row.data and self.field is None and self.template is None:
                messages = self._conversation(row.data["messages"], row.where)
                return with_columns(messages, row)
            turns = self._turns_in(row)
            if turns is not None:
                return with_columns(self._conversation(turns, row.where), row)
            return text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error

    def _turns_in(self, row: Row) -> Any:
        """Return the turns in the prompt's column; None if it contains a text."""
        names = DEFAULT_FIELDS if self.field is None else (self.field,)
        value = next((row.data[name] for name in names if name in row.data), None)
        holds = isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)
        return value if holds and self.template is None else None

    def _checked(self, content: Any, where: str) -> str | Messages:
        return check_text(content, where) if isinstance(content, str) else self._conversation(content, where)

    def _conversation(self, messages: Any, where: str) -> Messages:
        if not self.chat:
            raise RowError(
                where, f"`messages` needs a chat model, and {self.name} runs without a chat template"
            )
        return check_messages(messages, where)

    def _make(
        self, contents: Sequence[str | Messages | RowError], where: Sequence[str], keys: Sequence[int]
    ) -> list[Prompt | RowError]:
        plain = [content for content in contents if isinstance(content, str)]
        tokenizes = self._tokenizer is not None and not self.chat
        encoded = iter(self._encode(plain) if tokenizes and plain else [])
        made: list[Prompt | RowError] = []
        for content, place, key in zip(contents, where, keys, strict=True):
            if isinstance(content, RowError):
                made.append(content)
                continue
            try:
                if self._tokenizer is None:
                    made.append(self._remote(content, key))
                elif self.chat:
                    made.append(self._chat_prompt(content, place, key))
                else:
                    made.append(self._fit(next(encoded), str(content), place, key))
            except RowError as error:
                made.append(error)
        return made

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # A prompt longer than the model's limit is our own error to report, with its place.
        ids: list[list[int]] = self._tokenizer(texts, verbose=False)["input_ids"]
        return ids

    def _turns(self, content: str | Messages) -> Messages:
        """Return the conversation, with the system message of the options in front."""
        messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
        if self.options.system is not None and messages[0]["role"] != "system":
            return MessageList(
                [{"role": "system", "content": self.options.system}, *messages], tools_of(messages)
            )
        return messages

    def _remote(self, content: str | Messages, key: int) -> Prompt:
        """Return a prompt for an engine that tokenizes by itself."""
        return Prompt(
            ids=None,
            text=content if isinstance(content, str) else None,
            new_tokens=self.options.max_new_tokens,
            messages=self._turns(content) if self.chat else None,
            key=key,
        )

    def _chat_prompt(self, content: str | Messages, where: str, key: int) -> Prompt:
        """Return the prompt of a conversation, without its oldest turns if it is too long."""
        messages = self._turns(content)
        text = content if isinstance(content, str) else None
        tools = tools_of(messages)
        begun = last_answer(messages, where) if self.options.continue_final_message else ""
        ids = self._template_ids(messages, where, tools)
        room = self._room()
        if self.options.truncate != "turns" or room is None or len(ids) <= room:
            return self._fit(ids, text, where, key, begun=begun)

        def fits(turns: int) -> bool:
            # Leave a quarter free: at the very edge each further turn would drop one more, and with the
            # beginning of the prompt changed nothing that a key-value cache holds could be used again.
            return len(self._template_ids(leave_turns(messages, turns), where, tools)) <= room * 3 // 4

        turns = min(bisect_left(range(turns_of(messages)), True, key=fits), turns_of(messages) - 1)
        kept = leave_turns(messages, max(turns, 0))
        ids = self._template_ids(kept, where, tools)
        return self._fit(ids, text, where, key, dropped=len(messages) - len(kept), begun=begun)

    def _room(self) -> int | None:
        """Return how many tokens of prompt leave room for an answer; None for no limit."""
        context = self.context_length
        return None if context is None else max(context - self.options.max_new_tokens, context // 2)

    def _template_ids(
        self, messages: Messages, where: str, tools: list[dict[str, Any]] | None = None
    ) -> list[int]:
        try:
            going_on = self.options.continue_final_message
            if going_on and not str(messages[-1]["content"]).strip():  # an answer that has not begun
                messages, going_on = messages[:-1], False
            rendered = Renderer(
                self._tokenizer,
                messages,
                tools,
                add_generation_prompt=not going_on,
                continue_final_message=going_on,
            )
        except Exception as error:
            # Templates raise jinja2 errors of their own making ("roles must alternate").
            raise RowError(where, f"the chat template refuses it: {one_line(error)}") from error
        for part in set(rendered.left_out) - self._left_out:
            self._left_out.add(part)
            warnings.warn(
                f"the chat template of {self.name} does not show {part} to the model",
                NoticeWarning,
                stacklevel=2,
            )
        # The template writes its own BOS, and a second one must not follow.
        encoding: Any = self._tokenizer(rendered.text, add_special_tokens=False, verbose=False)
        ids: list[int] = encoding["input_ids"]
        return ids

    def from_ids(self, ids: list[int], where: str, key: int) -> Prompt:
        """Return a prompt of token ids that leaves room for an answer; raises as `prepare_one`."""
        return self._fit(ids, None, where, key)

    def _fit(
        self, ids: list[int], text: str | None, where: str, key: int, *, dropped: int = 0, begun: str = ""
    ) -> Prompt:
        """Return a prompt that leaves room for an answer, of which `begun` is there already."""
        tokenizer, context = self._tokenizer, self.context_length
        if not ids:
            start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            if start is None:
                raise RowError(where, "the prompt is empty, and this model has no start token")
            ids = [start]
        limit = self.options.max_new_tokens
        if context is not None:
            encoder = self._is_encoder_decoder
            too_long = len(ids) > (context if encoder else context - 1)
            self.shortened += bool(too_long and self.options.truncate in ("left", "right")) or bool(dropped)
            if too_long:
                ids = self._truncate(ids, context if encoder else max(context - limit, context // 2), where)
            limit = min(limit, context - (1 if encoder else len(ids)))
        end: str = tokenizer.decode(ids[-16:])
        thinking = self.chat and end.rstrip().endswith(OPEN)
        thinking = thinking or (OPEN in begun and CLOSE not in begun)
        return Prompt(
            ids=ids,
            text=text,
            new_tokens=limit,
            key=key,
            thinking=thinking,
            dropped=dropped,
            may_think=self.chat and not thinking and not begun and not end.rstrip().endswith(CLOSE),
        )

    def _truncate(self, ids: list[int], keep: int, where: str) -> list[int]:
        """Cut to `keep` tokens, sparing the start and end tokens that the tokenizer put around the text."""
        side = self.options.truncate
        limit = f"{self.name} has a context of {self.context_length}"
        if side == "turns":
            raise RowError(
                where, f"the last turn alone makes a prompt of {len(ids)} tokens, but {limit}; shorten it"
            )
        if side is None:
            raise RowError(
                where,
                f'the prompt has {len(ids)} tokens, but {limit}; cut it with truncate="left" (keeps its'
                " end) or"
                ' truncate="right"',
            )
        tokenizer = self._tokenizer
        head = ids[:1] if ids[0] == tokenizer.bos_token_id else []
        tail = ids[-1:] if ids[-1] == tokenizer.eos_token_id else []
        body = ids[len(head) : len(ids) - len(tail)]
        room = max(keep - len(head) - len(tail), 1)
        return [*head, *(body[-room:] if side == "left" else body[:room]), *tail]
