"""Windows: as the tokenizers library cuts an encoding that is too long."""

from __future__ import annotations

import random

import pytest

from llmkit.text.windows import overlapping_windows
from tests.tiny import make_tokenizer


@pytest.mark.parametrize(
    ("length", "size", "overlap", "expected"),
    [
        (0, 4, 1, []),
        (1, 4, 1, [(0, 1)]),
        (4, 4, 1, [(0, 4)]),
        (5, 4, 1, [(0, 4), (3, 5)]),
        (7, 4, 1, [(0, 4), (3, 7)]),
        (8, 4, 0, [(0, 4), (4, 8)]),
        (3, 4, 3, [(0, 3)]),
        (6, 4, 3, [(0, 4), (1, 5), (2, 6)]),
    ],
)
def test_windows(length: int, size: int, overlap: int, expected: list[tuple[int, int]]) -> None:
    assert overlapping_windows(length, size, overlap) == expected


def test_windows_are_those_of_the_tokenizers_library() -> None:
    core = make_tokenizer(bos=False).backend_tokenizer
    chance = random.Random(0)
    for _ in range(200):
        encoding = core.encode("moon " * chance.randint(1, 30))
        ids, size = encoding.ids, chance.randint(1, 40)
        overlap = chance.randrange(size)
        encoding.truncate(size, stride=overlap)
        expected = [encoding.ids, *(more.ids for more in encoding.overflowing)]
        windows = overlapping_windows(len(ids), size, overlap)
        assert [ids[start:stop] for start, stop in windows] == expected


@pytest.mark.parametrize(("size", "overlap"), [(4, 4), (4, 5), (4, -1), (0, 0)])
def test_windows_that_do_not_move_on_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot share"):
        overlapping_windows(10, size, overlap)
