"""Families of tool-call notations, and detection of a model's notation.

Sources: the chat templates of the models. Qwen 2.5 and 3, Hermes: `<tool_call>`; Qwen 3 Coder and 3.5:
`<function=`; Llama 3.1: an object without markers; Mistral: `[TOOL_CALLS]`; Granite: `<|tool_call|>`; Phi 4:
`functools`; Command R7B: `<|START_ACTION|>`; DeepSeek V3 and V3.1: `<｜tool▁calls▁begin｜>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ToolFamily:
    """A notation of tool calls.

    Attributes:
        name: its name, for messages.
        open: text that begins calls; empty if an object without markers is a call.
        close: text that ends them, or empty.
        form: ``object`` (the name is in the JSON), ``named`` (it is before the arguments) or ``xml``.
        name_key, arguments_key: keys of the object.
        list: the calls are one JSON list; otherwise each has its own `open` and `close`.
        item_open, item_close: text around each call inside `open` and `close`.
        before_name, separator, after: for ``named``: text before the name, before the arguments, after them.
        space: text between the markers and a call, and between calls.
        id_length: number of characters of a call's id.
    """

    name: str
    open: str
    close: str = ""
    form: Literal["object", "named", "xml"] = "object"
    name_key: str = "name"
    arguments_key: str = "arguments"
    list: bool = False
    item_open: str = ""
    item_close: str = ""
    before_name: str = ""
    separator: str = ""
    after: str = ""
    space: str = ""
    id_length: int = 24

    @property
    def markers(self) -> tuple[str, ...]:
        """Texts that may be special tokens, and must stay in the text that is parsed."""
        found = (self.open, self.close, self.item_open, self.item_close, self.separator, *_MORE)
        return tuple(dict.fromkeys(one for one in found if one))


_MORE = ("<|python_tag|>", "[CALL_ID]")
_CALLS = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_SEPARATOR = "<｜tool▁sep｜>"

HERMES = ToolFamily("hermes", "<tool_call>", "</tool_call>", space="\n")
QWEN_XML = ToolFamily("qwen_xml", "<tool_call>", "</tool_call>", form="xml", space="\n")
LLAMA = ToolFamily("llama3", "", arguments_key="parameters", space="; ")
MISTRAL = ToolFamily("mistral", "[TOOL_CALLS]", list=True, id_length=9)
MISTRAL_NAMED = ToolFamily("mistral_named", "[TOOL_CALLS]", form="named", separator="[ARGS]", id_length=9)
GRANITE = ToolFamily("granite", "<|tool_call|>", list=True)
PHI = ToolFamily("phi4", "functools", list=True)
COHERE = ToolFamily(
    "command",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    name_key="tool_name",
    arguments_key="parameters",
    list=True,
)
DEEPSEEK = ToolFamily(
    "deepseek_v3.1",
    *_CALLS,
    form="named",
    item_open=_CALL[0],
    item_close=_CALL[1],
    separator=_SEPARATOR,
)
DEEPSEEK_V3 = ToolFamily(
    "deepseek_v3",
    *_CALLS,
    form="named",
    item_open=_CALL[0],
    item_close=_CALL[1],
    before_name=f"function{_SEPARATOR}",
    separator="\n```json\n",
    after="\n```",
)
FAMILIES = (
    HERMES,
    QWEN_XML,
    LLAMA,
    MISTRAL,
    MISTRAL_NAMED,
    GRANITE,
    PHI,
    COHERE,
    DEEPSEEK,
    DEEPSEEK_V3,
)


def family_of(template: str) -> ToolFamily | None:
    """Return the family whose markers a chat template contains; None if there is none."""
    holds = template.__contains__
    if holds(_CALLS[0]):
        return DEEPSEEK_V3 if holds("```json") else DEEPSEEK
    if holds("[TOOL_CALLS]"):
        return MISTRAL_NAMED if holds("[ARGS]") else MISTRAL
    if holds("<|START_ACTION|>"):
        return COHERE
    if holds("<tool_call>"):
        return QWEN_XML if holds("<function=") and holds("<parameter=") else HERMES
    if holds("<|tool_call|>"):
        return GRANITE
    if holds("functools["):
        return PHI
    if holds("<|python_tag|>") or (holds('"parameters": ') and holds("ipython")):
        return LLAMA
    return None


@dataclass(frozen=True)
class ToolSupport:
    """Tool support of a model's chat template.

    Attributes:
        family: notation of its calls; None if it is not known.
        shows_tools: the template puts the tools into the prompt. Otherwise the server writes them into the
            system message, and the calls of the conversation into its texts, both in the notation of Hermes.
        template: the tokenizer's own description of its answers, for transformers' parser.
    """

    family: ToolFamily | None
    shows_tools: bool
    template: Any = None


_PROBE = {
    "type": "function",
    "function": {
        "name": "probe_of_tools",
        "description": "Nothing.",
        "parameters": {"type": "object", "properties": {}},
    },
}


def support_of(tokenizer: Any) -> ToolSupport:
    """Detect the tool support of a tokenizer's chat template.

    Args:
        tokenizer: tokenizer with a chat template.
    """
    messages = [{"role": "user", "content": "x"}]
    try:
        shown = tokenizer.apply_chat_template(
            messages, tools=[_PROBE], tokenize=False, add_generation_prompt=True
        )
        shows = _PROBE["function"]["name"] in shown  # type: ignore[index]
    except Exception:  # templates can raise any error
        shows = False
    template = getattr(tokenizer, "response_template", None)
    if not shows:
        return ToolSupport(HERMES, False, None)
    text = tokenizer.get_chat_template(tools=[_PROBE])
    return ToolSupport(family_of(text), True, template)
