"""Language tokens of many-language translation models (NLLB, M2M100, mBART)."""

from __future__ import annotations

import re
from typing import Any

_LANGUAGE_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}")


def language_tokens(tokenizer: Any, vocab_size: int) -> dict[str, int]:
    """Return the language tokens of a tokenizer that the model has too.

    Args:
        tokenizer: tokenizer of NLLB, M2M100 or mBART.
        vocab_size: the model's. These tokenizers have all languages of their family, even those that the
            model lacks.

    Returns:
        Token (``deu_Latn``, ``de_DE``, ``__de__``) -> id.
    """
    # M2M100 does not list its language tokens in the vocabulary, and writes them as __de__.
    own = getattr(tokenizer, "lang_code_to_id", {})
    return {
        token: index
        for token, index in {**tokenizer.get_vocab(), **own}.items()
        if (token in own or _LANGUAGE_TOKEN.fullmatch(token))
        and index != tokenizer.unk_token_id
        and index < vocab_size
    }
