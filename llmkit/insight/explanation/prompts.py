"""Make cases: a text and its target as the model reads them, for each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Request, Sampling
from llmkit.errors import InputError, OptionError, RowError, one_line
from llmkit.insight.explanation.case import Branch, PredictionCase
from llmkit.insight.explanation.encoded import EncodedText, branch_of, encode
from llmkit.insight.explanation.units import find_units
from llmkit.tasks.decoding import GenerationOptions, resolve
from llmkit.tasks.direction import Direction, find_direction
from llmkit.tasks.summarization.model_settings import own_settings, with_own
from llmkit.tasks.summarization.prompts import instruction
from llmkit.text.chat.templates import Renderer
from llmkit.text.words import is_unspaced

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.insight.explanation.options import ExplainOptions
    from llmkit.runtime.load import LoadedModel

MOST_TARGET = 64
"""Most tokens of the model's own answer that are explained."""
_QUESTION = "{text}\n\nAnswer this question from the text above, in as few words as possible: {question}"


@dataclass(frozen=True)
class AskedText:
    """One text to explain, with the other values of its row.

    Attributes:
        text: the text.
        where: its place, for errors.
        target, foil: texts, or None.
        question: the question about it, or None.
    """

    text: str
    where: str
    target: str | None = None
    foil: str | None = None
    question: str | None = None


@dataclass(frozen=True)
class _RenderedText:
    """Text that the model reads, with the user's text inside: its place, and how it was tokenized."""

    text: str
    encoded: EncodedText
    begin: int
    end: int
    special: bool
    chat: bool


