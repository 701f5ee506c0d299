"""Routes of encoders: embeddings in OpenAI's and ollama's form, and documents in order of relevance."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from llmkit.serving.errors import bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.guards import read_json
from llmkit.serving.routes.tasks import run_task, texts_of
from llmkit.serving.scheduling.abilities import EMBEDDING

if TYPE_CHECKING:
    import numpy as np

_READER = "feature-extraction"
_DOCUMENTS = 1000
_CHARACTERS = 500_000


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_post("/v1/embeddings", embeddings)
    app.router.add_post("/v1/rerank", rerank)
    app.router.add_post("/api/embed", embed)


async def embeddings(request: web.Request) -> web.Response:
    """Embed texts in OpenAI's form: ``{"input": ..., "encoding_format": "float"}``."""
    fields = Fields(await read_json(request))
    texts = texts_of(fields, "input")
    packed = fields.choice("encoding_format", ("float", "base64")) == "base64"
    fields.unsupported({"dimensions": []})
    fields.ignore("user")
    name, vectors, tokens = await _embedded(request, fields, texts, "input")
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if packed else row.tolist(),
        }
        for i, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return web.json_response({"object": "list", "model": name, "data": data, "usage": usage})


async def embed(request: web.Request) -> web.Response:
    """Embed texts in ollama's form: ``{"input": ...}``."""
    fields = Fields(await read_json(request))
    texts = texts_of(fields, "input")
    fields.boolean("truncate")
    fields.unsupported({"dimensions": []})
    if fields.any("options"):
        raise bad("options", "is not supported by this server; omit it", "unsupported_parameter")
    fields.ignore("keep_alive")
    name, vectors, tokens = await _embedded(request, fields, texts, "input")
    return web.json_response({"model": name, "embeddings": vectors.tolist(), "prompt_eval_count": tokens})


async def rerank(request: web.Request) -> web.Response:
    """Order documents by their relevance to a query: ``{"query": ..., "documents": [...], "top_n": 3}``.

    The relevance is the cosine of the two embeddings.
    """
    fields = Fields(await read_json(request))
    query = check_string(fields.any("query"), "query")
    texts = _documents(fields.any("documents"))
    if len(query) + sum(map(len, texts)) > _CHARACTERS:
        raise bad("documents", f"must not have more than {_CHARACTERS:,} characters together")
    most = fields.integer("top_n", 1, _DOCUMENTS)
    shown = fields.boolean("return_documents", True)
    name, vectors, tokens = await _embedded(request, fields, [query, *texts], "documents")
    relevances = (vectors[1:] @ vectors[0]).tolist()
    order = sorted(range(len(texts)), key=lambda i: (-relevances[i], i))[:most]
    results = [
        {"index": i, "relevance_score": relevances[i]} | ({"document": {"text": texts[i]}} if shown else {})
        for i in order
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"id": f"rerank-{secrets.token_hex(16)}", "object": "list", "model": name}
    return web.json_response({**body, "results": results, "usage": usage})


def _documents(value: Any) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= _DOCUMENTS:
        raise bad("documents", f"must be a list of 1 to {_DOCUMENTS} texts")
    found = []
    for i, one in enumerate(value):
        where = f"documents[{i}]"
        if isinstance(one, dict):
            fields = Fields(one, where)
            one, where = fields.any("text"), f"{where}.text"
            fields.end()
        text = check_string(one, where)
        if not text:
            raise bad(where, "is empty")
        found.append(text)
    return found


async def _embedded(
    request: web.Request, fields: Fields, texts: list[str], field: str
) -> tuple[str, np.ndarray, int]:
    """Return the model's name, a vector of length 1 for each text, and the number of tokens."""

    def run(model: Any) -> list[Any]:
        from llmkit.tasks.embeddings.embedder import SentenceEmbedder

        if getattr(getattr(model, "spec", None), "task", None) != _READER:
            raise bad("model", "does not embed texts", "unsupported_value")
        embedder = SentenceEmbedder(model)
        vectors = embedder(texts)
        if embedder.cut:
            reason = f"contains a text of more than {embedder.window} tokens"
            raise bad(field, reason, "context_length_exceeded")
        return [vectors, sum(map(len, model.tokenizer(texts, verbose=False)["input_ids"]))]

    name, (vectors, tokens) = await run_task(request, fields, EMBEDDING, run, reader=_READER)
    return name, vectors, tokens
