"""Anthropic's client: messages, streams, tools, counts, errors."""

import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["LLMKIT_URL"], max_retries=0)
MESSAGES = [{"role": "user", "content": "Write a story about a dog."}]
SHAPE = {
    "type": "object",
    "properties": {"kind": {"enum": ["dog", "cat"]}},
    "required": ["kind"],
    "additionalProperties": False,
}
whole = client.messages.create(model="storyteller", max_tokens=8, messages=MESSAGES, system="Be brief.")
assert whole.stop_reason == "max_tokens"
with client.messages.stream(model="storyteller", max_tokens=8, messages=MESSAGES) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert final.content[0].text == text
assert final.usage.output_tokens == 8
tool = {"name": "find", "input_schema": SHAPE}
with client.messages.stream(
    model="storyteller",
    max_tokens=80,
    messages=MESSAGES,
    tools=[tool],
    tool_choice={"type": "tool", "name": "find"},
) as stream:
    used = stream.get_final_message()
(block,) = used.content
assert (used.stop_reason, block.type, block.name) == ("tool_use", "tool_use", "find")
assert block.input["kind"] in ("dog", "cat")
assert client.messages.count_tokens(model="storyteller", messages=MESSAGES).input_tokens > 5
try:
    client.messages.create(model="other", max_tokens=8, messages=MESSAGES)
except anthropic.NotFoundError:
    pass
print("done")
