"""Build a tokenizer from a GGUF file's metadata.

transformers has such a reader too. For some files its result differs from llama.cpp's: it has no rule for
``smollm`` and ``starcoder``, which split numbers into digits, and it adds no start token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.header import Header
from llmkit.formats.gguf.pre_tokenizers import RULES, pre_tokenizer
from llmkit.formats.gguf.values import Values

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "▁"
# Above any real vocabulary: characters of a token that is merged of others, and merges (Gemma has 580,000).
_LONGEST_TOKEN = 1 << 8
_MOST_MERGES = 1_000_000
# Control tokens that end a turn in some model; llama.cpp stops at each of them, named as the end or not.
_ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
)


@dataclass(frozen=True)
class TokenizerParts:
    """A tokenizer and its settings.

    Attributes:
        tokenizer: text to ids, with start and end tokens if the file requests them.
        special: bos_token, eos_token, unk_token and pad_token, as text, where the file has them.
        chat_template: in Jinja, None where the file has none.
        ends: ids at which generation stops, the end token first.
    """

    tokenizer: Tokenizer
    special: dict[str, str]
    chat_template: str | None
    ends: list[int]


def read_tokenizer(header: Header) -> TokenizerParts:
    """The tokenizer of a GGUF file.

    Args:
        header: of the file.

    Raises:
        InputError: a kind of tokenizer that is not read, or lists that do not fit together.
    """
    kind = Values(header).string("tokenizer.ggml.model")
    tokens = _strings(header, "tokenizer.ggml.tokens")
    if len(set(tokens)) != len(tokens):
        raise InputError(f"{header.path}: damaged: its vocabulary contains a token twice")
    rows = header.tensors["token_embd.weight"].shape[0] if "token_embd.weight" in header.tensors else None
    if rows is not None and len(tokens) > rows:
        raise InputError(f"{header.path}: damaged: {len(tokens)} tokens, and embeddings for {rows}")
    builders = {"gpt2": _byte_level, "llama": _sentencepiece, "t5": _unigram, "bert": _word_piece}
    if kind not in builders:
        raise InputError(
            f"{header.path}: the tokenizer {kind} is not supported; supported: {', '.join(builders)}"
        )
    types = _types(header, len(tokens))
    special = {
        f"{name}_token": token
        for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if (token := _token(header, key, tokens)) is not None
    }
    try:
        tokenizer = builders[kind](header, tokens, types)
        _add_special(tokenizer, tokens, types, special)
        _add_ends(tokenizer, header, kind, special)
    except InputError:
        raise
    except Exception as error:  # tokenizers raises plain Exception for vocabularies that it cannot use
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{header.path}: its tokenizer cannot be built: {reason}") from None
    template = header.metadata.get("tokenizer.chat_template")
    return TokenizerParts(
        tokenizer, special, template if isinstance(template, str) else None, _ends(header, tokens, types)
    )


def _strings(header: Header, key: str) -> list[str]:
    value = header.metadata.get(key)
    if not isinstance(value, list):
        raise InputError(f"{header.path}: incomplete: its metadata lacks {key}")
    return value


def _types(header: Header, count: int) -> list[int]:
    value = header.metadata.get("tokenizer.ggml.token_type")
    if value is None:
        return [NORMAL] * count
    if len(value) != count or isinstance(value, list):
        raise InputError(f"{header.path}: damaged: {len(value)} token types for {count} tokens")
    return [int(one) for one in value]


def _scores(header: Header, count: int) -> list[float]:
    import numpy as np

    value = header.metadata.get("tokenizer.ggml.scores")
    if value is None or isinstance(value, list) or len(value) != count or not np.isfinite(value).all():
        raise InputError(f"{header.path}: incomplete: tokenizer.ggml.scores must be {count} numbers")
    return [float(one) for one in value]


def _token(header: Header, key: str, tokens: list[str]) -> str | None:
    index = header.metadata.get(f"tokenizer.ggml.{key}_token_id")
    if index is None or index == 0xFFFFFFFF:  # all ones stands for none
        return None
    if not isinstance(index, int) or not 0 <= index < len(tokens):
        raise InputError(f"{header.path}: damaged: the {key} token {index} is not in its vocabulary")
    return tokens[index]


def _byte_level(header: Header, tokens: list[str], types: list[int]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    name = Values(header).string("tokenizer.ggml.pre", "default")
    if name not in RULES:
        raise InputError(
            f"{header.path}: the pre-tokenizer {name} is not supported; supported: {', '.join(RULES)}"
        )
    rule = RULES[name]
    merges = []
    for merge in _strings(header, "tokenizer.ggml.merges"):
        left, space, right = merge[:1] + merge[1:].partition(" ")[0], *merge[1:].partition(" ")[1:]
        if not space or not right:
            raise InputError(f"{header.path}: damaged: {merge[:40]!r} is not a merge of two tokens")
        merges.append((left, right))
    model = models.BPE(
        vocab={token: i for i, token in enumerate(tokens)}, merges=merges, ignore_merges=rule.ignore_merges
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer(
        name, prefix=Values(header).boolean("tokenizer.ggml.add_space_prefix", False)
    )
    if rule.nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(header: Header, tokens: list[str], types: list[int]) -> Tokenizer:
    """Return byte-pair merges ranked by the scores of SentencePiece, with bytes for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    # A run of spaces that a user defined is written with real spaces, and met in the text as the others are.
    spelled = [
        token.replace(" ", SPACE) if kind == USER_DEFINED and not token.strip(" ") else token
        for token, kind in zip(tokens, types, strict=True)
    ]
    vocabulary = {token: i for i, token in enumerate(spelled)}
    scores = _scores(header, len(tokens))
    if header.architecture.startswith("gemma"):  # its scores do not follow the order of its merges
        scores = [-float(i) for i in range(len(tokens))]
    unknown = header.metadata.get("tokenizer.ggml.unknown_token_id", 0)
    model = models.BPE(
        vocab=vocabulary,
        merges=_merges(header.path, spelled, types, scores, vocabulary),
        unk_token=spelled[unknown] if isinstance(unknown, int) and unknown < len(spelled) else None,
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    prefix = Values(header).boolean("tokenizer.ggml.add_space_prefix", True)
    replace = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), replace]) if prefix else replace
    steps: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    return tokenizer


