"""litellm: a conversation, a stream, tools, and the routes of other APIs."""

import json
import os

import litellm

URL = f"{os.environ['LLMKIT_URL']}/v1"
settings = {
    "model": "openai/storyteller",
    "api_base": URL,
    "messages": [{"role": "user", "content": "Write a story about a dog."}],
    "max_tokens": 8,
    "seed": 1,
    "num_retries": 0,
}
whole = litellm.completion(**settings)
text = "".join(one.choices[0].delta.content or "" for one in litellm.completion(**settings, stream=True))
assert text == whole.choices[0].message.content
shape = {
    "type": "object",
    "properties": {"kind": {"enum": ["dog", "cat"]}},
    "required": ["kind"],
    "additionalProperties": False,
}
tools = [{"type": "function", "function": {"name": "find", "parameters": shape}}]
named = {"type": "function", "function": {"name": "find"}}
called = litellm.completion(**{**settings, "max_tokens": 80}, tools=tools, tool_choice=named)
(call,) = called.choices[0].message.tool_calls
assert json.loads(call.function.arguments)["kind"] in ("dog", "cat")
print("done")
