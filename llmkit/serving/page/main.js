// The page: tabs, language, colors, the list of models; the tabs have files of their own.

import { listModels } from "./api.js";
import { relabel, startChat, stop } from "./chat.js";
import { keep, kept } from "./keep.js";
import { offerModels, startTasks, stopTasks } from "./tasks.js";
import { currentLanguage, speak, word } from "./words.js";

const byId = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", chosen);
    one.tabIndex = chosen ? 0 : -1;
    byId(one.getAttribute("aria-controls")).hidden = !chosen;
  }
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  keep("theme", theme);
}

async function loadModels() {
  try {
    const models = await listModels();
    const chats = models.filter((one) => one.chat !== false && one.task !== "question-answering" && one.task !== "feature-extraction");
    byId("model").replaceChildren(...chats.map((one) => new Option(one.id, one.id)));
    offerModels(models);
    if (chats.length === 0) throw new Error(word("noModel"));
  } catch (error) {
    byId("status").textContent = error.message;
    byId("status").className = "error";
  }
}

byId("language").value = currentLanguage();
byId("language").addEventListener("change", async () => {
  speak(byId("language").value);
  await relabel();
});
byId("theme").value = kept("theme") ?? "auto";
paint(byId("theme").value);
byId("theme").addEventListener("change", () => paint(byId("theme").value));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  stop();
  stopTasks();
});
speak(currentLanguage());
startTasks();
await startChat();
await loadModels();
document.body.dataset.ready = "true";
