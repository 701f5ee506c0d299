"""Entry point of `llmkit` and `python -m llmkit`."""

from __future__ import annotations

import signal

# Python's own handler would print a traceback if Ctrl-C came while the command line is imported.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from llmkit.cli.main import main

if __name__ == "__main__":
    main()
