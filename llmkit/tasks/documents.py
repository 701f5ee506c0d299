"""Translation of documents: their segments as rows, and the documents put together again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.read import RowSource
from llmkit.records.rows import Row
from llmkit.records.task import Fields, RunState
from llmkit.tasks.alignment import WordAligner
from llmkit.tasks.glossary import GlossaryEnforcer
from llmkit.text.documents import (
    FORMATS,
    Document,
    Filled,
    Segment,
    apply_inline,
    apply_parts,
    parse,
    render_checked,
)

if TYPE_CHECKING:
    from llmkit.tasks.translation import Translation
    from llmkit.tasks.translation_types import TranslationInput
    from llmkit.text.documents.terms import GlossaryCheck

_PARTS = 2**24
"""Part k of row r has the index r + (k + 1) * _PARTS, for its random numbers."""
_STOPS = ".!?。"


@dataclass(frozen=True)
class DocumentFile:
    """A document and its bytes.

    Attributes:
        name: name for messages and journals.
        data: bytes of the file.
        document: what was read.
    """

    name: str
    data: bytes
    document: Document


@dataclass(frozen=True)
class TranslatedDocument:
    """A document with translated segments.

    Attributes:
        data: bytes of the file to write.
        kept: (place, reason) of segments that keep their source.
        guessed: places of segments whose markup goes around the whole, because no word shows its place.
    """

    data: bytes
    kept: list[tuple[str, str]]
    guessed: list[str]


def read_document(
    name: str,
    data: bytes,
    format: str,
    *,
    keep: Sequence[str] = (),
    reflow: bool = False,
    keys: Sequence[str] | None = None,
    encoding: str | None = None,
) -> DocumentFile:
    """Read a document to translate; see `llmkit.text.documents.parse`.

    Raises:
        InputError: it cannot be read, or its format cannot be written; the message begins with the name.
    """
    known = FORMATS.get(format)
    if known is not None and not known.written:
        raise InputError(
            f"{name}: {known.title} is only read; save it in another format, such as .docx or .md"
        )
    try:
        document = parse(data, format, keep=keep, reflow=reflow, keys=keys, encoding=encoding)
        return DocumentFile(name, data, document)
    except OptionError:
        raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


class DocumentTranslation:
    """Translation of the segments of documents as a `Task`: a row is a segment.

    If a translation loses a protected piece, its segment is translated again in parts, around the pieces. If
    that fails too, the segment is a failed row.

    Args:
        translation: translates texts; it keeps no terms of its own, and its column is `text`.
        files: the documents.
        glossary: counts the terms that were met; translations are made to use them.

    Raises:
        OptionError: several translations were requested.
    """

    def __init__(
        self,
        translation: Translation,
        files: Sequence[DocumentFile],
        *,
        glossary: GlossaryCheck | None = None,
    ) -> None:
        if translation.generation.options.num_return_sequences > 1:
            raise OptionError("num_return_sequences", "must be 1 for documents")
        self.translation = translation
        self.files = files
        self.glossary = glossary
        self.enforcer = None if glossary is None else GlossaryEnforcer(translation, glossary.glossary)
        self.run_state: RunState = translation.run_state
        # A chat model copies markers; a translation model makes words of them.
        self._marked = translation.direction.message is not None
        engine, direction = translation.generation.engine, translation.direction
        self._aligner = WordAligner(engine, direction) if WordAligner.possible(engine, direction) else None
        self._segments: list[tuple[DocumentFile, Segment]] = [
            (file, segment) for file in files for segment in file.document.segments
        ]

    def source(self, **options: Any) -> RowSource:
        """The segments of all documents as rows.

        Args:
            options: what the segments depend on besides the files, for the journal.
        """
        rows = (
            Row(
                index,
                {"file": file.name, "segment": segment.number, "text": self._text(segment)},
                f"{file.name}, {segment.where}",
            )
            for index, (file, segment) in enumerate(self._segments)
        )
        hashes = {file.name: hashlib.sha256(file.data).hexdigest() for file in self.files}
        return RowSource("documents", rows, identity={"files": hashes, **options}, count=len(self._segments))

    def _text(self, segment: Segment) -> str:
        return segment.marked() if self._marked else segment.text

    def budget(self, batch_size: int | None) -> Budget:
        return self.translation.budget(batch_size)

    def header(self) -> dict[str, Any]:
        terms = None if self.glossary is None else self.glossary.glossary.entries
        return {**self.translation.header(), **({} if terms is None else {"glossary": terms})}

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[TranslationInput] | RowError]:
        return self.translation.prepare(rows)

    def fields(
        self, batch: Sequence[PreparedRow[TranslationInput]], budget: Budget
    ) -> list[Fields | RowError]:
        """Translate segments: `translation_text`, or `parts` where the text had to be cut at its pieces.

        `alignment` holds pairs of words where markup needs them to find its place.
        """
        inputs = [one.payload for one in batch]
        results = self.translation.run(inputs, budget)
        if self.enforcer is not None:
            results = self.enforcer.enforce(inputs, results, budget)
        found: list[Fields | RowError] = []
        again: list[int] = []
        for place, (one, result) in enumerate(zip(batch, results, strict=True)):
            fields: Fields = {"translation_text": result.text}
            filled = apply_inline(self._segments[one.row.index][1], result.text)
            if filled.parts is None:
                again.append(place)
            elif filled.notice is not None and self._aligner is not None:
                pairs = self._aligner.align_result(one.payload, result)
                fields["alignment"] = [[*of, *to] for of, to in pairs]
            found.append(fields)
        for place, fields_or_error in zip(again, self._in_parts(batch, again, budget), strict=True):
            found[place] = fields_or_error
        return found

    def _in_parts(
        self, batch: Sequence[PreparedRow[TranslationInput]], places: Sequence[int], budget: Budget
    ) -> list[Fields | RowError]:
        """Translate segments once more, part by part around their pieces."""
        segments = [self._segments[batch[place].row.index][1] for place in places]
        parts = [
            self.translation.document(
                text, index=batch[place].row.index + (k + 1) * _PARTS, where=batch[place].row.where
            )
            for place, segment in zip(places, segments, strict=True)
            for k, text in enumerate(segment.parts())
        ]
        results = self.translation.run(parts, budget) if parts else []
        if self.enforcer is not None and parts:
            results = self.enforcer.enforce(parts, results, budget)
        translated = iter(results)
        found: list[Fields | RowError] = []
        for place, segment in zip(places, segments, strict=True):
            texts = [_fragment(part, next(translated).text) for part in segment.parts()]
            filled = apply_parts(segment, texts)
            if filled.parts is None:
                reason = filled.notice or "the translation does not fit"
                found.append(RowError(batch[place].row.where, reason))
            else:
                found.append({"translation_text": " ".join(texts), "parts": texts})
        return found

    def assemble(self, rows: Iterable[Mapping[str, Any]]) -> list[TranslatedDocument]:
        """Put the documents together.

        Args:
            rows: the output rows of all segments, in order: with `translation_text`, or with `error`.
        """
        waiting = iter(rows)
        return [self._assembled(file, waiting) for file in self.files]

    def _assembled(self, file: DocumentFile, rows: Iterable[Mapping[str, Any]]) -> TranslatedDocument:
        kept: list[tuple[str, str]] = []
        guessed: list[str] = []
        filled: list[Filled] = []
        for segment, row in zip(file.document.segments, rows, strict=False):
            if "translation_text" not in row:
                kept.append((segment.where, str(row.get("error", ""))))
                filled.append(Filled(None))
                continue
            one = apply_parts(segment, row["parts"]) if "parts" in row else _applied(segment, row)
            filled.append(one)
            if one.notice is not None:
                guessed.append(segment.where)
            if self.glossary is not None:
                self.glossary.add(segment.text, row["translation_text"])
        data, left_out = render_checked(file.document, [one.parts for one in filled])
        reason = "its translation would change the document's structure"
        kept += [(file.document.segments[number].where, reason) for number in left_out]
        return TranslatedDocument(data, kept, guessed)


def _applied(segment: Segment, row: Mapping[str, Any]) -> Filled:
    """Write the translation of a row, with its markup at the aligned words where that fits."""
    pairs = [((a, b), (c, d)) for a, b, c, d in row.get("alignment", ())]
    if pairs:
        aligned = apply_inline(segment, row["translation_text"], pairs)
        if aligned.parts is not None:
            return aligned
    return apply_inline(segment, row["translation_text"])


def _fragment(part: str, translation: str) -> str:
    """The translation of a part of a sentence, without the full stop that a model adds to it."""
    if part[-1:] in _STOPS:
        return translation
    return translation.rstrip().rstrip(_STOPS) or translation
