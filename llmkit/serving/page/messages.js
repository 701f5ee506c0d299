// One message on the page: its text, thoughts, tokens, and buttons.

import { plain, rendered } from "./markdown.js";
import { tokenView } from "./tokens.js";
import { word } from "./words.js";

export function button(name, act) {
  const found = document.createElement("button");
  found.type = "button";
  found.textContent = word(name);
  found.dataset.word = name;
  found.addEventListener("click", act);
  return found;
}

/** Copy a text; a page without HTTPS has no clipboard, and selects the text for it. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  return undefined;
}

/**
 * A message on the page.
 *
 * `acts` holds what its buttons do: save(text), send(text), regenerate(), continue(), copied().
 */
export class MessageView {
  #acts;
  #body = document.createElement("div");
  #buttons = document.createElement("div");
  #facts = document.createElement("p");
  #thoughts = null;
  #due = 0;
  #cost = 0;
  #asTokens = false;

  constructor(message, acts) {
    this.message = message;
    this.#acts = acts;
    this.element = document.createElement("article");
    this.element.className = message.role;
    const head = document.createElement("h3");
    head.textContent = message.role === "user" ? word("userName") : message.model || word("assistantName");
    this.#body.className = "body";
    this.#buttons.className = "buttons";
    this.#facts.className = "facts";
    this.element.append(head, this.#body, this.#facts, this.#buttons);
  }

  /** Show the message as it stands, with its buttons; `last` ones can be written again. */
  show(last) {
    clearTimeout(this.#due);
    this.#due = 0;
    this.#draw();
    this.#facts.textContent = facts(this.message);
    const own = this.message.role === "assistant";
    const { tokens } = this.message;
    const toggle = button("tokens", () => {
      this.#asTokens = !this.#asTokens;
      toggle.setAttribute("aria-pressed", this.#asTokens);
      this.#draw();
    });
    toggle.setAttribute("aria-pressed", this.#asTokens);
    this.#buttons.replaceChildren(
      button("copy", async () => { await copy(this.message.content); this.#acts.copied(); }),
      button("edit", () => this.#edit()),
      ...(own && tokens?.length ? [toggle] : []),
      ...(own && last ? [button("regenerate", this.#acts.regenerate), button("continue", this.#acts.continue)] : []),
    );
  }

  /** Show the message while it is written; long texts are drawn less often. */
  grow() {
    if (this.#due) return;
    this.#due = setTimeout(() => {
      this.#due = 0;
      const begun = performance.now();
      this.#draw();
      this.#cost = performance.now() - begun;
    }, Math.max(30, 5 * this.#cost));
  }

  #draw() {
    const { role, content, reasoning, tokens } = this.message;
    if (reasoning) this.#think(reasoning);
    if (this.#asTokens && tokens?.length) this.#body.replaceChildren(tokenView(tokens));
    else this.#body.replaceChildren(role === "user" ? plain(content) : rendered(content, word));
    this.#acts.drawn();
  }

  #think(text) {
    if (this.#thoughts === null) {
      const fold = document.createElement("details");
      const summary = document.createElement("summary");
      summary.textContent = word("thoughts");
      summary.dataset.word = "thoughts";
      this.#thoughts = document.createElement("div");
      fold.append(summary, this.#thoughts);
      this.#body.before(fold);
    }
    this.#thoughts.replaceChildren(plain(text));
  }

  #edit() {
    const field = document.createElement("textarea");
    field.value = this.message.content;
    field.rows = Math.min(Math.max(field.value.split("\n").length + 1, 3), 20);
    field.setAttribute("aria-label", word("editing"));
    this.#body.replaceChildren(field);
    const send = this.message.role === "user" ? [button("saveSend", () => this.#acts.send(field.value))] : [];
    this.#buttons.replaceChildren(
      ...send,
      button("save", () => this.#acts.save(field.value)),
      button("cancel", () => this.#acts.cancel()),
    );
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#acts.cancel();
    });
    field.focus();
  }
}

function facts(message) {
  const found = [];
  if (message.count && message.seconds) {
    found.push(word("done", { count: message.count, speed: (message.count / message.seconds).toFixed(1) }));
  }
  if (message.seed !== undefined) found.push(word("seedWas", { seed: message.seed }));
  if (message.finish && message.finish !== "stop") found.push(word("reason", { reason: message.finish }));
  return found.join(" · ");
}
