"""Tell the tokenizer of a many-language model which languages it is between.

Public: `set_languages`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.text.languages import find_language, match_code
from llmkit.training.finetuning.columns import Columns

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

_LANGUAGE_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}")


def set_languages(
    loaded: LoadedModel, languages: tuple[str, str] | None, kind: str, columns: Columns
) -> None:
    """Have the tokenizer put the languages' tokens where NLLB, M2M100 and mBART read them.

    Without it they would learn every pair under the languages that the tokenizer begins with.

    Args:
        loaded: any model; nothing is done to one that is not told of languages.
        languages: of the sources and of the targets, in any manner (see `text.languages`).
        kind: of `encoding.kind_of`.
        columns: what the rows are for.

    Raises:
        InputError: they were not said, the model does not have them, or neither model nor rows ask for them.
    """
    tokenizer: Any = loaded.tokenizer
    if kind != "seq2seq" or not hasattr(tokenizer, "src_lang"):
        # A translator between two languages is not told which; to name them is right, if of no use.
        fit = columns.by_language or (kind == "seq2seq" and columns.objective == "pairs")
        if languages is not None and not fit:
            used = ", ".join(dict.fromkeys(columns.names.values()))
            raise InputError(
                "--from and --to choose two texts in a `translation` column, and these rows are read by other"
                f" columns ({used}); nor is {loaded.spec.name} told of languages: leave them out"
            )
        return
    if languages is None:
        raise InputError(f"{loaded.spec.name} must be told the languages of its texts: say --from and --to")
    # M2M100 does not list its languages' tokens; and these tokenizers have tokens that a model may not have.
    own = getattr(tokenizer, "lang_code_to_id", {})
    size, unknown = loaded.model.config.vocab_size, tokenizer.unk_token_id
    codes = [
        token
        for token, index in {**tokenizer.get_vocab(), **own}.items()
        if (token in own or _LANGUAGE_TOKEN.fullmatch(token)) and index != unknown and index < size
    ]
    found = [
        match_code(find_language(one, flag), codes, said=f"{flag} {one}", model=loaded.spec.name).code
        for flag, one in zip(("--from", "--to"), languages, strict=True)
    ]
    tokenizer.src_lang, tokenizer.tgt_lang = (code.strip("_") for code in found)
