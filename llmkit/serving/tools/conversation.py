"""Write tools into the texts of a conversation, for chat templates without tool support.

The notation is that of Hermes (https://github.com/NousResearch/Hermes-Function-Calling), which many models
were trained on: the functions in the system message, calls in `<tool_call>`, results in `<tool_response>`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
_SYSTEM = """You may call functions to help the user. Their JSON schemas:
<tools>
{tools}
</tools>
To call a function, answer with its name and its arguments as JSON:
<tool_call>
{{"name": <function name>, "arguments": <arguments>}}
</tool_call>"""


def as_texts(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> list[Message]:
    """Return a conversation whose tools, calls and results are part of its texts.

    Args:
        messages: from OpenAI's JSON; the arguments of calls are Python objects.
        tools: tools in OpenAI's form; an empty list adds nothing to the system message.
    """
    found: list[Message] = []
    for one in messages:
        calls = one.get("tool_calls")
        if one["role"] == "tool":
            found.append({"role": "user", "content": f"<tool_response>\n{one['content']}\n</tool_response>"})
        elif calls:
            texts = [one["content"], *(_call(call["function"]) for call in calls)]
            rest = {key: value for key, value in one.items() if key != "tool_calls"}
            found.append({**rest, "content": "\n".join(text for text in texts if text)})
        else:
            found.append(one)
    if tools:
        listed = "\n".join(json.dumps(one, ensure_ascii=False) for one in tools)
        text = _SYSTEM.format(tools=listed)
        if found and found[0]["role"] == "system":
            found[0] = {**found[0], "content": f"{found[0]['content']}\n\n{text}"}
        else:
            found.insert(0, {"role": "system", "content": text})
    return _merged(found)


def _call(function: dict[str, Any]) -> str:
    content = {"name": function["name"], "arguments": function["arguments"]}
    return f"<tool_call>\n{json.dumps(content, ensure_ascii=False)}\n</tool_call>"


def _is_result(message: Message) -> bool:
    return bool(message["role"] == "user" and str(message["content"]).startswith("<tool_response>\n"))


def _merged(messages: Sequence[Message]) -> list[Message]:
    """Join adjacent results, because many templates require alternating turns."""
    found: list[Message] = []
    for one in messages:
        last = found[-1] if found else None
        if last is not None and _is_result(last) and _is_result(one):
            found[-1] = {**last, "content": f"{last['content']}\n{one['content']}"}
        else:
            found.append(one)
    return found
