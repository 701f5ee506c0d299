// Conversations with a model: the list, the messages, and the answer under way.

import { call, events } from "./api.js";
import { MessageView } from "./messages.js";
import * as store from "./store.js";
import { TokenReader } from "./tokens.js";
import { word } from "./words.js";

const byId = (id) => document.getElementById(id);
const FIELDS = ["system", "temperature", "top_p", "max_tokens", "seed", "schema"];
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
let conversation = store.fresh();
let views = [];
let running = null; // the AbortController of the answer under way

function report(text, isError = false) {
  byId("status").textContent = text;
  byId("status").className = isError ? "error" : "";
}

/** Keep the conversation; one without messages is not worth it. */
async function save() {
  conversation.changed = Date.now();
  conversation.title = conversation.messages[0]?.content.slice(0, 80) ?? "";
  if (conversation.messages.length > 0) await store.put(conversation);
  await list();
}

async function list() {
  const items = (await store.all()).map((one) => {
    const item = document.createElement("li");
    const open = document.createElement("button");
    open.type = "button";
    open.className = "open";
    open.textContent = one.title || word("untitled");
    if (one.id === conversation.id) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => use(one));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `${word("delete")}: ${open.textContent}`);
    remove.addEventListener("click", () => forget(one));
    item.append(open, remove);
    return item;
  });
  byId("conversations").replaceChildren(...items);
}

async function forget(one) {
  if (!window.confirm(word("confirmDelete"))) return;
  await store.remove(one.id);
  if (one.id === conversation.id) await use(store.fresh(conversation.settings));
  else await list();
}

/** Show a conversation. */
async function use(one) {
  running?.abort();
  conversation = one;
  for (const name of FIELDS) byId(name).value = one.settings[name] ?? "";
  byId("logprobs").checked = one.settings.logprobs === true;
  document.body.classList.remove("listing");
  byId("show-list").setAttribute("aria-expanded", "false");
  report("");
  draw();
  await list();
  byId("text").focus();
}

function keepSettings() {
  conversation.settings = Object.fromEntries(FIELDS.map((name) => [name, byId(name).value]));
  conversation.settings.logprobs = byId("logprobs").checked;
}

function draw() {
  views = conversation.messages.map(viewOf);
  byId("messages").replaceChildren(...views.map((view) => view.element));
  views.forEach((view, i) => view.show(i === views.length - 1));
  follow(true);
}

function viewOf(message) {
  const place = () => conversation.messages.indexOf(message);
  return new MessageView(message, {
    drawn: () => follow(false),
    copied: () => report(word("copied")),
    cancel: draw,
    save: async (text) => {
      if (running) return;
      message.content = text;
      delete message.tokens;
      await save();
      draw();
    },
    send: (text) => {
      if (running) return;
      conversation.messages.length = place();
      ask(text);
    },
    regenerate: () => {
      if (running) return;
      conversation.messages.length = place();
      draw();
      answer(null);
    },
    continue: () => { if (!running) answer(message); },
  });
}

/** Scroll to the end, unless the reader went elsewhere. */
function follow(always) {
  const box = byId("messages");
  if (always || box.scrollHeight - box.scrollTop - box.clientHeight < 200) box.scrollTop = box.scrollHeight;
}

/** Return the body of a request; throws an Error for a schema that is none. */
function requestOf(seed, continued) {
  const { settings, messages } = conversation;
  const body = { model: byId("model").value, seed, stream: true, stream_options: { include_usage: true } };
  for (const name of NUMBERS) if (settings[name] && name !== "seed") body[name] = Number(settings[name]);
  if (settings.logprobs) Object.assign(body, { logprobs: true, top_logprobs: 5 });
  if (settings.schema.trim() && !continued) {
    let schema = null;
    try { schema = JSON.parse(settings.schema); } catch { /* told below */ }
    if (schema === null || typeof schema !== "object" || Array.isArray(schema)) throw new Error(word("notSchema"));
    body.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  }
  if (continued) body.continue_final_message = true;
  const turns = messages.map(({ role, content }) => ({ role, content }));
  const system = settings.system.trim();
  body.messages = [...(system ? [{ role: "system", content: system }] : []), ...turns];
  return body;
}

