"""Documents that are read: blocks of prose, running text, and files that are no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.errors import InputError
from llmkit.text.documents.reading.blocks import Block, read_blocks, running_text, without_license
from llmkit.text.documents.reading.files import files_of, plain_text, read_file

PAGE = b"""<html><head><title>Keys</title></head><body>
<nav><p>Home and more words.</p></nav>
<div class="sidebar"><div>A side.</div><p>Still the side.</p></div>
<p>The key is under the <b>mat</b>.</p>
<p><a href="a">All of this is a link</a> to.</p>
<table><tr><td>A cell.</td></tr></table>
<pre>code</pre><img alt="A picture."><footer>Imprint of it.</footer></body></html>"""


def test_what_a_page_has_around_its_text_is_left_out() -> None:
    blocks = read_blocks(PAGE, "html")
    assert {block.text for block in blocks if block.kind == "navigation"} == {
        "Home and more words.", "A side.", "Still the side.", "Imprint of it.",
    }  # fmt: skip
    assert running_text(blocks) == "Keys\n\nThe key is under the mat."


def test_a_page_that_is_all_menu_is_read() -> None:
    assert running_text(read_blocks(b"<nav><p>Only this.</p></nav>", "html")) == "Only this."


def test_a_menu_that_never_ends_hides_nothing_before_it() -> None:
    blocks = read_blocks(b"<p>Before.</p><nav><p>Menu.</p>", "html")
    assert [block.kind for block in blocks] == ["paragraph", "navigation"]


def test_hard_wrapped_and_marked_text_is_one_line() -> None:
    (block,) = read_blocks(b"The *key* is\nunder ![x](y.png)the [mat](z).\n", "md")
    assert block == Block("The key is under the mat.", "line 1", "paragraph", block.linked)
    assert 0 < block.linked < 1 / 3


def test_a_sentence_over_two_pages_is_whole() -> None:
    blocks = [
        Block("It ends here. The key is", "p. 1", "paragraph"),
        Block("under the mat.", "p. 2", "paragraph"),
        Block("Another one.", "p. 3", "paragraph"),
    ]
    assert running_text(blocks) == "It ends here. The key is under the mat.\n\nAnother one."
    items = [Block("snow", "line 1", "paragraph"), Block("roads are closed.", "line 2", "paragraph")]
    assert running_text(items) == "snow\n\nroads are closed."


def test_the_license_around_a_book() -> None:
    start, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK EMMA ***" for word in ("START", "END"))
    assert without_license(f"License.\n{start}\nEmma.\n{end}\nMore.").strip() == "Emma."
    assert without_license("Emma.") == "Emma."


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b" \n\t", "white space"),
        (b"caf\xe9", "0xe9 is not UTF-8"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"GIF89a\0\0", "NUL bytes"),
        (b"\xff\xd8\0\1", "NUL bytes"),
        (b"\x1b[0m" * 3 + b"\x02\x03\x04", "control characters"),
    ],
)
def test_bytes_that_are_no_text(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=f"x.txt.*{said}"):
        plain_text(data, "x.txt")


def test_plain_text_keeps_its_characters() -> None:
    assert plain_text(b"\xef\xbb\xbfa\tb\r\n\x1b[1mc\x0c", "x") == "a\tb\r\n\x1b[1mc\x0c"


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.txt", "a/c.md", ".hidden", ".git/d", "a/.e"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = list(files_of([str(tmp_path), str(tmp_path / ".hidden")]))
    assert [(Path(name).name, named) for name, named in found] == [
        ("b.txt", False), ("c.md", False), (".hidden", True)
    ]  # fmt: skip
    with pytest.raises(InputError, match="no such file"):
        read_file(str(tmp_path / "gone"))
    with pytest.raises(InputError, match="folder"):
        read_file(str(tmp_path))
