"""How a model is told which languages to translate between: each family has its own way.

What a model knows is read off its own tokenizer and config, never from a list kept here, so a model that was
extended to new languages is told about them too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.text.languages import (
    Language,
    Match,
    find_pair,
    match_code,
    read_code,
    unknown_language,
)

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

T5_FAMILIES = {"t5", "mt5", "umt5", "switch_transformers", "longt5"}
_LANGUAGE_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}")
_TARGET_TOKEN = re.compile(r">>.+<<|<2.+>")
_TASK = re.compile(r"translation_([\w-]+?)_to_([\w-]+)")
# opus-mt-en-de, opus-mt-tc-big-zle-en: names of Marian models end in the pair.
_PAIR = re.compile(r"opus-mt-(?:tc-[a-z]+-)?([A-Za-z_]+)-([A-Za-z_]+)")


@dataclass(frozen=True)
class Direction:
    """What to do so that a model translates from one language into another.

    Attributes:
        source, target: the languages, None where they are not known.
        message: from a text to the turn that a chat model gets; None for other models.
        prefix: what is put before each text.
        source_token: the code that the tokenizer adds to the text, or None.
        decoding: settings of the generation config: the token that the answer must begin with.
        notes: what the user should know.
    """

    source: Language | None
    target: Language | None
    message: Callable[[str], dict[str, Any]] | None = None
    prefix: str = ""
    source_token: str | None = None
    decoding: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


def find_direction(loaded: LoadedModel, source: str | None, target: str | None) -> Direction:
    """Find how to tell a model to translate from `source` into `target`.

    Args:
        loaded: the model.
        source: the language of the text in any manner (see `find_language`); None if the user did not say.
        target: the language wanted, likewise.

    Raises:
        InputError: no such language, one the model does not have, one it must be told and was not, both the
            same, or a model that does not translate.
    """
    known, wanted = find_pair(source, target)
    family = loaded.model.config.model_type
    if family in {"m2m_100", "nllb-moe", "mbart"}:
        return _by_language_tokens(loaded, known, wanted)
    if family == "marian":
        return _marian(loaded, known, wanted)
    if family == "fsmt":
        return _one_pair(loaded, known, wanted, *_fsmt_pair(loaded))
    if loaded.has_chat_template:
        return _by_prompt(loaded, known, wanted)
    if not loaded.is_encoder_decoder:
        raise InputError(
            f"{loaded.spec.name} continues text and has no chat template, so it cannot be asked to translate;"
            " use a translation model or a chat model"
        )
    if family in T5_FAMILIES:
        tokens = _target_tokens(loaded)
        return _by_target_token(loaded, known, wanted, tokens) if tokens else _by_task(loaded, known, wanted)
    prefixes = own_prefixes(loaded.model.config)
    if prefixes:
        pair = own_pair(prefixes, known, wanted, loaded.spec.name)
        return Direction(known or _known(pair[0]), wanted or _known(pair[1]), prefix=prefixes[pair])
    note = f"{loaded.spec.name} is not told of languages; it gets the text as it stands"
    return Direction(known, wanted, notes=(note,))


def _by_language_tokens(loaded: LoadedModel, known: Language | None, wanted: Language | None) -> Direction:
    """NLLB, M2M100, mBART: a token for the source beside the text, the target's token begins the answer."""
    tokenizer: Any = loaded.tokenizer
    # M2M100 does not list its language tokens, and writes them as __de__.
    own = getattr(tokenizer, "lang_code_to_id", {})
    named = {**tokenizer.get_vocab(), **own}
    # Tokenizers of these families add all languages of their family, whether or not the model has them.
    size, unknown = loaded.model.config.vocab_size, tokenizer.unk_token_id
    tokens = {
        token: index
        for token, index in named.items()
        if (token in own or _LANGUAGE_TOKEN.fullmatch(token)) and index != unknown and index < size
    }
    known, wanted = _said(known, "--from", loaded, tokens), _said(wanted, "--to", loaded, tokens)
    source = _match(known, "--from", loaded, tokens)
    target = _match(wanted, "--to", loaded, tokens)
    if source.code == target.code:
        raise InputError(
            f"{loaded.spec.name} has one code for {known.tag} and {wanted.tag}, {source.code}:"
            " it cannot translate between them"
        )
    name = "forced_bos_token_id"
    if loaded.model.config.model_type == "mbart":
        tokenizer.src_lang = source.code
        if tokenizer("a")["input_ids"][-1] == tokens[source.code]:
            # The first mBART puts the language after the text, and its decoder starts from it.
            name = "decoder_start_token_id"
    return Direction(
        known,
        wanted,
        source_token=source.code,
        decoding=((name, tokens[target.code]),),
        notes=_inexact((known, source), (wanted, target)),
    )


def _marian(loaded: LoadedModel, known: Language | None, wanted: Language | None) -> Direction:
    """Marian: one pair, or one of several targets named by a token before the text."""
    tokenizer: Any = loaded.tokenizer
    source, target = getattr(tokenizer, "source_lang", None), getattr(tokenizer, "target_lang", None)
    named = _PAIR.fullmatch(Path(loaded.spec.name).name)
    if named:
        source, target = source or named.group(1), target or named.group(2)
    tokens = _target_tokens(loaded)
    fixed = _known(target)
    if tokens and not (fixed and wanted and fixed.code == wanted.code and not _has(tokens, wanted)):
        if known is not None:
            _check(loaded, known, "--from", source)
        return _by_target_token(loaded, known or _known(source), wanted or fixed, tokens)
    return _one_pair(loaded, known, wanted, source, target)


