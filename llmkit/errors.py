"""Error classes of llmkit, with their exit codes on the command line.

    LLMKitError              something failed while running (exit code 1)
      OutOfMemory            a batch did not fit; callers halve it and try again
      RequestRefused         one request of several cannot be answered
      InputError             bad usage or bad input (exit code 2)
        OptionError          one option has a bad value, or cannot be combined with another
        RowError             one row of the input is bad
    NoticeWarning            a warning that the command line shows as a notice

A message says what was wrong, where (file and line, or option), and what to do next; the command line prints
it as one line. Any other exception, `OSError` excepted, is reported as a bug; `--debug` shows the traceback.

Code below `cli/` names options as Python does: `` `num_beams` `` in backticks, or ``num_beams=4`` and
``resume=True`` where it says what to set. The command line shows them as flags (`--num-beams 4`, `--resume`)
and a server as JSON fields. Columns are written "column `source`", which stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable


class LLMKitError(Exception):
    """Something failed while running (exit code 1)."""

    exit_code = 1


class OutOfMemory(LLMKitError):  # noqa: N818 (a condition to act on, as StopIteration is)
    """A batch did not fit into memory; the caller halves it and tries again."""


class RequestRefused(LLMKitError):  # noqa: N818 (as OutOfMemory)
    """One request cannot be answered; other requests may continue. A run of rows then asks row by row."""


class InputError(LLMKitError):
    """Bad usage or bad input: an option, a file, a row or a model name (exit code 2)."""

    exit_code = 2


class OptionError(InputError):
    """An option has a bad value, or cannot be combined with another.

    Attributes:
        option: name of the option in Python, such as ``max_new_tokens``.
        reason: rest of the sentence that begins with the option: "must be 1 or more".
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"`{option}` {reason}")
        self.option = option
        self.reason = reason


class RowError(InputError):
    """One row is bad. `on_error="skip"` turns it into an `error` field in the output row.

    Attributes:
        where: place of the row, such as ``data.jsonl:3``.
        reason: what is wrong with it, and what to do.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class NoticeWarning(UserWarning):
    """A warning for the user that is no error; the command line shows it as a notice."""


def check_seed(seed: int | None) -> None:
    """Refuse a seed that not every random generator takes; None is no seed.

    Raises:
        OptionError: it is not between 0 and 2**32 - 1.
    """
    if seed is not None and not 0 <= seed < 2**32:
        raise OptionError("seed", f"must be between 0 and {2**32 - 1:,}, not {one_line(str(seed), 40)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean NAME?"`` with the known name nearest to `name`, or an empty string."""
    import difflib

    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """Return the text of an error (its class if it has none) as one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
