"""Rules that split a text into words before byte-level BPE, by llama.cpp's names.

Sources: llama.cpp's src/llama-vocab.cpp and the tokenizer.json files of the models that the names stand for.
If they differ (combining marks in `tekken` and `gpt-4o`), the rules follow the models' own files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

_END = r"|\s+(?!\S)|\s+"
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_NOT_WORD = r"[^\r\n\p{L}\p{N}]?"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+" + _END
_LLAMA3 = _CONTRACTIONS + "|" + _NOT_WORD + r"\p{L}+|\p{N}{1,3}" + _REST
_QWEN2 = _CONTRACTIONS + "|" + _NOT_WORD + r"\p{L}+|\p{N}" + _REST
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST_SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+" + _END
_TEKKEN = f"{_NOT_WORD}{_UPPER}*{_LOWER}+|{_NOT_WORD}{_UPPER}+{_LOWER}*|\\p{{N}}{_REST_SLASH}"
_GPT4O = (
    f"{_NOT_WORD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_NOT_WORD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}{_REST_SLASH}"
)
# The rule of files that name none: punctuation, then GPT-2's words, then digits in threes.
_DEFAULT = (
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
)


@dataclass(frozen=True)
class Rule:
    """A rule that splits a text into words.

    Attributes:
        pattern: matches a word; several patterns are applied in turn; None is GPT-2's pattern.
        digits: split numbers into digits first.
        ignore_merges: a word that is a token is not split.
        nfc: compose accents first.
    """

    pattern: str | tuple[str, ...] | None = None
    digits: bool = False
    ignore_merges: bool = False
    nfc: bool = False


# Of rules that are equal, the first name is the one that is written.
RULES = {
    "gpt-2": Rule(),
    "smollm": Rule(digits=True),
    "llama-bpe": Rule(_LLAMA3, ignore_merges=True),
    "dbrx": Rule(_LLAMA3),
    "qwen2": Rule(_QWEN2, nfc=True),
    "stablelm2": Rule(_QWEN2),
    "tekken": Rule(_TEKKEN, ignore_merges=True),
    "gpt-4o": Rule(_GPT4O),
    "starcoder": Rule(digits=True),
    "refact": Rule(digits=True),
    "command-r": Rule(digits=True),
    "codeshell": Rule(digits=True),
    "exaone": Rule(digits=True),
    "mpt": Rule(),
    "olmo": Rule(),
    "jais": Rule(),
    "phi-2": Rule(),
    "roberta-bpe": Rule(),
    "llama3": Rule(_LLAMA3, ignore_merges=True),
    "llama-v3": Rule(_LLAMA3, ignore_merges=True),
    "falcon3": Rule(_LLAMA3, ignore_merges=True),
    "pixtral": Rule(_LLAMA3, ignore_merges=True),
    "lfm2": Rule(_LLAMA3, ignore_merges=True),
    "smaug-bpe": Rule(_LLAMA3),
    "deepseek-r1-qwen": Rule(_QWEN2),
    "megrez": Rule(_QWEN2),
    "llama4": Rule(_GPT4O),
    "default": Rule(_DEFAULT),
}


def pre_tokenizer(name: str, *, prefix: bool = False) -> PreTokenizer:
    """The rule of a name, as the tokenizers library runs it.

    Args:
        name: a key of `RULES`.
        prefix: put a space before the text.
    """
    from tokenizers import Regex, pre_tokenizers

    rule = RULES[name]
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if rule.digits else []
    patterns = (rule.pattern,) if isinstance(rule.pattern, str) else rule.pattern or ()
    steps += [pre_tokenizers.Split(Regex(one), behavior="isolated") for one in patterns]
    own = rule.pattern is None
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=own))
    return steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)
