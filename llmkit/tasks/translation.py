"""Translation: texts of any length, in batches across rows, put back with their lines and blank lines.

A text is cut into passages: sentences for translation models, lines for chat models. They are translated by
`tasks.generation` and put back into their places; everything between them stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from llmkit.engines.open import as_engine
from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, check_text, text_of
from llmkit.records.task import Fields
from llmkit.tasks.decoding import refuse_row_options
from llmkit.tasks.details import AnswerDetails
from llmkit.tasks.direction import Direction, find_direction
from llmkit.tasks.generation import Answer, Generation, GenerationOptions, GenerationResult
from llmkit.tasks.messages import Messages
from llmkit.tasks.prompts import Prompt
from llmkit.tasks.protected_passages import around, without_protected
from llmkit.tasks.sub_batches import run_prompts
from llmkit.tasks.translation_types import TranslationInput, TranslationResult
from llmkit.text.layout import TextLayout, lay_out
from llmkit.text.protected_spans import ProtectedSpans

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.engines.open import AnyModel

__all__ = ["Translation", "TranslationInput", "TranslationResult", "translate"]

DEFAULT_FIELDS = ("text", "source", "prompt")
_WINDOW = 512
"""Most tokens of one passage, whatever the model could see: translation models know single sentences."""
_PASSAGES = 2**20
"""Most passages of a row. Passage n of row r has the key r * _PASSAGES + n for its random numbers."""


def translate(
    model: AnyModel,
    texts: str | Sequence[str],
    *,
    source: str | None = None,
    target: str | None = None,
    options: GenerationOptions | None = None,
    keep: Sequence[str] | None = None,
) -> list[TranslationResult]:
    """Translate texts.

    Args:
        model: a loaded model, an engine, or a name, path or `ModelSpec` to load.
        texts: one or several, each of any length.
        source: language of the texts: a code of ISO 639-1 or -3, a BCP-47 tag, an English name, or the
            model's own code. May be None for models that do not need it.
        target: language to write, likewise.
        options: see `GenerationOptions`.
        keep: terms that must come through unchanged, and with them `{name}`, `%s`, URLs and tags; None
            protects nothing.

    Returns:
        The result of each text, in order.

    Raises:
        InputError: unknown model or language, a language the model does not have, or a model that does not
            translate.
        OutOfMemory: a single passage does not fit into memory.
    """
    engine = as_engine(model)
    refuse_row_options(options)
    task = Translation(engine, options or GenerationOptions(), source=source, target=target, keep=keep)
    documents = [
        task.document(check_text(text, f"text {i + 1}"), index=i, where=f"text {i + 1}")
        for i, text in enumerate([texts] if isinstance(texts, str) else texts)
    ]
    return task.run(documents, task.budget(None))


class Translation:
    """Translation in one direction as a `Task`.

    Args:
        engine: the model.
        options: see `GenerationOptions`.
        source, target, keep: see `translate`.
        field: column with the text; None takes `text`, `source`, `prompt` or the only one.
        template: text over several columns.
        notice: takes sentences that the user should read, on lost terms and passages that may be cut.
        progress: takes (passages done, passages in all) while a batch runs.

    Attributes:
        direction: the languages, and how the model takes them.
        generation: answers the prompts.
        run_state: seed and counters.
        hint: makes a sentence for a chat model out of a passage, put before the request; None adds nothing.

    Raises:
        InputError: see `translate`.
    """

    def __init__(
        self,
        engine: Engine,
        options: GenerationOptions,
        *,
        source: str | None,
        target: str | None,
        keep: Sequence[str] | None = None,
        field: str | None = None,
        template: str | None = None,
        notice: Callable[[str], None] = lambda message: None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        if keep is not None and (option := options.whole_answers) is not None:
            raise OptionError(
                option, "cannot be combined with `keep`, which translates some passages in pieces"
            )
        self.direction: Direction = find_direction(engine, source, target)
        encode = None if engine.tokenizer is None else partial(self.direction.encode, engine.tokenizer)
        self.generation = Generation(engine, options, encode=encode)
        sampling = self.generation.sampling
        if self.direction.first_token is not None:
            sampling = replace(sampling, first_token=self.direction.first_token)
        if self.direction.decoder_start_token is not None:
            sampling = replace(sampling, decoder_start_token=self.direction.decoder_start_token)
        self.generation.sampling = sampling
        self.run_state = self.generation.run_state
        self.protected = None if keep is None else ProtectedSpans(keep)
        self.terms = None if keep is None else sorted(set(keep))
        self.field = field
        self.template = template
        self.notice = notice
        self.progress = progress
        self.hint: Callable[[str], str] | None = None
        self._window = self._room()
        self._cut_reported = False

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one call of the model; see `Generation.budget`."""
        return self.generation.budget(batch_size)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows and the seed, as JSON, for the journal."""
        source, target = self.direction.source, self.direction.target
        return {
            **self.generation.header(),
            "from": source and source.tag,
            "to": target and target.tag,
            "keep": self.terms,
            "field": self.field,
            "template": self.template,
        }

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[TranslationInput] | RowError]:
        """Cut rows' texts into passages and tokenize them. A text without a letter has none."""
        return [self._prepare(row) for row in rows]

    def fields(
        self, batch: Sequence[PreparedRow[TranslationInput]], budget: Budget
    ) -> list[Fields | RowError]:
        """Translate rows: the `translation_text` of each, and a reasoning model's `reasoning`.

        Raises:
            OutOfMemory: a single passage does not fit.
        """
        found: list[Fields | RowError] = []
        many = self.generation.options.num_return_sequences > 1
        for result in self.run([one.payload for one in batch], budget):
            fields: Fields = {"translation_text": result.texts if many else result.text}
            if result.reasoning:
                fields["reasoning"] = result.reasoning
            found.append(fields | self.columns(result))
        return found

    def columns(self, result: TranslationResult) -> Fields:
        """Return the columns about a result that the options ask for."""
        return self.generation.details.of(result.details, prompt_tokens=result.prompt_tokens)

    def document(self, text: str, *, index: int = 0, where: str = "text") -> TranslationInput:
        """Cut a text into passages and make a prompt of each.

        Args:
            text: the text, of any length.
            index: number that, with the seed, chooses its random numbers.
            where: its place, for errors and notices.

        Raises:
            RowError: a passage cannot be a prompt.
        """
        if self.generation.options.formed is not None:
            # One passage: of several, each translation would have the form, and the whole text would not.
            if not text.strip():
                raise RowError(where, "nothing to translate: the text is empty")
            layout = TextLayout(text, ((0, len(text)),))
            return TranslationInput(index, where, layout, self.prompts_of([text], index * _PASSAGES, where))
        source = self.direction.source
        language = None if source is None else source.iso1 or source.code
        layout = lay_out(text, language, lines=self.direction.message is not None).cut(self._too_long)
        if self.protected is not None:
            layout = without_protected(layout, self.protected)
        return TranslationInput(
            index, where, layout, self.prompts_of(layout.passages, index * _PASSAGES, where)
        )

    def run(self, documents: Sequence[TranslationInput], budget: Budget) -> list[TranslationResult]:
        """Translate documents, all their passages together.

        Args:
            documents: from `document`, with different indices.
            budget: how much one call of the model may hold.

        Raises:
            OutOfMemory: a single passage does not fit.
        """
        found = self._answers(documents, [document.prompts for document in documents], budget)
        # [document][passage][candidate]
        formed = self.generation.options.formed is not None
        texts = [
            [result.texts if formed else _lines_joined(result) for result in results] for results in found
        ]
        repeated, lost = self._restore(documents, texts, budget)
        return [
            self._result(document, texts[i], found[i], repeated[i], lost[i])
            for i, document in enumerate(documents)
        ]

    def _prepare(self, row: Row) -> PreparedRow[TranslationInput] | RowError:
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
            document = self.document(text, index=row.index, where=row.where)
            if (own := self.generation.schema_of(row)) is not None:
                prompts = [replace(prompt, constraint=own) for prompt in document.prompts]
                document = replace(document, prompts=prompts)
        except RowError as error:
            return error
        # So that rows which fit a budget together do so with all their passages in one call.
        count, longest = len(document.prompts), max((one.length for one in document.prompts), default=0)
        new_tokens = self.generation.options.max_new_tokens
        length = count * (longest + new_tokens) - new_tokens if count else 0
        return PreparedRow(row, length, document)

    def prompts_of(self, passages: Sequence[str], first_key: int, where: str) -> list[Prompt]:
        """Return a prompt for each passage, with keys from `first_key` on.

        Raises:
            RowError: a passage cannot be a prompt.
        """
        prefix = self.direction.prefix
        contents: list[str | Messages] = [
            [self._message(passage)] if self.direction.message else prefix + passage for passage in passages
        ]
        return self.generation.prompts.prepare_all(contents, first_key=first_key, where=where)

    def _message(self, passage: str) -> dict[str, Any]:
        assert self.direction.message is not None
        message = self.direction.message(passage)
        if self.hint is not None and isinstance(message["content"], str):
            return {**message, "content": self.hint(passage) + message["content"]}
        return message

    def _room(self) -> int:
        """Return how many tokens of text one passage may have."""
        engine, options = self.generation.engine, self.generation.options
        try:
            (probe,) = self.prompts_of(["a"], 0, "")
        except RowError as error:
            reason = error.reason.split(";")[0]
            raise InputError(f"{engine.name} cannot translate: {reason}") from error
        around = probe.length - self._lengths(["a"])[0]
        if self.direction.message is None:
            limits = [engine.context_length, getattr(engine.tokenizer, "model_max_length", None)]
            sees = min([_WINDOW, *(limit for limit in limits if limit is not None)])
            room = sees - around - 4  # next to its prefix a text has a few tokens more or less than alone
        else:
            room = max(options.max_new_tokens // 2, 16)
            if engine.context_length is not None:
                room = min(room, (engine.context_length - around) // 2)
        if room < 8:
            raise InputError(f"{engine.name} has a context that is too short for a sentence")
        return room

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        return self.generation.prompts.count_tokens(texts)

    def _too_long(self, passages: Sequence[str]) -> list[bool]:
        return [length > self._window for length in self._lengths(passages)]

    def _answers(
        self, documents: Sequence[TranslationInput], prompts: Sequence[Sequence[Prompt]], budget: Budget
    ) -> list[list[GenerationResult]]:
        """Answer the prompts of several documents together; return the results of each."""
        flat = [prompt for mine in prompts for prompt in mine]
        results = iter(run_prompts(self.generation.run, flat, budget, self.progress))
        found = [[next(results) for _ in mine] for mine in prompts]
        for document, mine, theirs in zip(documents, prompts, found, strict=True):
            self._report_cuts(document, mine, theirs)
        return found

    def _report_cuts(
        self, document: TranslationInput, prompts: Sequence[Prompt], results: Sequence[GenerationResult]
    ) -> None:
        for prompt, result in zip(prompts, results, strict=True):
            most = prompt.new_tokens
            if not self._cut_reported and any(answer.tokens >= most for answer in result.answers):
                self._cut_reported = True
                own = most < self.generation.options.max_new_tokens
                advice = "the model writes no longer ones" if own else "raise `max_new_tokens`"
                self.notice(
                    f"{document.where}: a passage reached its limit of {most} tokens and may be cut;"
                    f" {advice} (further cut passages are not reported)"
                )

    def _restore(
        self, documents: Sequence[TranslationInput], texts: list[list[list[str]]], budget: Budget
    ) -> tuple[list[list[GenerationResult]], list[list[str]]]:
        """Translate passages that lost a protected term once more, piece by piece around those terms.

        Args:
            documents: the documents.
            texts: [document][passage][candidate]; passages that lost something are replaced in it.
            budget: how much one call of the model may hold.

        Returns:
            For each document, the results of its pieces, and the terms that its passages had lost.
        """
        lost: list[list[str]] = [[] for _ in documents]
        prompts: list[list[Prompt]] = [[] for _ in documents]
        again: list[tuple[int, int, TextLayout]] = []
        if self.protected is None:
            return [[] for _ in documents], lost
        for i, document in enumerate(documents):
            for j, passage in enumerate(document.layout.passages):
                missing = {item: None for text in texts[i][j] for item in self.protected.lost(passage, text)}
                if not missing:
                    continue
                lost[i] += missing
                pieces = around(passage, self.protected)
                again.append((i, j, pieces))
                first = document.index * _PASSAGES + _PASSAGES // 2 + len(prompts[i])
                prompts[i] += self.prompts_of(pieces.passages, first, document.where)
            for item in dict.fromkeys(lost[i]):
                self.notice(
                    f"{document.where}: the model lost {item}; the text around it is translated separately"
                )
        found = self._answers(documents, prompts, budget)
        waiting = [iter(results) for results in found]
        for i, j, pieces in again:
            candidates = [_lines_joined(next(waiting[i])) for _ in pieces.spans]
            texts[i][j] = [pieces.filled(candidate) for candidate in zip(*candidates, strict=True)]
        return found, lost

    def _result(
        self,
        document: TranslationInput,
        candidates: Sequence[Sequence[str]],
        drafts: Sequence[GenerationResult],
        repeated: Sequence[GenerationResult],
        lost: list[str],
    ) -> TranslationResult:
        """Put each passage's n-th translation in its place, for each n."""
        source, target = self.direction.source, self.direction.target
        spaces = None
        if source and target and source.spaces_sentences != target.spaces_sentences:
            spaces = target.spaces_sentences
        layout, many = document.layout, self.generation.options.num_return_sequences
        filled = [layout.filled_spans([texts[n] for texts in candidates], spaces=spaces) for n in range(many)]
        results = [*drafts, *repeated]
        cut = any(answer.finish_reason == "length" for result in results for answer in result.answers)
        thoughts = [answer.reasoning for result in drafts for answer in result.answers if answer.reasoning]
        return TranslationResult(
            texts=[text for text, _ in filled],
            reasoning="\n\n".join(thoughts),
            separated=lost,
            prompt_tokens=sum(result.prompt_tokens for result in results),
            tokens=sum(result.tokens for result in results),
            finish_reason="length" if cut else "stop",
            seed=self.run_state.seed,
            passages=filled[0][1],
            details=[_details([result.answers[n] for result in results]) for n in range(many)],
        )


def _details(answers: Sequence[Answer]) -> AnswerDetails:
    """Return the facts about one text of the answers for its passages."""
    cut = any(answer.finish_reason == "length" for answer in answers)
    logprobs = [one for answer in answers for one in answer.logprobs or ()]
    return AnswerDetails("length" if cut else "stop", sum(answer.tokens for answer in answers), logprobs)


def _lines_joined(result: GenerationResult) -> list[str]:
    """Return the candidates for one passage, each on one line, as the passage was."""
    return [" ".join(text.splitlines()).strip() for text in result.texts]
