"""`llmkit translate`: from one language into another, a text or a file of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options, rows
from llmkit.cli.common.options import argument, flag
from llmkit.errors import InputError
from llmkit.records.rows import check_text

if TYPE_CHECKING:
    from llmkit.records.rows import Row
    from llmkit.tasks.translation import Translation


EXAMPLES = [
    'llmkit translate --from en --to de "Where is my book?"',
    'echo "Das Wetter ist heute schön." | llmkit translate --to en',
]


@options.expand
def run(
    *,
    text: Annotated[
        str | None, argument("TEXT", help="The text. Without it, --input or stdin is read.")
    ] = None,
    source: Annotated[
        str | None,
        flag(
            "--from",
            metavar="LANGUAGE",
            help="Language of the text, such as de, deu, zh-Hant or German.",
            default="the model's, where it has one",
        ),
    ] = None,
    target: Annotated[
        str | None,
        flag(
            "--to",
            metavar="LANGUAGE",
            help="Language of the translation.",
            default="the model's, where it has one",
        ),
    ] = None,
    model: options.ModelFlags,
    inputs: options.InputFlags,
    outputs: options.OutputFlags,
    decoding: options.DecodingFlags,
    keep: Annotated[
        Path | None,
        flag(
            "--keep",
            metavar="FILE",
            help="Terms, one a line, that the translation keeps unchanged, and with them {name}, %s, URLs and"
            " tags; /dev/null keeps only those.",
            default="none",
        ),
    ] = None,
    system: options.System = None,
    messages: options.MessageFlags,
) -> None:
    """Translate a text of any length, or a file of texts, and keep its line breaks."""
    from llmkit.tasks.decoding import GenerationOptions
    from llmkit.text.languages import find_pair

    wanted = GenerationOptions(**decoding.values(), seed=model.seed, system=system)
    find_pair(source, target)
    terms = None if keep is None else _terms(keep)
    spec = model.spec(task="text-generation", verb="translate")
    rows.check_output(outputs)
    texts, single = rows.open_source(text, inputs, field="text")
    single = single and outputs.output is None and not outputs.json and wanted.num_return_sequences == 1
    row = next(iter(texts)) if single else None
    if row is not None and not row.data["text"].strip():
        raise InputError("nothing to translate: the text is empty")
    from llmkit.cli.common.loading import open_engine
    from llmkit.tasks.translation import Translation

    translation = Translation(
        open_engine(spec),
        wanted,
        source=source,
        target=target,
        keep=terms,
        field=inputs.field,
        template=inputs.template,
        notice=console.notice,
    )
    _report(translation)
    if row is not None:
        _one(translation, row, outputs)
    else:
        rows.run_rows(translation, texts, outputs, verb="translate", field="translation_text")


def _report(translation: Translation) -> None:
    """Report how the languages were understood."""
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
    with console.Progress("translate", total=1.0) as bar:
        translation.progress = lambda done, total: bar.update(done / total, f"{done} of {total} passages")
        (result,) = translation.run([document], budget)
    if result.reasoning:
        console.say(result.reasoning)
    print(result.text, flush=True)


def _terms(file: Path) -> list[str]:
    """Return the lines of a file, without empty ones."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"--keep {file}: not UTF-8") from error
    except OSError as error:
        raise InputError(f"--keep {file}: {error.strerror or error}") from error
    return [line.strip() for line in lines if line.strip()]
