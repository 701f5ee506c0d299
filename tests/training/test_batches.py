"""The order of rows in a run, and how they stand in a batch."""

from typing import Any

import pytest
import torch

from llmkit.training.batches import Batches, Flattened, Padded, Pairs, RowDataset, Spans
from llmkit.training.encoded import IGNORED, Encoded


def epoch(batches: Batches, number: int = 0) -> list[list[int]]:
    batches.set_epoch(number)
    return list(batches)


def steps(count: int, size: int, accumulation: int, world: int, **more: Any) -> list[set[int]]:
    """The rows of each step of an epoch, those of all processes together."""
    parts = [
        Batches([[i] for i in range(count)], size, accumulation, rank=rank, world=world, **more)
        for rank in range(world)
    ]
    rounds = [epoch(part) for part in parts]
    assert {len(one) for one in rounds} == {len(parts[0])}
    found = []
    for start in range(0, len(parts[0]), accumulation):
        own = [row for one in rounds for batch in one[start : start + accumulation] for row in batch]
        found.append({row for row in own if row >= 0})
        assert len(found[-1]) == len([row for row in own if row >= 0])
    assert len(found) == parts[0].steps
    return found


SHAPES = [(8, 1, 1), (4, 2, 1), (2, 4, 1), (1, 8, 1), (4, 1, 2), (2, 2, 2), (1, 2, 4), (1, 1, 8)]


@pytest.mark.parametrize("lengths", [None, [7, 1, 5, 3] * 20], ids=["", "grouped"])
@pytest.mark.parametrize("count", [8, 32, 35, 41, 3])
def test_a_step_has_the_same_rows_however_it_is_cut(count: int, lengths: list[int] | None) -> None:
    expected = steps(count, 8, 1, 1, lengths=lengths, seed=5)
    assert sorted(row for step in expected for row in step) == list(range(count))
    for size, accumulation, world in SHAPES:
        assert steps(count, size, accumulation, world, lengths=lengths, seed=5) == expected


def test_no_forward_pass_is_larger_than_asked_for() -> None:
    for count in (17, 32, 41):
        for size, accumulation, world in SHAPES:
            for rank in range(world):
                batches = Batches([[i] for i in range(count)], size, accumulation, rank=rank, world=world)
                assert all(1 <= len(batch) <= size for batch in batches)


@pytest.mark.parametrize("lengths", [None, list(range(50))], ids=["", "grouped"])
def test_the_order_follows_from_seed_and_epoch(lengths: list[int] | None) -> None:
    def order(seed: int, number: int) -> list[list[int]]:
        return epoch(Batches([[i] for i in range(50)], 4, lengths=lengths, seed=seed), number)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    # An epoch that was gone through before leaves nothing behind: a resumed run begins at its own.
    batches = Batches([[i] for i in range(50)], 4, lengths=lengths, seed=1)
    epoch(batches, 0)
    assert epoch(batches, 1) == order(1, 1)


def test_rows_of_like_length_meet() -> None:
    lengths = [(i * 37) % 100 for i in range(800)]
    batches = epoch(Batches([[i] for i in range(800)], 8, lengths=lengths, seed=1))
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
    assert max(spread) <= 5
    # And chance remains in which batch comes when.
    first = [max(lengths[i] for i in batch) for batch in batches]
    assert first != sorted(first, reverse=True)


def test_packed_rows_stay_together() -> None:
    units = [[0, 5], [1], [2, 3, 4], [6, 7]]
    batches = epoch(Batches(units, 2, seed=3))
    assert sorted(row for batch in batches for row in batch) == list(range(8))
    for unit in units:
        (batch,) = (batch for batch in batches if unit[0] in batch)
        assert " ".join(map(str, unit)) in " ".join(map(str, batch))


def test_a_process_without_a_row_runs_one_that_counts_for_nothing() -> None:
    parts = [epoch(Batches([[0], [1], [2]], 1, rank=rank, world=4)) for rank in range(4)]
    assert [len(part) for part in parts] == [1] * 4
    (spare,) = (part[0][0] for part in parts if part[0][0] < 0)
    rows = RowDataset([Encoded([10 + i, 11], [11, 1]) for i in range(3)])
    assert list(rows[spare].ids) == list(rows[~spare].ids)
    assert list(rows[spare].targets) == [IGNORED, IGNORED]
    assert list(rows[~spare].targets) == [11, 1]


