// Tokens of an answer, colored by their probability; the alternatives of the one under the pointer or the keyboard.

import { word } from "./words.js";

const BOUNDS = [0.05, 0.2, 0.5, 0.9]; // probabilities between the five colors

/** Return tokens of the API as the page keeps them; parts of one character become one token. */
export class TokenReader {
  #decoder = new TextDecoder();
  #held = null;

  read(content) {
    const found = [];
    for (const one of content) {
      const token = this.#held ?? { logprob: 0, top: [], bytes: false };
      const text = one.bytes?.length ? this.#decoder.decode(Uint8Array.from(one.bytes), { stream: true }) : "";
      token.text = (token.text ?? "") + text;
      token.logprob += one.logprob;
      if (token.top.length === 0) token.top = one.top_logprobs.map((each) => [each.token, each.logprob]);
      const whole = !one.bytes?.length || text !== "";
      this.#held = whole ? null : token;
      if (whole) found.push({ text: token.text, logprob: token.logprob, top: token.top });
    }
    return found;
  }
}

/** Return an element with the tokens of an answer. Arrow keys walk through them. */
export function tokenView(tokens) {
  const view = document.createElement("div");
  view.className = "tokens";
  view.tabIndex = 0;
  view.setAttribute("role", "group");
  view.setAttribute("aria-label", word("tokensLabel"));
  const spans = tokens.map((token) => {
    const span = document.createElement("span");
    const probability = Math.exp(token.logprob);
    span.className = `token p${BOUNDS.filter((bound) => probability >= bound).length}`;
    span.textContent = token.text;
    return span;
  });
  view.append(...spans);
  let current = -1;
  const choose = (index) => {
    spans[current]?.classList.remove("current");
    current = index;
    if (index < 0) return hide();
    spans[index].classList.add("current");
    return show(tokens[index], spans[index]);
  };
  view.addEventListener("pointerover", (event) => choose(spans.indexOf(event.target)));
  view.addEventListener("pointerleave", () => choose(-1));
  view.addEventListener("blur", () => choose(-1));
  view.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    choose(Math.min(Math.max(current + step, 0), spans.length - 1));
  });
  return view;
}

function percent(logprob) {
  return `${(100 * Math.exp(logprob)).toFixed(1)} %`;
}

function show(token, span) {
  const panel = document.getElementById("alternatives");
  const rows = [[token.text, token.logprob], ...token.top.filter(([text]) => text !== token.text)];
  panel.replaceChildren(...rows.map(([text, logprob]) => {
    const row = document.createElement("div");
    const name = document.createElement("code");
    name.textContent = JSON.stringify(text);
    row.append(name, ` ${percent(logprob)}`);
    return row;
  }));
  panel.hidden = false;
  const place = span.getBoundingClientRect();
  const left = Math.min(place.left, innerWidth - panel.offsetWidth - 8);
  const below = place.bottom + panel.offsetHeight + 8 < innerHeight;
  panel.style.left = `${Math.max(left, 8)}px`;
  panel.style.top = `${below ? place.bottom + 4 : place.top - panel.offsetHeight - 4}px`;
}

function hide() {
  document.getElementById("alternatives").hidden = true;
}
