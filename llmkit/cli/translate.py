"""`llmkit translate`: translate a text, documents, or a file of texts into another language."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, documents, options, progress, rows
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import argument, flag
from llmkit.cli.common.row_flags import DetailFlags
from llmkit.errors import InputError, OptionError
from llmkit.records.rows import check_text

if TYPE_CHECKING:
    from llmkit.cluster.options import ClusterOptions
    from llmkit.records.read import RowSource
    from llmkit.records.rows import Row
    from llmkit.runtime.spec import ModelSpec
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.tasks.documents import DocumentFile, DocumentTranslation
    from llmkit.tasks.translation import Translation


_MAX_DOCUMENT = 256 << 20
_ZIPPED = frozenset({"docx", "odt", "epub"})

EXAMPLES = [
    'llmkit translate --from en --to de "Where is my book?"',
    'echo "Das Wetter ist heute schön." | llmkit translate --to en',
    "llmkit translate --from en --to de README.md docs/ -o out/",
]


@options.expand
def run(
    *,
    texts: Annotated[
        list[str] | None,
        argument(
            "TEXT|FILE...",
            help="A text, documents, or folders (Markdown, HTML, subtitles, gettext, JSON, YAML,"
            " Word, OpenDocument, EPUB, plain text). Without it, --input or stdin is read.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        flag(
            "--from",
            metavar="LANGUAGE",
            help="Language of the text, such as de, deu, zh-Hant or German.",
            default="the model's, if it has one",
        ),
    ] = None,
    target: Annotated[
        str | None,
        flag(
            "--to",
            metavar="LANGUAGE",
            help="Language of the translation.",
            default="the model's, if it has one",
        ),
    ] = None,
    model: RowModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    forms: FormFlags,
    details: DetailFlags,
    keep: Annotated[
        Path | None,
        flag(
            "--keep",
            metavar="FILE",
            help="File of terms that stay unchanged in the translation, one per line; also protects {name},"
            " %s, URLs and tags; /dev/null protects only these.",
            default="none",
        ),
    ] = None,
    glossary: Annotated[
        Path | None,
        flag(
            "--glossary",
            metavar="FILE",
            help="File of terms and their translations, separated by a tab; a notice lists terms that"
            " the translation does not contain.",
            default="none",
        ),
    ] = None,
    format: Annotated[
        str | None,
        flag(
            "--format",
            metavar="NAME",
            help="Format of the documents, or of stdin: md, html, srt, vtt, po, json, yaml, docx, odt, epub,"
            " txt.",
            default="by the file's name",
        ),
    ] = None,
    reflow: Annotated[bool, flag("--reflow", help="Plain text: join the lines of each paragraph.")] = False,
    keys: Annotated[
        str | None,
        flag(
            "--keys",
            metavar="PATHS",
            help="JSON and YAML: values to translate, such as menu.*.label,title.",
            default="all texts",
        ),
    ] = None,
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Translate a text of any length, documents, or a file of texts, and keep the layout."""
    from llmkit.records.encodings import check_encoding
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.text.languages import find_pair

    wanted = GenerationOptions(
        **decoding.values(), seed=model.seed, system=system, **forms.values(), **details.values()
    )
    texts = None if texts == ["-"] else texts  # stdin
    find_pair(source, target)
    terms = None if keep is None else _terms(keep)
    spec = model.spec(task="text-generation", verb="translate")
    as_document = format is not None or glossary is not None
    on_stdin = not texts and as_document and inputs.input is None
    are_files = bool(texts) and documents.are_files(texts or [])
    text = texts[0] if texts and glossary is not None and format is None and not are_files else None
    if on_stdin or are_files or text is not None:
        about_rows = options.given(inputs, but=["encoding"] if text is None else [])
        if given := [*about_rows, *options.given(forms, details)]:
            raise InputError(f"{', '.join(given)}: applies to texts and rows; omit it for documents")
        check_encoding(inputs.encoding)
        named = texts or [] if text is None else []
        paper = _DocumentFlags(named, format, terms, glossary, reflow, keys, text, inputs.encoding)
        _documents(paper, spec, model.on_cluster, wanted, outputs, source, target)
        return
    _refuse_document_flags(glossary=glossary, format=format, reflow=reflow, keys=keys)
    details.to_rows(outputs)
    rows.check_output(outputs)
    source_rows, single = rows.open_source(texts[0] if texts else None, inputs, field="text")
    forms.check_rows(single=single)

    def make() -> Translation:
        from llmkit.cli.common.loading import open_engine
        from llmkit.tasks.translation import Translation

        return Translation(
            open_engine(spec, model.on_cluster),
            wanted,
            source=source,
            target=target,
            keep=terms,
            field=inputs.field,
            template=inputs.template,
            notice=console.notice,
        )

    _rows(make, source_rows, outputs, wanted, single=single)


