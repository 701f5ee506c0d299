"""Guess the encoding of a text that is not UTF-8."""

from __future__ import annotations

import codecs
import re

_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_KANA_IN_SHIFT_JIS = re.compile(rb"[\x82\x83][\x40-\xf1]")


def guess(data: bytes) -> str:
    """Guess the encoding of a text that is not UTF-8: gb18030, cp932, cp1251, cp1252 or latin1.

    Letters of Western Europe stand alone between ASCII letters. Chinese characters are pairs of high bytes;
    the common ones of GB 2312 begin with 0xb0 to 0xd7. Russian words in Windows-1251 are runs of letters
    from 0xc0 on.
    """
    runs = _HIGH_BYTES.findall(data)
    high = sum(map(len, runs))
    if 2 * len(_KANA_IN_SHIFT_JIS.findall(data)) > high / 2 and _decodes(data, "cp932"):
        return "cp932"
    if sum(len(run) for run in runs if len(run) > 1) < 2 * high / 3:
        return _western(data)
    pairs = [run[i] for run in runs for i in range(0, len(run) - 1, 2)]
    common = sum(0xA1 <= lead <= 0xA3 or 0xB0 <= lead <= 0xD7 for lead in pairs)
    if 2 * common > len(pairs) and _decodes(data, "gb18030"):
        return "gb18030"
    letters = sum(byte >= 0xC0 for run in runs for byte in run)
    return "cp1251" if letters > 2 * high / 3 and high >= 3 * len(runs) else _western(data)


def _western(data: bytes) -> str:
    """Windows-1252 has letters and quotes where Latin-1 has control characters."""
    return "cp1252" if any(0x80 <= byte < 0xA0 for byte in data) else "latin1"


def _decodes(data: bytes, encoding: str) -> bool:
    # The last character may be truncated.
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return False
    return True
