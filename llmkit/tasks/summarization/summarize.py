"""Summaries as a library function: with a model, or by the text's own sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.rows import check_text
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.summarization.extractive import extract
from llmkit.tasks.summarization.options import SummaryOptions, SummaryResult

if TYPE_CHECKING:
    from llmkit.engines.open import AnyModel


def summarize(
    model: AnyModel | None,
    texts: str | Sequence[str],
    *,
    summary: SummaryOptions | None = None,
    options: GenerationOptions | None = None,
) -> list[SummaryResult]:
    """Summarize texts.

    Args:
        model: an encoder-decoder or chat model: loaded, an engine, or a name, path or `ModelSpec` to load.
            None picks sentences of the text itself, by LexRank.
        texts: one or several, each of any length.
        summary: see `SummaryOptions`; without a model its `length` and `style` alone.
        options: see `GenerationOptions`; None without a model.

    Returns:
        The summary of each text, in order.

    Raises:
        InputError: unknown model, a model that cannot summarize, or an empty text.
        OutOfMemory: a single part does not fit into memory.
    """
    contents = [texts] if isinstance(texts, str) else list(texts)
    summary = summary or SummaryOptions()
    for i, text in enumerate(contents):
        if not check_text(text, f"text {i + 1}").strip():
            raise RowError(f"text {i + 1}", "the text is empty")
    if model is None:
        return _extractive(contents, summary, options)
    from llmkit.engines.open import as_engine
    from llmkit.tasks.summarization.abstractive import Summarization
    from llmkit.tasks.summarization.model_settings import with_own_limit

    engine = as_engine(model)
    decoding = with_own_limit(options or GenerationOptions(), summary.length, engine)
    task = Summarization(engine, decoding, summary)
    places = [(i, f"text {i + 1}") for i in range(len(contents))]
    results = []
    for result in task.run(task.measure(contents, places), task.budget(None)):
        if isinstance(result, RowError):
            raise result
        results.append(result)
    return results


def _extractive(
    texts: Sequence[str], summary: SummaryOptions, options: GenerationOptions | None
) -> list[SummaryResult]:
    if options is not None:
        raise OptionError("options", "need a model that writes the summary; omit them")
    for name in ("strategy", "window", "prefix"):
        if getattr(summary, name) != getattr(SummaryOptions(), name):
            raise OptionError(name, "needs a model that writes the summary; omit it")
    results = []
    for i, text in enumerate(texts):
        try:
            found = extract(text, summary.length)
        except InputError as error:
            raise RowError(f"text {i + 1}", str(error)) from error
        results.append(SummaryResult(found.bullets if summary.style == "bullets" else found.text))
    return results