def _rows(
    make: Callable[[], Translation],
    source: RowSource,
    outputs: options.OutputFlags,
    wanted: GenerationOptions,
    *,
    single: bool,
) -> None:
    """Translate one text to stdout, or each row; `make` loads the model after the text is checked."""
    from llmkit.tasks.details import detail_columns

    one = single and outputs.output is None and not outputs.json and wanted.num_return_sequences == 1
    row = next(iter(source)) if one else None
    if row is not None and not row.data["text"].strip():
        raise InputError("nothing to translate: the text is empty")
    translation = make()
    _report(translation)
    if row is not None:
        _one(translation, row, outputs)
    else:
        rows.run_rows(
            translation,
            source,
            outputs,
            verb="translate",
            field="translation_text",
            single=single,
            more=detail_columns(wanted),
        )
    rows.report_cut(translation.generation)


def _report(translation: Translation) -> None:
    """Report the languages in use."""
    direction = translation.direction
    for note in direction.notes:
        console.notice(note)
    names = [language.label if language else "?" for language in (direction.source, direction.target)]
    console.detail(f"translating from {names[0]} to {names[1]}")
    rows.report_seed(translation.run_state, sampling=not translation.generation.sampling.greedy)


def _one(translation: Translation, row: Row, flags: options.OutputFlags) -> None:
    """Translate one text and print it with its line breaks."""
    document = translation.document(check_text(row.data["text"], row.where), where=row.where)
    budget = translation.budget(flags.rows_per_batch())
    with progress.Progress("translate", total=1.0) as bar:
        translation.progress = lambda done, total: bar.update(done / total, f"{done} of {total} passages")
        (result,) = translation.run([document], budget)
    if result.reasoning:
        console.say(result.reasoning)
    print(result.text, flush=True)
    translation.columns(result)


def _terms(file: Path) -> list[str]:
    """Return the terms in a file."""
    from llmkit.text.documents.terms import read_terms

    return read_terms(file)


@dataclass
class _DocumentFlags:
    """Arguments and flags about documents."""

    arguments: list[str]
    format: str | None
    keep: list[str] | None
    glossary: Path | None
    reflow: bool
    keys: str | None
    text: str | None
    encoding: str | None = None


