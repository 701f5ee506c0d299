"""Turn rows into tokens and targets, for each objective.

Public: `encoder`, `prompter`, `kind_of`, `shared_length`.

Labels are already shifted: `targets[i]` is the token that follows `ids[: i + 1]`, or `IGNORED`. So a text of
n tokens becomes an example of n - 1 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.text.chat.conversations import read_turns
from llmkit.text.overlap import shared_marks
from llmkit.text.windows import overlapping_windows
from llmkit.training.encoded import IGNORED, Encoded
from llmkit.training.finetuning.answer_spans import answer_span, answers_of, token_span
from llmkit.training.finetuning.beside import tools_of, turns_beside
from llmkit.training.finetuning.columns import BadRowError, Columns
from llmkit.training.finetuning.conversations import target_spans
from llmkit.training.finetuning.prompt_boundary import fitted, prompt_and_rest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def kind_of(columns: Columns, model_kind: str) -> str:
    """Choose the kind of training for a model and its rows.

    Args:
        columns: objective of the rows.
        model_kind: "causal", "seq2seq" or "encoder".

    Returns:
        "causal", "seq2seq", "spans" or "preference".

    Raises:
        InputError: such a model cannot be trained on such rows.
    """
    objective = columns.objective
    if objective == "preference" and model_kind == "causal":
        return "preference"
    if model_kind == "encoder" and objective == "answers":
        return "spans"
    if model_kind == "seq2seq" and objective in {"pairs", "completion", "answers"}:
        return "seq2seq"
    if model_kind == "causal":
        return "causal"
    model, needs = {
        "seq2seq": ("an encoder-decoder", "pairs of source and target"),
        "encoder": ("an encoder", "question, context and answers"),
    }[model_kind]
    raise InputError(f"this model is {model} and needs rows of {needs}; these rows are {objective}")


def encoder(
    columns: Columns,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    languages: tuple[str, str] | None = None,
    source_prefix: str = "",
    shared_words_type: int | None = None,
) -> Callable[[Mapping[str, Any]], list[Encoded]]:
    """Make the function that turns a row into examples.

    Args:
        columns: objective and columns of the rows.
        kind: result of `kind_of`.
        tokenizer: the model's tokenizer.
        max_length: maximum number of tokens in an example; for "seq2seq" in each side.
        languages: keys of source and target in a column `translation`.
        source_prefix: text before each source ("summarize: " for T5).
        shared_words_type: token type of context words that occur in the question (see `text.overlap`).

    Returns:
        A function from a row's data to its examples, an empty list if there is no target. It raises
        `BadRowError`.
    """
    rows = _Rows(columns, tokenizer, max_length, languages, source_prefix, shared_words_type)
    if kind == "spans":
        return rows.spans
    if kind == "seq2seq":
        return rows.seq2seq
    return {
        "text": rows.text,
        "messages": rows.messages,
        "completion": rows.completion,
        "pairs": rows.completion,
        "answers": rows.completion,
        "preference": rows.preference,
    }[columns.objective]


def prompter(
    columns: Columns,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    languages: tuple[str, str] | None,
    source_prefix: str,
) -> Callable[[Mapping[str, Any]], Any]:
    """Make the function that returns a row's prompt, in the same layout as in `encoder`'s examples.

    Args:
        columns, kind, tokenizer, languages, source_prefix: as in `encoder`.
    """
    rows = _Rows(columns, tokenizer, 0, languages, source_prefix, None)
    if kind == "seq2seq":
        return lambda row: rows._source_and_target(row)[0]
    if columns.objective == "preference":
        return rows._prompt
    return lambda row: rows._prompt_and_completion(row)[0]


@dataclass
class _Rows:
    columns: Columns
    tokenizer: Any
    max_length: int
    languages: tuple[str, str] | None
    source_prefix: str
    shared_words_type: int | None

    def text(self, row: Mapping[str, Any]) -> list[Encoded]:
        """Encode a text with its end; a text that is too long becomes several examples."""
        text = self._string(row, "text")
        ids = self._closed(self.tokenizer(text)["input_ids"])
        size = self.max_length + 1
        # Each piece begins with the last token of the piece before: every token is a target once.
        pieces = overlapping_windows(len(ids), size, 1) if len(ids) > size else [(0, len(ids))]
        return [Encoded(ids[a : b - 1], ids[a + 1 : b]) for a, b in pieces if b - a > 1]

    def messages(self, row: Mapping[str, Any]) -> list[Encoded]:
        """Encode a conversation; the targets are the assistant's tokens, with their end-of-turn tokens."""
        messages = _messages(row[self.columns.names["messages"]])
        return self._conversation(
            [*turns_beside(row, messages, self.columns), *messages], tools=tools_of(row)
        )

    def completion(self, row: Mapping[str, Any]) -> list[Encoded]:
        """Encode a prompt and its completion, which is the target; a long prompt loses its beginning."""
        prompt, completion = self._prompt_and_completion(row)
        return self._continued(self._after_lead(row, prompt), completion, tools=tools_of(row))[0]

    def preference(self, row: Mapping[str, Any]) -> list[Encoded]:
        """Encode a pair of chosen and rejected text; the result is empty if they are equal or do not fit."""
        chosen, rejected = (self._answer(row, role) for role in ("chosen", "rejected"))
        if type(chosen) is not type(rejected):
            raise BadRowError("one of chosen and rejected is a text and the other a conversation")
        if isinstance(chosen, list):
            before, begins = self._opening(row, chosen, shared_length(chosen, rejected))
            lead = turns_beside(row, [*before, *chosen], self.columns)
            before, begins = [*lead, *before], begins + len(lead)
            sides = [
                self._conversation([*before, *side], after=begins, tools=tools_of(row))
                for side in (chosen, rejected)
            ]
        elif "prompt" in self.columns.names:
            prompt = row.get(self.columns.names["prompt"])
            prompt = _messages(prompt) if isinstance(prompt, list) else self._prompt(row)
            prompt = self._after_lead(row, prompt)
            sides = self._continued(prompt, chosen, rejected, tools=tools_of(row))
        else:
            ids = [self._closed(self.tokenizer(side)["input_ids"]) for side in (chosen, rejected)]
            sides = [self._masked(one, [(shared_length(*ids), None)]) for one in ids]
        if not (sides[0] and sides[1]) or sides[0] == sides[1]:
            return []
        (one,), (other,) = sides
        types = [0] * len(one.ids) + [1] * len(other.ids)
        return [Encoded([*one.ids, *other.ids], [*one.targets, *other.targets], one.cut or other.cut, types)]

    def _answer(self, row: Mapping[str, Any], role: str) -> Any:
        """Read a text, or the turns of a conversation."""
        column = self.columns.names[role]
        value = row.get(column)
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list) or (value and all(isinstance(part, str) for part in value)):
            return self._string(row, role)
        try:
            return read_turns(value)
        except ValueError as error:
            raise BadRowError(f"column {column!r}: {error}") from None

    def _opening(
        self, row: Mapping[str, Any], chosen: list[dict[str, Any]], common: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return the turns before those of `chosen`, and the number of turns before the first difference."""
        given = row.get(self.columns.names.get("prompt", ""))
        if isinstance(given, list):
            before = _messages(given)
            return ([], len(before)) if chosen[: len(before)] == before else (before, len(before) + common)
        if given is None or common:
            # The turns at the beginning of both are the prompt; a prompt column repeats them.
            return [], common
        return [{"role": "user", "content": self._prompt(row)}], 1

    def _after_lead(self, row: Mapping[str, Any], prompt: Any) -> Any:
        """Put the turns of other columns in front of a prompt, if there is a chat template for them."""
        if self.tokenizer.chat_template is None:
            return prompt
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        lead = turns_beside(row, turns, self.columns)
        return [*lead, *turns] if lead else prompt

    def _continued(
        self, prompt: Any, *completions: Any, tools: list[dict[str, Any]] | None = None
    ) -> list[list[Encoded]]:
        """Encode a prompt with each of its completions (texts or turns), which are the targets."""
        if isinstance(prompt, list) or self.tokenizer.chat_template is not None:
            before = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
            answers = [
                one if isinstance(one, list) else [{"role": "assistant", "content": one.strip()}]
                for one in completions
            ]
            return [self._conversation([*before, *after], tools=tools) for after in answers]
        # One token more than the model reads: the last one is only a target.
        size, first = self.max_length + 1, self.tokenizer.bos_token_id
        parts = (prompt_and_rest(self.tokenizer, prompt, one) for one in completions)
        fits = [fitted(start, self._closed(rest), size, first) for start, rest in parts]
        # All completions follow the same prompt, cut so that the longest one fits.
        start = min((start for start, _, _ in fits), key=len)
        spans = [(len(start), None)]
        return [
            [replace(one, cut=cut) for one in self._masked([*start, *rest], spans)] for _, rest, cut in fits
        ]

    def seq2seq(self, row: Mapping[str, Any]) -> list[Encoded]:
        """Encode a source and its target."""
        source, target = self._source_and_target(row)
        ids = self.tokenizer(source)["input_ids"]
        targets = self.tokenizer(text_target=target)["input_ids"]
        if self.tokenizer.eos_token_id not in targets[-2:]:  # mBART puts the language after the end token
            targets = self._closed(targets)
        cut = len(ids) > self.max_length or len(targets) > self.max_length
        return [Encoded(self._cut(ids), self._cut(targets), cut)]

    def spans(self, row: Mapping[str, Any]) -> list[Encoded]:
        """Encode a question with each window of its context; without an answer the span is (0, 0)."""
        question, context = self._string(row, "question"), self._string(row, "context", empty=True)
        start, end = answer_span(row[self.columns.names["answers"]], context)
        limit = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
        if limit > self.max_length // 2:
            raise BadRowError(f"the question has {limit} tokens, more than half of `max_length`")
        windows = self.tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=self.max_length,
            stride=(self.max_length - limit) // 3,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        self.tokenizer.backend_tokenizer.no_truncation()  # it would be saved with the model
        found = []
        for index, ids in enumerate(windows["input_ids"]):
            offsets = [
                (position, first, last)
                for position, ((first, last), part) in enumerate(
                    zip(windows["offset_mapping"][index], windows.sequence_ids(index), strict=True)
                )
                if part == 1
            ]
            types = windows["token_type_ids"][index] if "token_type_ids" in windows else None
            if types is not None and self.shared_words_type is not None:
                marks = shared_marks(question, context, (last for _, _, last in offsets))
                for (position, _, _), marked in zip(offsets, marks, strict=True):
                    if marked:
                        types[position] = self.shared_words_type
            found.append(Encoded(ids, token_span(offsets, start, end), types=types))
        return found

    def _conversation(
        self, messages: list[dict[str, Any]], after: int = 0, tools: list[dict[str, Any]] | None = None
    ) -> list[Encoded]:
        try:
            ids, spans = target_spans(self.tokenizer, messages, after=after, tools=tools)
        except ValueError as error:
            raise BadRowError(str(error)) from None
        return self._masked(ids, spans)

    def _masked(self, ids: Sequence[int], spans: Sequence[tuple[int, int | None]]) -> list[Encoded]:
        targets = [IGNORED] * len(ids)
        for start, end in spans:
            targets[start:end] = ids[start:end]
        kept = targets[1 : self.max_length + 1]
        last = max((i for i, target in enumerate(kept) if target != IGNORED), default=-1)
        if last < 0:
            return []  # all targets are beyond `max_length`
        return [Encoded(ids[: last + 1], kept[: last + 1], cut=len(ids) - 1 > self.max_length)]

    def _source_and_target(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Return the texts for the encoder and the decoder."""
        if self.columns.objective == "pairs":
            source, target = self._pair(row)
        else:
            first, second = self._prompt_and_completion(row)
            if not isinstance(first, str) or not isinstance(second, str):
                raise BadRowError("an encoder-decoder needs texts, and this is a conversation")
            source, target = first.strip(), second.strip()
        return self.source_prefix + source, target

    def _prompt_and_completion(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        if self.columns.objective == "pairs":
            source, target = self._pair(row)
            return f"{self.source_prefix}{source}\n\n", target
        if self.columns.objective == "answers":
            context, question = self._string(row, "context", empty=True), self._string(row, "question")
            texts = answers_of(row[self.columns.names["answers"]])
            answer = texts[0][0] if texts else "unanswerable"
            return f"{context}\n\nQuestion: {question}\nAnswer:", f" {answer}"
        turns = isinstance(row.get(self.columns.names["prompt"]), list)
        prompt = self._answer(row, "prompt") if turns else self._prompt(row)
        return prompt, self._answer(row, "completion")

    def _prompt(self, row: Mapping[str, Any]) -> str:
        prompt = self._string(row, "prompt", empty=True)
        names = self.columns.names
        if "instruction" not in names["prompt"] and "input" not in names:
            return prompt
        # A row may have no input.
        more = self._string(row, "input", empty=True).strip() if names.get("input") in row else ""
        if self.tokenizer.chat_template is not None:
            return f"{prompt}\n\n{more}" if more else prompt
        parts = [("Instruction", prompt), *([("Input", more)] if more else []), ("Response", "")]
        return "".join(f"### {name}:\n{text.strip()}\n\n" for name, text in parts).rstrip("\n") + "\n"

    def _pair(self, row: Mapping[str, Any]) -> tuple[str, str]:
        names = self.columns.names
        if not self.columns.by_language:
            return self._string(row, "source"), self._string(row, "target")
        both = row[names["source"]]
        if not isinstance(both, dict):
            raise BadRowError(f"column {names['source']!r} has no texts by language")
        if self.languages is None:
            keys = " and ".join(list(both)[:2])
            raise OptionError(
                "source_language",
                f"and `target_language` are missing: column {names['source']!r} has several languages"
                f" ({keys})",
            )
        for language in self.languages:
            if not isinstance(both.get(language), str) or not both[language].strip():
                raise BadRowError(f"column {names['source']!r} has no text under {language!r}")
        return both[self.languages[0]], both[self.languages[1]]

    def _string(self, row: Mapping[str, Any], role: str, *, empty: bool = False) -> str:
        column = self.columns.names[role]
        if column not in row:
            raise BadRowError(f"no column {column!r}")
        value = row[column]
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            value = " ".join(part.strip() for part in value)  # a list of sentences
        if value is None and empty:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise BadRowError(f"column {column!r} is {_type(value)}, not a text")
        if not empty and not value.strip():
            raise BadRowError(f"column {column!r} is empty")
        return value

    def _closed(self, ids: list[int]) -> list[int]:
        """Add the end-of-text token if it is missing, so that the model learns to stop."""
        end = self.tokenizer.eos_token_id
        return ids if end is None or (len(ids) > 1 and ids[-1] == end) else [*ids, end]

    def _cut(self, ids: list[int]) -> list[int]:
        """Cut ids to `max_length`, and keep the special tokens at their end."""
        if len(ids) <= self.max_length:
            return ids
        special = set(self.tokenizer.all_special_ids)
        end = len(ids) - len(list(takewhile(special.__contains__, reversed(ids))))
        return [*ids[: self.max_length - len(ids) + end], *ids[end:]]


def shared_length(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the length of the common beginning of two sequences, without the last item of the shorter."""
    limit = max(0, min(len(one), len(other)) - 1)
    return next((i for i in range(limit) if one[i] != other[i]), limit)


def _messages(value: Any) -> list[dict[str, Any]]:
    try:
        return read_turns(value)
    except ValueError as error:
        raise BadRowError(str(error)) from None


def _type(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
