"""Find the settings that make a model translate between two languages: each model family has its own.

The languages come from the model's own tokenizer and config, never from a fixed list, so that a model
extended to new languages works too.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from llmkit.errors import InputError
from llmkit.text.language_tokens import language_tokens
from llmkit.text.languages import (
    CodeMatch,
    Language,
    find_pair,
    match_code,
    read_code,
    unknown_language,
)

T5_FAMILIES = {"t5", "mt5", "umt5", "switch_transformers", "longt5"}
_TARGET_TOKEN = re.compile(r">>.+<<|<2.+>")
_TASK = re.compile(r"translation_([\w-]+?)_to_([\w-]+)")
# opus-mt-en-de, opus-mt-tc-big-zle-en: names of Marian models end in the pair.
_PAIR = re.compile(r"opus-mt-(?:tc-[a-z]+-)?([A-Za-z_]+)-([A-Za-z_]+)")
_SOURCE, _TARGET = "source", "target"  # the options that name the languages
_tokenizers = threading.Lock()


class TranslationModel(Protocol):
    """The parts of a model that decide its directions; an `Engine` has them."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Any: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def has_chat_template(self) -> bool: ...

    @property
    def is_encoder_decoder(self) -> bool: ...


@dataclass(frozen=True)
class Direction:
    """Settings that make a model translate from one language into another.

    Attributes:
        source, target: the languages; None if they are not known.
        message: makes a text the user's message to a chat model; None for other models.
        prefix: put before each text.
        source_token: code that the tokenizer adds to the text, or None.
        first_token: token that the answer must begin with, or None.
        decoder_start_token: token that the decoder starts from; None takes the model's own.
        notes: sentences that the user should read.
    """

    source: Language | None
    target: Language | None
    message: Callable[[str], dict[str, Any]] | None = None
    prefix: str = ""
    source_token: str | None = None
    first_token: int | None = None
    decoder_start_token: int | None = None
    notes: tuple[str, ...] = ()

    def encode(self, tokenizer: Any, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts in the source language.

        Several directions may share one tokenizer: its language is set for this call only.
        """
        if self.source_token is None:
            return _encode(tokenizer, texts)
        with _tokenizers:
            before = tokenizer.src_lang
            tokenizer.src_lang = self.source_token
            try:
                return _encode(tokenizer, texts)
            finally:
                tokenizer.src_lang = before


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    # verbose=False: llmkit reports a text longer than the model's limit itself, with its place.
    ids: list[list[int]] = tokenizer(texts, verbose=False)["input_ids"]
    return ids


def find_direction(engine: TranslationModel, source: str | None, target: str | None) -> Direction:
    """Find the settings that make a model translate from `source` into `target`.

    Args:
        engine: the model.
        source: language of the text (see `find_language` for its forms); None if it was not given.
        target: language of the translation, in the same forms.

    Raises:
        InputError: a language that the model lacks or needs, or a model that does not translate.
        OptionError: an unknown language, or the same language twice.
    """
    known, wanted = find_pair(source, target)
    family = getattr(engine.config, "model_type", None)
    if family in {"m2m_100", "nllb-moe", "mbart"}:
        return _by_language_tokens(engine, known, wanted)
    if family == "marian":
        return _marian(engine, known, wanted)
    if family == "fsmt":
        return _one_pair(engine, known, wanted, *_fsmt_pair(engine))
    if engine.has_chat_template:
        return _by_prompt(engine, known, wanted)
    if not engine.is_encoder_decoder:
        raise InputError(
            f"{engine.name} continues text and has no chat template, so it cannot translate;"
            " use a translation model or a chat model"
        )
    if family in T5_FAMILIES:
        tokens = _target_tokens(engine)
        return _by_target_token(engine, known, wanted, tokens) if tokens else _by_task(engine, known, wanted)
    prefixes = own_prefixes(engine.config)
    if prefixes:
        pair = own_pair(prefixes, known, wanted, engine.name)
        return Direction(known or _known(pair[0]), wanted or _known(pair[1]), prefix=prefixes[pair])
    note = f"{engine.name} takes no languages; it gets the text as it is"
    return Direction(known, wanted, notes=(note,))


def _by_language_tokens(
    engine: TranslationModel, known: Language | None, wanted: Language | None
) -> Direction:
    """Set the languages of NLLB, M2M100 and mBART.

    The source's token is next to the text; the target's token begins the answer.
    """
    tokenizer: Any = engine.tokenizer
    tokens = language_tokens(tokenizer, engine.config.vocab_size)
    known, wanted = _said(known, _SOURCE, engine, tokens), _said(wanted, _TARGET, engine, tokens)
    source = _match(known, _SOURCE, engine, tokens)
    target = _match(wanted, _TARGET, engine, tokens)
    if source.code == target.code:
        raise InputError(
            f"{engine.name} has one code for {known.tag} and {wanted.tag}, {source.code}:"
            " it cannot translate between them"
        )
    direction = Direction(
        known, wanted, source_token=source.code, notes=_inexact((known, source), (wanted, target))
    )
    begins = tokens[target.code]
    if engine.config.model_type == "mbart":
        (ids,) = direction.encode(tokenizer, ["a"])
        if ids[-1] == tokens[source.code]:
            # The first mBART puts the language after the text, and its decoder starts from it.
            return replace(direction, decoder_start_token=begins)
    return replace(direction, first_token=begins)


def _marian(engine: TranslationModel, known: Language | None, wanted: Language | None) -> Direction:
    """Set the languages of Marian: one pair, or several targets with a token before the text for each."""
    tokenizer: Any = engine.tokenizer
    source, target = getattr(tokenizer, "source_lang", None), getattr(tokenizer, "target_lang", None)
    named = _PAIR.fullmatch(Path(engine.name).name)
    if named:
        source, target = source or named.group(1), target or named.group(2)
    tokens = _target_tokens(engine)
    fixed = _known(target)
    if tokens and not (fixed and wanted and fixed.code == wanted.code and not _has(tokens, wanted)):
        if known is not None:
            _check(engine, known, _SOURCE, source)
        return _by_target_token(engine, known or _known(source), wanted or fixed, tokens)
    return _one_pair(engine, known, wanted, source, target)


def _by_target_token(
    engine: TranslationModel, known: Language | None, wanted: Language | None, tokens: Iterable[str]
) -> Direction:
    """Put the target's token before the text: Marian with several targets (`>>deu<<`), MADLAD (`<2de>`)."""
    wanted = _said(wanted, _TARGET, engine, tokens)
    match = _match(wanted, _TARGET, engine, tokens)
    return Direction(known, wanted, prefix=f"{match.code} ", notes=_inexact((wanted, match)))


def _one_pair(
    engine: TranslationModel,
    known: Language | None,
    wanted: Language | None,
    source: str | None,
    target: str | None,
) -> Direction:
    """Check a model for one pair: it needs no setting, but the pair must be the requested one."""
    if known is not None:
        _check(engine, known, _SOURCE, source, other=target)
    if wanted is not None:
        _check(engine, wanted, _TARGET, target, other=source)
    notes: tuple[str, ...] = ()
    if source is None or target is None:
        notes = (f"{engine.name} does not say which languages it translates between",)
    return Direction(known or _known(source), wanted or _known(target), notes=notes)


def _by_task(engine: TranslationModel, known: Language | None, wanted: Language | None) -> Direction:
    """Put the task in words before the text, as T5 expects."""
    name = engine.name
    if known is None or wanted is None:
        option = _SOURCE if known is None else _TARGET
        raise InputError(f"{name} needs both languages: give the other, such as {option}=de")
    for language, option in ((known, _SOURCE), (wanted, _TARGET)):
        _must_have_name(language, option)
    tasks = getattr(engine.config, "task_specific_params", None) or {}
    trained = [task.removeprefix("translation_") for task in tasks if task.startswith("translation_")]
    notes: tuple[str, ...] = ()
    if trained and f"{known.iso1}_to_{wanted.iso1}" not in trained:
        notes = (f"{name} says that it was trained for {', '.join(trained)} only",)
    prefix = f"translate {known.label} to {wanted.label}: "
    return Direction(known, wanted, prefix=prefix, notes=notes)


def own_prefixes(config: Any) -> dict[tuple[str, str], str]:
    """Return the prefixes that a checkpoint declares for a text, by the pair of languages.

    They are in its config.json, as T5 has them: ``{"translation_en_to_de": {"prefix": ...}}`` in
    ``task_specific_params``.
    """
    tasks = getattr(config, "task_specific_params", None) or {}
    found = {}
    for task, options in tasks.items():
        named = _TASK.fullmatch(str(task))
        if named and isinstance(options, dict) and isinstance(options.get("prefix"), str):
            found[named.group(1), named.group(2)] = options["prefix"]
    return found


def own_pair(
    prefixes: Iterable[tuple[str, str]], known: Language | None, wanted: Language | None, name: str
) -> tuple[str, str]:
    """Return the pair of a model that fits the requested languages.

    Raises:
        InputError: no pair fits, or several do.
    """

    def fits(asked: Language | None, code: str) -> bool:
        named = _known(code)
        return asked is None or (named is not None and named.code == asked.code)

    pairs = [pair for pair in prefixes if fits(known, pair[0]) and fits(wanted, pair[1])]
    if len(pairs) == 1:
        return pairs[0]
    there = ", ".join(f"{source} to {target}" for source, target in prefixes)
    if pairs:
        option = _TARGET if wanted is None else _SOURCE
        raise InputError(f"{name} translates {there}: give the language with `{option}`")
    asked = " ".join(
        f"{option}={language.tag}" for option, language in ((_SOURCE, known), (_TARGET, wanted)) if language
    )
    raise InputError(f"{asked}: {name} translates {there} only; give another `model`")


def _by_prompt(engine: TranslationModel, known: Language | None, wanted: Language | None) -> Direction:
    """Request a translation from a chat model in words; TranslateGemma's template takes language codes."""
    if wanted is None:
        raise InputError(f"{engine.name} needs the language to write: give it with `target`")
    _must_have_name(wanted, _TARGET)
    if known is not None:
        _must_have_name(known, _SOURCE)
    template = getattr(engine.tokenizer, "chat_template", None)
    if "source_lang_code" in str(template):
        if known is None:
            raise InputError(f"{engine.name} needs the language of the text: give it with `source`")
        codes = {"source_lang_code": known.tag, "target_lang_code": wanted.tag}

        def coded(text: str) -> dict[str, Any]:
            return {"role": "user", "content": [{"type": "text", **codes, "text": text}]}

        return Direction(known, wanted, message=coded)
    origin = f" from {known.label}" if known else ""
    request = (
        f"Translate the following text{origin} into {wanted.label}."
        " Reply with the translation only, without comments.\n\n"
    )
    return Direction(known, wanted, message=lambda text: {"role": "user", "content": request + text})


def _fsmt_pair(engine: TranslationModel) -> tuple[str | None, str | None]:
    pair = getattr(engine.config, "langs", None) or (None, None)
    return pair[0], pair[1]


def _target_tokens(engine: TranslationModel) -> list[str]:
    tokenizer: Any = engine.tokenizer
    return [token for token in tokenizer.get_vocab() if _TARGET_TOKEN.fullmatch(token)]


def _has(tokens: Iterable[str], language: Language) -> bool:
    return any(read is not None and read.code == language.code for read in map(read_code, tokens))


def _known(code: str | None) -> Language | None:
    """Return the language of a code in a model's config; None for a group (`ROMANCE`, `zle`)."""
    language = read_code(code) if code else None
    return language if language is not None and language.name is not None else None


def _check(
    engine: TranslationModel, asked: Language, option: str, has: str | None, *, other: str | None = None
) -> None:
    own = _known(has)
    if own is not None and own.code != asked.code:
        pair = (has, other) if option == _SOURCE else (other, has)
        does = f"translates {pair[0]} to {pair[1]}" if other else f"takes {has}"
        raise InputError(f"{option}={asked.tag}: {engine.name} {does}")


def _said(language: Language | None, option: str, engine: TranslationModel, codes: Iterable[str]) -> Language:
    if language is not None:
        return language
    shown = sorted(codes)
    some = ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
    which = "the language of the text" if option == _SOURCE else "the language to write"
    raise InputError(f"{engine.name} needs {which}: give it with `{option}` (it has {some})")


def _match(language: Language, option: str, engine: TranslationModel, codes: Iterable[str]) -> CodeMatch:
    return match_code(language, codes, said=f"{option}={language.tag}", model=engine.name)


def _must_have_name(language: Language, option: str) -> None:
    """Refuse a language without an English name, which a prompt needs."""
    if language.name is None:
        raise unknown_language(language.code, option)


def _inexact(*pairs: tuple[Language, CodeMatch]) -> tuple[str, ...]:
    return tuple(
        f"{language.tag}: the model has only {match.code}, for all {language.name or language.code}"
        for language, match in pairs
        if not match.exact
    )
