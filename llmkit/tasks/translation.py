"""Translation: texts of any length, in batches across rows, put back with their lines and blank lines.

A text is cut into passages (sentences for translation models, lines for chat models) which are translated
through `tasks.generation` and put back where they stood; all between them stays as it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, text_of
from llmkit.tasks.direction import Direction, find_direction
from llmkit.tasks.generation import Generation, GenerationOptions, GenerationResult
from llmkit.tasks.sub_batches import run_parts
from llmkit.text.layout import TextLayout, lay_out
from llmkit.text.protected_spans import ProtectedSpans

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

__all__ = ["Translation", "TranslationResult", "translate"]

DEFAULT_FIELDS = ("text", "source", "prompt")
# Tokens of one passage at most, whatever the model could see: translation models know single sentences.
_WINDOW = 512
# Passages of a row have indices of their own, which choose their random numbers.
_PASSAGES = 2**20


@dataclass(frozen=True)
class TranslationResult:
    """The translation of one text.

    Attributes:
        texts: `num_return_sequences` translations, best first.
        reasoning: a reasoning model's thoughts, else empty.
        apart: what was to be kept and did not come through a passage, which was then translated in parts
            around it.
    """

    texts: list[str]
    reasoning: str
    apart: list[str]


@dataclass(frozen=True)
class _Document:
    """A text on its way: where its passages stand, and their prompts."""

    layout: TextLayout
    prompts: list[PreparedRow]


def translate(
    model: LoadedModel | str,
    texts: str | Sequence[str],
    *,
    source: str | None = None,
    target: str | None = None,
    options: GenerationOptions | None = None,
    keep: Sequence[str] | None = None,
) -> list[TranslationResult]:
    """Translate texts.

    Args:
        model: a loaded model, or a name to load.
        texts: one or several, each of any length.
        source: language of the texts: a code of ISO 639-1 or -3, a BCP-47 tag, an English name, or the
            model's own code. May be None for models that need not be told.
        target: the language to write, likewise.
        options: see `GenerationOptions`.
        keep: terms that must come through unharmed, and with them `{name}`, `%s`, URLs and tags; None
            watches over nothing.

    Raises:
        InputError: unknown model or language, a language the model does not have, or a model that does not
            translate.
    """
    if isinstance(model, str):
        from llmkit.runtime.load import load
        from llmkit.runtime.spec import ModelSpec

        model = load(ModelSpec(model))
    task = Translation(model, options or GenerationOptions(), source=source, target=target, keep=keep)
    rows = [
        Row(index, {"text": text}, f"text {index + 1}")
        for index, text in enumerate([texts] if isinstance(texts, str) else texts)
    ]
    return task.run(_whole(task.prepare(rows)))


class Translation:
    """A model that translates in one direction: what `cli.rows.run_rows` calls.

    Args:
        loaded: from `runtime.load`.
        options: see `GenerationOptions`.
        source, target, keep: see `translate`.
        field: the column that holds the text; None takes `text`, `source`, `prompt` or the only one.
        template: a text over several columns.
        notice: takes sentences that the user should read: what did not come through, what may be cut.
        progress: takes (passages done, passages in all) within a call of `run`.

    Raises:
        InputError: see `translate`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
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
        self.direction: Direction = find_direction(loaded, source, target)
        self.generation = Generation(loaded, options)
        for name, value in self.direction.decoding:
            setattr(self.generation.decoding.config, name, value)
        self.keeper = None if keep is None else ProtectedSpans(keep)
        self.terms = None if keep is None else sorted(set(keep))
        self.field = field
        self.template = template
        self.notice = notice
        self.progress = progress
        self.limit = self.generation.budget(None)
        self._window = self._room()
        self._told_of_cuts = False

    @property
    def seed(self) -> int:
        return self.generation.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.generation.seed = seed

    @property
    def seed_given(self) -> bool:
        return self.generation.seed_given

    @property
    def tokens_written(self) -> int:
        return self.generation.tokens_written

    def budget(self, batch_size: int | None) -> Budget:
        """How much one call of the model may hold; see `Generation.budget`."""
        self.limit = self.generation.budget(batch_size)
        return self.limit

    def header(self) -> dict[str, Any]:
        """All that the results depend on, besides the rows and the seed."""
        source, target = self.direction.source, self.direction.target
        return {
            **self.generation.header(),
            "from": source and source.tag,
            "to": target and target.tag,
            "keep": self.terms,
            "field": self.field,
            "template": self.template,
        }

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow | RowError]:
        """Cut rows' texts into passages and tokenize them. A text without a letter has none."""
        return [self._prepare(row) for row in rows]

    def work(self, batch: Sequence[PreparedRow]) -> list[dict[str, Any] | RowError]:
        """Translate rows: the field `translation_text` for each, and a reasoning model's `reasoning`."""
        fields: list[dict[str, Any] | RowError] = []
        for result in self.run(batch):
            many = self.generation.options.num_return_sequences > 1
            field: dict[str, Any] = {"translation_text": result.texts if many else result.texts[0]}
            if result.reasoning:
                field["reasoning"] = result.reasoning
            fields.append(field)
        return fields

    def run(self, batch: Sequence[PreparedRow]) -> list[TranslationResult]:
        """Translate prepared rows, all their passages together.

        Raises:
            OutOfMemory: a single passage does not fit.
        """
        documents: list[_Document] = [one.payload for one in batch]
        answers = iter(self._answers([prompt for one in documents for prompt in one.prompts]))
        drafts = [[next(answers) for _ in document.prompts] for document in documents]
        texts = [[_texts(answer) for answer in draft] for draft in drafts]
        apart = self._keep(batch, texts)
        return [
            TranslationResult(self._filled(document, candidates), _reasoning(draft), lost)
            for document, draft, candidates, lost in zip(documents, drafts, texts, apart, strict=True)
        ]

    def _prepare(self, row: Row) -> PreparedRow | RowError:
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error
        source = self.direction.source
        language = None if source is None else source.iso1 or source.code
        layout = lay_out(text, language, lines=self.direction.message is not None).cut(self._too_long)
        if self.keeper is not None:
            layout = _spared(layout, self.keeper)
        try:
            prompts = _whole(self._prompts(layout.passages, row, first=0))
        except RowError as error:
            return error
        # So that rows which fit a budget together do so with all their passages in one call.
        longest = max((prompt.length for prompt in prompts), default=0)
        new_tokens = self.generation.options.max_new_tokens
        length = len(prompts) * (longest + new_tokens) - new_tokens if prompts else 0
        return PreparedRow(row=row, length=length, payload=_Document(layout, prompts))

    def _prompts(self, passages: Sequence[str], row: Row, *, first: int) -> list[PreparedRow | RowError]:
        """Prompts for passages of a row; `first` is the number of the first among all that it ever has."""
        message, prefix = self.direction.message, self.direction.prefix
        if self.direction.source_token is not None:
            # Here and not once: another direction may use the same model.
            tokenizer: Any = self.generation.loaded.tokenizer
            tokenizer.src_lang = self.direction.source_token
        return self.generation.prepare(
            [
                Row(
                    row.index * _PASSAGES + first + number,
                    {"messages": [message(passage)]} if message else {"text": prefix + passage},
                    row.where,
                )
                for number, passage in enumerate(passages)
            ]
        )

    def _room(self) -> int:
        """How many tokens of text one passage may have."""
        loaded, options = self.generation.loaded, self.generation.options
        try:
            (probe,) = _whole(self._prompts(["a"], Row(0, {}, ""), first=0))
        except RowError as error:
            reason = error.reason.split(";")[0]
            raise InputError(f"{loaded.spec.name} cannot be asked to translate: {reason}") from error
        around = probe.length - self._lengths(["a"])[0]
        if self.direction.message is None:
            sees = min(_WINDOW, loaded.context_length or _WINDOW, loaded.tokenizer.model_max_length)
            room = sees - around - 4  # a text has a few tokens more or less beside its prefix than alone
        else:
            room = max(options.max_new_tokens // 2, 16)
            if loaded.context_length is not None:
                room = min(room, (loaded.context_length - around) // 2)
        if room < 8:
            raise InputError(f"{loaded.spec.name} sees too few tokens to translate a sentence")
        return room

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        tokenizer = self.generation.loaded.tokenizer
        encoded: Any = tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def _too_long(self, passages: Sequence[str]) -> list[bool]:
        return [length > self._window for length in self._lengths(passages)]

    def _answers(self, prompts: Sequence[PreparedRow]) -> list[list[GenerationResult]]:
        answers = run_parts(self.generation, prompts, self.limit, self.progress)
        self._look_for_cuts(prompts, answers)
        return answers

    def _look_for_cuts(
        self, prompts: Sequence[PreparedRow], answers: Sequence[Sequence[GenerationResult]]
    ) -> None:
        for one, candidates in zip(prompts, answers, strict=True):
            most = one.payload.new_tokens
            if not self._told_of_cuts and any(answer.tokens >= most for answer in candidates):
                self._told_of_cuts = True
                self.notice(
                    f"{one.row.where}: a passage reached the {most} tokens that it may have, and may be cut;"
                    " raise --max-new-tokens (others will not be told)"
                )

    def _keep(self, batch: Sequence[PreparedRow], texts: list[list[list[str]]]) -> list[list[str]]:
        """Translate once more, in parts around what is to be kept, the passages that lost some of it.

        Args:
            batch: the rows.
            texts: [row][passage][candidate]; those that lost something are replaced in it.

        Returns:
            For each row what had been lost.
        """
        apart: list[list[str]] = [[] for _ in batch]
        if self.keeper is None:
            return apart
        again: list[tuple[int, int, TextLayout]] = []
        prompts: list[PreparedRow] = []
        for i, one in enumerate(batch):
            begun = len(prompts)
            for j, passage in enumerate(one.payload.layout.passages):
                lost = {item: None for text in texts[i][j] for item in self.keeper.lost(passage, text)}
                if not lost:
                    continue
                apart[i] += lost
                parts = _around(passage, self.keeper)
                again.append((i, j, parts))
                first = _PASSAGES // 2 + len(prompts) - begun
                prompts += _whole(self._prompts(parts.passages, one.row, first=first))
            for item in dict.fromkeys(apart[i]):
                self.notice(
                    f"{one.row.where}: {item} did not come through; what stands around it is translated apart"
                )
        answers = iter(self._answers(prompts))
        for i, j, parts in again:
            pieces = [_texts(next(answers)) for _ in parts.spans]
            texts[i][j] = [parts.filled(candidate) for candidate in zip(*pieces, strict=True)]
        return apart

    def _filled(self, document: _Document, candidates: Sequence[Sequence[str]]) -> list[str]:
        """The document with each passage's n-th translation in its place, for each n."""
        source, target = self.direction.source, self.direction.target
        spaces = None
        if source and target and source.spaces_sentences != target.spaces_sentences:
            spaces = target.spaces_sentences
        layout, many = document.layout, self.generation.options.num_return_sequences
        return [layout.filled([texts[n] for texts in candidates], spaces=spaces) for n in range(many)]


def _texts(answers: Sequence[GenerationResult]) -> list[str]:
    """What a model wrote for one passage, each candidate on one line, as the passage was."""
    return [" ".join(answer.text.splitlines()).strip() for answer in answers]


def _reasoning(draft: Sequence[Sequence[GenerationResult]]) -> str:
    return "\n\n".join(answer.reasoning for answers in draft for answer in answers if answer.reasoning)


def _around(passage: str, keeper: ProtectedSpans) -> TextLayout:
    """The parts of a passage that stand between what is to be kept and have letters."""
    return TextLayout(passage, ((0, len(passage)),)).without(keeper.spans(passage))


def _spared(layout: TextLayout, keeper: ProtectedSpans) -> TextLayout:
    """The layout without passages that say nothing besides what is to be kept, and with nothing of that cut
    in two: where the border of a passage ran through it (`<a title="Oh. No">`) it is in no passage."""
    starts = [start for start, _ in layout.spans]
    broken = []
    for begin, end in keeper.spans(layout.text):
        holder = bisect_right(starts, begin) - 1
        if holder < 0 or layout.spans[holder][1] < end:
            broken.append((begin, end))
    whole = layout.without(broken) if broken else layout
    speaking = (span for span in whole.spans if _around(layout.text[slice(*span)], keeper).spans)
    return TextLayout(layout.text, tuple(speaking))


def _whole(prompts: Sequence[PreparedRow | RowError]) -> list[PreparedRow]:
    """The prompts, none of which failed, or the first failure raised."""
    for prompt in prompts:
        if isinstance(prompt, RowError):
            raise prompt
    return [prompt for prompt in prompts if isinstance(prompt, PreparedRow)]
