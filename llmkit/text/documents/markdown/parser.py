"""The Markdown parser, and a trace of where its inline rules matched.

markdown-it's inline tokens have no place in the source. Its rules know it: each rule is wrapped, and notes
the range of characters that it took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_DEEPEST = 40  # levels of nesting; the parser leaves the text inside as it is


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that matched.

    Attributes:
        rule: its name.
        start, end: characters of the inline source.
        tokens: the tokens it pushed, in their state after parsing.
        label_end: for links and images the place of the `]` after the label, else -1.
    """

    rule: str
    start: int
    end: int
    tokens: tuple[Token, ...]
    label_end: int


@cache
def parser() -> MarkdownIt:
    """The parser for documents; front matter included."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.amsmath import amsmath_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.footnote import footnote_plugin
    from mdit_py_plugins.front_matter import front_matter_plugin

    md = MarkdownIt("commonmark", {"maxNesting": _DEEPEST, "strikethrough_single_tilde": True}).enable(
        ["table", "strikethrough"]
    )
    front_matter_plugin(md)
    footnote_plugin(md, move_to_end=False, always_match_refs=True)
    dollarmath_plugin(md, allow_space=False, allow_digits=False, double_inline=True)
    amsmath_plugin(md)
    md.core.ruler.disable(["inline", "text_join"], ignoreInvalid=True)
    for rule in list(md.inline.ruler.__rules__):
        md.inline.ruler.at(rule.name, _traced(rule.name, rule.fn))
    return md


def _traced(name: str, rule: Callable[..., bool]) -> Callable[[StateInline, bool], bool]:
    def traced(state: StateInline, silent: bool) -> bool:
        trace: list[RuleMatch] | None = getattr(state, "trace", None)
        if silent or trace is None:
            return rule(state, silent)
        start, count = state.pos, len(state.tokens)
        if not rule(state, silent):
            return False
        label_end = -1
        if name in {"link", "image"}:
            at = start if name == "link" else start + 1
            label_end = state.md.helpers.parseLinkLabel(state, at, name == "link")
        trace.append(RuleMatch(name, start, state.pos, tuple(state.tokens[count:]), label_end))
        return True

    return traced


def trace_inline(content: str, env: dict[str, Any]) -> list[RuleMatch]:
    """Parse inline source and return all matches, in the order in which the rules ended.

    Args:
        content: the content of a token `inline`.
        env: from the parse of the document: link definitions and footnotes.
    """
    from markdown_it.rules_inline import StateInline

    md = parser()
    state: Any = StateInline(content, md, env, [])
    state.trace = []
    md.inline.tokenize(state)
    for rule in md.inline.ruler2.getRules(""):
        rule(state)
    trace: list[RuleMatch] = state.trace
    return trace


def inline_tokens(content: str, env: dict[str, Any]) -> list[Token]:
    """The tokens of inline source."""
    return parser().inline.parse(content, parser(), env, [])
