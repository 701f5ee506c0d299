"""ollama's Python client: chat, generate, tools, models."""

import os

from ollama import Client, ResponseError

headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
client = Client(host=os.environ["LLMKIT_URL"], headers=headers)
messages = [{"role": "user", "content": "Write a story about a dog."}]
options = {"num_predict": 8, "seed": 1}
whole = client.chat(model="storyteller", messages=messages, options=options)
pieces = client.chat(model="storyteller", messages=messages, options=options, stream=True)
assert "".join(one.message.content for one in pieces) == whole.message.content
assert client.generate(model="stories", prompt="Once", options=options).response
assert {one.model for one in client.list().models} == {"storyteller", "stories", "translator"}
assert "tools" in client.show("storyteller").capabilities
shape = {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}
tools = [{"type": "function", "function": {"name": "find", "description": "x", "parameters": shape}}]
assert client.chat(model="storyteller", messages=messages, options=options, tools=tools).done
formed = client.chat(
    model="storyteller", messages=messages, format={"enum": ["dog"]}, options={"num_predict": 20}
)
assert formed.message.content == '"dog"'
status = None
try:
    client.chat(model="other", messages=messages)
except ResponseError as error:
    status = error.status_code
assert status == 404
print("done")
