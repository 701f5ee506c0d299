"""Lark grammars of tool calls, in the notation of a model."""

from __future__ import annotations

import json
from typing import Any

from llmkit.engines.form import Form
from llmkit.serving.tools.family import ToolFamily
from llmkit.serving.tools.use import Function, ToolUse

_NO_SPACE = {"x-guidance": {"whitespace_flexible": False}}
_FREE: dict[str, Any] = {"type": "object"}


def calls_grammar(use: ToolUse, family: ToolFamily, tokenizer: Any, form: Form | None) -> str | None:
    """Return a grammar for allowed answers.

    Args:
        use: the functions and the choice.
        family: notation of the calls.
        tokenizer: tokenizer, to find markers that are single tokens.
        form: form of answers without a call; None is any text.

    Returns:
        The grammar; None if there is nothing to enforce: the model chooses, and no function is strict.
    """
    lark = _Lark(family, tokenizer)
    if use.choice == "required":
        return lark.required(use)
    if form is not None:
        return lark.required(use, answer={} if form.kind == "json" else form.value)
    if any(one.strict for one in use.functions):
        return lark.mixed(use)
    return None


class _Lark:
    def __init__(self, family: ToolFamily, tokenizer: Any) -> None:
        self._family, self._tokenizer = family, tokenizer
        self._rules: list[str] = []

    def required(self, use: ToolUse, answer: Any = None) -> str:
        """Return the grammar of calls, or of an answer by a schema."""
        family, more = self._family, use.parallel
        names = self._functions(use)
        space = self._text(family.space)
        if family.list:
            inner = f'"[" call {"(" + self._text(", ") + " call)* " if more else ""}"]"'
            calls = f"{self._marker(family.open)} {inner} {self._marker(family.close)}"
        elif family.item_open:
            calls = f"{self._marker(family.open)} call{'+' if more else ''} {self._marker(family.close)}"
        else:
            calls = f"call ({space} call)*" if more else "call"
        start = "calls"
        if answer is not None:
            start = "calls | answer"
            self._rules.append(f"answer: %json {json.dumps({**_NO_SPACE, **(answer or _FREE)})}")
        return "\n".join([f"start: {start}", f"calls: {calls}", f"call: {names}", *self._rules]) + "\n"

    def mixed(self, use: ToolUse) -> str:
        """Return the grammar of text with calls in it."""
        family = self._family
        names = self._functions(use)
        if family.list or family.item_open or not family.open or not use.parallel:
            # Such calls are the end of an answer, or the whole answer.
            calls = self.required(use).split("\n", 1)[1]
            if not family.open:
                return f"start: calls | TEXT\nTEXT: /[^{{\\s](.|\\n)*/\n{calls}"
            return f"start: (TEXT | before) \nbefore: TEXT? calls\nTEXT: /(.|\\n)*/\n{calls}"
        head = ["start: (TEXT? call)* TEXT?", "TEXT: /(.|\\n)*/"]
        return "\n".join([*head, f"call: {names}", *self._rules]) + "\n"

    def _functions(self, use: ToolUse) -> str:
        self._rules = []
        return " | ".join(self._function(i, one) for i, one in enumerate(use.functions))

    def _function(self, index: int, function: Function) -> str:
        family, rule = self._family, f"function_{index}"
        if family.form == "xml":
            body = self._xml(index, function)
        else:
            self._rules.append(f"arguments_{index}: %json {json.dumps({**_NO_SPACE, **function.parameters})}")
            body = self._object(index, function.name) if family.form == "object" else ""
            if family.form == "named":
                name = self._text(family.before_name.removesuffix("<｜tool▁sep｜>"))
                mark = self._marker("<｜tool▁sep｜>") if family.before_name else ""
                separator = self._marker(family.separator)
                after = self._text(family.after)
                body = f"{name} {mark} {self._text(function.name)} {separator} arguments_{index} {after}"
        opened, closed = self._around()
        self._rules.append(f"{rule}: {opened} {body} {closed}")
        return rule

    def _around(self) -> tuple[str, str]:
        """Return the text around each call."""
        family = self._family
        if family.list:
            return "", ""
        if family.item_open:
            return self._marker(family.item_open), self._marker(family.item_close)
        inside = self._text("\n") if family.close else ""
        closed = f"{inside} {self._marker(family.close)}" if family.close else ""
        return f"{self._marker(family.open)} {inside}", closed

    def _object(self, index: int, name: str) -> str:
        family = self._family
        head = f'{{"{family.name_key}": {json.dumps(name)}, "{family.arguments_key}": '
        if family.name_key == "tool_name":
            head = f'{{"tool_call_id": "{index}", ' + head[1:]
        return f'{self._text(head)} arguments_{index} "}}"'

    def _xml(self, index: int, function: Function) -> str:
        schema = function.parameters
        properties = schema.get("properties") if isinstance(schema.get("properties"), dict) else {}
        needed = schema.get("required") if isinstance(schema.get("required"), list) else []
        shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        parts = []
        for n, (key, declared) in enumerate((properties or {}).items()):
            rule = f"parameter_{index}_{n}"
            head, tail = self._text(f"<parameter={key}>\n"), self._text("\n</parameter>\n")
            kind = declared.get("type") if isinstance(declared, dict) else None
            choices = declared.get("enum") if isinstance(declared, dict) else None
            if kind == "string" and not choices:
                self._rules.append(f'{rule}_end[lazy]: /(.|\\n)*/ "\\n</parameter>\\n"')
                value = f"{head} {rule}_end"
            elif kind == "string" and all(isinstance(one, str) for one in choices or ()):
                value = f"{head} ({' | '.join(map(self._text, choices or ()))}) {tail}"
            else:
                inner = declared if isinstance(declared, dict) else {}
                self._rules.append(f"{rule}_value: %json {json.dumps({**_NO_SPACE, **shared, **inner})}")
                value = f"{head} {rule}_value {tail}"
            self._rules.append(f"{rule}: {value}")
            parts.append(rule if key in (needed or []) else f"{rule}?")
        return f'{self._text(f"<function={function.name}>" + chr(10))} {" ".join(parts)} "</function>"'

    def _text(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False) if text else ""

    def _marker(self, text: str) -> str:
        """Return a marker: its token, or its text."""
        if not text:
            return ""
        token = self._tokenizer.get_added_vocab().get(text)
        return f"<[{token}]>" if token is not None else self._text(text)
