"""OpenAI's Python client: chat, tools, forms, responses, streams, errors."""

import json
import os

import openai

URL = os.environ["LLMKIT_URL"]
client = openai.OpenAI(base_url=f"{URL}/v1", max_retries=0)
MESSAGES = [{"role": "user", "content": "Write a story about a dog."}]
SHAPE = {
    "type": "object",
    "properties": {"kind": {"enum": ["dog", "cat"]}},
    "required": ["kind"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": SHAPE, "strict": True}}]

whole = client.chat.completions.create(model="storyteller", messages=MESSAGES, seed=1, max_tokens=8)
pieces = client.chat.completions.create(
    model="storyteller",
    messages=MESSAGES,
    seed=1,
    max_tokens=8,
    stream=True,
    stream_options={"include_usage": True},
)
listed = list(pieces)
text = "".join(one.choices[0].delta.content or "" for one in listed if one.choices)
assert text == whole.choices[0].message.content
assert listed[-1].usage.completion_tokens == 8

called = client.chat.completions.create(
    model="storyteller", messages=MESSAGES, tools=TOOLS, tool_choice="required", max_tokens=60, seed=1
)
assert called.choices[0].message.tool_calls[0].function.name == "find"
with client.chat.completions.stream(
    model="storyteller",
    messages=MESSAGES,
    tools=TOOLS,
    tool_choice={"type": "function", "function": {"name": "find"}},
    max_tokens=80,
    seed=1,
) as stream:
    for _ in stream:
        pass
    (call,) = stream.get_final_completion().choices[0].message.tool_calls
assert json.loads(call.function.arguments)["kind"] in ("dog", "cat")
assert call.function.parsed_arguments["kind"] in ("dog", "cat")

response = client.responses.create(model="storyteller", input="Hello.", max_output_tokens=8)
assert response.output_text
with client.responses.stream(
    model="storyteller",
    input="A pet, please.",
    text={"format": {"type": "json_schema", "name": "pet", "schema": SHAPE, "strict": True}},
) as stream:
    kinds = [event.type for event in stream]
    final = stream.get_final_response()
assert kinds[0] == "response.created"
assert json.loads(final.output_text)["kind"] in ("dog", "cat")
function = {"type": "function", "name": "find", "parameters": SHAPE, "strict": True}
answer = client.responses.create(
    model="storyteller",
    input="Find a dog.",
    tools=[function],
    tool_choice="required",
    parallel_tool_calls=False,
)
assert answer.output[0].type == "function_call"

refused = None
try:
    client.chat.completions.create(model="storyteller", messages=MESSAGES, modalities=["audio"])
except openai.BadRequestError as error:
    refused = error.param
assert refused == "modalities"
try:
    openai.OpenAI(base_url=f"{URL}/v1", api_key="wrong", max_retries=0).models.list()
except openai.AuthenticationError:
    pass
print("done")
