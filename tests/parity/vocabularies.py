"""Tokenizer files of many families, with pieces that byte-pair merging learns from the text below."""

from __future__ import annotations

import itertools
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

TEXT = """
The sea was calm and the little boat went out with the morning light. Anna asked the old sailor where the
islands are, and the sailor said that the islands are a day away, behind the fog. They don't see the town now.
Das Meer war ruhig und das kleine Boot fuhr mit dem Morgenlicht hinaus. Anna fragte den alten Seemann, wo die
Inseln sind, und der Seemann sagte, dass die Inseln einen Tag entfernt sind, hinter dem Nebel.
In 1912 the harbour was built by workers from the north; it has 3 towers, 40 lamps and a long wall of stone.
"""


def _learn(words: Counter[tuple[str, ...]], merges: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: the most frequent pair, ties by spelling, so that every run gives the same."""
    learned = []
    for _ in range(merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learned.append(best)
        merged: Counter[tuple[str, ...]] = Counter()
        for word, count in words.items():
            symbols: list[str] = []
            for symbol in word:
                if symbols and (symbols[-1], symbol) == best:
                    symbols[-1] += symbol
                else:
                    symbols.append(symbol)
            merged[tuple(symbols)] += count
        words = merged
    return learned


def _pieces(space: str, merges: int = 150) -> tuple[list[str], list[tuple[str, str]]]:
    words = Counter(tuple(space + word) for word in TEXT.split())
    learned = _learn(words, merges)
    characters = sorted({character for word in words for character in word} | set("?!:-()ü"))
    return [*characters, *dict.fromkeys(a + b for a, b in learned)], learned


def _scored(special: list[str]) -> list[tuple[str, float]]:
    """A unigram vocabulary: longer pieces are likelier than what they are made of."""
    pieces, _ = _pieces("▁")
    return [(token, 0.0) for token in special] + [
        (piece, -4.0 - 1.5 / len(piece) - i / 1000) for i, piece in enumerate(pieces)
    ]


def _unigram(folder: Path, special: list[str], unk: str, single: str, pair: str, *, split: bool) -> int:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocab = _scored(special)
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=special.index(unk), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    metaspace = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
        if split
        else pre_tokenizers.Sequence([metaspace])
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, special.index(token)) for token in special]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(vocab)


def _t5(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    special = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(3))]
    size = _unigram(folder, special, "<unk>", "$A </s>", "$A </s> $B:1 </s>:1", split=True)
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return ids, size, {"extra_ids": 3, "additional_special_tokens": special[3:]}


def _mbart(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    special = ["<s>", "<pad>", "</s>", "<unk>", "en_XX", "de_DE", "ro_RO", "<mask>"]
    size = _unigram(folder, special, "<unk>", "$A </s> en_XX", "$A $B </s> en_XX", split=True)
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    return ids, size, {"src_lang": "en_XX", "tgt_lang": "de_DE"}


def _pegasus(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    special = ["<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk>"]
    size = _unigram(folder, special, "<unk>", "$A </s>", "$A $B </s>", split=True)
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return ids, size, {"offset": 3}


def _deberta(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    pair = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
    size = _unigram(folder, special, "[UNK]", "[CLS]:0 $A:0 [SEP]:0", pair, split=False)
    return {"pad_token_id": 0}, size, {"do_lower_case": False, "split_by_punct": False}


def _nllb(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    pieces, merges = _pieces("▁")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    codes = ["eng_Latn", "deu_Latn", "ron_Latn", "<mask>"]
    vocab = {piece: i for i, piece in enumerate([*special, *pieces, *codes])}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="eng_Latn $A </s>",
        pair="eng_Latn $A $B </s>",
        special_tokens=[(token, vocab[token]) for token in ("eng_Latn", "</s>")],
    )
    tokenizer.add_special_tokens([*special, *codes])
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    return ids, len(vocab), {"src_lang": "eng_Latn", "tgt_lang": "deu_Latn"}


def _byte_level(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    from tokenizers.pre_tokenizers import ByteLevel

    # Not all 256 bytes: a random model would write few whole characters.
    written = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(
        TEXT + "\t\r«»🙂ü\u0301?!:-()"
    )
    alphabet = sorted(set("".join(piece for piece, _ in written)))
    _, merges = _pieces("Ġ")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = [*special[:4], *alphabet, *dict.fromkeys(a + b for a, b in merges), "<mask>"]
    write_json(folder / "vocab.json", {name: i for i, name in enumerate(names)})
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0}, len(names), {}


def _word_pieces(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    pieces, _ = _pieces("▁")
    words = [piece[1:] if piece.startswith("▁") else "##" + piece for piece in pieces]
    starts = [piece for piece in pieces if len(piece) == 1]
    names = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *starts, *words])
    names.pop("", None)
    (folder / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return {"pad_token_id": 0}, len(names), {"do_lower_case": False}


def _marian(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    scored = _sentencepiece(folder / "source.spm")
    _sentencepiece(folder / "target.spm")
    names = ["</s>", "<unk>", *(piece for piece, _ in scored), "<pad>"]
    write_json(folder / "vocab.json", {name: i for i, name in enumerate(names)})
    pad = len(names) - 1
    ids = {"pad_token_id": pad, "eos_token_id": 0, "decoder_start_token_id": pad}
    return ids, len(names), {"source_lang": "en", "target_lang": "de"}


def _m2m100(folder: Path) -> tuple[dict[str, int], int, dict[str, Any]]:
    scored = _sentencepiece(folder / "sentencepiece.bpe.model")
    names = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in scored)]
    write_json(folder / "vocab.json", {name: i for i, name in enumerate(names)})
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    # The tokenizer puts its 100 languages behind the vocabulary, and 8 made-up words behind them.
    return ids, len(names) + 108, {"src_lang": "en", "tgt_lang": "de"}


def _sentencepiece(path: Path) -> list[tuple[str, float]]:
    """Write a SentencePiece unigram model: the protocol buffer of its sentencepiece_model.proto, by hand."""
    scored = _scored([])
    rows = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *((p, score, 1) for p, score in scored)]
    pieces = b"".join(
        _field(1, _field(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind]))
        for piece, score, kind in rows
    )
    normalizer = _field(1, b"identity") + bytes([0x18, 1, 0x20, 1, 0x28, 1])
    path.write_bytes(pieces + _field(2, bytes([0x18, 1])) + _field(3, normalizer))
    return scored


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = bytearray(), len(content)
    while size > 127:
        length.append(size % 128 + 128)
        size //= 128
    return bytes([number * 8 + 2, *length, size]) + content


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as readable JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


TOKENIZERS = {
    "t5": _t5,
    "mbart": _mbart,
    "pegasus": _pegasus,
    "deberta": _deberta,
    "nllb": _nllb,
    "byte_level": _byte_level,
    "word_pieces": _word_pieces,
    "marian": _marian,
    "m2m100": _m2m100,
}
