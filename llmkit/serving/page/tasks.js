// The tabs of whole tasks: translate, summarize, questions over a text.

import { call, post } from "./api.js";
import { word } from "./words.js";

const byId = (id) => document.getElementById(id);
const running = new Map(); // name of a task -> its AbortController

/** Run a task's form: one request, with a button that stops it. */
function task(name, path, bodyOf, show) {
  const form = byId(`${name}-form`);
  const status = byId(`${name}-status`);
  const stop = byId(`${name}-stop`);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running.has(name)) return;
    const controller = new AbortController();
    running.set(name, controller);
    stop.hidden = false;
    status.className = "";
    status.textContent = word("working");
    try {
      const { data } = await post(path, bodyOf(), controller.signal);
      status.textContent = "";
      show(data[0]);
    } catch (error) {
      const stopped = error.name === "AbortError";
      status.className = stopped ? "" : "error";
      status.textContent = stopped ? word("stopped") : error.message;
    }
    running.delete(name);
    stop.hidden = true;
  });
  stop.addEventListener("click", () => running.get(name)?.abort());
}

function value(id) {
  const found = byId(id).value.trim();
  return found === "" ? undefined : found;
}

/** Stop all tasks. */
export function stopTasks() {
  for (const one of running.values()) one.abort();
}

/** Fill the lists of models, each with those that can do its task. */
export function offerModels(models) {
  const can = {
    "translate-model": (one) => one.chat === true || one.task === "text2text-generation",
    "summarize-model": (one) => one.chat === true || one.task === "text2text-generation",
    "questions-model": (one) => one.chat === true || one.task === "question-answering",
  };
  const best = { "translate-model": "text2text-generation", "questions-model": "question-answering" };
  for (const [id, fits] of Object.entries(can)) {
    const found = models.filter((one) => one.task === undefined || fits(one));
    found.sort((a, b) => (b.task === best[id]) - (a.task === best[id]));
    byId(id).replaceChildren(...found.map((one) => new Option(one.id, one.id)));
    if (found.length === 0) byId(id.replace("-model", "-status")).textContent = word("noTaskModel");
  }
}

/** Offer the languages that the server knows, in the two fields of the translation. */
async function offerLanguages() {
  try {
    const found = await (await call("/languages")).json();
    byId("languages").replaceChildren(...found.map(({ code, name }) => new Option(name, code)));
    if (found.length > 0) byId("from").value ||= found[0].code;
    byId("to").value ||= found[0]?.targets.find((code) => code !== byId("from").value) ?? "";
  } catch {
    // No model translates, or it loads later: the fields take any language.
  }
}

/** Start the tabs. */
export function startTasks() {
  task("translate", "/v1/translations", () => ({
    model: value("translate-model"), input: byId("source-text").value, source: value("from"), target: value("to"),
  }), (found) => { byId("target-text").value = found.text; });
  task("summarize", "/v1/summaries", () => {
    const extractive = byId("extractive").checked;
    const words = value("max-words");
    const body = { model: value("summarize-model"), input: byId("long-text").value, style: value("style"), extractive };
    return words === undefined ? body : { ...body, max_words: Number(words) };
  }, (found) => { byId("summary-text").textContent = found.text; });
  task("questions", "/v1/answers", () => ({
    model: value("questions-model"), question: byId("question").value, context: byId("context").value,
  }), (found) => { byId("answer-text").textContent = found.text || word("noAnswer"); });
  byId("swap").addEventListener("click", () => {
    [byId("from").value, byId("to").value] = [byId("to").value, byId("from").value];
    if (byId("target-text").value) [byId("source-text").value, byId("target-text").value] = [byId("target-text").value, ""];
  });
  let asked = false;
  byId("tab-translate").addEventListener("focus", () => {
    if (!asked) offerLanguages();
    asked = true;
  });
}
