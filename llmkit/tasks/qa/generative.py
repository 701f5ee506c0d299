"""Rows of questions through a chat model, which answers from the context and must show where it stands.

The model is asked for a quotation beside its answer, and the quotation is looked up in the context: what a
row gets as `quotation` is always a piece of the context, cut out at `start` and `end`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row
from llmkit.tasks.generation import Generation
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.text.passages import Library, Passage
from llmkit.text.quotations import find_quotation

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.tasks.decoding import GenerationOptions

# Tokens of context for a model that tells no limit of its own.
_UNLIMITED = 8192
_GAP = "\n[...]\n"
_PROMPT = """\
Answer the question from the text below and from nothing else. First copy, word for word, the sentence of \
the text that answers it. Then give the answer, as short as it can be.{unless}

Text:
{text}

Question: {question}

Reply in this form:
Quotation: "..."
Answer: ..."""
_UNLESS = " If the text does not answer the question, the answer is: no answer."
_QUOTATION = re.compile(r"quotation\W*:(.*?)(?=^\W*answer\W*:|\Z)", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_ANSWER = re.compile(r"^\W*answer\W*:(.*)", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_MARKS = " \t\r\n\"'“”‘’„«»*"
_NOTHING = re.compile(r"\W*no answer\W*", re.IGNORECASE)


@dataclass(frozen=True)
class _Asked:
    prompt: Any
    given: list[Passage]


class GenerativeQA:
    """A loaded chat model with its options, as `records.process` and the verb call it.

    Args:
        loaded: from `runtime.load`, a model with a chat template.
        options: how its answers are decoded.
        source: where questions and contexts are.
        no_answer: the model may say that there is no answer; the answer is then empty.

    Attributes:
        shortened: questions whose context was longer than the model sees, so that it saw the passages that
            fit best.
        misquoted: answers whose quotation does not stand in the context.

    Raises:
        InputError: the model has no chat template.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        options: GenerationOptions,
        source: QuestionSource,
        *,
        no_answer: bool = False,
    ) -> None:
        if not loaded.has_chat_template:
            verb = (
                "`llmkit translate` or `llmkit summarize`"
                if loaded.is_encoder_decoder
                else "`llmkit generate`"
            )
            raise InputError(
                f"{loaded.spec.name} is no extractive-QA model and has no chat template; use {verb},"
                " or name another model"
            )
        self.loaded = loaded
        self.source = source
        self.no_answer = no_answer
        self.generation = Generation(loaded, options)
        self.seed_given = self.generation.seed_given
        self.tokens_written = 0
        self.shortened = 0
        self.misquoted = 0

    @property
    def seed(self) -> int:
        return self.generation.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.generation.seed = seed

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow | RowError]:
        """Choose what of the context the model is given, and write the prompts."""
        return [self._prepare(row) for row in rows]

    def work(self, batch: Sequence[PreparedRow]) -> list[dict[str, Any] | RowError]:
        """Run a batch and return the fields that each row gains.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        results = self.generation.run([replace(one, payload=one.payload.prompt) for one in batch])
        fields: list[dict[str, Any] | RowError] = []
        for one, (result, *_) in zip(batch, results, strict=True):
            self.tokens_written += result.tokens
            gained = self._fields(result.text, one.payload.given)
            if result.reasoning:
                gained["reasoning"] = result.reasoning
            fields.append(gained)
        return fields

    def budget(self, batch_size: int | None) -> Budget:
        """How much one batch may hold."""
        return self.generation.budget(batch_size)

    def header(self) -> dict[str, Any]:
        """All that the results depend on, besides the rows and the seed, as JSON: for the journal."""
        return {**self.generation.header(), "no_answer": self.no_answer, **self.source.header()}

    def _prepare(self, row: Row) -> PreparedRow | RowError:
        try:
            question = self.source.question(row)
            given = self._choose(row, question)
            prompt = self._prompt(row, question, given)
        except RowError as error:
            return error
        return replace(prompt, row=row, payload=_Asked(prompt.payload, given))

    def _messages(self, question: str, given: Sequence[Passage]) -> list[dict[str, str]]:
        text = _GAP.join(passage.text.strip() for passage in given)
        unless = _UNLESS if self.no_answer else ""
        content = _PROMPT.format(text=text, question=question.strip(), unless=unless)
        return [{"role": "user", "content": content}]

    def _prompt(self, row: Row, question: str, given: Sequence[Passage]) -> PreparedRow:
        messages = self._messages(question, given)
        (made,) = self.generation.prepare([Row(row.index, {"messages": messages}, row.where)])
        if isinstance(made, RowError):
            raise made
        return made

    def _choose(self, row: Row, question: str) -> list[Passage]:
        """The passages that fit the question best, as many as the model sees, in the text's own order."""
        library = self.source.library(row)
        room = self._room(question)
        taken: list[Passage] = []
        ranked = library.best(question)[: self.source.passages]
        for passage in ranked:
            # A passage's share of the gaps between passages is counted with it.
            room -= self._tokens(passage.text + _GAP)
            if room < 0:
                break
            taken.append(passage)
        if not taken:
            raise RowError(
                row.where,
                f"{self.loaded.spec.name} sees {self.loaded.context_length} tokens, too few for the question"
                " and a passage of the context; lower --max-new-tokens or use another model",
            )
        self.shortened += len(taken) < len(ranked)
        return _joined(library, taken)

    def _room(self, question: str) -> int:
        """Tokens left for the context; below 0 if the question alone is too much."""
        if self.loaded.context_length is None:
            return _UNLIMITED
        frame: Any = self.loaded.tokenizer.apply_chat_template(
            self._messages(question, ()), add_generation_prompt=True, tokenize=True, return_dict=True
        )
        new_tokens = self.generation.options.max_new_tokens
        return self.loaded.context_length - len(frame["input_ids"]) - new_tokens

    def _tokens(self, text: str) -> int:
        return len(self.loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _fields(self, reply: str, given: list[Passage]) -> dict[str, Any]:
        """The fields of a row; `score` is null, for a chat model gives no probability of an answer."""
        answer, quotation = parse_reply(reply)
        if self.no_answer and _NOTHING.fullmatch(answer):
            answer, quotation = "", ""
        fields: dict[str, Any] = {"answer": answer, "score": None, "start": None, "end": None}
        for passage in given if quotation else ():
            found = find_quotation(quotation, passage.text)
            if found is not None:
                start, end = passage.start + found[0], passage.start + found[1]
                cut = passage.document.text[start:end]
                place = self.source.place(passage.document, start)
                return {**fields, "start": start, "end": end, "quotation": cut, **place}
        self.misquoted += bool(answer)
        return {**fields, "quotation": None, **self.source.place(given[0].document, None)}


def parse_reply(reply: str) -> tuple[str, str]:
    """The answer and the quotation in a model's reply; all of it is the answer if it has not that form."""
    answer, quotation = _ANSWER.search(reply), _QUOTATION.search(reply)
    quoted = quotation.group(1).strip(_MARKS) if quotation else ""
    if answer is None:
        return reply[: quotation.start()].strip() if quotation else reply.strip(), quoted
    return answer.group(1).strip().partition("\n")[0].strip(_MARKS), quoted


def _joined(library: Library, taken: Sequence[Passage]) -> list[Passage]:
    """Passages in the library's order, neighbours made one."""
    chosen = set(taken)
    joined: list[Passage] = []
    for passage in library.passages:
        if passage not in chosen:
            continue
        last = joined[-1] if joined else None
        if last is not None and last.document is passage.document and last.end == passage.start:
            joined[-1] = replace(last, end=passage.end)
        else:
            joined.append(passage)
    return joined
