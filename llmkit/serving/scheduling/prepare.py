"""Turn a client's request into the engine's: prompts as token ids, settings, constraints, tools."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Request
from llmkit.engines.form import Form
from llmkit.errors import OptionError, RowError
from llmkit.serving.errors import ApiError, bad
from llmkit.serving.parsing.described import DescribedAnswer
from llmkit.serving.parsing.tool_calls import ToolCallFilter
from llmkit.serving.scheduling.wanted import Content, Wanted
from llmkit.serving.tools.conversation import as_texts
from llmkit.serving.tools.family import ToolFamily, ToolSupport
from llmkit.serving.tools.grammar import calls_grammar
from llmkit.tasks.decoding import Formed, GenerationOptions, resolve
from llmkit.tasks.prompts import PromptMaker
from llmkit.text.chat.conversations import MessageList
from llmkit.text.fill_in_middle import gap_prompt, gap_tokens

if TYPE_CHECKING:
    from llmkit.engines.base import Engine

DEFAULT_TOKENS = 1024
"""Maximum number of tokens of an answer if the client gives no limit; the context may allow fewer."""
_TOO_LONG = "context_length_exceeded"


@dataclass(frozen=True)
class PreparedChoice:
    """One answer to generate: the engine's request, and settings for the parser of its text.

    Attributes:
        request: request for the engine.
        stops: strings that end the answer.
        thinking: the answer begins inside thoughts; None for plain text.
        parsers: returns the arguments of `AnswerText` that split the answer.
    """

    request: Request
    stops: tuple[str, ...]
    thinking: bool | None
    parsers: Callable[[], dict[str, Any]] = dict


def prepare(
    wanted: Wanted, engine: Engine, name: str, support: Callable[[], ToolSupport]
) -> list[list[PreparedChoice]]:
    """Return `wanted.n` answers to generate for each prompt.

    Args:
        wanted: the client's request.
        engine: the model.
        name: its name, for messages.
        support: tool support of its chat template.

    Raises:
        ApiError, InputError: the prompt or a setting is bad for this model.
    """
    if wanted.chat and not engine.has_chat_template:
        message = f"{name} has no chat template; use /v1/completions"
        raise ApiError(400, message, param="messages", code="no_chat_template")
    return _Preparing(wanted, engine, name, support() if wanted.chat else None).choices()


class _Preparing:
    def __init__(self, wanted: Wanted, engine: Engine, name: str, support: ToolSupport | None) -> None:
        self._wanted, self._engine, self._name, self._support = wanted, engine, name, support
        self._options = GenerationOptions(
            max_new_tokens=wanted.max_tokens or DEFAULT_TOKENS,
            stop=wanted.stop,
            chat=wanted.chat,
            continue_final_message=wanted.continued,
            **wanted.sampling,
        )
        self._vocabulary = int(engine.config.get_text_config().vocab_size)

    def choices(self) -> list[list[PreparedChoice]]:
        wanted, engine = self._wanted, self._engine
        sampling = replace(
            resolve(self._options, engine),
            presence_penalty=wanted.presence_penalty,
            frequency_penalty=wanted.frequency_penalty,
            logit_bias=wanted.logit_bias,
        )
        for token, _ in wanted.logit_bias:
            if token >= self._vocabulary:
                raise bad("logit_bias", f"has token {token}, but {self._name} has {self._vocabulary} tokens")
        maker = PromptMaker(engine, self._options)
        constraint = self._constraint()
        seed = secrets.randbits(32) if wanted.seed is None else wanted.seed % 2**64
        found = []
        for i, content in enumerate(wanted.prompts):
            ids, limit, thinking, may_think = self._prompt(self._with_tools(content), maker)
            request = Request(
                replace(sampling, max_new_tokens=limit),
                ids=ids,
                key=(seed, i, 0),
                logprobs=wanted.logprobs,
                constraint=constraint.after(thinking=thinking, may_think=may_think),
            )
            copies = [replace(request, key=(seed, i, n)) for n in range(wanted.n)]
            shown = thinking if wanted.chat else None
            parsers = self._parsers(ids)
            found.append([PreparedChoice(one, sampling.stop, shown, parsers) for one in copies])
        return found

    def _constraint(self) -> Formed:
        """Return the constraint of the answers: the client's form, or the form of calls."""
        wanted, use = self._wanted, self._wanted.tools
        if use is None or self._support is None:
            return Formed(wanted.form, self._engine)
        family = self._family()
        form = None if use.choice == "required" else wanted.form
        if form is not None and form.kind not in ("json", "schema"):
            raise bad("response_format", f"cannot be {form.kind} together with `tools`", "unsupported_value")
        if family is None:
            if form is not None or use.choice == "required" or any(one.strict for one in use.functions):
                reason = f"cannot be combined with a form: the notation of {self._name}'s calls is not known"
                raise bad("tools", reason, "unsupported_value")
            return Formed(None, self._engine)
        lark = calls_grammar(use, family, self._engine.tokenizer, form)
        try:
            return Formed(None if lark is None else Form("grammar", lark), self._engine)
        except OptionError as error:
            raise bad("tools", error.reason, "unsupported_value") from error

    def _family(self) -> ToolFamily | None:
        support = self._support
        assert support is not None
        if support.family is None and support.template is None:
            reason = f"are not supported: the notation of {self._name}'s calls is not known"
            raise bad("tools", reason, "unsupported_value")
        return support.family

    def _with_tools(self, content: Content) -> Content:
        """Return a conversation with its tools in the form of the chat template, or a text with its gap."""
        support, use = self._support, self._wanted.tools
        if self._wanted.suffix is not None:
            return self._with_gap(content, self._wanted.suffix)
        if support is None or not isinstance(content, list):
            return content
        messages: list[Any] = content
        tools = use.as_json() if use is not None else []
        if not support.shows_tools:
            return as_texts(messages, tools)
        return MessageList(messages, tools or None)

    def _with_gap(self, content: Content, suffix: str) -> list[int]:
        if not isinstance(content, str):
            raise bad("suffix", "needs a prompt that is a text")
        self._check_length(len(content) + len(suffix), "prompt")
        tokenizer = self._engine.tokenizer
        tokens = gap_tokens(tokenizer)
        if tokens is None:
            reason = f"is not supported: {self._name} has no tokens for texts with a gap"
            raise bad("suffix", reason, "unsupported_value")
        return gap_prompt(tokenizer, tokens, content, suffix)

    def _parsers(self, ids: list[int]) -> Callable[[], dict[str, Any]]:
        """Return a function that creates the parsers of one answer."""
        support, use, tokenizer = self._support, self._wanted.tools, self._engine.tokenizer
        if support is None:
            return dict
        parallel = use is None or use.parallel
        special: Any = tokenizer
        if support.template is not None:
            prompt = special.decode(ids, skip_special_tokens=False)
            tools = use.as_json() if use is not None else []
            ends = {special.eos_token_id, special.pad_token_id}
            kept = frozenset(special.all_special_ids) - ends
            template = support.template
            return lambda: {
                "described": DescribedAnswer(template, prompt, tools, parallel=parallel),
                "kept": kept,
            }
        family = support.family
        if use is None or family is None:
            return dict
        added = special.get_added_vocab()
        marks = frozenset(added[one] for one in family.markers if one in added)
        schemas = use.schemas
        return lambda: {"calls": ToolCallFilter(family, schemas, parallel=parallel), "kept": marks}

    def _prompt(self, content: Content, maker: PromptMaker) -> tuple[list[int], int, bool, bool]:
        """Return a prompt's ids, the maximum number of new tokens, and True if it ends inside thoughts."""
        engine, options = self._engine, self._options
        where = "prompt" if isinstance(content, str) or not options.chat else "messages"
        if isinstance(content, list) and not options.chat:
            listed: list[Any] = content
            ids, limit, thinking, may_think = self._ids(listed), options.max_new_tokens, False, False
            if engine.context_length is not None:
                limit = min(limit, engine.context_length - len(ids))
        else:
            messages: Any = content
            length = len(content) if isinstance(content, str) else sum(len(str(one)) for one in content)
            self._check_length(length, where)
            try:
                prompt = maker.prepare_one(messages, where=where)
            except RowError as error:
                text = isinstance(content, str)
                count = maker.count_tokens([messages])[0] if text else maker.count_chat_tokens(messages)
                if engine.context_length is None or count < engine.context_length:
                    raise bad(where, error.reason) from error
                reason = f"has {count} tokens, but the context of {self._name} is {engine.context_length}"
                raise bad(where, f"{reason}, including the answer", _TOO_LONG) from error
            assert prompt.ids is not None
            ids, limit = list(prompt.ids), prompt.new_tokens
            thinking, may_think = prompt.thinking, prompt.may_think
        if limit < 1:
            reason = f"has {len(ids)} tokens, but the context of {self._name} is {engine.context_length}"
            raise bad(where, reason, _TOO_LONG)
        return ids, limit, thinking, may_think

    def _ids(self, ids: list[int]) -> list[int]:
        if max(ids) >= self._vocabulary:
            raise bad("prompt", f"contains token {max(ids)}, but {self._name} has {self._vocabulary} tokens")
        return ids

    def _check_length(self, characters: int, where: str) -> None:
        """Refuse a prompt that is too long for any tokenizer, before it is tokenized."""
        context = self._engine.context_length
        if context is not None and characters > context * 256:
            reason = f"has {characters} characters, but {self._name} has a context of {context} tokens"
            raise bad(where, reason, _TOO_LONG)
