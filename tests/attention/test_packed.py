"""Attention over a row of several texts, against SDPA under a mask that keeps them apart."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from llmkit.attention.packed import packed_attention

MODULE = torch.nn.Identity()


def drawn(
    batch: int, length: int, *, heads: int = 4, kv_heads: int = 2, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    """Queries, keys and values."""
    chance = torch.Generator().manual_seed(length)
    return [
        torch.randn(batch, number, length, 8, generator=chance, dtype=torch.float64).to(dtype)
        for number in (heads, kv_heads, kv_heads)
    ]


def expected(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """softmax(QK'/2)V by hand, (batch, queries, heads, head_dim); `seen` (queries, keys)."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    scores = (query @ key.mT * 0.5).masked_fill(~seen, -torch.inf)
    return (scores.softmax(dim=-1) @ value).transpose(1, 2)


def blocks(sizes: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of texts one after another, and who sees whom."""
    text = torch.cat([torch.full((size,), i) for i, size in enumerate(sizes)])
    positions = torch.cat([torch.arange(size) for size in sizes])[None]
    same = text[:, None] == text[None]
    return positions, same & torch.ones_like(same).tril()


def run(inputs: list[torch.Tensor], mask: Any = None, **keywords: Any) -> torch.Tensor:
    output, weights = packed_attention(MODULE, *inputs, mask, scaling=0.5, **keywords)
    assert weights is None
    assert output.is_contiguous()
    return output


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("sizes", [[5, 9], [1, 1, 1], [16, 1, 15], [3, 20, 2, 7], [12]])
def test_texts_of_a_row_do_not_see_each_other(sizes: list[int], kv_heads: int) -> None:
    inputs = drawn(1, sum(sizes), kv_heads=kv_heads)
    positions, seen = blocks(sizes)
    torch.testing.assert_close(run(inputs, position_ids=positions), expected(*inputs, seen=seen))
    # And as each gives alone.
    parts = [run([x[:, :, a:b] for x in inputs]) for a, b in _edges(sizes)]
    torch.testing.assert_close(run(inputs, position_ids=positions), torch.cat(parts, dim=1))


def _edges(sizes: list[int]) -> list[tuple[int, int]]:
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def test_no_gradient_crosses_from_one_text_to_another() -> None:
    inputs = [x.requires_grad_() for x in drawn(1, 14)]
    positions, seen = blocks([5, 9])
    weights = torch.randn(1, 14, 4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = torch.autograd.grad((run(inputs, position_ids=positions) * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected(*inputs, seen=seen) * weights).sum(), inputs)
    for mine, other in zip(found, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    second = torch.autograd.grad(run(inputs, position_ids=positions)[:, 5:].sum(), inputs)
    assert all(not gradient[:, :, :5].any() for gradient in second)


def test_a_text_may_begin_behind_one_that_it_continues() -> None:
    """A text cut into pieces whose positions happen to run on is one text."""
    inputs = drawn(1, 8)
    _, seen = blocks([8])
    torch.testing.assert_close(
        run(inputs, position_ids=torch.arange(3, 11)[None]), expected(*inputs, seen=seen)
    )


def test_texts_in_bfloat16_are_filled_up_unseen() -> None:
    inputs = drawn(1, 30, dtype=torch.bfloat16)
    positions, seen = blocks([7, 23])
    found = run(inputs, position_ids=positions)
    assert found.shape == (1, 30, 4, 8)
    torch.testing.assert_close(
        found.double(), expected(*(x.double() for x in inputs), seen=seen), rtol=0.05, atol=0.02
    )


def test_ordinary_inputs_are_as_sdpa_has_them() -> None:
    inputs = drawn(3, 10)
    causal = torch.ones(10, 10, dtype=torch.bool).tril()
    positions = torch.arange(10).expand(3, 10)
    torch.testing.assert_close(run(inputs, position_ids=positions), expected(*inputs, seen=causal))
    torch.testing.assert_close(run(inputs), expected(*inputs, seen=causal))
    torch.testing.assert_close(run(inputs, is_causal=False), expected(*inputs, seen=torch.ones_like(causal)))


@pytest.mark.parametrize("queries", [1, 3])
def test_queries_after_a_cache_see_it(queries: int) -> None:
    query, key, value = drawn(2, 10)
    query = query[:, :, -queries:]
    seen = torch.ones(queries, 10, dtype=torch.bool).tril(10 - queries)
    positions = torch.arange(10 - queries, 10).expand(2, queries)
    found = run([query, key, value], position_ids=positions, is_causal=queries > 1)
    torch.testing.assert_close(found, expected(query, key, value, seen))


@pytest.mark.parametrize("left", [False, True])
def test_padding_is_not_seen(left: bool) -> None:
    inputs = drawn(2, 10)
    mask = torch.ones(2, 10, dtype=torch.bool)
    tokens = slice(4, 10) if left else slice(0, 6)
    mask[1] = False
    mask[1, tokens] = True
    found = run(inputs, mask)
    assert not found.isnan().any()
    whole = torch.ones(10, 10, dtype=torch.bool).tril()
    torch.testing.assert_close(found[:1], expected(*(x[:1] for x in inputs), seen=whole))
    alone = expected(*(x[1:, :, tokens] for x in inputs), seen=whole[:6, :6])
    torch.testing.assert_close(found[1:, tokens], alone)


def test_dropout_leaves_out_a_share_of_the_weights() -> None:
    inputs = drawn(1, 400, kv_heads=4, dtype=torch.float32)
    inputs[2] = torch.ones_like(inputs[2])
    positions, _ = blocks([200, 200])
    torch.manual_seed(0)
    found = run(inputs, position_ids=positions, dropout=0.5)
    assert not torch.allclose(found, torch.ones_like(found), atol=0.1)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.1)
    plain = F.scaled_dot_product_attention(*(x[:, :, :200] for x in inputs), is_causal=True, scale=0.5)
    torch.testing.assert_close(run(inputs, position_ids=positions)[:, :200], plain.transpose(1, 2))
