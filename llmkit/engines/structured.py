"""Constraints on answers: JSON schemas, regular expressions, Lark grammars, choices; by llguidance.

llguidance (https://github.com/guidance-ai/llguidance) masks the tokens that would violate the constraint. A
schema with a keyword that it cannot enforce is an error, because constraints are never weakened silently.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.engines.base import program_of
from llmkit.engines.form import Form
from llmkit.engines.schema_forms import enforceable
from llmkit.errors import InputError, OptionError, RequestRefused, one_line
from llmkit.text.chat.reasoning import CLOSE, OPEN

if TYPE_CHECKING:
    from llmkit.engines.base import Constraint, Engine, TokenMask

# With flexible whitespace a model could generate spaces between tokens forever.
_JSON: Any = {"whitespace_flexible": False}
_MAX_BYTES = 1_000_000
_KNOWN: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # by tokenizer


class GrammarConstraint:
    """A grammar for complete answers.

    Args:
        grammar: in llguidance's own notation.
        tokens: llguidance's view of the tokenizer, with the width of the logits.
        width: width of the logits.
        form: source of the grammar.

    Raises:
        OptionError: the grammar cannot be enforced; the message names the reason.
    """

    def __init__(self, grammar: str, tokens: Any, width: int, form: Form) -> None:
        from llguidance import LLMatcher

        self._tokens, self._width, self._form = tokens, width, form
        self._start = LLMatcher(tokens, grammar, log_level=0)
        if self._start.is_error():
            raise OptionError(_option(form), f"cannot be enforced: {_reason(self._start.get_error())}")

    def new_mask(self) -> TokenMask:
        """Return the mask of a new answer."""
        return _GrammarMask(self._start.deep_copy(), self._width)

    def identity(self) -> dict[str, Any]:
        """Return the form as JSON."""
        return asdict(self._form)


class _GrammarMask:
    def __init__(self, matcher: Any, width: int) -> None:
        self._matcher, self._width = matcher, width
        self._bits = np.zeros((1, (width + 31) // 32), dtype=np.int32)

    def allowed(self) -> np.ndarray:
        """Return a bool array [vocabulary]: True for allowed next tokens."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        if self._matcher.is_error():
            # Only this row is refused; the other rows of the batch continue.
            raise RequestRefused(f"the form became too complex: {_reason(self._matcher.get_error())}")
        flat = np.unpackbits(self._bits.view(np.uint8)[0], bitorder="little")
        return flat[: self._width].astype(bool)

    def accept(self, token: int) -> None:
        """Move on by the token that was chosen."""
        self._matcher.consume_token(token)


class AfterThoughts:
    """A constraint that applies after a reasoning model's thoughts.

    Args:
        constraint: constraint after the thoughts.
        engine: engine whose tokenizer defines their end.
        begun: the prompt opened the thoughts. Otherwise the model may open them by a token, if it has one.
    """

    def __init__(self, constraint: Constraint, engine: Engine, *, begun: bool = True) -> None:
        self._constraint, self._tokenizer, self._begun = constraint, engine.tokenizer, begun
        self._anything = np.ones(_width(engine), dtype=bool)
        self._anything[_end_tokens(engine)] = False
        special: Any = engine.tokenizer
        opens = special.get_vocab().get(OPEN)
        # A special token is not part of the text, so the thoughts could not be separated from the answer.
        self._opens = None if opens in special.all_special_ids else opens

    def new_mask(self) -> TokenMask:
        """Return the mask of a new answer."""
        mask = self._constraint.new_mask()
        if not self._begun and self._opens is None:
            return mask
        opens = None if self._begun else self._opens
        return _AfterThoughtsMask(mask, self._tokenizer, self._anything, opens)

    def identity(self) -> dict[str, Any]:
        """Return the form as JSON."""
        return {"after": CLOSE, **self._constraint.identity()}


class _AfterThoughtsMask:
    def __init__(self, mask: TokenMask, tokenizer: Any, anything: np.ndarray, opens: int | None) -> None:
        self._mask, self._tokenizer, self._anything = mask, tokenizer, anything
        self._opens = opens  # optional first token, which opens the thoughts
        self._ids: list[int] = []
        self._thinking = opens is None

    def allowed(self) -> np.ndarray:
        """Return a bool array [vocabulary]: inside thoughts all tokens except end tokens."""
        if self._thinking:
            return self._anything
        found = self._mask.allowed()
        if self._opens is not None:
            found[self._opens] = True
        return found

    def accept(self, token: int) -> None:
        """Move on by the token that was chosen."""
        if token == self._opens:
            self._thinking = True
        self._opens = None
        if not self._thinking:
            self._mask.accept(token)
            return
        self._ids.append(token)
        self._thinking = CLOSE not in self._tokenizer.decode(self._ids[-16:])


