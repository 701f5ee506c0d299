// Calls of the server: the API key, errors as sentences, and streams of events.

import { keep, kept } from "./keep.js";
import { word } from "./words.js";

const TAB = "sessionStorage"; // the key is forgotten when the tab closes
let asking = null; // the dialog that asks for the key, while it is open

function headers() {
  const key = kept("key", TAB);
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

/** Ask for the API key; resolves to false if the dialog was closed without one. */
function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const field = document.getElementById("key-text");
    document.getElementById("key-refused").hidden = kept("key", TAB) === null;
    field.value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      asking = null;
      const key = field.value.trim();
      if (dialog.returnValue === "use" && key) keep("key", key, TAB);
      resolve(dialog.returnValue === "use" && key !== "");
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** Call the server, again after each key that was asked for; throws an Error with the server's message. */
export async function call(path, options = {}) {
  for (;;) {
    const sent = headers();
    const response = await fetch(path, { ...options, headers: sent });
    if (response.ok) return response;
    if (response.status !== 401) {
      const body = await response.json().catch(() => null);
      throw new Error(body?.error?.message ?? body?.error ?? word("status", { status: response.status }));
    }
    const known = kept("key", TAB); // another call may have asked meanwhile
    const newer = known !== null && sent.Authorization !== `Bearer ${known}`;
    if (!newer && !(await askForKey())) throw new Error(word("noKey"));
  }
}

/** Send a JSON body and return the JSON answer. */
export async function post(path, body, signal) {
  return (await call(path, { method: "POST", body: JSON.stringify(body), signal })).json();
}

/** Yield the data of server-sent events; an `error` among them is thrown. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue; // a comment keeps the stream open
      if (part === "data: [DONE]") return;
      const event = JSON.parse(part.slice(6));
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

/** Return the models of the server. */
export async function listModels() {
  return (await (await call("/v1/models")).json()).data;
}
