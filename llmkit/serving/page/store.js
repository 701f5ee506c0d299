// Conversations in the browser's IndexedDB; in memory where it has none. Export and import as JSON.

const FORMAT = "llmkit-conversations";
const MOST_BYTES = 100 * 2 ** 20;
let database = null;
let lasting = true;
const memory = new Map();

function wait(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function table(mode) {
  if (database === null && lasting) {
    try {
      const opening = indexedDB.open("llmkit", 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore("conversations", { keyPath: "id" });
      database = await wait(opening);
    } catch {
      lasting = false; // a private window of some browsers
    }
  }
  return lasting ? database.transaction("conversations", mode).objectStore("conversations") : null;
}

/** Return all conversations, the last changed first. */
export async function all() {
  const place = await table("readonly");
  const found = place === null ? [...memory.values()] : await wait(place.getAll());
  return found.sort((a, b) => b.changed - a.changed);
}

/** Keep a conversation. */
export async function put(conversation) {
  const place = await table("readwrite");
  if (place === null) memory.set(conversation.id, conversation);
  else await wait(place.put(conversation));
}

/** Forget a conversation. */
export async function remove(id) {
  const place = await table("readwrite");
  if (place === null) memory.delete(id);
  else await wait(place.delete(id));
}

/** Return a new conversation with the settings of another. */
export function fresh(settings = {}) {
  const now = Date.now();
  return { id: crypto.getRandomValues(new Uint32Array(4)).join("-"), title: "", created: now, changed: now, settings, messages: [] };
}

/** Return all conversations as the text of a file. */
export async function exported() {
  return JSON.stringify({ format: FORMAT, version: 1, conversations: await all() }, null, 1);
}

/** Add the conversations of a file, and return how many were new; throws an Error for another file. */
export async function imported(file) {
  if (file.size > MOST_BYTES) throw new Error("size");
  const found = JSON.parse(await file.text());
  if (found?.format !== FORMAT || !Array.isArray(found.conversations)) throw new Error("format");
  const read = found.conversations.map(checked);
  const known = new Map((await all()).map((one) => [one.id, JSON.stringify(one.messages)]));
  let added = 0;
  for (const one of read) {
    if (known.get(one.id) === JSON.stringify(one.messages)) continue;
    if (known.has(one.id)) one.id = fresh().id; // both are kept
    await put(one);
    added += 1;
  }
  return added;
}

/** Return a conversation of a file with the fields that the page reads, each of the right type. */
function checked(one) {
  if (typeof one?.id !== "string" || !Array.isArray(one.messages)) throw new Error("conversation");
  const { settings } = one;
  const texts = Object.entries(settings ?? {}).filter(([, value]) => ["string", "boolean"].includes(typeof value));
  return {
    id: one.id,
    title: text(one.title),
    created: Number(one.created) || Date.now(),
    changed: Number(one.changed) || Date.now(),
    settings: Object.fromEntries(texts),
    messages: one.messages.map(checkedMessage),
  };
}

function checkedMessage(one) {
  if (!["user", "assistant"].includes(one?.role) || typeof one.content !== "string") throw new Error("message");
  const found = { role: one.role, content: one.content };
  for (const name of ["reasoning", "model", "finish"]) if (typeof one[name] === "string") found[name] = one[name];
  for (const name of ["seed", "count", "seconds"]) if (Number.isFinite(one[name])) found[name] = one[name];
  if (Array.isArray(one.tokens)) found.tokens = one.tokens.map(checkedToken);
  return found;
}

function checkedToken(one) {
  const top = Array.isArray(one?.top) ? one.top : [];
  return {
    text: text(one?.text),
    logprob: Number(one?.logprob) || 0,
    top: top.map((pair) => [text(pair?.[0]), Number(pair?.[1]) || 0]),
  };
}

function text(value) {
  return typeof value === "string" ? value : "";
}
