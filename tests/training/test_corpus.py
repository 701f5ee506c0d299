import json
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import InputError
from llmkit.training.corpus import pack, read_documents, split_documents


def test_end_of_text_marks_separate_documents_and_stay_out_of_them(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n\nstill one\n<|endoftext|>\ntwo\n<|endoftext|>\n", encoding="utf-8")
    assert read_documents([file]) == ["one\n\nstill one", "two"]


def test_blank_lines_separate_where_there_is_no_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone\r\nstill one\r\n\r\ntwo".encode())
    assert read_documents([file]) == ["one\nstill one", "two"]


def test_a_given_separator_wins_and_whole_keeps_a_file_together(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a\n\nb ### c", encoding="utf-8")
    assert read_documents([file], separator="###") == ["a\n\nb", "c"]
    assert read_documents([file], whole=True) == ["a\n\nb ### c"]


def test_several_files_and_jsonl(tmp_path: Path) -> None:
    text, rows = tmp_path / "a.txt", tmp_path / "b.jsonl"
    text.write_text("one", encoding="utf-8")
    rows.write_text('{"text": "two\\n\\nparts"}\n\n{"text": "naïve", "id": 3}\n', encoding="utf-8")
    assert read_documents([text, rows]) == ["one", "two\n\nparts", "naïve"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\nbad \xff\n", r"a\.txt:2: not UTF-8 \(byte 5"),
        ("a.txt", b" \n\n \n", "no document"),
        ("a.jsonl", b'{"text": "x"}\n{oops}\n', r"a\.jsonl:2: not a JSON object"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n', r"a\.jsonl:2: no `text` field"),
        ("a.jsonl", b'["text"]\n', r"a\.jsonl:1: no `text` field"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_documents([tmp_path / name])


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_documents([tmp_path / "none.txt"])
    with pytest.raises(InputError, match="is a folder"):
        read_documents([tmp_path])


def test_the_split_keeps_documents_whole_and_both_sides_complete() -> None:
    documents = [f"document {i}" for i in range(100)]
    train, held_out = split_documents(documents, 0.1, seed=1)
    assert len(held_out) == 10
    assert sorted(train + held_out) == sorted(documents)


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    documents = [f"document {i}" for i in range(100)]
    _, held_out = split_documents(documents, 0.1, seed=1)
    _, shuffled = split_documents(documents[::-1], 0.1, seed=1)
    _, other = split_documents(documents, 0.1, seed=2)
    assert set(shuffled) == set(held_out) != set(other)


def test_copies_of_a_document_fall_on_one_side() -> None:
    documents = [f"document {i % 20}" for i in range(100)]
    train, held_out = split_documents(documents, 0.2, seed=1)
    assert not set(train) & set(held_out)
    assert len(train) + len(held_out) == 100


def test_too_few_documents_to_split_are_refused() -> None:
    with pytest.raises(InputError, match="1 different document"):
        split_documents(["same", "same"], 0.05, seed=1)
    assert split_documents(["one"], 0, seed=1) == (["one"], [])


def test_blocks_are_the_documents_in_a_row_with_a_boundary_before_each() -> None:
    blocks = pack([[1, 2, 3], [4], [5, 6]], boundary=0, length=4)
    # 0 1 2 3 | 0 4 0 5 | 6 0: the tail that fills no block is dropped.
    np.testing.assert_array_equal(blocks.ids, [[0, 1, 2, 3], [0, 4, 0, 5]])
    assert list(blocks[1].ids) == [0, 4, 0, 5]
    assert list(blocks[1].targets) == [4, 0, 5, -100]  # the next token; the last has none


def test_a_corpus_shorter_than_a_block_is_refused() -> None:
    with pytest.raises(InputError, match="5 tokens and fills no block of 8"):
        pack([[1, 2, 3]], boundary=0, length=8)


def test_json_escapes_survive(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"text": "tab\tand \U0001f600"}) + "\n", encoding="utf-8")
    assert read_documents([file]) == ["tab\tand \U0001f600"]
