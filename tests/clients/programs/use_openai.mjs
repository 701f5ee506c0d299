// OpenAI's JavaScript client: chat, streams, tools, responses, errors.
import assert from "node:assert";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.LLMKIT_URL}/v1`, maxRetries: 0 });
const messages = [{ role: "user", content: "Write a story about a dog." }];
const settings = { model: "storyteller", messages, seed: 1, max_tokens: 8 };

const whole = await client.chat.completions.create(settings);
let text = "";
let usage = null;
const stream = await client.chat.completions.create({ ...settings, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.equal(usage.completion_tokens, 8);

const parameters = {
  type: "object",
  properties: { kind: { enum: ["dog", "cat"] } },
  required: ["kind"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "find", parameters } }];
const runner = client.chat.completions.stream({ ...settings, max_tokens: 80, tools, tool_choice: { type: "function", function: { name: "find" } } });
const final = await runner.finalChatCompletion();
assert.ok(["dog", "cat"].includes(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments).kind));

const response = await client.responses.create({ model: "storyteller", input: "Hello.", max_output_tokens: 8 });
assert.ok(response.output_text.length > 0);
const events = [];
for await (const event of await client.responses.create({ model: "storyteller", input: "Hello.", max_output_tokens: 4, stream: true })) {
  events.push(event.type);
}
assert.equal(events[0], "response.created");
assert.equal(events.at(-1), "response.incomplete");

await assert.rejects(client.chat.completions.create({ ...settings, model: "other" }), OpenAI.NotFoundError);
console.log("done");