class TextCases:
    """Makes cases for models that write text.

    Args:
        loaded: a decoder-only or encoder-decoder model.
        options: see `ExplainOptions`.

    Raises:
        InputError: the model cannot do the task.
        OptionError: a chat option without a chat template, or languages that the model lacks.
    """

    def __init__(self, loaded: LoadedModel, options: ExplainOptions) -> None:
        self.loaded = loaded
        self.options = options
        self.unit = options.unit or ("sentence" if options.task == "summarize" else "word")
        self._tokenizer: Any = loaded.tokenizer
        self._chat = loaded.has_chat_template if options.chat is None else options.chat
        if self._chat and not loaded.has_chat_template:
            raise OptionError("chat", f"needs a chat template, and {loaded.spec.name} has none")
        if options.system is not None and not self._chat:
            raise OptionError("system", "is for models with a chat template")
        self._direction = self._find_direction()
        if options.task in {"qa", "summarize"} and not self._chat and not loaded.is_encoder_decoder:
            raise InputError(
                f"{loaded.spec.name} continues text and has no chat template, so it does not support"
                f" `task` {options.task}; use another model"
            )
        if options.task == "qa" and not self._chat:
            raise InputError(
                f"{loaded.spec.name} answers no questions; give an extractive model or a chat model"
            )

    def make(self, asked: AskedText) -> PredictionCase:
        """Return the case of a text.

        Raises:
            RowError: the text is empty, the target begins inside a token, or both are longer than the
            context.
        """
        prompt = self._prompt(asked)
        units = find_units(asked.text, prompt.encoded.spans(prompt.begin, prompt.end), self.unit)
        if not units:
            raise RowError(asked.where, "the text has no token that can be explained")
        self._check_length(prompt, 0, asked.where)
        if self.loaded.is_encoder_decoder:
            start, ids = self._decoder(prompt, asked)
            target, foil = self._written(ids), None
            if asked.foil is not None:
                foil = self._written(self._target_ids(asked.foil))
        else:
            start = ()
            target = self._continuation(prompt, asked, asked.target)
            foil = None if asked.foil is None else self._continuation(prompt, asked, asked.foil)
        for branch in (target, foil):
            if branch is not None:
                self._check_length(prompt, len(branch.ids) + len(start), asked.where)
        if foil is not None and foil.ids == target.ids:
            raise RowError(asked.where, f"the target and the foil are the same: {one_line(target.text, 60)}")
        return PredictionCase(
            text=asked.text,
            source=prompt.encoded.ids,
            units=tuple(units),
            start=start,
            target=target,
            foil=foil,
            unit=self.unit,
            question=asked.question,
            notes=self._notes(target, asked),
        )

    @cached_property
    def _engine(self) -> Engine:
        from llmkit.engines.transformers.engine import TransformersEngine

        return TransformersEngine(self.loaded)

    def _find_direction(self) -> Direction | None:
        options = self.options
        if options.task != "translate":
            return None
        try:
            return find_direction(self._engine, options.source, options.target_language)
        except OptionError as error:  # there a language is `target`; here that is a text
            names = {"target": "target_language"}
            raise OptionError(names.get(error.option, error.option), error.reason) from error
        except InputError as error:
            raise InputError(str(error).replace("`target`", "`target_language`")) from error

    def _notes(self, target: Branch, asked: AskedText) -> tuple[str, ...]:
        notes: tuple[str, ...] = ()
        if asked.target is None and self.options.task != "generate" and len(target.ids) >= MOST_TARGET:
            notes += (f"only the first {MOST_TARGET} tokens of the model's answer are explained",)
        return notes

    def _prompt(self, asked: AskedText) -> _RenderedText:
        """Return the text that the model reads, and its tokens."""
        text, task = asked.text, self.options.task
        if not text.strip():
            raise RowError(asked.where, "the text is empty, so there is nothing to explain")
        if task == "translate" and self._direction is not None:
            if self._direction.message is not None:
                return self._chat_prompt(text, self._direction.message(text)["content"], asked.where)
            return self._prefixed(self._direction.prefix, text)
        if task == "summarize":
            if self._chat:
                request = instruction("text", place="", length="", style="paragraph")
                return self._chat_prompt(text, f"{request}\n\n<text>\n{text}\n</text>", asked.where)
            return self._prefixed(str(own_settings(self._engine).get("prefix") or ""), text)
        if task == "qa":
            if not asked.question:
                raise RowError(asked.where, "there is no question; give one with `question`")
            content = _QUESTION.format(text=text, question=asked.question)
            return self._chat_prompt(text, content, asked.where)
        if self._chat:
            return self._chat_prompt(text, text, asked.where)
        return self._prefixed("", text)

    def _prefixed(self, prefix: str, text: str) -> _RenderedText:
        whole = prefix + text
        encoded = encode(self._tokenizer, whole)
        if self._direction is not None:
            ids = tuple(self._direction.encode(self._tokenizer, [whole])[0])
            if len(ids) == len(encoded.ids):  # another language changes special tokens alone
                encoded = replace(encoded, ids=ids)
        return _RenderedText(whole, encoded, len(prefix), len(whole), special=True, chat=False)

    def _chat_prompt(self, text: str, content: Any, where: str) -> _RenderedText:
        messages = [{"role": "user", "content": content}]
        if self.options.system is not None:
            messages.insert(0, {"role": "system", "content": self.options.system})
        try:
            rendered = Renderer(self._tokenizer, messages, None, add_generation_prompt=True).text
        except Exception as error:  # templates raise errors of their own making
            raise RowError(where, f"the chat template refuses it: {one_line(error)}") from error
        begin = rendered.rfind(text)
        if begin < 0:
            begin, text = rendered.rfind(text.strip()), text.strip()
        if begin < 0:
            raise RowError(where, "the chat template changes the text, so its tokens cannot be found in it")
        # The template writes its own special tokens.
        encoded = encode(self._tokenizer, rendered, special=False)
        return _RenderedText(rendered, encoded, begin, begin + len(text), special=False, chat=True)

    def _continuation(self, prompt: _RenderedText, asked: AskedText, text: str | None) -> Branch:
        """Return a target after a prompt of a decoder-only model."""
        if text is None:
            limit = self.options.target_tokens if self.options.task == "generate" else MOST_TARGET
            return self._written(self._own_answer(prompt, Sampling(max_new_tokens=limit)))
        text = spaced(prompt.text, text, chat=prompt.chat)
        joined = encode(self._tokenizer, prompt.text + text, special=prompt.special).body
        before = prompt.encoded.body
        if joined[: len(before)] != before or len(joined) == len(before):
            raise RowError(
                asked.where,
                f"the target {one_line(text, 40)!r} does not begin at a token of its own after this text: the"
                " tokenizer joins the two; end the text before white space, or begin the target at a word",
            )
        return self._written(joined[len(before) :])

    def _decoder(self, prompt: _RenderedText, asked: AskedText) -> tuple[tuple[int, ...], Sequence[int]]:
        """Return the first decoder tokens of an encoder-decoder model, and the ids of its target."""
        sampling = resolve(GenerationOptions(max_new_tokens=MOST_TARGET, greedy=True), self._engine)
        if self._direction is not None:
            for name in ("first_token", "decoder_start_token"):
                if getattr(self._direction, name) is not None:
                    sampling = replace(sampling, **{name: getattr(self._direction, name)})
        if self.options.task == "summarize":
            sampling = with_own(sampling, own_settings(self._engine), chat=False)
        config = self.loaded.model.generation_config
        begin = sampling.decoder_start_token
        if begin is None:
            begin = getattr(config, "decoder_start_token_id", None)
        if begin is None:
            begin = self.loaded.model.config.decoder_start_token_id
        if asked.target is not None:
            # Some models write a start token first; the model itself shows it.
            sampling = replace(sampling, max_new_tokens=2, min_new_tokens=0, num_beams=1)
        own = self._own_answer(prompt, sampling)
        marks = set(self._tokenizer.all_special_ids)
        leading = 0
        while leading < len(own) and own[leading] in marks and own[leading] != self._tokenizer.eos_token_id:
            leading += 1
        start = (int(begin), *own[:leading])
        if asked.target is not None:
            return start, self._target_ids(asked.target)
        ids = own[leading:]
        if len(ids) > 1 and ids[-1] in marks:
            ids = ids[:-1]
        if not ids:
            raise RowError(asked.where, "the model generates no text here; give a target")
        return start, ids

    def _target_ids(self, text: str) -> list[int]:
        """Return the tokens of a text that a decoder writes, without special tokens."""
        encoding = self._tokenizer(text_target=text, add_special_tokens=False, verbose=False)
        return list(encoding["input_ids"])

    def _own_answer(self, prompt: _RenderedText, sampling: Sampling) -> list[int]:
        """Return the tokens that the model itself writes, greedy unless the model searches with beams."""
        context = self.loaded.context_length
        if context is not None:
            used = 1 if self.loaded.is_encoder_decoder else len(prompt.encoded.ids)
            sampling = replace(sampling, max_new_tokens=max(min(sampling.max_new_tokens, context - used), 1))
        request = Request(sampling, ids=prompt.encoded.ids)
        return list(self._engine.generate([request])[0][0].ids)

    def _written(self, ids: Sequence[int]) -> Branch:
        return branch_of(self._tokenizer, ids, self.unit)

    def _check_length(self, prompt: _RenderedText, target: int, where: str) -> None:
        context = self.loaded.context_length
        if context is None:
            return
        text = len(prompt.encoded.ids)
        name = self.loaded.spec.name
        longest = max(text, target) if self.loaded.is_encoder_decoder else text + max(target - 1, 0)
        if text > context or (not target and not self.loaded.is_encoder_decoder and text >= context + 1):
            raise RowError(
                where, f"the text has {text:,} tokens, but {name} has a context of {context:,}; shorten it"
            )
        if longest > context:
            raise RowError(
                where,
                f"the target has {target:,} tokens after a text of {text:,}, but the context of {name}"
                f" has {context:,};"
                " shorten one of them",
            )


def spaced(before: str, text: str, *, chat: bool) -> str:
    """Return a target with a leading space if it begins a new word after a text.

    `Paris` after `The capital of France is` becomes ` Paris`. Nothing changes after white space, at the
    beginning of a chat answer, before a mark, and in scripts without spaces.
    """
    first, last = text[:1], before[-1:]
    if chat or not last or last.isspace() or first.isspace() or not first.isalnum():
        return text
    if is_unspaced(first) or is_unspaced(last):
        return text
    return f" {text}"
