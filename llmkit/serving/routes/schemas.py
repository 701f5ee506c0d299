"""JSON schemas of the bodies of requests, for the description of the API."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FILLED: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
NAME: Schema = {"type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,64}$"}
MODEL: Schema = {"type": "string", "description": "Name of a model; the first one if it is missing."}


def whole(low: int, high: int = 1_000_000) -> Schema:
    """Return the schema of whole numbers."""
    return {"type": "integer", "minimum": low, "maximum": high}


def number(low: float, high: float) -> Schema:
    """Return the schema of numbers."""
    return {"type": "number", "minimum": low, "maximum": high}


def many(items: Schema, most: int, least: int = 1) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def either(*schemas: Schema) -> Schema:
    """Return the schema of values of one of several forms."""
    return {"anyOf": list(schemas)}


def one_of(*values: str) -> Schema:
    """Return the schema of some strings."""
    return {"type": "string", "enum": list(values)}


def body(required: tuple[str, ...], /, **properties: Schema) -> Schema:
    """Return the schema of an object without other fields; null is the same as a missing field."""
    shown = {
        name: one if name in required else either(one, {"type": "null"}) for name, one in properties.items()
    }
    found: Schema = {"type": "object", "properties": shown, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


STOPS = either(FILLED, many(FILLED, 16, 0))
SEED: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
TOP_P: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
TEXTS = either(FILLED, many(FILLED, 64))
FORMAT = either(
    body(("type",), type=one_of("text")),
    body(("type",), type=one_of("json_object"), schema=OBJECT),
    body(
        ("type", "json_schema"),
        type=one_of("json_schema"),
        json_schema=body(("schema",), name=TEXT, description=TEXT, schema=OBJECT, strict=FLAG),
    ),
    body(("type", "regex"), type=one_of("regex"), regex=FILLED),
    body(("type", "grammar"), type=one_of("grammar"), grammar=FILLED),
    body(("type", "choice"), type=one_of("choice"), choice=many(FILLED, 1000)),
)
_FUNCTION = body(("name",), name=NAME, description=TEXT, parameters=OBJECT, strict=FLAG)
TOOL = body(("type", "function"), type=one_of("function"), function=_FUNCTION)
_NAMED = body(("type", "function"), type=one_of("function"), function=body(("name",), name=NAME))
CHOICE = either(one_of("auto", "none", "required"), _NAMED)
PARTS = either(TEXT, many(body(("type", "text"), type=one_of("text"), text=TEXT), 64, 0))
_CALL = body(
    ("function",),
    id=TEXT,
    type=one_of("function"),
    function=body(("name",), name=NAME, arguments=either(OBJECT, TEXT)),
)
MESSAGES = many(
    either(
        body(("role", "content"), role=one_of("system", "developer", "user"), content=PARTS, name=TEXT),
        body(
            ("role",),
            role=one_of("assistant"),
            content=PARTS,
            reasoning_content=TEXT,
            reasoning=TEXT,
            tool_calls=many(_CALL, 64, 0),
        ),
        body(("role", "content"), role=one_of("tool"), content=PARTS, tool_call_id=TEXT),
    ),
    1000,
)
_SAMPLING: dict[str, Schema] = {
    "model": MODEL,
    "n": whole(1, 16),
    "seed": SEED,
    "temperature": number(0, 2),
    "top_p": TOP_P,
    "top_k": whole(0),
    "min_p": number(0, 1),
    "repetition_penalty": number(0.01, 100),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "logit_bias": {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]{1,9}$"},
        "additionalProperties": number(-100, 100),
        "maxProperties": 1024,
    },
    "stop": STOPS,
    "stream": FLAG,
    "stream_options": body((), include_usage=FLAG),
    "response_format": FORMAT,
    "user": TEXT,
    "metadata": OBJECT,
}
CHAT = body(
    ("messages",),
    messages=MESSAGES,
    max_completion_tokens=whole(1),
    max_tokens=whole(1),
    logprobs=FLAG,
    top_logprobs=whole(0, 20),
    tools=many(TOOL, 128, 0),
    tool_choice=CHOICE,
    parallel_tool_calls=FLAG,
    continue_final_message=FLAG,
    add_generation_prompt=FLAG,
    **_SAMPLING,
)
_PROMPT = either(TEXT, many(whole(0, 2**31 - 1), 100_000))
COMPLETION = body(
    ("prompt",),
    prompt=either(TEXT, many(whole(0, 2**31 - 1), 100_000), many(_PROMPT, 64)),
    suffix=TEXT,
    max_tokens=whole(1),
    logprobs=whole(0, 20),
    **_SAMPLING,
)
_INPUT_PART = body(("type", "text"), type=one_of("input_text", "output_text"), text=TEXT)
_ITEM = either(
    body(
        ("role", "content"),
        type=one_of("message"),
        role=one_of("system", "developer", "user", "assistant"),
        content=either(TEXT, many(_INPUT_PART, 64, 0)),
    ),
    body(
        ("type", "call_id", "name", "arguments"),
        type=one_of("function_call"),
        call_id=TEXT,
        name=NAME,
        arguments=TEXT,
    ),
    body(("type", "call_id", "output"), type=one_of("function_call_output"), call_id=TEXT, output=TEXT),
)
_FLAT_TOOL = body(
    ("type", "name"), type=one_of("function"), name=NAME, description=TEXT, parameters=OBJECT, strict=FLAG
)
RESPONSE = body(
    ("input",),
    input=either(TEXT, many(_ITEM, 1000)),
    model=MODEL,
    instructions=TEXT,
    max_output_tokens=whole(1),
    temperature=number(0, 2),
    top_p=number(0, 1),
    top_k=whole(0),
    seed=SEED,
    stream=FLAG,
    store={"type": "boolean", "const": False},
    text=body((), format=either(body(("type",), type=one_of("text", "json_object")))),
    tools=many(_FLAT_TOOL, 128, 0),
    tool_choice=either(
        one_of("auto", "none", "required"), body(("type", "name"), type=one_of("function"), name=NAME)
    ),
    parallel_tool_calls=FLAG,
    metadata=OBJECT,
    user=TEXT,
)
_BLOCK = body(("type", "text"), type=one_of("text"), text=TEXT)
_BLOCKS = either(TEXT, many(_BLOCK, 64))
_ANTHROPIC_TOOL = body(
    ("name", "input_schema"), type=one_of("custom"), name=NAME, description=TEXT, input_schema=OBJECT
)
_ANTHROPIC: dict[str, Schema] = {
    "messages": many(body(("role", "content"), role=one_of("user", "assistant"), content=_BLOCKS), 1000),
    "model": MODEL,
    "system": _BLOCKS,
    "tools": many(_ANTHROPIC_TOOL, 128, 0),
    "tool_choice": body(
        ("type",), type=one_of("auto", "any", "tool", "none"), name=NAME, disable_parallel_tool_use=FLAG
    ),
}
MESSAGE = body(
    ("messages", "max_tokens"),
    max_tokens=whole(1),
    temperature=number(0, 2),
    top_p=number(0, 1),
    top_k=whole(0),
    seed=SEED,
    stop_sequences=many(FILLED, 16, 0),
    stream=FLAG,
    metadata=OBJECT,
    **_ANTHROPIC,
)
COUNT = body(("messages",), **_ANTHROPIC)
EMBEDDING = body(("input",), input=TEXTS, model=MODEL, encoding_format=one_of("float", "base64"), user=TEXT)
RERANK = body(
    ("query", "documents"),
    query=TEXT,
    documents=many(either(FILLED, body(("text",), text=FILLED)), 1000),
    model=MODEL,
    top_n=whole(1, 1000),
    return_documents=FLAG,
)
_TASK: dict[str, Schema] = {
    "model": MODEL,
    "max_tokens": whole(1, 100_000),
    "temperature": number(0, 2),
    "num_beams": whole(1, 16),
    "seed": whole(0, 2**63 - 1),
}
TRANSLATION = body(
    ("input",), input=TEXTS, source=TEXT, target=TEXT, keep=either(FILLED, many(FILLED, 1000, 0)), **_TASK
)
SUMMARY = body(
    ("input",),
    input=TEXTS,
    min_words=whole(1, 100_000),
    max_words=whole(1, 100_000),
    style=one_of("paragraph", "bullets"),
    extractive=FLAG,
    **_TASK,
)
ANSWER = body(
    ("question", "context"), question=TEXTS, context=TEXT, top_k=whole(1, 100), no_answer=FLAG, model=MODEL
)
SCORE = body(
    ("metrics", "predictions"),
    metrics=TEXTS,
    predictions=many(TEXT, 1000),
    references=many(either(TEXT, many(TEXT, 100)), 1000),
    language=TEXT,
    confidence=number(0.5, 0.999),
    resamples=whole(0, 2000),
    seed=whole(0, 2**31 - 1),
)
TOKENIZE = body((), prompt=TEXT, messages=MESSAGES, model=MODEL, add_special_tokens=FLAG)
DETOKENIZE = body(("tokens",), tokens=many(whole(0, 2**31 - 1), 100_000, 0), model=MODEL)
_OLLAMA_OPTIONS = body(
    (),
    temperature=number(0, 2),
    top_p=number(0, 1),
    top_k=whole(0),
    min_p=number(0, 1),
    seed=SEED,
    num_predict=whole(-2),
    stop=STOPS,
)
_OLLAMA: dict[str, Schema] = {
    "model": MODEL,
    "stream": FLAG,
    "format": either(one_of("json"), OBJECT),
    "options": _OLLAMA_OPTIONS,
    "keep_alive": either(TEXT, number(-1e9, 1e9)),
}
OLLAMA_CHAT = body(("messages",), messages=MESSAGES, tools=many(TOOL, 128, 0), **_OLLAMA)
OLLAMA_GENERATE = body((), prompt=TEXT, suffix=TEXT, system=TEXT, raw=FLAG, **_OLLAMA)
OLLAMA_EMBED = body(("input",), input=TEXTS, model=MODEL, truncate=FLAG)
OLLAMA_SHOW = body((), model=MODEL, name=MODEL, verbose=FLAG)
LIBRE_TRANSLATE = body(
    ("q", "target"),
    q=TEXTS,
    source=TEXT,
    target=TEXT,
    format=one_of("text", "html"),
    api_key=TEXT,
)
LIBRE_DETECT = body(("q",), q=FILLED, api_key=TEXT)
