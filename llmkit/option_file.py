"""Read a text file that an option names."""

from __future__ import annotations

from pathlib import Path

from llmkit.errors import OptionError


def option_text(path: str | Path, option: str, encoding: str = "utf-8-sig") -> str:
    """Return the text of a file that an option names.

    Args:
        path: the file.
        option: name of the option in Python, for the message.
        encoding: encoding of the file.

    Raises:
        OptionError: there is no such file, it cannot be read, or it is not text in the encoding.
    """
    try:
        return Path(path).read_text(encoding=encoding)
    except FileNotFoundError:
        raise OptionError(option, f"{path}: no such file") from None
    except IsADirectoryError:
        raise OptionError(option, f"{path} is a folder; give a file in it") from None
    except OSError as error:
        raise OptionError(option, f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise OptionError(option, f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from error
