"""Scores of texts by the metrics of `llmkit eval`, without a model."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError, bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.guards import read_json
from llmkit.serving.state import STATE

_METRICS = (
    *("bleu", "chrf", "chrf++", "ter", "rouge"),
    *("exact_match", "f1", "squad", "squad_v2", "accuracy", "distinct", "repetition"),
)
_ROWS = 1000
_CHARACTERS = 200_000
_RESAMPLES = 2000
_scoring = ThreadPoolExecutor(1, thread_name_prefix="llmkit-scores")


def add_routes(app: web.Application) -> None:
    """Add the route to an application."""
    app.router.add_post("/v1/scores", scores)


async def scores(request: web.Request) -> web.Response:
    """Score predictions: ``{"metrics": "bleu", "predictions": [...], "references": [...]}``."""
    fields = Fields(await read_json(request))
    names = fields.strings("metrics", len(_METRICS))
    names = tuple(name.strip() for one in names for name in one.split(","))
    for name in names:
        if name not in _METRICS:
            raise bad("metrics", f"contains {name!r}; the metrics are {', '.join(_METRICS)}")
    if not names or len(set(names)) < len(names):
        raise bad("metrics", "must name metrics, each once")
    predictions = [check_string(one, "predictions") for one in _rows(fields, "predictions")]
    references = _references(fields)
    others: list[Any] = references or []
    characters = sum(map(len, predictions)) + sum(len(str(one)) for one in others)
    if characters > _CHARACTERS:
        raise bad("predictions", f"must not have more than {_CHARACTERS:,} characters, references included")
    confidence = fields.number("confidence", 0.5, 0.999)
    given = {
        "language": fields.text("language"),
        "confidence": 0.95 if confidence is None else confidence,
        "resamples": fields.integer("resamples", 0, _RESAMPLES, 1000),
        "seed": fields.integer("seed", 0, 2**31 - 1, 0),
    }
    fields.end()
    seconds = request.app[STATE].seconds(request)
    work = asyncio.get_running_loop().run_in_executor(
        _scoring, lambda: _scored(predictions, references, list(names), given)
    )
    try:
        async with asyncio.timeout(seconds):
            data, notes = await work
    except TimeoutError:
        raise ApiError(504, "scoring took longer than the time limit", code="timeout") from None
    return web.json_response({"object": "list", "data": data, "notes": notes}, dumps=dumps)


def _scored(
    predictions: list[str], references: list[Any] | None, names: list[str], given: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    from llmkit.evaluation.defaults import configure
    from llmkit.evaluation.report import few_rows
    from llmkit.evaluation.scoring import examples, score_rows

    rows = examples(predictions, references)
    metrics, notes = configure(names, {}, rows, language=given.pop("language"))
    found = score_rows(metrics, rows, **given)
    data = [
        {
            "name": one.name,
            "metric": one.metric,
            "score": one.score,
            "low": one.low,
            "high": one.high,
            "rows": one.rows,
            "scale": one.scale,
            "signature": one.signature,
        }
        for one in found.scores
    ]
    doubt = few_rows(found)
    return data, [*notes, *([doubt] if doubt is not None else [])]


def _rows(fields: Fields, name: str) -> list[Any]:
    value = fields.any(name)
    if not isinstance(value, list) or not 0 < len(value) <= _ROWS:
        raise bad(name, f"must be a list of 1 to {_ROWS} entries")
    return value


def _references(fields: Fields) -> list[Any] | None:
    """Return a text, or a list of texts, for each row; None for metrics without references."""
    if fields.any("references") is None:
        return None
    found: list[Any] = []
    for i, one in enumerate(_rows(fields, "references")):
        where = f"references[{i}]"
        if isinstance(one, list):
            found.append([check_string(each, where) for each in one])
        else:
            found.append(check_string(one, where))
    return found
