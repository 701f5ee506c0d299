from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import InputError, LLMKitError
from llmkit.training.batches import SingletonBatches
from llmkit.training.pretraining.token_file import (
    Blocks,
    Documents,
    Tokens,
    TokenWriter,
    check_filled,
    id_dtype,
)


def written(folder: Path, *parts: list[list[int]], dtype: str = "uint16") -> Documents:
    writer = TokenWriter(folder / "ids", dtype, 0, folder / "lengths")
    for part in parts:
        writer.add(part)
    writer.close()
    documents = Documents(Tokens(folder / "ids", dtype), Tokens(folder / "lengths", "int64"))
    assert writer.count == len(documents.tokens)
    return documents


def test_blocks_are_the_documents_in_a_row_with_a_boundary_before_each(tmp_path: Path) -> None:
    blocks = Blocks(written(tmp_path, [[1, 2, 3], [4]], [], [[5, 6]]).tokens, 4)
    # 0 1 2 3 | 0 4 0 5 | 6 0: the tail that fills no block is dropped.
    assert len(blocks) == 2
    assert [list(blocks.ids(i)) for i in range(2)] == [[0, 1, 2, 3], [0, 4, 0, 5]]
    assert list(blocks[1].ids) == [0, 4, 0, 5]
    assert list(blocks[1].targets) == [4, 0, 5, -100]  # the next token; the last has none


def test_each_epoch_cuts_the_blocks_elsewhere() -> None:
    text = np.arange(100, 111)
    blocks = Blocks(text, 5)
    starts = set()
    for epoch in range(5):
        blocks.set_epoch(epoch)
        found = np.concatenate([blocks.ids(i) for i in range(len(blocks))])
        start = int(found[0]) - 100
        assert found.tolist() == np.roll(text, -start)[:10].tolist()
        starts.add(start)
    assert starts == {0, 1, 2, 3, 4}  # five multiples of the golden ratio divide a block evenly


def test_a_block_can_begin_with_an_id_of_its_own() -> None:
    blocks = Blocks(np.arange(100, 110), 5, first=7)
    assert [list(blocks.ids(i)) for i in range(2)] == [[7, 100, 101, 102, 103], [7, 105, 106, 107, 108]]
    assert list(blocks[0].targets) == [100, 101, 102, 103, -100]
    blocks.set_epoch(1)
    assert list(blocks.ids(1)) == [7, 108, 109, 100, 101]


def test_documents_come_back_one_by_one(tmp_path: Path) -> None:
    documents = [[1, 2, 3], [], [0, 4], [5]]
    found = written(tmp_path, documents)
    assert len(found) == 4
    assert [list(one) for one in found] == documents
    assert [list(one) for one in found] == documents  # and once more


@pytest.mark.parametrize(("vocabulary", "size"), [(300, 2), (65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_where_they_fit(tmp_path: Path, vocabulary: int, size: int) -> None:
    top = vocabulary - 1
    found = written(tmp_path, [[top, 1]], dtype=id_dtype(vocabulary))
    assert (tmp_path / "ids").stat().st_size == 4 * size
    assert found.tokens[0:4].tolist() == [0, top, 1, 0]
    assert found.tokens[0:4].dtype == np.int64


def test_a_file_may_move_and_must_not_shrink(tmp_path: Path) -> None:
    tokens = written(tmp_path, [[1, 2, 3]]).tokens
    (tmp_path / "ids").rename(tmp_path / "moved")
    assert tokens[1:4].tolist() == [1, 2, 3]
    (tmp_path / "moved").write_bytes(b"")
    with pytest.raises(LLMKitError, match="ids: became shorter"):
        tokens[1:4]


def test_counting_writes_nothing(tmp_path: Path) -> None:
    writer = TokenWriter(None, "uint16", 0)
    writer.add([[1, 2], [3]])
    writer.close()
    assert writer.count == 6
    assert not list(tmp_path.iterdir())


def test_a_corpus_shorter_than_a_block_is_refused() -> None:
    check_filled(8, 8)
    with pytest.raises(InputError, match="5 tokens and fills no block of 8"):
        check_filled(5, 8)


def test_singles_are_lists_of_one() -> None:
    assert [list(one) for one in SingletonBatches(3)] == [[0], [1], [2]]
    assert [list(one) for one in SingletonBatches(3)[1:]] == [[1], [2]]
    with pytest.raises(IndexError):
        SingletonBatches(3)[3]
