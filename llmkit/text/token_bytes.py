"""Bytes of single tokens. A token may be less than a character, so that its text alone is not enough."""

from __future__ import annotations

from typing import Any


class TokenBytes:
    """Bytes of single tokens, which may be less than a character.

    Args:
        tokenizer: the model's tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        decoder = str(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", ""))
        self._byte_level = "ByteLevel" in decoder
        self._known: dict[int, bytes] = {}

    def __call__(self, token: int) -> bytes:
        """Return the bytes that a token adds to the text; none for a special token."""
        if token not in self._known:
            self._known[token] = self._bytes(token)
        return self._known[token]

    def text(self, token: int) -> str:
        """Return a token as text; bytes that are no whole character become replacement characters."""
        if token in self._special:
            return str(self._tokenizer.convert_ids_to_tokens(token))
        return self(token).decode("utf-8", errors="replace")

    def _bytes(self, token: int) -> bytes:
        if token in self._special:
            return b""
        piece = str(self._tokenizer.convert_ids_to_tokens(token))
        if self._byte_level:
            known = _byte_level_alphabet()
            if all(character in known for character in piece):
                return bytes(known[character] for character in piece)
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        if "▁" in piece:
            return piece.replace("▁", " ").encode()
        text: str = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return text.encode()


def _byte_level_alphabet() -> dict[str, int]:
    """Return GPT-2's character of each byte (Radford et al. 2019), the other way round."""
    if not _ALPHABET:
        printable = [
            *range(ord("!"), ord("~") + 1),
            *range(ord("¡"), ord("¬") + 1),
            *range(ord("®"), ord("ÿ") + 1),
        ]
        others = [byte for byte in range(256) if byte not in set(printable)]
        _ALPHABET.update({chr(byte): byte for byte in printable})
        _ALPHABET.update({chr(256 + i): byte for i, byte in enumerate(others)})
    return _ALPHABET


_ALPHABET: dict[str, int] = {}
