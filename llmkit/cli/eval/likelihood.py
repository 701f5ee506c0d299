"""`llmkit eval --metric perplexity` and similar metrics: score a model by the likelihood of texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console, progress
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.eval.flags import Flags
from llmkit.cli.eval.modes import given, metric_names
from llmkit.cli.eval.work import Work, baselines, only_file, score_work
from llmkit.engines.choice import is_url
from llmkit.errors import OptionError
from llmkit.evaluation.registry import declaration_of, of_models

if TYPE_CHECKING:
    from llmkit.evaluation import Example, Metric
    from llmkit.evaluation.likelihood.windowing import Windowing
    from llmkit.records.rows import Row
    from llmkit.runtime.load import LoadedModel


def run(flags: Flags) -> None:
    """Score a model on texts, questions or pairs of sentences.

    Raises:
        InputError, LLMKitError: bad usage or rows; as `load`; as the measurement.
    """
    from llmkit.evaluation.likelihood.baseline import alongside
    from llmkit.evaluation.likelihood.windowing import windowing
    from llmkit.records.read import open_rows

    (name,) = metric_names(flags.scoring.metric)
    check(name, flags)
    source = only_file(flags)
    bar = progress.Progress("eval")
    batch_size = flags.batches.rows_per_batch()
    others = baselines(flags, source)
    reading = flags.reading
    earlier = [open_rows(one).limited(reading.limit) for one in others]
    joined = False
    rows: Iterable[Row]
    if name == "perplexity":
        rows, joined = texts(source, flags)
    else:
        rows = open_rows(source, encoding=reading.encoding).limited(reading.limit)
    if is_url(flags.model.engine) and name == "perplexity":
        metric, examples = at_endpoint(flags, rows, joined=joined, show=speed(bar))
        ours, theirs = alongside(examples, earlier)
        score_work(Work(source, [metric], ours, dict(zip(others, theirs, strict=True))), flags, bar)
        return
    loaded = load(flags.model)
    set_languages(loaded, flags.texts.source, flags.target.to)
    context = context_of(flags.likelihood.given)
    how = windowing(
        loaded,
        window=flags.likelihood.window,
        stride=flags.likelihood.stride,
        bos=flags.likelihood.bos,
        given=(context is not None or name == "multiple_choice") and flags.likelihood.bos == "auto",
    )
    console.notice(how.describe())
    common: dict[str, Any] = {
        "given": context,
        "batch_size": batch_size,
        "notice": console.notice,
        "progress": speed(bar),
    }
    metric, examples = measurement(LikelihoodRun(name, loaded, rows, how, joined), flags, common)
    ours, theirs = alongside(examples, earlier)
    work = Work(source, [metric], ours, dict(zip(others, theirs, strict=True)))
    score_work(work, flags, bar)


def at_endpoint(
    flags: Flags, rows: Iterable[Row], *, joined: bool, show: Callable[[int], None]
) -> tuple[Metric, Iterator[Example]]:
    """Return perplexity and the rows with their losses, from a server that scores prompts.

    Raises:
        OptionError: an option needs the model's own tokens.
    """
    from llmkit.cli.common.loading import open_engine
    from llmkit.engines.http.engine import HttpEngine
    from llmkit.evaluation.likelihood.endpoint import endpoint_perplexity, measure_at_endpoint

    wanted, neutral = flags.likelihood, type(flags.likelihood)()
    for option in ("window", "stride", "bos", "given", "concatenate", "token_losses"):
        if getattr(wanted, option) != getattr(neutral, option):
            raise OptionError(option, "cannot be combined with a URL as `engine` (the tokenizer is there)")
    if joined:
        raise OptionError(
            "lines", "must be set with a URL as `engine`: a server does not cut a text into windows"
        )
    engine = open_engine(flags.model.spec(task="text-generation", verb="generate"))
    assert isinstance(engine, HttpEngine)
    field, template = flags.texts.field, flags.texts.template
    return endpoint_perplexity(engine), measure_at_endpoint(
        engine, rows, field=field, template=template, progress=show
    )


def check(name: str, flags: Flags) -> None:
    """Refuse options that apply to other metrics of likelihood.

    Raises:
        OptionError: such an option is given.
    """
    reads = declaration_of(name).reads or frozenset()
    choosable = frozenset().union(*(declaration_of(one).reads or () for one in of_models()))
    for group in (flags.likelihood, flags.texts, flags.scoring):
        for option in given(group):
            if option in choosable - reads:
                users = [one for one in of_models() if option in (declaration_of(one).reads or ())]
                raise OptionError(option, f"applies to {', '.join(users)}, not to {name}")
    if flags.likelihood.token_losses and flags.records.per_record is None:
        raise OptionError("token_losses", "needs a file of rows, `per_record`")


@dataclass
class LikelihoodRun:
    """A metric of likelihood on a model.

    Attributes:
        name: name of the metric.
        loaded: the model.
        rows: texts, questions or pairs.
        how: windows of the model.
        joined: the rows are one text.
    """

    name: str
    loaded: LoadedModel
    rows: Iterable[Row]
    how: Windowing
    joined: bool


def measurement(
    what: LikelihoodRun, flags: Flags, common: dict[str, Any]
) -> tuple[Metric, Iterator[Example]]:
    """Return the metric, and the rows with their losses; `common` are options of all measurements."""
    from llmkit.evaluation.likelihood import choices, perplexity

    loaded, rows, how = what.loaded, what.rows, what.how
    if what.name == "perplexity":
        examples = perplexity.measure(
            loaded,
            rows,
            how,
            field=flags.texts.field,
            template=flags.texts.template,
            concatenated=what.joined,
            token_losses=flags.likelihood.token_losses,
            **common,
        )
        return perplexity.perplexity(loaded, how, concatenated=what.joined), examples
    if what.name == "multiple_choice":
        examples = choices.measure_choices(
            loaded,
            rows,
            how,
            field=flags.texts.field,
            answer_field=flags.scoring.reference_field,
            **common,
        )
        return choices.multiple_choice(loaded, how), examples
    return choices.minimal_pairs(loaded, how), choices.measure_pairs(loaded, rows, how, **common)


def texts(source: str, flags: Flags) -> tuple[Iterable[Row], bool]:
    """Return the texts, and True if all are one.

    Raises:
        OptionError: an option cannot be combined with the input, or with another.
    """
    from llmkit.records.flatten import flat
    from llmkit.records.read import open_rows

    options_ = flags.likelihood
    suffix = Path(source.lower().removesuffix(".gz")).suffix
    columns = (flags.texts.field, flags.texts.template, options_.given)
    plain = suffix == ".txt" or (source == "-" and not any(columns))
    if options_.lines and not plain:
        raise OptionError("lines", "applies to a text file; each row of another file is a text already")
    if options_.given is not None and options_.concatenate:
        raise OptionError("concatenate", "cannot be combined with `given`, the context of single texts")
    whole = plain and not options_.lines
    limit, encoding = flags.reading.limit, flags.reading.encoding
    if whole and limit is not None:
        raise OptionError("limit", "applies to rows, and the file is one text; lines=True reads its lines")
    rows = open_rows(source, lines=plain and not whole, whole=whole, encoding=encoding)
    return rows.without_blank_lines().through(flat).limited(limit), whole or options_.concatenate


def context_of(given: str | None) -> Callable[[Row], str] | None:
    """Return the function for the context of a row: a column, or a template over columns."""
    from llmkit.records.rows import text_of

    if given is None:
        return None
    if "{" in given:
        return lambda row: text_of(row, field=None, template=given, defaults=())
    return lambda row: text_of(row, field=given, template=None, defaults=())


def load(model: RowModelFlags) -> LoadedModel:
    """Load the model as a masked or a causal language model or an encoder-decoder."""
    from llmkit.cli.common.loading import load_model, open_engine, quick_imports

    model.refuse_cluster("runs verbs over rows, and this metric runs in one process")
    spec = model.spec(task="text-generation", verb="generate")
    if is_url(spec.engine):
        raise OptionError("engine", "answers with text, and this metric needs the model itself; omit it")
    if spec.engine not in (None, "ctranslate2"):
        raise OptionError("engine", f"must be transformers or ctranslate2 for this metric, not {spec.engine}")
    if spec.engine is not None:
        engine = open_engine(spec)
        from llmkit.evaluation.likelihood.engine_model import engine_model

        return engine_model(engine)
    with quick_imports():
        from llmkit.runtime.load import is_masked_lm
    if is_masked_lm(spec):
        spec = model.spec(task="fill-mask", verb="generate")
    return load_model(spec)


def set_languages(loaded: LoadedModel, source: str | None, target: str | None) -> None:
    """Set the languages of a multilingual model's tokenizer.

    Raises:
        OptionError: the model has no languages to set.
    """
    tokenizer: Any = loaded.tokenizer
    if not hasattr(tokenizer, "src_lang"):
        for option, value in (("source", source), ("to", target)):
            if value is not None:
                raise OptionError(
                    option,
                    f"does not apply to {loaded.spec.name}, whose tokenizer has no languages; write them into"
                    " `given`, such as 'translate English to German: {source}'",
                )
        return
    from llmkit.engines.open import as_engine
    from llmkit.tasks.direction import find_direction

    direction = find_direction(as_engine(loaded), source, target)
    tokenizer.src_lang = direction.source_token.strip("_") if direction.source_token else tokenizer.src_lang
    begins = direction.first_token if direction.first_token is not None else direction.decoder_start_token
    tokenizer.tgt_lang = tokenizer.convert_ids_to_tokens(begins).strip("_")


def speed(bar: progress.Progress) -> Callable[[int], None]:
    """Return a function that shows the number of scored tokens and their rate."""
    started = time.monotonic()

    def show(tokens: int) -> None:
        rate = tokens / max(time.monotonic() - started, 1e-9)
        bar.update(0, f"{tokens} tokens, {rate:.0f} tokens/s")

    return show
