"""Text files that an option names."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.errors import OptionError
from llmkit.option_file import option_text


def test_the_text_of_a_file_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "terms.tsv").write_bytes(b"\xef\xbb\xbfbook\tBuch\n")
    assert option_text(tmp_path / "terms.tsv", "glossary") == "book\tBuch\n"


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "no such file"), (".", "folder"), ("latin1", "byte 4 is not UTF-8")]
)
def test_a_file_that_cannot_be_read_is_an_error_of_its_option(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "latin1").write_bytes(b"caf\xe9")
    with pytest.raises(OptionError, match=reason) as caught:
        option_text(tmp_path / name, "schema")
    assert caught.value.option == "schema"
