"""`llmkit eval` where a model is judged by how probable it finds texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console, options
from llmkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmkit.cli.eval.flags import ColumnFlags, PerplexityFlags
    from llmkit.evaluation import Example, Metric
    from llmkit.evaluation.likelihood.windowing import Windowing
    from llmkit.records.rows import Row
    from llmkit.runtime.load import LoadedModel

METRICS = ("perplexity", "multiple_choice", "minimal_pairs")
# What is about texts as a whole, and not about choices or pairs of them.
_TEXTS = ["bos", "concatenate", "lines", "template", "token_losses"]


def check(name: str, flags: PerplexityFlags, *, per_record: Path | None) -> None:
    """Refuse flags that the metric would ignore.

    Raises:
        InputError: one was given.
    """
    if name != "perplexity":
        texts = [*_TEXTS, *(["field"] if name == "minimal_pairs" else [])]
        found = options.given(flags, but=[f for f in vars(flags) if f not in texts])
        if found:
            raise InputError(f"{found[0]} is about perplexity: {name} has no use for it")
    if flags.token_losses and per_record is None:
        raise InputError("--token-losses go into a file of rows: name it with --per-record")


def likelihoods(
    name: str,
    source: str,
    flags: PerplexityFlags,
    columns: ColumnFlags,
    model: options.ModelFlags,
    languages: tuple[str | None, str | None],
    bar: console.Progress,
) -> tuple[list[Metric], Iterable[Example], Iterable[Example] | None]:
    """The metric, the model's losses, and those of the baseline.

    Args:
        name: of `METRICS`.
        source: the texts, questions or pairs.
        flags: how the model reads them.
        columns: `--reference-field` is the column of the right choice.
        model: which model.
        languages: `--from` and `--to`, for translation models.
        bar: told how far it is.

    Raises:
        InputError, LLMKitError: as `load`; as what is measured.
    """
    from llmkit.evaluation.likelihood import windowing as reading
    from llmkit.records.read import open_rows

    batch_size = flags.rows_per_batch()
    earlier = open_rows(columns.baseline) if columns.baseline is not None else None
    rows, joined = _texts(source, flags) if name == "perplexity" else (open_rows(source), False)
    loaded = _load(model)
    _tell_languages(loaded, *languages)
    given = _given(flags.given)
    context = given is not None or name == "multiple_choice"
    how = reading.windowing(
        loaded, window=flags.window, stride=flags.stride, bos=flags.bos, given=context and flags.bos == "auto"
    )
    console.notice(how.told())
    common: dict[str, Any] = {
        "given": given,
        "batch_size": batch_size,
        "notice": console.notice,
        "progress": _speed(bar),
    }
    metric, examples = _measure(name, loaded, rows, how, flags, columns, joined=joined, **common)
    if earlier is None:
        return [metric], examples, None
    from llmkit.evaluation.likelihood.baseline import alongside

    return [metric], *alongside(examples, earlier)


def _measure(
    name: str,
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    flags: PerplexityFlags,
    columns: ColumnFlags,
    *,
    joined: bool,
    **common: Any,
) -> tuple[Metric, Iterator[Example]]:
    """The metric of that name, and rows with what the model loses on them; `common` goes to any of them."""
    from llmkit.evaluation.likelihood import choices, perplexity

    if name == "perplexity":
        examples = perplexity.measure(
            loaded,
            rows,
            how,
            field=flags.field,
            template=flags.template,
            concatenated=joined,
            token_losses=flags.token_losses,
            **common,
        )
        return perplexity.perplexity(loaded, how, concatenated=joined), examples
    if name == "multiple_choice":
        examples = choices.measure_choices(
            loaded, rows, how, field=flags.field, answer_field=columns.reference_field, **common
        )
        return choices.multiple_choice(loaded, how), examples
    return choices.minimal_pairs(loaded, how), choices.measure_pairs(loaded, rows, how, **common)


def _texts(source: str, flags: PerplexityFlags) -> tuple[Iterable[Row], bool]:
    """The texts, and whether all are one."""
    from llmkit.evaluation.rows import lines
    from llmkit.records.flatten import flat
    from llmkit.records.read import open_rows

    suffix = Path(source.removesuffix(".gz")).suffix
    columns = (flags.field, flags.template, flags.given)
    plain = suffix == ".txt" or (source == "-" and not any(columns))
    if flags.lines and not plain:
        raise InputError("--lines is about a text file; the rows of another are texts of their own already")
    if flags.given is not None and flags.concatenate:
        raise InputError("--concatenate makes one text of all, and --given is what each is predicted from")
    whole = plain and not flags.lines
    rows = lines(source) if plain and flags.lines else open_rows(source, whole=whole).through(flat)
    return rows, whole or flags.concatenate


def _given(flag: str | None) -> Callable[[Row], str] | None:
    """`--given`: a column, or a template over columns."""
    from llmkit.records.rows import text_of

    if flag is None:
        return None
    if "{" in flag:
        return lambda row: text_of(row, field=None, template=flag, defaults=())
    return lambda row: text_of(row, field=flag, template=None, defaults=())


def _load(model: options.ModelFlags) -> LoadedModel:
    """The model, loaded as the kind of language model that it is."""
    from llmkit.cli.common.loading import load_model, quick_imports

    with quick_imports():
        from llmkit.runtime.load import is_masked_lm
    spec = model.spec(task="text-generation", verb="generate")
    if is_masked_lm(spec):
        spec = model.spec(task="fill-mask", verb="generate")
    return load_model(spec)


def _tell_languages(loaded: LoadedModel, source: str | None, target: str | None) -> None:
    """Tell the tokenizer of a many-language model which languages it is between."""
    tokenizer: Any = loaded.tokenizer
    if not hasattr(tokenizer, "src_lang"):
        if source is not None or target is not None:
            raise InputError(
                f"--from and --to: {loaded.spec.name} is not told of languages; write what it is told with"
                " --given, such as 'translate English to German: {source}'"
            )
        return
    from llmkit.engines.open import as_engine
    from llmkit.tasks.direction import find_direction

    direction = find_direction(as_engine(loaded), source, target)
    tokenizer.src_lang = direction.source_token.strip("_") if direction.source_token else tokenizer.src_lang
    begins = direction.first_token if direction.first_token is not None else direction.decoder_start_token
    tokenizer.tgt_lang = tokenizer.convert_ids_to_tokens(begins).strip("_")


def _speed(bar: console.Progress) -> Callable[[int], None]:
    started = time.monotonic()

    def tell(tokens: int) -> None:
        rate = tokens / max(time.monotonic() - started, 1e-9)
        bar.update(0, f"{tokens} tokens, {rate:.0f} tokens/s")

    return tell