function busy(controller) {
  running = controller;
  byId("stop").hidden = controller === null;
  byId("send").hidden = controller !== null;
  byId("messages").setAttribute("aria-busy", controller !== null);
}

/** Let the model answer, or go on with a message. */
async function answer(continued) {
  keepSettings();
  const seed = conversation.settings.seed === "" ? Math.floor(Math.random() * 2 ** 31) : Number(conversation.settings.seed);
  const mine = conversation;
  const message = continued ?? { role: "assistant", content: "", model: byId("model").value };
  let body = null;
  try { body = requestOf(seed, continued !== null); } catch (error) { report(error.message, true); return; }
  if (continued === null) conversation.messages.push(message);
  delete message.finish;
  draw();
  const view = views.at(-1);
  const controller = new AbortController();
  busy(controller);
  report(word("writing"));
  const begun = performance.now();
  const before = message.content.length;
  try {
    await read(body, message, view, controller.signal);
    report(message.finish === "stop" ? "" : word("reason", { reason: message.finish }));
  } catch (error) {
    if (error.name === "AbortError") report(word("stopped"));
    else report(error.message, true);
  }
  message.seed = seed;
  message.seconds = (performance.now() - begun) / 1000;
  const empty = message.content.length === before && !message.reasoning && continued === null;
  if (empty) mine.messages.pop();
  busy(null);
  if (mine !== conversation) { // another conversation is shown meanwhile
    if (mine.messages.length > 0) await store.put(mine);
    return;
  }
  await save();
  if (empty) draw();
  else view.show(true); // the others stay as they are: one may be edited
  follow(false);
}

async function read(body, message, view, signal) {
  const tokens = new TokenReader();
  if (body.logprobs && !body.continue_final_message) message.tokens = [];
  else delete message.tokens;
  message.count = 0;
  const response = await call("/v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  for await (const event of events(response)) {
    message.count = event.usage?.completion_tokens ?? message.count;
    const choice = event.choices[0];
    if (choice === undefined) continue;
    message.finish = choice.finish_reason ?? message.finish;
    if (choice.delta.reasoning_content) message.reasoning = (message.reasoning ?? "") + choice.delta.reasoning_content;
    if (choice.delta.content) message.content += choice.delta.content;
    if (choice.logprobs?.content) message.tokens?.push(...tokens.read(choice.logprobs.content));
    view.grow();
  }
}

async function ask(text) {
  keepSettings();
  conversation.messages.push({ role: "user", content: text });
  draw();
  const length = conversation.messages.length;
  const mine = conversation;
  await answer(null);
  if (mine === conversation && mine.messages.length === length) { // no answer came: change it and send again
    mine.messages.pop();
    draw();
    await (mine.messages.length > 0 ? save() : store.remove(mine.id));
    await list();
    byId("text").value = text;
  }
  byId("text").focus();
}

function send(event) {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (!text || running) return;
  byId("text").value = "";
  ask(text);
}

async function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([await store.exported()], { type: "application/json" }));
  link.download = "llmkit-conversations.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function upload() {
  const [file] = byId("import-file").files;
  if (!file) return;
  try {
    report(word("imported", { count: await store.imported(file) }));
  } catch {
    report(word("notImported"), true);
  }
  byId("import-file").value = "";
  await list();
}

/** Write everything again, in another language. */
export async function relabel() {
  if (!running) draw();
  await list();
}

/** Stop the answer under way. */
export function stop() {
  running?.abort();
}

/** Start the tab. */
export async function startChat() {
  byId("ask").addEventListener("submit", send);
  byId("stop").addEventListener("click", stop);
  byId("new").addEventListener("click", () => { keepSettings(); use(store.fresh(conversation.settings)); });
  byId("export").addEventListener("click", download);
  byId("import").addEventListener("click", () => byId("import-file").click());
  byId("import-file").addEventListener("change", upload);
  byId("show-list").addEventListener("click", () => {
    byId("show-list").setAttribute("aria-expanded", document.body.classList.toggle("listing"));
  });
  byId("settings").addEventListener("change", async () => { keepSettings(); if (!running) await save(); });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("ask").requestSubmit();
    }
  });
  const [latest] = await store.all();
  await use(latest ?? conversation);
}
