import numpy as np
import pytest

from llmkit.training.pretraining.denoising import (
    Denoising,
    SpecialTokenIds,
    corrupt_spans,
    infill,
    mask_tokens,
)
from llmkit.training.pretraining.token_file import Blocks

MASK, END, SENTINELS = 4, 1, tuple(range(90, 100))


def text(length: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(10, 90, size=length)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_masking_hides_as_the_paper_says() -> None:
    """15 % chosen; 80, 10 and 10 % of these: shares over 40,000 tokens, within four standard deviations."""
    ids = text(40_000)
    inputs, labels = mask_tokens(ids, rng(), mask=MASK, vocab_size=90, special=range(10))
    chosen = labels != -100
    assert chosen.sum() == 6000
    assert (labels[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert np.mean(inputs[chosen] == MASK) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 6000))
    kept = np.mean(inputs[chosen] == ids[chosen])
    assert kept == pytest.approx(0.1 + 0.1 / 80, abs=4 * np.sqrt(0.09 / 6000))
    assert not np.isin(inputs[inputs != MASK], range(10)).any()


def test_special_tokens_are_never_hidden() -> None:
    ids = np.array([0, *text(20), 1])
    for seed in range(50):
        inputs, labels = mask_tokens(ids, rng(seed), mask=MASK, vocab_size=90, special=[0, 1, MASK])
        assert (inputs[[0, -1]] == [0, 1]).all()
        assert (labels[[0, -1]] == -100).all()


def restored(inputs: np.ndarray, labels: np.ndarray) -> list[int]:
    """What T5's target puts back in place of the sentinels."""
    hidden: dict[int, list[int]] = {}
    for token in labels[:-1].tolist():
        if token in SENTINELS:
            hidden[token] = []
        else:
            hidden[list(hidden)[-1]].append(token)
    return [t for token in inputs[:-1].tolist() for t in hidden.get(token, [token])]


@pytest.mark.parametrize("length", [2, 3, 7, 20, 200])
def test_spans_cut_out_put_back_give_the_text(length: int) -> None:
    ids = text(length)
    for seed in range(20):
        inputs, labels = corrupt_spans(ids, rng(seed), sentinels=SENTINELS, end=END)
        assert inputs[-1] == labels[-1] == END
        assert restored(inputs, labels) == ids.tolist()


def test_spans_have_the_paper_s_share_and_length() -> None:
    """Of 200 tokens 30 are cut out, in 10 spans of 3; no two touch, and the text does not begin with one."""
    inputs, labels = corrupt_spans(text(200), rng(), sentinels=SENTINELS, end=END)
    assert np.isin(inputs, SENTINELS).sum() == 10
    assert len(labels) == 10 + 30 + 1
    assert len(inputs) == 170 + 10 + 1
    places = np.nonzero(np.isin(inputs, SENTINELS))[0]
    assert places[0] > 0
    assert (np.diff(places) > 1).all()


def test_spans_do_not_outnumber_the_sentinels() -> None:
    inputs, labels = corrupt_spans(text(900), rng(), sentinels=SENTINELS, end=END)
    assert np.isin(inputs, SENTINELS).sum() == 10
    assert restored(inputs, labels) == text(900).tolist()


def test_infilling_takes_a_third_away_and_leaves_the_rest_in_order() -> None:
    ids = np.arange(10, 1010)
    corrupted = infill(ids, rng(), mask=MASK)
    left = corrupted[corrupted != MASK]
    assert len(left) == 700
    assert (np.diff(left) > 0).all()
    # Poisson of mean 3: about 100 spans for 300 tokens.
    assert 80 < (corrupted == MASK).sum() < 125


def dataset(kind: str) -> Denoising:
    special_token_ids = SpecialTokenIds(begin=(3,), end=(END,), mask=MASK, sentinels=SENTINELS, vocab_size=90)
    return Denoising(
        Blocks(np.concatenate([text(40, seed) for seed in range(5)]), 40), kind, special_token_ids, seed=7
    )


@pytest.mark.parametrize("kind", ["masked", "spans", "infilling"])
def test_an_example_depends_on_seed_epoch_and_index_alone(kind: str) -> None:
    one, other = dataset(kind), dataset(kind)
    _ = [one[i] for i in range(5)]  # what was drawn before changes nothing
    assert list(one[3].ids) == list(other[3].ids)
    assert list(one[3].targets) == list(other[3].targets)
    before = list(one[3].ids)
    one.set_epoch(1)
    assert list(one[3].ids) != before
    assert list(one[3].ids) != list(one[2].ids)


def test_texts_stand_between_their_special_tokens() -> None:
    masked, infilled, spans = (dataset(kind)[0] for kind in ("masked", "infilling", "spans"))
    assert masked.ids[0] == infilled.ids[0] == infilled.targets[0] == 3
    assert all(row.ids[-1] == END for row in (masked, infilled, spans))
    assert list(infilled.targets) == [3, *text(40).tolist(), END]
