"""Perplexity of a model behind a URL, if the server returns prompt log-probabilities.

Each text is one request. The server has the tokenizer, so texts are not cut into windows: the server refuses
a text longer than the model's context.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from llmkit.evaluation.likelihood.baseline import as_data
from llmkit.evaluation.likelihood.loss import Loss
from llmkit.evaluation.likelihood.perplexity import perplexity_metric
from llmkit.evaluation.metric import Example, Metric
from llmkit.records.rows import Row, text_of
from llmkit.text.words import count_words

if TYPE_CHECKING:
    from llmkit.engines.http.engine import HttpEngine

_AT_ONCE = 32  # number of texts to request together; the connection sends as many at once as its limit allows


def endpoint_perplexity(engine: HttpEngine) -> Metric:
    """Build perplexity for examples from `measure_at_endpoint`.

    A text's first token is not scored, unless the server puts a token before it; its bytes and its word still
    count.
    """
    from llmkit import __version__

    return perplexity_metric(
        f"model:{engine.name}|engine:{engine.identity()['engine']}|one-request-a-text|bos:server"
        f"|version:llmkit-{__version__}"
    )


def measure_at_endpoint(
    engine: HttpEngine,
    rows: Iterable[Row],
    *,
    field: str | None = None,
    template: str | None = None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Example]:
    """Ask a server for the likelihood of texts.

    Args:
        engine: the connection.
        rows: the texts.
        field: column with the text; None uses `text`, or the only column of texts.
        template: template over several columns instead.
        progress: receives the number of tokens scored so far.

    Yields:
        Examples whose prediction is one `Loss`, in the order of the rows. Their data gains it as `losses`.

    Raises:
        OptionError: the server does not return log-probabilities of prompts.
        RequestRefused: it refuses a text, such as one that is too long.
    """
    held: list[tuple[Row, str]] = []
    scored = 0
    for row in rows:
        held.append((row, text_of(row, field=field, template=template, defaults=("text",))))
        if len(held) == _AT_ONCE:
            scored += yield from _scored(engine, held)
            progress(scored)
            held = []
    scored += yield from _scored(engine, held)
    progress(scored)


def _scored(engine: HttpEngine, held: list[tuple[Row, str]]) -> Any:
    """Yield the examples of some texts; return the number of their scored tokens."""
    count = 0
    found = engine.score_texts([text for _, text in held])
    for (row, text), logprobs in zip(held, found, strict=True):
        losses = tuple(-value for value in logprobs)
        loss = Loss(
            nll=math.fsum(losses),
            tokens=len(losses),
            words=count_words(text),
            bytes=len(text.encode("utf-8")),
            unknown=0,
            token_losses=losses,
        )
        count += len(losses)
        yield Example([loss], (), {**row.data, "losses": [as_data(loss)]}, row.where)
    return count
