"""PDF documents, which are only read: pages of text."""

from __future__ import annotations

import io
import logging
import re
from typing import Any

from llmkit.errors import InputError
from llmkit.text.documents import atoms as A
from llmkit.text.documents.build import Builder
from llmkit.text.documents.document import Document
from llmkit.text.documents.writer import TextWriter
from llmkit.text.unwrap import unwrapped

MOST_PAGES = 20_000
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[a-zß-öø-ÿ])")


def read_pdf(data: bytes, builder: Builder) -> Document:
    """Read the text of a PDF; a segment a paragraph, with its page as its place (`p. 12`).

    Raises:
        InputError: pypdf is not installed, or the file is damaged, encrypted or without text.
    """
    try:
        import pypdf
    except ImportError as error:
        raise InputError("PDF needs pypdf; install it with: pip install 'llmkit[documents]'") from error
    # The library logs what it repairs.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    parts: list[str | int] = []
    try:
        reader: Any = pypdf.PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError("the PDF is encrypted; save it without a password")
        for number, page in enumerate(reader.pages[:MOST_PAGES], 1):
            text = page.extract_text() or ""
            for paragraph in re.split(r"\n[ \t]*\n", unwrapped(_HYPHEN.sub("", text))):
                line = " ".join(paragraph.split())
                added = builder.add([A.text(line)], TextWriter(), where=f"p. {number}", kind="paragraph")
                parts += [*added, "\n\n"]
    except InputError:
        raise
    # The library raises errors of many kinds on damaged files.
    except Exception as error:
        raise InputError(f"the PDF is damaged: {type(error).__name__}: {error}") from error
    if not builder.segments:
        raise InputError("the PDF has no text; scanned pages need text recognition (OCR) first")
    return Document("pdf", tuple(parts), tuple(builder.segments))
