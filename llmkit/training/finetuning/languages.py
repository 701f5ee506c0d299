"""Set the languages in the tokenizer of a many-language translation model.

Public: `set_languages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.text.language_tokens import language_tokens
from llmkit.text.languages import find_language, match_code
from llmkit.training.finetuning.columns import Columns

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel


def set_languages(
    loaded: LoadedModel, languages: tuple[str, str] | None, kind: str, columns: Columns
) -> None:
    """Let the tokenizer put the language tokens where NLLB, M2M100 and mBART read them.

    Otherwise every pair would be trained under the tokenizer's default languages.

    Args:
        loaded: any model; one without language tokens stays unchanged.
        languages: languages of the sources and the targets, in any form (see `text.languages`).
        kind: result of `encoding.kind_of`.
        columns: columns of the rows.

    Raises:
        InputError: the languages are missing, the model does not have them, or neither model nor rows use
            languages.
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
