// Markdown of a model to a fragment of the page. HTML in the text stays text; what is left is sanitized.

const MOST_CODE = 20_000; // characters of a block that are colored
const MOST_TEXT = 300_000; // characters that are read as Markdown

const parser = window.markdownit({ html: false, linkify: true, highlight });
parser.disable("image"); // a picture's address would tell another site what was said

function highlight(code, language) {
  if (code.length > MOST_CODE || !window.hljs.getLanguage(language)) return "";
  return window.hljs.highlight(code, { language, ignoreIllegals: true }).value;
}

const RULES = {
  RETURN_DOM_FRAGMENT: true,
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["class", "href", "start", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

/** Return a text as a fragment. `label` names parts that scroll, for screen readers. */
export function rendered(text, label) {
  if (text.length > MOST_TEXT) return plain(text);
  const fragment = window.DOMPurify.sanitize(parser.render(text), RULES);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "scroll";
    table.replaceWith(frame);
    frame.append(table);
    reachable(frame, label("table"));
  }
  for (const code of fragment.querySelectorAll("pre")) reachable(code, label("code"));
  return fragment;
}

/** Return a text as it is. */
export function plain(text) {
  const found = document.createElement("p");
  found.className = "plain";
  found.textContent = text;
  return found;
}

/** Let the keyboard scroll an element. */
function reachable(element, label) {
  element.tabIndex = 0;
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", label);
}