def constraint_for(form: Form, engine: Engine) -> Constraint:
    """Return the constraint of a form.

    Args:
        form: the form.
        engine: the model that will write.

    Raises:
        OptionError: it is malformed, or cannot be enforced.
        InputError: llguidance is not installed.
    """
    makers: dict[str, Any] = {
        "schema": json_schema,
        "regex": regex,
        "grammar": grammar,
        "choice": choices,
    }
    found: Constraint = any_object(engine) if form.kind == "json" else makers[form.kind](form.value, engine)
    return found


def json_schema(schema: Any, engine: Engine) -> Constraint:
    """Return the form of JSON texts that are valid under a schema.

    Args:
        schema: the schema, as Python objects.
        engine: the model that will write.

    Raises:
        OptionError: the schema has a keyword that cannot be enforced, or it is not a JSON schema.
        InputError: llguidance is not installed.
    """
    _check_installed()
    from llguidance import LLMatcher

    try:
        text = json.dumps(enforceable(schema))
    except RecursionError:
        raise OptionError("schema", "is nested too deeply") from None
    _check_size("schema", text)
    try:
        grammar = LLMatcher.grammar_from_json_schema(text, overrides=_JSON)
    except ValueError as error:
        raise OptionError("schema", f"is not a JSON schema: {_reason(error)}") from error
    return _constraint(grammar, engine, Form("schema", schema))


def any_object(engine: Engine) -> Constraint:
    """Return the form of all JSON objects; otherwise as `json_schema`."""
    return json_schema({"type": "object"}, engine)


def regex(expression: str, engine: Engine) -> Constraint:
    """Return the form of texts that match a regular expression as a whole.

    Raises:
        OptionError: it is not a valid expression in Rust's `regex` syntax.
        InputError: llguidance is not installed.
    """
    _check_installed()
    from llguidance import LLMatcher

    _check_size("regex", expression)
    return _constraint(LLMatcher.grammar_from_regex(expression), engine, Form("regex", expression))


def grammar(lark: str, engine: Engine) -> Constraint:
    """Return the form of texts that a Lark grammar derives from its rule `start`.

    Raises:
        OptionError: the grammar is malformed.
        InputError: llguidance is not installed.
    """
    _check_installed()
    from llguidance import LLMatcher

    _check_size("grammar", lark)
    return _constraint(LLMatcher.grammar_from_lark(lark), engine, Form("grammar", lark))


def choices(texts: Sequence[str], engine: Engine) -> Constraint:
    """Return the form of texts that are one of `texts`.

    Raises:
        OptionError: the list is empty, or a text is empty.
        InputError: llguidance is not installed.
    """
    _check_installed()
    if not texts or not all(texts):
        raise OptionError("choice", "needs answers to choose from, none of them empty")
    from llguidance import LLMatcher

    lines = " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
    _check_size("choice", lines)
    return _constraint(LLMatcher.grammar_from_lark(f"start: {lines}"), engine, Form("choice", list(texts)))


def _check_size(option: str, text: str) -> None:
    if len(text) > _MAX_BYTES:
        raise OptionError(option, f"has {len(text):,} characters; {_MAX_BYTES:,} is the limit")


def _check_installed() -> None:
    try:
        import llguidance  # noqa: F401
    except ImportError:
        raise InputError("structured output needs llguidance: pip install 'llmkit[structured]'") from None


def _option(form: Form) -> str:
    """Return the option that set a form."""
    return "schema" if form.kind == "json" else form.kind


def _constraint(text: str, engine: Engine, form: Form) -> Constraint:
    if "constraint" not in engine.abilities:
        raise OptionError(_option(form), f"is not available with {program_of(engine)}; omit it")
    return GrammarConstraint(text, _tokens(engine, form), _width(engine), form)


def _width(engine: Engine) -> int:
    """Return the width of the logits, which may exceed the number of the tokenizer's tokens."""
    return int(engine.config.get_text_config().vocab_size)


def _tokens(engine: Engine, form: Form) -> Any:
    """Return llguidance's view of an engine's tokenizer; it takes a second for large vocabularies."""
    tokenizer: Any = engine.tokenizer
    found = _KNOWN.get(tokenizer)
    if found is None:
        from llguidance.hf import from_tokenizer

        try:
            found = from_tokenizer(tokenizer, n_vocab=_width(engine), eos_token=_end_tokens(engine))
        except ValueError as error:
            raise OptionError(_option(form), f"needs a fast tokenizer: {one_line(error)}") from error
        _KNOWN[tokenizer] = found
    return found


def _end_tokens(engine: Engine) -> list[int]:
    own: Any = getattr(engine.config, "eos_token_id", None)
    tokenizer: Any = engine.tokenizer
    listed = own if isinstance(own, list) else [own]
    return [token for token in dict.fromkeys([tokenizer.eos_token_id, *listed]) if token is not None]


def _reason(error: object) -> str:
    return one_line(str(error).removeprefix("ValueError: "), limit=200)
