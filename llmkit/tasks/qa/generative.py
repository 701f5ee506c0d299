"""Rows of questions through a chat model, which answers from the context and must quote it.

The model is asked for a quotation next to its answer, and the quotation is looked up in the context: the
`quotation` of a row is always a piece of the context, cut out from `start` to `end`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row
from llmkit.records.task import Fields
from llmkit.tasks.generation import Generation, GenerationResult
from llmkit.tasks.messages import Messages
from llmkit.tasks.prompts import Prompt
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.text.passages import Library, Passage
from llmkit.text.quotations import find_quotation
from llmkit.text.words import count_words

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.tasks.decoding import GenerationOptions

_UNLIMITED = 8192
"""Tokens of context for a model without a separate limit."""
_QUOTED_WORDS = 4
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
_FORMED_PROMPT = """\
Answer the question from the text below and from nothing else.

Text:
{text}

Question: {question}"""
_UNLESS = " If the text does not answer the question, the answer is: no answer."
_QUOTATION = re.compile(r"quotation\W*:(.*?)(?=^\W*answer\W*:|\Z)", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_ANSWER = re.compile(r"^\W*answer\W*:(.*)", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_MARKS = " \t\r\n\"'“”‘’„«»*"
_NOTHING = re.compile(r"\W*no answer\W*", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A question with its prompt.

    Attributes:
        prompt: the prompt.
        given: passages of the context that are in it.
    """

    prompt: Prompt
    given: list[Passage]


class GenerativeQA:
    """Generative question answering as a `Task`.

    Args:
        engine: a chat model.
        options: how its answers are decoded.
        source: where questions and contexts are.
        no_answer: the model may say that there is no answer; the answer is then empty.

    Attributes:
        generation: answers the prompts.
        run_state: seed and counters.
        shortened: number of questions whose context was longer than the model sees, so that it saw only the
            passages that fit best.
        misquoted: number of answers whose quotation is not in the context.

    Under a form, the whole reply is the answer, and no quotation is requested.

    Raises:
        InputError: the model has no chat template.
        OptionError: `num_return_sequences` is above 1, `no_answer` is given with a form, or `logprobs`
            without one.
    """

    def __init__(
        self,
        engine: Engine,
        options: GenerationOptions,
        source: QuestionSource,
        *,
        no_answer: bool = False,
    ) -> None:
        if not engine.has_chat_template:
            verb = "translate` or `llmkit summarize" if engine.is_encoder_decoder else "generate"
            raise InputError(
                f"{engine.name} is not an extractive-QA model and has no chat template; use `llmkit {verb}`,"
                " or give another model"
            )
        if options.num_return_sequences > 1:
            raise OptionError("num_return_sequences", "must be 1: a question has one answer")
        self._formed = options.formed is not None
        if self._formed and no_answer:
            raise OptionError(
                "no_answer", f"cannot be combined with `{options.formed}`, which constrains the answer"
            )
        if options.logprobs is not None and not self._formed:
            raise OptionError(
                "logprobs",
                "needs structured output, such as `choice`: a free reply contains more than the answer",
            )
        self.engine = engine
        self.source = source
        self.no_answer = no_answer
        self.generation = Generation(engine, options)
        self.run_state = self.generation.run_state
        self.shortened = 0
        self.misquoted = 0

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[Question] | RowError]:
        """Choose the passages of the context that the model sees, and write the prompts."""
        return [self._prepare(row) for row in rows]

    def fields(self, batch: Sequence[PreparedRow[Question]], budget: Budget) -> list[Fields | RowError]:
        """Answer a batch of questions and return the fields that each row gains.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        results = self.generation.run([one.payload.prompt for one in batch])
        return [self.answer_fields(result, one.payload) for one, result in zip(batch, results, strict=True)]

    def answer_fields(self, result: GenerationResult, question: Question) -> Fields:
        """Return the fields of a row: the answer, and its quotation if that is in the context."""
        fields = self._fields(result.text, question.given)
        fields |= {"reasoning": result.reasoning} if result.reasoning else {}
        return fields | self.generation.details_of(result)

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one batch."""
        return self.generation.budget(batch_size)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows and the seed, as JSON, for the journal."""
        return {**self.generation.header(), "no_answer": self.no_answer, **self.source.header()}

    def _prepare(self, row: Row) -> PreparedRow[Question] | RowError:
        try:
            question = self.source.question(row)
            given = self._choose(row, question)
            messages = self._messages(question, given)
            prompt = self.generation.prompts.prepare_one(messages, key=row.index, where=row.where)
            prompt = replace(prompt, constraint=self.generation.schema_of(row))
        except RowError as error:
            return error
        return PreparedRow(row, prompt.length, Question(prompt, given))

    def _messages(self, question: str, given: Sequence[Passage]) -> Messages:
        text = _GAP.join(passage.text.strip() for passage in given)
        unless = _UNLESS if self.no_answer else ""
        wording = _FORMED_PROMPT if self._formed else _PROMPT
        content = wording.format(text=text, question=question.strip(), unless=unless)
        return [{"role": "user", "content": content}]

    def _choose(self, row: Row, question: str) -> list[Passage]:
        """Return the passages that fit the question best, as many as the model sees, in the text's order."""
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
                f"{self.engine.name} has a context of {self.engine.context_length} tokens, too few for"
                " the question"
                " and a passage of the context; lower `max_new_tokens` or use another model",
            )
        self.shortened += len(taken) < len(ranked)
        return _joined(library, taken)

    def _room(self, question: str) -> int:
        """Return how many tokens are left for the context; below 0 if the question alone is too much."""
        if self.engine.context_length is None:
            return _UNLIMITED
        frame = self.generation.prompts.count_chat_tokens(self._messages(question, ()))
        return self.engine.context_length - frame - self.generation.options.max_new_tokens

    def _tokens(self, text: str) -> int:
        return self.generation.prompts.count_tokens([text])[0]

    def _fields(self, reply: str, given: list[Passage]) -> Fields:
        """Return the fields of a row; `score` is null: a chat model gives no probability of an answer."""
        answer, quotation = (reply, "") if self._formed else parse_reply(reply)
        if self.no_answer and _NOTHING.fullmatch(answer):
            answer, quotation = "", ""
        fields: Fields = {"answer": answer, "score": None, "start": None, "end": None}
        # An answer of several words may be a quotation itself.
        own = answer if count_words(answer) >= _QUOTED_WORDS else ""
        for quoted in filter(None, (quotation, own)):
            for passage in given:
                found = find_quotation(quoted, passage.text)
                if found is not None:
                    start, end = passage.start + found[0], passage.start + found[1]
                    cut = passage.document.text[start:end]
                    place = self.source.place(passage.document, start)
                    return {**fields, "start": start, "end": end, "quotation": cut, **place}
        self.misquoted += bool(answer) and not self._formed
        return {**fields, "quotation": None, **self.source.place(given[0].document, None)}


def parse_reply(reply: str) -> tuple[str, str]:
    """Return answer and quotation of a model's reply; a reply of another form is the answer."""
    answer, quotation = _ANSWER.search(reply), _QUOTATION.search(reply)
    quoted = quotation.group(1).strip(_MARKS) if quotation else ""
    if answer is None:
        return reply[: quotation.start()].strip() if quotation else reply.strip(), quoted
    return answer.group(1).strip().partition("\n")[0].strip(_MARKS), quoted


def _joined(library: Library, taken: Sequence[Passage]) -> list[Passage]:
    """Return passages in the library's order, with neighbors joined."""
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
