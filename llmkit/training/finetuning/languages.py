"""Set the languages of a translation model: in its tokenizer, or by the prefix that `translate` uses.

Public: `set_languages`, `translation_prefix`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.text.language_tokens import language_tokens
from llmkit.text.languages import find_language, match_code
from llmkit.training.finetuning.columns import Columns

# Pairs with these sources are texts and their summaries.
_SUMMARIZED = {"document", "article", "dialogue", "text"}

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel


def set_languages(
    loaded: LoadedModel, languages: tuple[str, str] | None, kind: str, columns: Columns
) -> None:
    """Let the tokenizer put the language tokens where NLLB, M2M100 and mBART read them.

    Otherwise every pair would be trained with the tokenizer's default languages.

    Args:
        loaded: any model; one without language tokens stays unchanged.
        languages: languages of the sources and the targets, in any form (see `text.languages`).
        kind: result of `encoding.kind_of`.
        columns: columns of the rows.

    Raises:
        InputError: the languages are missing, the model does not have them, or neither the model nor the rows
            use languages.
    """
    tokenizer: Any = loaded.tokenizer
    if kind != "seq2seq" or not hasattr(tokenizer, "src_lang"):
        # A translator for a single pair has no language tokens; its languages may still be named.
        fit = columns.by_language or (kind == "seq2seq" and columns.objective == "pairs")
        if languages is not None and not fit:
            used = ", ".join(dict.fromkeys(columns.names.values()))
            raise OptionError(
                "source_language",
                "and `target_language` choose two texts in a column `translation`, but these rows have other"
                f" columns ({used}), and {loaded.spec.name} has no language tokens; omit both",
            )
        return
    if languages is None:
        raise InputError(
            f"{loaded.spec.name} needs the languages of its texts: give `source_language` and"
            " `target_language`"
        )
    codes = language_tokens(tokenizer, loaded.model.config.vocab_size)
    found = [
        match_code(find_language(one, option), codes, said=f"{option}={one}", model=loaded.spec.name).code
        for option, one in zip(("source_language", "target_language"), languages, strict=True)
    ]
    tokenizer.src_lang, tokenizer.tgt_lang = (code.strip("_") for code in found)


def translation_prefix(
    loaded: LoadedModel, languages: tuple[str, str] | None, kind: str, columns: Columns
) -> str:
    """Return the prefix that `translate` puts before a text for this model; empty if there is none.

    Args:
        loaded: any model.
        languages: languages of the sources and the targets; None takes the model's only pair.
        kind: result of `encoding.kind_of`.
        columns: columns of the rows; only pairs of source and target have a direction.

    Raises:
        InputError: the model does not translate between these languages.
    """
    from llmkit.tasks.direction import find_direction, own_prefixes

    if kind != "seq2seq" or columns.objective != "pairs" or columns.names["source"] in _SUMMARIZED:
        return ""
    if languages is None:
        prefixes = own_prefixes(loaded.model.config)
        # T5 lists several tasks; a model that lists a single one is made for it.
        tasks = getattr(loaded.model.config, "task_specific_params", None) or {}
        return next(iter(prefixes.values())) if len(prefixes) == len(tasks) == 1 else ""
    try:
        return find_direction(_Directed(loaded), *languages).prefix
    except OptionError as error:
        if columns.by_language:
            return ""  # the keys of a column `translation` need not be languages
        raise OptionError(f"{error.option}_language", error.reason) from None
    except InputError as error:
        said = str(error)
        for option in ("source", "target"):
            said = said.replace(f"`{option}`", f"`{option}_language`")
        raise InputError(said) from None


@dataclass(frozen=True)
class _Directed:
    """A loaded model as `find_direction` takes it."""

    loaded: LoadedModel

    @property
    def name(self) -> str:
        return self.loaded.spec.name

    @property
    def config(self) -> Any:
        return self.loaded.model.config

    @property
    def tokenizer(self) -> Any:
        return self.loaded.tokenizer

    @property
    def has_chat_template(self) -> bool:
        return self.loaded.has_chat_template

    @property
    def is_encoder_decoder(self) -> bool:
        return self.loaded.is_encoder_decoder
