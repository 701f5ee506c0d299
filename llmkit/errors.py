"""The errors that llmkit raises on purpose, each with the exit code the command line gives it.

A message says what was wrong, where (file and line, or flag), and what to do next. The command line
prints it as one line. Of what is neither an LLMKitError nor an OSError it says that it is a bug; `--debug`
shows the traceback of either.
"""


class LLMKitError(Exception):
    """Something failed while running (exit code 1)."""

    exit_code = 1


class InputError(LLMKitError):
    """Bad usage or bad input: a flag, a file, a row or a model name (exit code 2)."""

    exit_code = 2


class RowError(InputError):
    """One row is bad. `--on-error skip` turns it into an `error` field in the output row.

    Args:
        where: the row's place, such as ``data.jsonl:3``.
        reason: what is wrong with it, and what to do.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class NoticeWarning(UserWarning):
    """What a user should know and no error is; the command line shows it as its own notice."""
