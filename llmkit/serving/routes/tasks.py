"""Routes of complete tasks: translations, summaries and answers from a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from llmkit.serving.errors import bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.guards import read_json
from llmkit.serving.scheduling.abilities import ANSWER, SUMMARY, TRANSLATION, ServedTask
from llmkit.serving.scheduling.jobs import TextBatch
from llmkit.serving.state import STATE

_CHARACTERS = 200_000
_TEXTS = 64


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_post("/v1/translations", translations)
    app.router.add_post("/v1/summaries", summaries)
    app.router.add_post("/v1/answers", answers)


async def translations(request: web.Request) -> web.Response:
    """Translate texts: ``{"input": ..., "source": "en", "target": "de"}``."""
    from llmkit.tasks.translation import translate

    fields = Fields(await read_json(request))
    texts = texts_of(fields, "input")
    source, target = fields.text("source"), fields.text("target")
    keep = fields.strings("keep", 1000) or None
    options = _options(fields)

    def run(engine: Any, texts: Sequence[str]) -> Any:
        return translate(engine, texts, source=source, target=target, options=options, keep=keep)

    key = ("translate", source, target, repr(keep))
    found = await _run_texts(request, fields, TRANSLATION, texts, run, options, key)
    data = [
        {"index": i, "text": one.texts[0], "finish_reason": one.finish_reason}
        for i, one in enumerate(found[1])
    ]
    return _response(found, data)


async def summaries(request: web.Request) -> web.Response:
    """Summarize texts of any length: ``{"input": ..., "max_words": 60}``."""
    from llmkit.tasks.summarization.extractive import SummaryLength
    from llmkit.tasks.summarization.options import SummaryOptions
    from llmkit.tasks.summarization.summarize import summarize

    fields = Fields(await read_json(request))
    texts = texts_of(fields, "input")
    if not all(text.strip() for text in texts):
        # Later it would fail the other requests of its batch too, and they would run again, one by one.
        raise bad("input", "contains an empty text")
    least, most = fields.integer("min_words", 1, 100_000), fields.integer("max_words", 1, 100_000)
    if least is not None and most is not None and least > most:
        raise bad("min_words", f"is {least}, more than `max_words`")
    style = fields.choice("style", ("paragraph", "bullets"))
    summary = SummaryOptions(length=SummaryLength(min_words=least, max_words=most), style=style)
    extractive = fields.boolean("extractive")
    options = None if extractive else _options(fields)

    def run(engine: Any, texts: Sequence[str]) -> Any:
        return summarize(None if extractive else engine, texts, summary=summary, options=options)

    task = None if extractive else SUMMARY
    key = ("summarize", extractive, repr(summary))
    found = await _run_texts(request, fields, task, texts, run, options, key)
    data = [
        {"index": i, "text": one.text, "finish_reason": one.finish_reason} for i, one in enumerate(found[1])
    ]
    return _response(found, data)


async def answers(request: web.Request) -> web.Response:
    """Answer questions from a text: ``{"question": ..., "context": ...}``."""
    from llmkit.tasks.qa.answer import answer
    from llmkit.tasks.qa.spans import AnswerOptions

    fields = Fields(await read_json(request))
    questions = texts_of(fields, "question")
    context = check_string(fields.any("context"), "context")
    if len(context) > _CHARACTERS:
        raise bad("context", f"must not have more than {_CHARACTERS:,} characters")
    top_k = fields.integer("top_k", 1, 100)
    no_answer = fields.boolean("no_answer")
    extraction = AnswerOptions(no_answer=no_answer)
    if top_k is not None:
        extraction = dataclasses.replace(extraction, top_k=top_k)
    found = await run_task(
        request,
        fields,
        ANSWER,
        lambda model: answer(model, questions, context, extraction=extraction),
        reader="question-answering",
    )
    data = [
        {
            "index": i,
            "text": one.text,
            "answers": [dataclasses.asdict(each) for each in one.answers],
            "no_answer_probability": one.no_answer_probability,
        }
        for i, one in enumerate(found[1])
    ]
    return _response(found, data)


def texts_of(fields: Fields, name: str) -> list[str]:
    """Return a field that is a text or a list of texts.

    Raises:
        ApiError: it is neither, or is too long.
    """
    texts = list(fields.strings(name, _TEXTS))
    if not texts:
        raise bad(name, "must be a text or a list of texts")
    if sum(map(len, texts)) > _CHARACTERS:
        raise bad(name, f"must not have more than {_CHARACTERS:,} characters together")
    return texts


def _options(fields: Fields) -> Any:
    from llmkit.tasks.decoding import GenerationOptions

    given: dict[str, Any] = {
        "max_new_tokens": fields.integer("max_tokens", 1, 100_000),
        "temperature": fields.number("temperature", 0, 2),
        "num_beams": fields.integer("num_beams", 1, 16),
        "seed": fields.integer("seed", 0, 2**63 - 1),
    }
    return GenerationOptions(**{name: value for name, value in given.items() if value is not None})


async def _run_texts(
    request: web.Request,
    fields: Fields,
    task: ServedTask | None,
    texts: Sequence[str],
    function: Callable[[Any, Sequence[str]], Any],
    options: Any,
    key: tuple[Any, ...],
) -> tuple[str, list[Any]]:
    """Run a task over texts, together with those of other requests if nothing is random; see `run_task`.

    Args:
        request, fields, task: see `run_task`.
        texts: the texts.
        function: the task; takes the engine and texts.
        options: its `GenerationOptions`, or None.
        key: all else that its results depend on.
    """
    batch = TextBatch((*key, repr(options)), texts, function)
    random = options is not None and options.temperature
    return await run_task(
        request, fields, task, lambda engine: function(engine, texts), batch=None if random else batch
    )


async def run_task(
    request: web.Request,
    fields: Fields,
    task: ServedTask | None,
    function: Any,
    *,
    reader: str | None = None,
    batch: TextBatch | None = None,
) -> tuple[str, list[Any]]:
    """Run a task in the model's thread; return the model's name and the results.

    Args:
        request: request that names the model.
        fields: the fields; those that were not read are refused.
        task: its kind, which chooses a model if the request names none; None needs no model.
        function: the task.
        reader: task of models that write no text and can do this.
        batch: the same work as texts, if it may run together with that of other requests.
    """
    state = request.app[STATE]
    model = await state.open(request, fields.text("model"), task)
    fields.end()
    loaded = model.worker.reader
    if task is not None and (loaded is None or loaded.spec.task != reader):
        _ = model.engine  # refuses a model that writes no text
    seconds = state.seconds(request)
    results: list[Any]
    if batch is not None:
        results = await model.call_texts(batch, seconds)
    else:
        results = await model.call(function, seconds)
    return model.name, results


def _response(found: tuple[str, list[Any]], data: list[dict[str, Any]]) -> web.Response:
    name, results = found
    read, wrote = (sum(getattr(one, part) for one in results) for part in ("prompt_tokens", "tokens"))
    usage = {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
    return web.json_response({"object": "list", "model": name, "data": data, "usage": usage})
