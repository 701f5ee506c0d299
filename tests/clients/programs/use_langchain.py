"""langchain-openai: a conversation, a stream, tools, structured output."""

import os

from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ConfigDict


class Pet(BaseModel):
    """A pet."""

    model_config = ConfigDict(extra="forbid")
    wild: bool


model = ChatOpenAI(
    model="storyteller",
    base_url=f"{os.environ['LLMKIT_URL']}/v1",
    max_retries=0,
    max_tokens=80,
    seed=1,
    stream_usage=True,
)
assert model.invoke("Write a story about a dog.").content
pieces = list(model.stream("Write a story about a dog."))
assert "".join(str(one.content) for one in pieces)
called = model.bind_tools([Pet], tool_choice="Pet").invoke("A pet, please.")
assert called.tool_calls[0]["name"] == "Pet"
for method in ("json_schema", "function_calling"):
    found = model.with_structured_output(Pet, method=method).invoke("A pet, please.")
    assert isinstance(found, Pet)
print("done")