def _by_target_token(
    loaded: LoadedModel, known: Language | None, wanted: Language | None, tokens: Iterable[str]
) -> Direction:
    """Marian with several targets (`>>deu<<`) and MADLAD (`<2de>`): the target's token before the text."""
    wanted = _said(wanted, "--to", loaded, tokens)
    match = _match(wanted, "--to", loaded, tokens)
    return Direction(known, wanted, prefix=f"{match.code} ", notes=_inexact((wanted, match)))


def _one_pair(
    loaded: LoadedModel,
    known: Language | None,
    wanted: Language | None,
    source: str | None,
    target: str | None,
) -> Direction:
    """A model for one pair: nothing to tell it, but it must be the pair that was asked for."""
    if known is not None:
        _check(loaded, known, "--from", source, other=target)
    if wanted is not None:
        _check(loaded, wanted, "--to", target, other=source)
    notes: tuple[str, ...] = ()
    if source is None or target is None:
        notes = (f"{loaded.spec.name} does not say which languages it translates between",)
    return Direction(known or _known(source), wanted or _known(target), notes=notes)


def _by_task(loaded: LoadedModel, known: Language | None, wanted: Language | None) -> Direction:
    """T5: the task in words before the text."""
    name = loaded.spec.name
    if known is None or wanted is None:
        flag = "--from" if known is None else "--to"
        raise InputError(f"{name} must be told both languages: name one with {flag}, such as {flag} de")
    for language, flag in ((known, "--from"), (wanted, "--to")):
        _must_have_name(language, flag)
    tasks = getattr(loaded.model.config, "task_specific_params", None) or {}
    trained = [task.removeprefix("translation_") for task in tasks if task.startswith("translation_")]
    notes: tuple[str, ...] = ()
    if trained and f"{known.iso1}_to_{wanted.iso1}" not in trained:
        notes = (f"{name} says that it was trained for {', '.join(trained)} only",)
    prefix = f"translate {known.label} to {wanted.label}: "
    return Direction(known, wanted, prefix=prefix, notes=notes)


def own_prefixes(config: Any) -> dict[tuple[str, str], str]:
    """What a model says that it was taught to read before a text, by the pair of languages.

    It stands in its config.json as T5 has it: ``{"translation_en_to_de": {"prefix": ...}}`` in
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
    """The one of a model's pairs that is asked for.

    Raises:
        InputError: none is, or several are.
    """

    def fits(asked: Language | None, code: str) -> bool:
        named = _known(code)
        return asked is None or (named is not None and named.code == asked.code)

    pairs = [pair for pair in prefixes if fits(known, pair[0]) and fits(wanted, pair[1])]
    if len(pairs) == 1:
        return pairs[0]
    there = ", ".join(f"{source} to {target}" for source, target in prefixes)
    if pairs:
        flag = "--to" if wanted is None else "--from"
        raise InputError(f"{name} translates {there}: name the language with {flag}")
    asked = " ".join(
        f"{flag} {language.tag}" for flag, language in (("--from", known), ("--to", wanted)) if language
    )
    raise InputError(f"{asked}: {name} translates {there} only; name another model with -m")


def _by_prompt(loaded: LoadedModel, known: Language | None, wanted: Language | None) -> Direction:
    """Chat models: a request in words; TranslateGemma's template takes the codes."""
    if wanted is None:
        raise InputError(f"{loaded.spec.name} must be told the language to write: name it with --to")
    _must_have_name(wanted, "--to")
    if known is not None:
        _must_have_name(known, "--from")
    template = loaded.tokenizer.chat_template
    if "source_lang_code" in str(template):
        if known is None:
            raise InputError(f"{loaded.spec.name} must be told the language of the text: name it with --from")
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


def _fsmt_pair(loaded: LoadedModel) -> tuple[str | None, str | None]:
    pair = getattr(loaded.model.config, "langs", None) or (None, None)
    return pair[0], pair[1]


def _target_tokens(loaded: LoadedModel) -> list[str]:
    return [token for token in loaded.tokenizer.get_vocab() if _TARGET_TOKEN.fullmatch(token)]


def _has(tokens: Iterable[str], language: Language) -> bool:
    return any(read is not None and read.code == language.code for read in map(read_code, tokens))


def _known(code: str | None) -> Language | None:
    """A language that a model's config names; None for a group of languages (`ROMANCE`, `zle`)."""
    language = read_code(code) if code else None
    return language if language is not None and language.name is not None else None


def _check(
    loaded: LoadedModel, asked: Language, flag: str, has: str | None, *, other: str | None = None
) -> None:
    own = _known(has)
    if own is not None and own.code != asked.code:
        pair = (has, other) if flag == "--from" else (other, has)
        does = f"translates {pair[0]} to {pair[1]}" if other else f"takes {has}"
        raise InputError(f"{flag} {asked.tag}: {loaded.spec.name} {does}")


def _said(language: Language | None, flag: str, loaded: LoadedModel, codes: Iterable[str]) -> Language:
    if language is not None:
        return language
    shown = sorted(codes)
    some = ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
    which = "the language of the text" if flag == "--from" else "the language to write"
    raise InputError(f"{loaded.spec.name} must be told {which}: name it with {flag} (it has {some})")


def _match(language: Language, flag: str, loaded: LoadedModel, codes: Iterable[str]) -> Match:
    return match_code(language, codes, said=f"{flag} {language.tag}", model=loaded.spec.name)


def _must_have_name(language: Language, flag: str) -> None:
    """A prompt names the language in words."""
    if language.name is None:
        raise unknown_language(language.code, flag)


def _inexact(*pairs: tuple[Language, Match]) -> tuple[str, ...]:
    return tuple(
        f"{language.tag}: the model has only {match.code}, for all {language.name or language.code}"
        for language, match in pairs
        if not match.exact
    )
