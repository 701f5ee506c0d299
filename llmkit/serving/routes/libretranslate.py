"""LibreTranslate's routes, for its clients: /translate, /languages, /detect.

Description: https://docs.libretranslate.com. Bodies are JSON or forms; the key may be in the body.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from llmkit.errors import InputError
from llmkit.serving.errors import ApiError, bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.guards import check_key, read_json
from llmkit.serving.scheduling.abilities import TRANSLATION
from llmkit.serving.scheduling.jobs import TextBatch
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.state import STATE

_TEXTS = 64
_CHARACTERS = 200_000
_TAG = re.compile(r"<[^<>]*>")


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_post("/translate", translate_texts)
    app.router.add_post("/detect", detect)
    app.router.add_get("/languages", languages)


async def languages(request: web.Request) -> web.Response:
    """List the languages of the first model that translates."""
    from llmkit.tasks.language_pairs import language_pairs

    model = await _translator(request)
    pairs = await model.in_background(lambda: language_pairs(model.engine))
    found = [
        {"code": tag, "name": language.name, "targets": targets} for tag, (language, targets) in pairs.items()
    ]
    return web.json_response(found)


async def detect(request: web.Request) -> web.Response:
    """Guess the language of a text: ``{"q": ...}``."""
    fields = await _fields(request)
    texts = _texts(fields)
    fields.end()
    return web.json_response(await asyncio.to_thread(_guesses, texts[0]))


async def translate_texts(request: web.Request) -> web.Response:
    """Translate texts: ``{"q": ..., "source": "auto", "target": "de"}``."""
    from llmkit.tasks.translation import translate

    fields = await _fields(request)
    many = isinstance(fields.any("q"), list)
    texts = _texts(fields)
    source, target = fields.text("source", "auto"), fields.text("target")
    if not target:
        raise bad("target", "is missing")
    if fields.choice("format", ("text", "html")) == "html" and any(map(_TAG.search, texts)):
        raise bad("format", "is html, and tags are not supported; send text", "unsupported_value")
    fields.unsupported({"alternatives": [0, "0", ""]})
    fields.end()
    state, model = request.app[STATE], await _translator(request)
    guessed: list[Any] = []
    if source == "auto":
        guessed = [await asyncio.to_thread(_guesses, text) for text in texts]
        if not all(guessed):
            raise bad("source", "is auto, but the language of the text was not recognized")
    codes = [one[0]["language"] for one in guessed] or [source] * len(texts)
    translated = []
    for code in dict.fromkeys(codes):
        mine = [text for text, one in zip(texts, codes, strict=True) if one == code]

        def run(engine: Any, texts: Sequence[str], code: str | None = code) -> Any:
            return translate(engine, texts, source=code, target=target)

        if _same(code, target):
            translated.append((code, iter(mine)))
            continue
        try:
            batch = TextBatch(("libretranslate", code, target), mine, run)
            results = await model.call_texts(batch, state.seconds(request))
        except InputError as error:
            raise ApiError(400, str(error), code="invalid_value") from error
        translated.append((code, iter([one.texts[0] for one in results])))
    by_code = dict(translated)
    found = [next(by_code[code]) for code in codes]
    body: dict[str, Any] = {"translatedText": found if many else found[0]}
    if guessed:
        told = [one[0] for one in guessed]
        body["detectedLanguage"] = told if many else told[0]
    return web.json_response(body)


async def _fields(request: web.Request) -> Fields:
    """Return the body's fields; check the key if it is one of them."""
    if request.content_type == "application/json":
        body = await read_json(request)
    elif request.content_type in ("application/x-www-form-urlencoded", "application/octet-stream"):
        if (await request.read()).lstrip().startswith(b"{"):  # curl's default content type is that of forms
            body = await read_json(request)
        else:
            form = await request.post()
            body = {name: value for name, value in form.items() if isinstance(value, str)}
    else:
        raise ApiError(415, "the body must be JSON or a form", code="unsupported_media_type")
    fields = Fields(body)
    check_key(request, request.app[STATE].settings, fields.text("api_key"))
    return fields


def _texts(fields: Fields) -> list[str]:
    value = fields.any("q")
    texts = value if isinstance(value, list) else [value]
    if value is None or not 0 < len(texts) <= _TEXTS:
        raise bad("q", f"must be a text or a list of 1 to {_TEXTS} texts")
    found = [check_string(one, "q") for one in texts]
    if not all(one.strip() for one in found):
        raise bad("q", "contains an empty text")
    if sum(map(len, found)) > _CHARACTERS:
        raise bad("q", f"must not have more than {_CHARACTERS:,} characters")
    return found


def _guesses(text: str) -> list[dict[str, Any]]:
    from llmkit.text.language_guess import guess_languages

    return [
        {"language": one.language, "confidence": round(100 * one.confidence, 1)}
        for one in guess_languages(html.unescape(text))
    ]


def _same(source: str | None, target: str) -> bool:
    from llmkit.text.languages import find_language, same_language

    if source is None:
        return False
    return same_language(find_language(source, "source"), find_language(target, "target"))


async def _translator(request: web.Request) -> ServedModel:
    """Return the first translation model, otherwise the first model that can translate by a prompt."""
    return await request.app[STATE].open(request, None, TRANSLATION)
