"""Rows to tokens, an objective at a time: what the model reads, and what of it it is to learn.

Public: `encoder`, `Encoded`, `IGNORED`, `kind_of`, `CHAT_TEMPLATE`.

What is learnt stands one place before where it is written: `targets[i]` is what the model, having read
`ids[: i + 1]`, shall say next, or `IGNORED`. So a text of n tokens is n - 1 tokens to read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.text.windows import overlapping_windows
from llmkit.training.chats import conversation_of, learnt_spans
from llmkit.training.columns import Columns

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

    Ids = Sequence[int] | np.ndarray

IGNORED = -100  # what torch's cross-entropy leaves out
# For tokenizers without a chat template: names and line breaks, which any vocabulary can spell.
CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "Assistant: {{ m['content'] | trim }}{{ eos_token }}\n"
    "{% else %}{{ m['role'] | capitalize }}: {{ m['content'] | trim }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example.

    Attributes:
        ids: what the model reads.
        targets: for "causal" as long as `ids`; for "seq2seq" the target's ids; for "spans" first and last
            token of the answer.
        cut: whether something did not fit and was left out.
        types: token types, where the tokenizer makes them ("spans").
    """

    ids: Ids
    targets: Ids
    cut: bool = False
    types: Ids | None = None


class BadRowError(ValueError):
    """What is wrong with a row, without its place."""