SHORT, LONG = Encoded([5, 6], [6, 1]), Encoded([7, 8, 9, 4], [IGNORED, 9, 4, 1])


def listed(inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: value.tolist() for name, value in inputs.items()}


def test_rows_are_padded_on_the_right() -> None:
    assert listed(Padded(2)([SHORT, LONG])) == {
        "input_ids": [[5, 6, 2, 2], [7, 8, 9, 4]],
        "attention_mask": [[1, 1, 0, 0], [1, 1, 1, 1]],
        "labels": [[6, 1, IGNORED, IGNORED], [IGNORED, 9, 4, 1]],
    }


def test_rows_are_joined_with_positions_of_their_own() -> None:
    assert listed(Flattened()([SHORT, LONG])) == {
        "input_ids": [[5, 6, 7, 8, 9, 4]],
        "position_ids": [[0, 1, 0, 1, 2, 3]],
        "labels": [[6, 1, IGNORED, 9, 4, 1]],
    }


def test_what_fills_a_row_up_is_text_of_its_own_without_targets() -> None:
    found = listed(Flattened(few_shapes=True)([SHORT, LONG]))
    assert len(found["input_ids"][0]) == 16
    assert found["input_ids"][0][:6] == [5, 6, 7, 8, 9, 4]
    assert found["position_ids"][0] == [0, 1, *[0, 1, 2, 3] * 3, 0, 1]
    assert found["labels"][0][6:] == [IGNORED] * 10


def test_there_are_few_shapes() -> None:
    def length(tokens: int) -> int:
        return Flattened(few_shapes=True)([Encoded([1] * tokens, [1] * tokens)])["input_ids"].shape[1]

    lengths = {n: length(n) for n in range(1, 4097, 7)}
    assert all(n <= found <= n + max(15, n / 8) for n, found in lengths.items())
    assert len({found for n, found in lengths.items() if n > 512}) <= 3 * 16 + 1


@pytest.mark.parametrize("most", [40, 64])
def test_padded_rows_have_few_lengths_and_none_that_the_model_has_no_place_for(most: int) -> None:
    rows = [[Encoded([1] * n, [1] * n, types=[0] * n), SHORT] for n in range(1, most + 1)]
    shapes = {
        tuple(tensor.shape[1] for name, tensor in collate(batch).items() if name != "labels")
        for collate in (Padded(2, most), Spans(2, most), Pairs(2, lambda labels: labels, most))
        for batch in rows
    }
    assert {length for shape in shapes for length in shape} == {*range(16, most, 16), most}
    plain, filled = Padded(2)([SHORT, LONG]), Padded(2, most)([SHORT, LONG])
    for name, tensor in plain.items():
        assert torch.equal(filled[name][:, : tensor.shape[1]], tensor)
    assert not filled["attention_mask"][:, plain["input_ids"].shape[1] :].any()


def test_a_decoder_reads_the_target_one_place_later() -> None:
    def shift(labels: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full((len(labels), 1), 3), labels[:, :-1]], dim=1)

    assert listed(Pairs(2, shift)([Encoded([5, 6, 7], [8, 1]), Encoded([5], [9, 8, 1])])) == {
        "input_ids": [[5, 6, 7], [5, 2, 2]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "decoder_input_ids": [[3, 8, 1], [3, 9, 8]],
        "labels": [[8, 1, IGNORED], [9, 8, 1]],
    }


TYPED = [Encoded([1, 2, 3], [1, 2], types=[0, 1, 1]), Encoded([1, 2], [0, 0], types=[0, 1])]


def test_spans_come_with_token_types_where_there_are_any() -> None:
    found = listed(Spans(2)(TYPED))
    assert found["labels"] == [[1, 2], [0, 0]]
    assert found["token_type_ids"] == [[0, 1, 1], [0, 1, 0]]
    assert "token_type_ids" not in Spans(2)([Encoded([1, 2], [0, 1])])
