"""What of a corpus is held out."""

import pytest

from llmkit.errors import InputError
from llmkit.training.pretraining.split import Split, choose_split


def holds_out(chosen: Split, document: str) -> bool:
    ((part, held),) = chosen.parts(document)
    assert part == document
    return held


def split(documents: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    chosen = choose_split(documents, share, seed, complete=True)
    return (
        [d for d in documents if not holds_out(chosen, d)],
        [d for d in documents if holds_out(chosen, d)],
    )


DOCUMENTS = [f"document {i}" for i in range(100)]


def test_the_split_keeps_documents_whole_and_both_sides_complete() -> None:
    train, held_out = split(DOCUMENTS, 0.1, seed=1)
    assert len(held_out) == 10
    assert sorted(train + held_out) == sorted(DOCUMENTS)


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    _, held_out = split(DOCUMENTS, 0.1, seed=1)
    _, shuffled = split(DOCUMENTS[::-1], 0.1, seed=1)
    _, other = split(DOCUMENTS, 0.1, seed=2)
    assert set(shuffled) == set(held_out) != set(other)


def test_copies_of_a_document_fall_on_one_side() -> None:
    documents = [f"document {i % 20}" for i in range(100)]
    train, held_out = split(documents, 0.2, seed=1)
    assert not set(train) & set(held_out)
    assert len(train) + len(held_out) == 100
    assert len(held_out) == 20


def test_too_few_documents_to_split_are_refused() -> None:
    assert split(["one"], 0, seed=1) == (["one"], [])
    train, held_out = split(["one", "two"], 0.01, seed=1)
    assert len(train) == len(held_out) == 1
    with pytest.raises(InputError, match="2 different documents cannot be split"):
        split(["one", "two"], 0.9, seed=1)
    with pytest.raises(InputError, match="too short to hold out its end"):
        split(["one"], 0.05, seed=1)


def test_of_a_single_document_the_end_is_held_out_from_a_line_on() -> None:
    text = "".join(f"line {number}\n" for number in range(1000)).strip()
    chosen = choose_split([text, text], 0.05, 1, complete=True)
    (train, held), (end, also_held) = chosen.parts(text)
    assert (held, also_held) == (False, True)
    assert f"{train}\n{end}" == text
    assert 0.05 * len(text) <= len(end) < 0.06 * len(text)
    assert list(chosen.training([text, text])) == [train, train]


def test_of_a_few_long_documents_each_end_is_held_out_and_of_short_ones_a_document() -> None:
    long = ["one " * 5000, "two " * 5000]
    sizes = [[len(part) for part, _ in choose_split(long, 0.1, 1, complete=True).parts(one)] for one in long]
    assert sizes == [[17999, 1999]] * 2
    assert sorted(map(len, split([*long, "three"], 0.1, 1))) == [1, 2]
    many = [f"{number} " * 5000 for number in range(20)]
    assert len(split(many, 0.05, 1)[1]) == 1


def test_of_a_long_corpus_the_share_is_held_out_whatever_its_beginning() -> None:
    """The share of 20,000 documents, within four standard deviations of a binomial's."""
    first, other = (choose_split(DOCUMENTS[a:b], 0.1, 1, complete=False) for a, b in ((0, 50), (50, 100)))
    assert first == other
    held = sum(holds_out(first, f"document {i}") for i in range(20_000))
    assert abs(held - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5


def test_of_a_long_corpus_at_least_one_document_is_held_out() -> None:
    chosen = choose_split(DOCUMENTS[:5], 1e-9, 1, complete=False)
    assert sum(holds_out(chosen, one) for one in DOCUMENTS[:5]) == 1
    assert choose_split(DOCUMENTS, 0, 1, complete=False) == Split(1, 0)


def test_few_long_documents_at_the_beginning_do_not_hold_out_the_rest() -> None:
    """One is held out where no other lies below the threshold, and of the rest the share asked for."""
    rest = [f"document {number}" for number in range(4000)]
    for seed in range(20):
        chosen = choose_split(DOCUMENTS[:4], 0.05, seed, complete=False)
        assert any(holds_out(chosen, one) for one in DOCUMENTS[:4])
        assert 0.035 < sum(holds_out(chosen, one) for one in rest) / len(rest) < 0.065
    assert not holds_out(choose_split(DOCUMENTS[:1], 1e-9, 1, complete=False), DOCUMENTS[0])
