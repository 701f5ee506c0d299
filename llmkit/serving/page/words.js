// Labels in English and Chinese. Elements name their label in data-word, data-label (for screen readers),
// data-hint (placeholder) or data-tip (title).

import { keep, kept } from "./keep.js";

const WORDS = {
  en: {
    alternatives: "Alternatives", apiKey: "API key", answer: "Answer", answers: "Answers", assistantName: "Assistant",
    auto: "Colors: automatic", bullets: "bullets", cancel: "Cancel", chat: "Chat", code: "Code", colorTokens: "Color tokens by probability",
    confirmDelete: "Delete this conversation?", context: "Text", continue: "Continue", conversation: "Conversation",
    conversations: "Conversations", copied: "Copied.", copy: "Copy", dark: "dark", delete: "Delete", done: "{count} tokens, {speed} tokens/s",
    edit: "Edit", editing: "Text of the message", export: "Export", from: "From", imported: "Imported conversations: {count}",
    import: "Import", key: "Key", keyHelp: "This server needs an API key. The page stores it until you close the tab.",
    keyRefused: "The server rejected this key.", language: "Language", light: "light", loading: "Loading…",
    maxTokens: "Max tokens", maxWords: "Max words", message: "Message",
    messageHint: "Message (Enter sends, Shift+Enter inserts a line break)", model: "Model", newChat: "New chat", noAnswer: "The text has no answer.",
    noKey: "The server needs an API key.", noModel: "No model on this server has a chat template.", noTaskModel: "No model on this server supports this.",
    notImported: "This file contains no conversations of this page.", notSchema: "The JSON schema is not a JSON object.",
    ofModel: "model default", paragraph: "paragraph", plainSummary: "Select sentences of the text (no model)", question: "Question",
    questions: "Questions", regenerate: "Regenerate", reason: "ended: {reason}", save: "Save", saveSend: "Save and send",
    schema: "JSON schema of the answer", seed: "Seed", seedHint: "random", seedWas: "seed {seed}", send: "Send",
    settings: "Settings", status: "the server answered {status}", stop: "Stop", stopped: "Stopped.", style: "Style", summarize: "Summarize",
    summary: "Summary", system: "System prompt", table: "Table", temperature: "Temperature", text: "Text", theme: "Colors", thoughts: "Reasoning",
    to: "To", tokens: "Tokens", tokensLabel: "Tokens of the answer; arrow keys show alternatives", topP: "Top p", translate: "Translate",
    translation: "Translation", untitled: "New chat", useKey: "Use key", userName: "You", working: "Working…", writing: "Writing…",
  },
  zh: {
    alternatives: "其他候选", apiKey: "API 密钥", answer: "回答", answers: "答案", assistantName: "助手",
    auto: "配色：自动", bullets: "要点", cancel: "取消", chat: "对话", code: "代码", colorTokens: "按概率给词元着色",
    confirmDelete: "删除这个对话？", context: "文本", continue: "继续写", conversation: "对话",
    conversations: "对话列表", copied: "已复制。", copy: "复制", dark: "深色", delete: "删除", done: "{count} 个词元，每秒 {speed} 个",
    edit: "编辑", editing: "消息内容", export: "导出", from: "源语言", imported: "已导入对话：{count}",
    import: "导入", key: "密钥", keyHelp: "此服务器需要密钥。密钥保存到标签页关闭为止。",
    keyRefused: "服务器拒绝了这个密钥。", language: "语言", light: "浅色", loading: "正在加载…",
    maxTokens: "最多词元数", maxWords: "最多词数", message: "消息",
    messageHint: "消息（Enter 发送，Shift+Enter 换行）", model: "模型", newChat: "新对话", noAnswer: "文本中没有答案。",
    noKey: "服务器需要密钥。", noModel: "这里没有带对话模板的模型。", noTaskModel: "这里没有能完成此任务的模型。",
    notImported: "此文件中没有本页面的对话。", notSchema: "JSON 模式不是 JSON 对象。",
    ofModel: "模型默认值", paragraph: "段落", plainSummary: "摘取原文句子（不用模型）", question: "问题",
    questions: "问答", regenerate: "重新生成", reason: "结束原因：{reason}", save: "保存", saveSend: "保存并发送",
    schema: "回答的 JSON 模式", seed: "随机种子", seedHint: "每次随机", seedWas: "种子 {seed}", send: "发送",
    settings: "设置", status: "服务器返回 {status}", stop: "停止", stopped: "已停止。", style: "样式", summarize: "摘要",
    summary: "摘要", system: "系统提示", table: "表格", temperature: "温度", text: "文本", theme: "配色", thoughts: "思考过程",
    to: "目标语言", tokens: "词元", tokensLabel: "回答的词元；用方向键查看其他候选", topP: "Top p", translate: "翻译",
    translation: "译文", untitled: "新对话", useKey: "使用", userName: "你", working: "处理中…", writing: "正在写…",
  },
};
let language = kept("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** Return a label in the page's language, with values in place of {names}. */
export function word(name, values = {}) {
  return WORDS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/** Return the page's language. */
export function currentLanguage() {
  return language;
}

/** Write all labels below an element in a language. */
export function speak(chosen) {
  language = Object.hasOwn(WORDS, chosen) ? chosen : "en";
  keep("language", language);
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = word(one.dataset.word);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", word(one.dataset.label));
  for (const one of document.querySelectorAll("[data-hint]")) one.placeholder = word(one.dataset.hint);
}