def _refuse_document_flags(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise InputError(f"--{name}: applies to documents; give a file, or give --format for stdin")


def _documents(
    paper: _DocumentFlags,
    spec: ModelSpec,
    cluster: ClusterOptions | None,
    wanted: GenerationOptions,
    outputs: options.OutputFlags,
    source: str | None,
    target: str | None,
) -> None:
    """Translate documents into a folder or a file, or one document to stdout."""
    outputs.check()
    if outputs.json:
        raise InputError("--json: documents are written as documents; omit it")
    found = documents.find(paper.arguments, paper.format)
    paths = [] if outputs.output is None else documents.targets(found, paper.arguments, outputs.output)
    if outputs.output is None and (len(found) > 1 or any(Path(name).is_dir() for name in paper.arguments)):
        raise InputError("several documents need a folder for their translations: give it with -o/--output")
    zipped = any(one.format in _ZIPPED for one in found) or paper.format in _ZIPPED
    if outputs.output is None and zipped and sys.stdout.isatty():
        raise OptionError("output", "is missing: a terminal cannot show this format; give a file")
    there = outputs.output is not None and documents.all_there(
        paths, outputs.output, resume=outputs.resume, overwrite=outputs.overwrite
    )
    files = _read_all(found, paper)
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.documents import DocumentTranslation
    from llmkit.tasks.translation import Translation
    from llmkit.text.documents.terms import GlossaryCheck, read_glossary

    check = None if paper.glossary is None else GlossaryCheck(read_glossary(paper.glossary))
    translation = Translation(
        open_engine(spec, cluster), wanted, source=source, target=target, field="text", notice=console.notice
    )
    _report(translation)
    task = DocumentTranslation(translation, files, glossary=check)
    if there:
        header, adopt = rows.header_of(task, _segments(task, paper), outputs, "translate")
        documents.check_finished(paths, header, adopt)
        console.notice(f"{outputs.output} is finished already; nothing to do")
        return
    failed = _translate(task, outputs, paths, paper)
    if check is not None and check.unmet:
        for line in check.lines():
            console.notice(f"glossary: {line}")
    if failed:
        raise console.Exit(3)


def _read_all(found: Sequence[documents.InputDocument], paper: _DocumentFlags) -> list[DocumentFile]:
    from llmkit.tasks.documents import read_document

    keys = None if paper.keys is None else [key.strip() for key in paper.keys.split(",")]
    chosen: list[tuple[str, Path | None, str]] = [(str(one.below), one.path, one.format) for one in found]
    files = []
    if not found:
        chosen = [("stdin" if paper.text is None else "text", None, paper.format or "txt")]
    for name, path, format in chosen:
        data = _text_bytes(paper) if path is None else documents.read(path, _MAX_DOCUMENT + 1)
        if len(data) > _MAX_DOCUMENT:
            raise InputError(
                f"{name} is larger than {_MAX_DOCUMENT >> 20} MiB, the limit of a document; split it"
            )
        file = read_document(
            name,
            data,
            format,
            keep=paper.keep or (),
            reflow=paper.reflow,
            keys=keys,
            encoding=paper.encoding,
        )
        for sentence in file.document.left_out:
            console.notice(f"{name}, {sentence}; it stays as it is")
        files.append(file)
    if not any(file.document.segments for file in files):
        raise InputError("nothing to translate: there is no prose in the documents")
    return files


def _text_bytes(paper: _DocumentFlags) -> bytes:
    """Return the bytes of a document that is not a file: the argument, or stdin to just above the limit."""
    if paper.text is not None:
        return f"{paper.text}\n".encode()
    return sys.stdin.buffer.read(_MAX_DOCUMENT + 1)


def _segments(task: DocumentTranslation, paper: _DocumentFlags) -> RowSource:
    return task.source(keep=paper.keep, reflow=paper.reflow, keys=paper.keys, encoding=paper.encoding)


def _translate(
    task: DocumentTranslation, outputs: options.OutputFlags, paths: Sequence[Path], paper: _DocumentFlags
) -> bool:
    """Run the segments and write the documents; return True if some segments keep their source."""
    source = _segments(task, paper)
    if outputs.output is None:
        stream = io.StringIO()
        rows.to_stream(task, source, outputs, stream, verb="translate", columns=("translation_text",))
        lines = stream.getvalue().split("\n")  # a text can have other line breaks
        journal = None
    else:
        journal = documents.journal_of(paths, outputs.output)
        journal.parent.mkdir(parents=True, exist_ok=True)
        flags = replace(outputs, output=journal)
        rows.to_file(task, source, flags, verb="translate", columns=("translation_text",))
        lines = journal.read_text(encoding="utf-8").split("\n")
    results = task.assemble(json.loads(line) for line in lines if line)
    failed = False
    for file, result in zip(task.files, results, strict=True):
        failed |= bool(result.kept)
        for where, reason in result.kept:
            console.notice(f"{file.name}, {where}: not translated: {reason}")
        if result.guessed:
            places = list(dict.fromkeys(result.guessed))
            shown = ", ".join(places[:5]) + (", ..." if len(places) > 5 else "")
            many = console.count(len(result.guessed), "segment")
            console.notice(f"{file.name}: the position of markup is uncertain in {many} ({shown})")
    console.will_exit(3 if failed else 0)
    if journal is None:
        sys.stdout.buffer.write(results[0].data)
        sys.stdout.buffer.flush()
        return failed
    for path, result in zip(paths, results, strict=True):
        documents.write(path, result.data)
    documents.remember(paths, [result.data for result in results], journal)
    journal.unlink()
    console.notice(f"{console.count(len(paths), 'document')} in {outputs.output}")
    return failed
