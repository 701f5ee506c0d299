"""The directions in which a model translates, as a list."""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.errors import InputError
from llmkit.tasks.direction import TranslationModel, find_direction, own_prefixes
from llmkit.text.language_table import TABLE
from llmkit.text.language_tokens import language_tokens
from llmkit.text.languages import Language, read_code

Pairs = dict[str, tuple[Language, list[str]]]
"""By the tag of a source: the language, and the tags of its targets."""


def language_pairs(engine: TranslationModel) -> Pairs:
    """Return the directions of a model, with a language as it is named without its script or region.

    A chat model accepts any language; the list has those of ISO 639-1. A model that does not say which
    languages it translates has none.
    """
    config = engine.config
    if getattr(config, "model_type", None) in {"m2m_100", "nllb-moe", "mbart"}:
        return _all_to_all(language_tokens(engine.tokenizer, config.vocab_size))
    prefixes = own_prefixes(config)
    if prefixes and not engine.has_chat_template:
        found: Pairs = {}
        for source, target in prefixes:
            _add(found, read_code(source), read_code(target))
        return found
    if engine.has_chat_template:
        codes = [line.split()[0] for line in TABLE.strip().splitlines()]
        return _all_to_all(code for code in codes if code != "-")
    return _one_source(engine)


def _one_source(engine: TranslationModel) -> Pairs:
    """Return the directions of a model that needs no source, such as Marian."""
    try:
        direction = find_direction(engine, None, None)
    except InputError:
        return {}
    found: Pairs = {}
    _add(found, direction.source, direction.target)
    return found


def _all_to_all(codes: Iterable[str]) -> Pairs:
    languages: dict[str, Language] = {}
    for code in codes:
        language = read_code(code)
        if language is not None and language.name is not None:
            languages.setdefault(language.iso1 or language.code, language)
    return {
        tag: (language, [other for other in languages if other != tag]) for tag, language in languages.items()
    }


def _add(found: Pairs, source: Language | None, target: Language | None) -> None:
    if source is None or target is None:
        return
    tag = source.iso1 or source.code
    found.setdefault(tag, (source, []))[1].append(target.iso1 or target.code)