def _merges(
    path: Path, tokens: list[str], types: list[int], scores: list[float], vocabulary: dict[str, int]
) -> list[tuple[str, str]]:
    """Return all splits of a token into two tokens, those of the best token first."""
    ranked: list[tuple[float, int, int, str, str]] = []
    for i, token in enumerate(tokens):
        if types[i] not in (NORMAL, USER_DEFINED) or len(token) > _LONGEST_TOKEN:
            continue
        if len(ranked) > _MOST_MERGES:
            raise InputError(
                f"{path}: damaged: its tokens have more than {_MOST_MERGES:,} splits into tokens"
            )
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-scores[i], vocabulary[left], vocabulary[right], left, right))
    ranked.sort()
    return [(left, right) for *_, left, right in ranked]


def _unigram(header: Header, tokens: list[str], types: list[int]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    values = Values(header)
    unknown = values.integer("tokenizer.ggml.unknown_token_id", 2)
    scores = _scores(header, len(tokens))
    tokenizer = Tokenizer(models.Unigram(list(zip(tokens, scores, strict=True)), unknown, False))
    steps: list[Any] = []
    charsmap = header.metadata.get("tokenizer.ggml.precompiled_charsmap")
    if charsmap is not None and len(charsmap):
        steps.append(normalizers.Precompiled(bytes(charsmap)))
    if values.boolean("tokenizer.ggml.remove_extra_whitespaces", True):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if values.boolean("tokenizer.ggml.add_space_prefix", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    return tokenizer


def _word_piece(header: Header, tokens: list[str], types: list[int]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    # GGUF marks the start of a word, BERT its continuation.
    spelled = [
        token if kind != NORMAL else token[1:] if token.startswith(SPACE) else f"##{token}"
        for token, kind in zip(tokens, types, strict=True)
    ]
    unknown = _token(header, "unknown", tokens) or "[UNK]"
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(spelled)}, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _add_special(tokenizer: Tokenizer, tokens: list[str], types: list[int], special: dict[str, str]) -> None:
    """Do not split control tokens and user-defined tokens in a text."""
    from tokenizers import AddedToken

    for token, kind in zip(tokens, types, strict=True):
        if kind == CONTROL or token in special.values():
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USER_DEFINED and token.strip(" "):
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=False)])


def _add_ends(tokenizer: Tokenizer, header: Header, kind: str, special: dict[str, str]) -> None:
    from tokenizers.processors import TemplateProcessing

    values = Values(header)
    pre = values.string("tokenizer.ggml.pre", "default")
    bos = values.boolean("tokenizer.ggml.add_bos_token", kind == "llama" or pre == "llama-bpe")
    eos = values.boolean("tokenizer.ggml.add_eos_token", kind == "t5")
    start = [special["bos_token"]] if bos and "bos_token" in special else []
    end = [special["eos_token"]] if eos and "eos_token" in special else []
    if kind == "bert":
        start = (
            [t]
            if (
                t := header.metadata["tokenizer.ggml.tokens"][
                    values.integer("tokenizer.ggml.cls_token_id", 101)
                ]
            )
            else []
        )
        end = (
            [t]
            if (
                t := header.metadata["tokenizer.ggml.tokens"][
                    values.integer("tokenizer.ggml.seperator_token_id", 102)
                ]
            )
            else []
        )
    if start or end:
        ids = [(token, tokenizer.token_to_id(token)) for token in dict.fromkeys(start + end)]
        single = [*start, "$A", *end]
        tokenizer.post_processor = TemplateProcessing(
            single=single, pair=[*single, *start, "$B:1", *end], special_tokens=ids
        )


def _ends(header: Header, tokens: list[str], types: list[int]) -> list[int]:
    """The end token, those of a turn and a message, and control tokens that are known to end a turn."""
    found = [header.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    ids = [one for one in found if isinstance(one, int) and 0 <= one < len(tokens)]
    index = {token: i for i, token in enumerate(tokens)}
    ids += [index[end] for end in _ENDS if end in index and types[index[end]] == CONTROL]
    return list(dict.fromkeys(ids))