def kind_of(columns: Columns, model_kind: str) -> str:
    """How a model of `model_kind` ("causal", "seq2seq" or "encoder") learns from such rows.

    Returns:
        "causal", "seq2seq" or "spans"; for preferences "preference".

    Raises:
        InputError: it cannot.
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
    wants = {"seq2seq": "pairs of source and target", "encoder": "question, context and answers"}[model_kind]
    raise InputError(f"this model is {_A[model_kind]} and learns from {wants}; these rows are {objective}")


_A = {"seq2seq": "an encoder-decoder", "encoder": "an encoder"}


def encoder(
    columns: Columns,
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    languages: tuple[str, str] | None = None,
    source_prefix: str = "",
) -> Callable[[Mapping[str, Any]], list[Encoded]]:
    """The function that turns a row's columns into examples.

    Args:
        columns: what the rows are for.
        kind: of `kind_of`.
        tokenizer: the model's.
        max_length: tokens of an example at most; for "seq2seq" of either side.
        languages: keys in a `translation` column, from and to.
        source_prefix: put before each source ("summarize: " for T5).

    Returns:
        A function of a row's data. It raises `BadRowError`, and gives none where nothing is left to learn.
    """
    rows = _Rows(columns, tokenizer, max_length, languages, source_prefix)
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
    }[columns.objective]


@dataclass
class _Rows:
    columns: Columns
    tokenizer: Any
    max_length: int
    languages: tuple[str, str] | None
    source_prefix: str

    def text(self, row: Mapping[str, Any]) -> list[Encoded]:
        """A text and its end; one longer than the model sees becomes several, none of it lost."""
        text = self._string(row, "text")
        ids = self._closed(self.tokenizer(text)["input_ids"])
        size = self.max_length + 1
        # Each piece begins with the token that the one before ended with: every token is learnt once.
        pieces = overlapping_windows(len(ids), size, 1) if len(ids) > size else [(0, len(ids))]
        return [Encoded(ids[a : b - 1], ids[a + 1 : b]) for a, b in pieces if b - a > 1]

    def messages(self, row: Mapping[str, Any]) -> list[Encoded]:
        """A conversation of which only what the assistant says is learnt, its end-of-turn token included."""
        try:
            messages = conversation_of(row[self.columns.names["messages"]])
        except ValueError as error:
            raise BadRowError(str(error)) from None
        return self._conversation(messages)

    def completion(self, row: Mapping[str, Any]) -> list[Encoded]:
        """A prompt and what follows it, of which the latter is learnt."""
        prompt, completion = self._prompt_and_completion(row)
        if isinstance(prompt, list) or self.tokenizer.chat_template is not None:
            before = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
            after = (
                completion
                if isinstance(completion, list)
                else [{"role": "assistant", "content": completion.strip()}]
            )
            return self._conversation([*before, *after])
        start = self._open(self.tokenizer(prompt)["input_ids"])
        whole = self._open(self.tokenizer(prompt + completion)["input_ids"])
        if whole[: len(start)] != start:
            # The two merge into one token where they meet; when it is used, the prompt comes alone.
            whole = [*start, *self.tokenizer(completion, add_special_tokens=False)["input_ids"]]
        return self._masked(self._closed(whole), [(len(start), None)])

    def seq2seq(self, row: Mapping[str, Any]) -> list[Encoded]:
        """A source and its target."""
        if self.columns.objective == "pairs":
            source, target = self._pair(row)
        else:
            first, second = self._prompt_and_completion(row)
            if not isinstance(first, str) or not isinstance(second, str):
                raise BadRowError("an encoder-decoder takes texts, and this is a conversation")
            source, target = first.strip(), second.strip()
        ids = self.tokenizer(self.source_prefix + source)["input_ids"]
        targets = self.tokenizer(text_target=target)["input_ids"]
        cut = len(ids) > self.max_length or len(targets) > self.max_length
        return [Encoded(self._cut(ids), self._cut(targets), cut)]

    def spans(self, row: Mapping[str, Any]) -> list[Encoded]:
        """A question with each window of its context; without the answer in it, the first token is it."""
        question, context = self._string(row, "question"), self._string(row, "context", empty=True)
        start, end = _answer_span(row[self.columns.names["answers"]], context)
        limit = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
        if limit > self.max_length // 2:
            raise BadRowError(f"the question has {limit} tokens, more than half of --max-length")
        windows = self.tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=self.max_length,
            stride=(self.max_length - limit) // 3,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        found = []
        for index, ids in enumerate(windows["input_ids"]):
            places = [
                (position, first, last)
                for position, ((first, last), part) in enumerate(
                    zip(windows["offset_mapping"][index], windows.sequence_ids(index), strict=True)
                )
                if part == 1
            ]
            types = windows["token_type_ids"][index] if "token_type_ids" in windows else None
            found.append(Encoded(ids, _token_span(places, start, end), types=types))
        return found

    def _conversation(self, messages: list[dict[str, Any]]) -> list[Encoded]:
        try:
            ids, spans = learnt_spans(self.tokenizer, messages)
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
            return []  # what is learnt lies beyond what the model sees
        return [Encoded(ids[: last + 1], kept[: last + 1], cut=len(ids) - 1 > self.max_length)]

    def _prompt_and_completion(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        if self.columns.objective == "pairs":
            source, target = self._pair(row)
            return f"{self.source_prefix}{source}\n\n", target
        if self.columns.objective == "answers":
            context, question = self._string(row, "context", empty=True), self._string(row, "question")
            texts = _answers(row[self.columns.names["answers"]])
            answer = texts[0][0] if texts else "unanswerable"
            return f"{context}\n\nQuestion: {question}\nAnswer:", f" {answer}"
        prompt = row.get(self.columns.names["prompt"])
        if isinstance(prompt, list):
            return _messages(prompt), _messages(row.get(self.columns.names["completion"]))
        prompt = self._string(row, "prompt", empty=True)
        completion = self._string(row, "completion")
        if "instruction" not in self.columns.names["prompt"]:
            return prompt, completion
        more = self._string(row, "input", empty=True).strip() if "input" in self.columns.names else ""
        if self.tokenizer.chat_template is not None:
            return (f"{prompt}\n\n{more}" if more else prompt), completion
        parts = [("Instruction", prompt), *([("Input", more)] if more else []), ("Response", "")]
        return "".join(f"### {name}:\n{text.strip()}\n\n" for name, text in parts).rstrip(
            "\n"
        ) + "\n", completion

    def _pair(self, row: Mapping[str, Any]) -> tuple[str, str]:
        names = self.columns.names
        if names["source"] != names["target"]:
            return self._string(row, "source"), self._string(row, "target")
        both = row[names["source"]]
        if not isinstance(both, dict):
            raise BadRowError(f"column {names['source']!r} holds no texts by language")
        if self.languages is None:
            keys = " and ".join(list(both)[:2])
            raise InputError(
                f"column {names['source']!r} holds several languages: say --from and --to ({keys})"
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
            value = " ".join(part.strip() for part in value)  # a text given as its sentences
        if value is None and empty:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise BadRowError(f"column {column!r} holds {_type(value)}, not a text")
        if not empty and not value.strip():
            raise BadRowError(f"column {column!r} is empty")
        return value

    def _open(self, ids: list[int]) -> list[int]:
        """Ids without the end that some tokenizers put after every text."""
        return ids[:-1] if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids

    def _closed(self, ids: list[int]) -> list[int]:
        """Ids that end with the end of text, so that the model learns to stop."""
        end = self.tokenizer.eos_token_id
        return ids if end is None or (len(ids) > 1 and ids[-1] == end) else [*ids, end]

    def _cut(self, ids: list[int]) -> list[int]:
        """At most `max_length` ids, the end token among them if it was."""
        if len(ids) <= self.max_length:
            return ids
        ended = ids[-1] in self.tokenizer.all_special_ids
        return [*ids[: self.max_length - 1], ids[-1]] if ended else ids[: self.max_length]


def _messages(value: Any) -> list[dict[str, Any]]:
    try:
        return conversation_of(value)
    except ValueError as error:
        raise BadRowError(str(error)) from None


def _type(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _answers(value: Any) -> list[tuple[str, int | None]]:
    """Texts, each with where it starts in the context if that is told: SQuAD's form, or simpler ones."""
    if isinstance(value, str):
        return [(value, None)]
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        if isinstance(texts, list):
            starts = starts if isinstance(starts, list) and len(starts) == len(texts) else [None] * len(texts)
            value = [{"text": text, "answer_start": at} for text, at in zip(texts, starts, strict=True)]
    if isinstance(value, list):
        found = [one if isinstance(one, dict) else {"text": one} for one in value]
        if all(isinstance(one.get("text"), str) for one in found):
            return [(one["text"], one.get("answer_start")) for one in found]
    raise BadRowError("its answers are neither texts nor {'text': [...], 'answer_start': [...]}")


def _answer_span(value: Any, context: str) -> tuple[int, int]:
    """First and past-the-last character of the answer; (-1, -1) where there is none."""
    answers = [(text, at) for text, at in _answers(value) if text.strip()]
    if not answers:
        return -1, -1
    text, at = answers[0]
    if at is None:
        at = context.find(text)
        if at < 0:
            raise BadRowError(f"its answer {text[:40]!r} does not stand in the context")
    elif not isinstance(at, int) or context[at : at + len(text)] != text:
        raise BadRowError(f"at answer_start {at} the context does not say {text[:40]!r}")
    return at, at + len(text)


def _token_span(places: Sequence[tuple[int, int, int]], start: int, end: int) -> tuple[int, int]:
    """The tokens (position, first and past-the-last character each) that hold characters start to end."""
    if start < 0 or not places or start < places[0][1] or end > places[-1][2]:
        return 0, 0
    inside = [position for position, first, last in places if first < end and last > start]
    return (inside[0], inside[-1]) if inside else (0, 0)
