"""Write the program's help texts into the documentation: ``python -m tests.update_docs``."""

from __future__ import annotations

from tests.docs import PAGES, with_help

for page in PAGES:
    text = page.read_text(encoding="utf-8")
    if with_help(text) != text:
        page.write_text(with_help(text), encoding="utf-8")
        print(page)
