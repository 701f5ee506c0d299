// The chat page: one conversation with one model. Every text of the model becomes a text node, never markup.

const byId = (id) => document.getElementById(id);
const conversation = [];
let running = null; // the AbortController of the answer under way

function headers() {
  const key = sessionStorage.getItem("key");
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

function report(text, isError = false) {
  byId("status").textContent = text;
  byId("status").className = isError ? "error" : "";
}

/** Ask for the API key; resolves when the dialog is closed. */
function askForKey() {
  const dialog = byId("key");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("key", byId("key-text").value.trim());
      resolve();
    }, { once: true });
    dialog.showModal();
  });
}

/** Call the API, once more after a key was asked for; throws an Error with the server's message. */
async function call(path, options = {}, again = true) {
  const response = await fetch(path, { ...options, headers: headers() });
  if (response.status === 401 && again) {
    await askForKey();
    return call(path, options, false);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error?.message ?? `the server answered ${response.status}`);
  }
  return response;
}

/** Yield the data of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ")) yield part.slice(6);
    }
  }
}

/** Add a message to the page; returns functions that add text to its answer and to its thoughts. */
function show(role, name) {
  const article = document.createElement("article");
  article.className = role;
  const head = document.createElement("h2");
  head.textContent = name;
  const text = document.createElement("p");
  article.append(head, text);
  byId("messages").append(article);
  let thoughts = null;
  const follow = () => { byId("messages").scrollTop = byId("messages").scrollHeight; };
  return {
    article,
    add(piece) { text.append(piece); follow(); },
    think(piece) {
      if (thoughts === null) {
        const fold = document.createElement("details");
        const summary = document.createElement("summary");
        summary.textContent = "Thoughts";
        thoughts = document.createElement("p");
        fold.append(summary, thoughts);
        text.before(fold);
      }
      thoughts.append(piece);
    },
  };
}

function settings() {
  const found = { model: byId("model").value };
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    const value = byId(name).value;
    if (value !== "") found[name] = Number(value);
  }
  return found;
}

async function answer() {
  const system = byId("system").value.trim();
  const messages = [...(system ? [{ role: "system", content: system }] : []), ...conversation];
  const body = { ...settings(), messages, stream: true, stream_options: { include_usage: true } };
  running = new AbortController();
  byId("stop").hidden = false;
  byId("send").hidden = true;
  const shown = show("assistant", body.model);
  let text = "";
  let usage = null;
  const begun = performance.now();
  report("Writing…");
  try {
    const response = await call("/v1/chat/completions", {
      method: "POST", body: JSON.stringify(body), signal: running.signal,
    });
    for await (const data of events(response)) {
      if (data === "[DONE]") break;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      usage = event.usage ?? usage;
      const delta = event.choices[0]?.delta ?? {};
      if (delta.reasoning_content) shown.think(delta.reasoning_content);
      if (delta.content) {
        text += delta.content;
        shown.add(delta.content);
      }
    }
    const seconds = (performance.now() - begun) / 1000;
    report(usage ? `${usage.completion_tokens} tokens, ${(usage.completion_tokens / seconds).toFixed(1)} a second` : "");
  } catch (error) {
    if (error.name === "AbortError") report("Stopped.");
    else report(error.message, true);
  } finally {
    running = null;
    byId("stop").hidden = true;
    byId("send").hidden = false;
  }
  if (text) conversation.push({ role: "assistant", content: text });
  else shown.article.remove();
}

async function send(event) {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (!text || running) return;
  byId("text").value = "";
  conversation.push({ role: "user", content: text });
  show("user", "You").add(text);
  const length = conversation.length;
  await answer();
  if (conversation.length === length) { // no answer came: the message may be changed and sent again
    conversation.pop();
    byId("messages").lastElementChild?.remove();
    byId("text").value = text;
  }
  byId("text").focus();
}

async function loadModels() {
  try {
    const { data } = await (await call("/v1/models")).json();
    const chats = data.filter((one) => one.chat !== false);
    for (const one of chats) byId("model").append(new Option(one.id, one.id));
    if (chats.length === 0) report("No model here has a chat template.", true);
  } catch (error) {
    report(error.message, true);
  }
}

byId("ask").addEventListener("submit", send);
byId("stop").addEventListener("click", () => running?.abort());
byId("clear").addEventListener("click", () => {
  running?.abort();
  conversation.length = 0;
  byId("messages").replaceChildren();
  report("");
  byId("text").focus();
});
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("ask").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
loadModels();
