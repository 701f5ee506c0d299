"""Names of files and folders, which on Linux may be other bytes than UTF-8.

Public: `check_name`.
"""

from __future__ import annotations

from pathlib import Path

from llmkit.errors import OptionError


def check_name(option: str, name: str | Path) -> None:
    """Refuse a name that is not UTF-8: tokenizers and safetensors cannot open it.

    Args:
        option: option that names it.
        name: the name, with surrogates for other bytes, as Python reads it.

    Raises:
        OptionError: it is not UTF-8.
    """
    try:
        str(name).encode()
    except UnicodeEncodeError:
        shown = str(name).encode(errors="replace").decode()
        reason = f"{shown}: the name is not UTF-8 (? stands for such bytes); rename it"
        raise OptionError(option, reason) from None
