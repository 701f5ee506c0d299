"""Triton programs of `llmkit.attention.flash`: forward, backward, and decoding split over the keys.

Dao, FlashAttention-2 (2023), algorithms 1 and 2, arXiv:2307.08691, and Dao et al., Flash-Decoding (2023).
Tensors are (batch, heads, tokens, head_dim) with a stride for each of the first three and 1 for the last. The
last query is at the last key. Scores are in base 2, because GPUs have exp2.
"""

# Triton's functions have no types.
# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator"
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _dot(a, b, UPCAST: tl.constexpr):
    """Product in float32; operands are upcast in the interpreter, whose bfloat16 product is wrong."""
    if UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _tile(pointer, stride, rows, count, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Rows of a (tokens, head_dim) matrix, with zeros outside."""
    cols = tl.arange(0, BLOCK_D)
    inside = (rows < count)[:, None] & (cols < D)[None, :]
    return tl.load(pointer + rows.to(tl.int64)[:, None] * stride + cols[None, :], mask=inside, other=0.0)


@triton.jit
def _store(pointer, stride, rows, count, x, D: tl.constexpr, BLOCK_D: tl.constexpr):
    cols = tl.arange(0, BLOCK_D)
    inside = (rows < count)[:, None] & (cols < D)[None, :]
    where = pointer + rows.to(tl.int64)[:, None] * stride + cols[None, :]
    tl.store(where, x.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _cap(products, scale, softcap, SOFTCAP: tl.constexpr):
    """Turn products into scores: times the scale, then softcap·tanh(score/softcap) if there is one."""
    scores = products * scale
    if SOFTCAP:
        scores = softcap * (2.0 / (1.0 + tl.exp(-2.0 * scores / softcap)) - 1.0)
    return scores


@triton.jit
def _seen(
    rows, cols, Q, K, tokens, starts, ends, window,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, MASK: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """Return True for each of the keys `cols` that a query of `rows` sees."""
    at = (rows + (K - Q))[:, None]
    seen = (rows < Q)[:, None] & (cols < K)[None, :]
    if CAUSAL:
        seen = seen & (cols[None, :] <= at)
    if WINDOW:
        seen = seen & (cols[None, :] > at - window) & (cols[None, :] < at + window)
    if MASK:
        seen = seen & (tl.load(tokens + cols, mask=cols < K, other=0) != 0)[None, :]
    if PACKED:
        first = tl.load(starts + rows, mask=rows < Q, other=0)
        last = tl.load(ends + rows, mask=rows < Q, other=0)
        seen = seen & (cols[None, :] >= first[:, None]) & (cols[None, :] < last[:, None])
    return seen


@triton.jit
def _online(total, mass, top, scores, v, UPCAST: tl.constexpr):
    """One step of the online softmax; a row that has seen no key keeps a mass of zero."""
    higher = tl.maximum(top, tl.max(scores, 1))
    base = tl.where(higher == float("-inf"), 0.0, higher)
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(top - base)
    mass = mass * shrink + tl.sum(weights, 1)
    total = total * shrink[:, None] + _dot(weights.to(v.dtype), v, UPCAST)
    return total, mass, higher


@triton.jit
def forward(
    q, k, v, o, lse, tokens, starts, ends,
    qb, qh, qs, kb, kh, ks, vb, vh, vs, ob, oh, os,
    H, GROUPS, Q, K, scale, softcap, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
    PACKED: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Output of one block of queries, and the logarithm of the softmax's denominator for the backward."""
    block, batch, head = tl.program_id(0), tl.program_id(1).to(tl.int64) // H, tl.program_id(1) % H
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    k += batch * kb + (head // GROUPS) * kh
    v += batch * vb + (head // GROUPS) * vh
    tokens += batch * K
    starts += batch * K
    ends += batch * K
    queries = _tile(q + batch * qb + head * qh, qs, rows, Q, D, BLOCK_D)
    low, high, at = 0, K, block * BLOCK_M + K - Q
    if CAUSAL:
        high = tl.minimum(K, at + BLOCK_M)
    if WINDOW:
        low = tl.maximum(0, at - window + 1)
        high = tl.minimum(high, at + BLOCK_M + window - 1)
    if PACKED:
        low = tl.maximum(low, tl.min(tl.load(starts + rows, mask=rows < Q, other=K)))
        high = tl.minimum(high, tl.max(tl.load(ends + rows, mask=rows < Q, other=0)))
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    mass = tl.zeros((BLOCK_M,), tl.float32)
    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    for start in range(low // BLOCK_N * BLOCK_N, high, BLOCK_N):
        cols = start + tl.arange(0, BLOCK_N)
        keys = _tile(k, ks, cols, K, D, BLOCK_D)
        scores = _cap(_dot(queries, tl.trans(keys), UPCAST), scale, softcap, SOFTCAP) * LOG2E
        seen = _seen(rows, cols, Q, K, tokens, starts, ends, window, CAUSAL, WINDOW, MASK, PACKED)
        scores = tl.where(seen, scores, float("-inf"))
        total, mass, top = _online(total, mass, top, scores, _tile(v, vs, cols, K, D, BLOCK_D), UPCAST)
    lit = mass > 0
    total = total / tl.where(lit, mass, 1.0)[:, None]
    _store(o + batch * ob + head * oh, os, rows, Q, total, D, BLOCK_D)
    # Infinity makes every weight of a fully masked query zero in the backward.
    found = tl.where(lit, top + tl.log2(tl.where(lit, mass, 1.0)), float("inf"))
    tl.store(lse + (batch * H + head) * Q + rows, found, mask=rows < Q)


@triton.jit
def _gradient(
    queries, keys, values, outward, rows, cols, lse, delta, Q, K, tokens, starts, ends,
    scale, softcap, window,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
    PACKED: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Weights of a tile, and the gradient of its products before the scale."""
    scores = _cap(_dot(queries, tl.trans(keys), UPCAST), scale, softcap, SOFTCAP)
    seen = _seen(rows, cols, Q, K, tokens, starts, ends, window, CAUSAL, WINDOW, MASK, PACKED)
    norm = tl.load(lse + rows, mask=rows < Q, other=float("inf"))
    weights = tl.where(seen, tl.exp2(scores * LOG2E - norm[:, None]), 0.0)
    slope = _dot(outward, tl.trans(values), UPCAST)
    slope = weights * (slope - tl.load(delta + rows, mask=rows < Q, other=0.0)[:, None])
    if SOFTCAP:
        share = scores / softcap
        slope = slope * (1.0 - share * share)
    return weights, slope


@triton.jit
def backward_queries(
    q, k, v, do, lse, delta, dq, tokens, starts, ends,
    qb, qh, qs, kb, kh, ks, vb, vh, vs, ob, oh, os, gb, gh, gs,
    H, GROUPS, Q, K, scale, softcap, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
    PACKED: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Gradient of one block of queries."""
    block, batch, head = tl.program_id(0), tl.program_id(1).to(tl.int64) // H, tl.program_id(1) % H
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    k += batch * kb + (head // GROUPS) * kh
    v += batch * vb + (head // GROUPS) * vh
    tokens += batch * K
    starts += batch * K
    ends += batch * K
    lse += (batch * H + head) * Q
    delta += (batch * H + head) * Q
    queries = _tile(q + batch * qb + head * qh, qs, rows, Q, D, BLOCK_D)
    outward = _tile(do + batch * ob + head * oh, os, rows, Q, D, BLOCK_D)
    low, high, at = 0, K, block * BLOCK_M + K - Q
    if CAUSAL:
        high = tl.minimum(K, at + BLOCK_M)
    if WINDOW:
        low = tl.maximum(0, at - window + 1)
        high = tl.minimum(high, at + BLOCK_M + window - 1)
    if PACKED:
        low = tl.maximum(low, tl.min(tl.load(starts + rows, mask=rows < Q, other=K)))
        high = tl.minimum(high, tl.max(tl.load(ends + rows, mask=rows < Q, other=0)))
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for start in range(low // BLOCK_N * BLOCK_N, high, BLOCK_N):
        cols = start + tl.arange(0, BLOCK_N)
        keys = _tile(k, ks, cols, K, D, BLOCK_D)
        _, slope = _gradient(
            queries, keys, _tile(v, vs, cols, K, D, BLOCK_D), outward, rows, cols, lse, delta, Q, K,
            tokens, starts, ends, scale, softcap, window, CAUSAL, WINDOW, SOFTCAP, MASK, PACKED, UPCAST,
        )  # fmt: skip
        total += _dot(slope.to(keys.dtype), keys, UPCAST)
    _store(dq + batch * gb + head * gh, gs, rows, Q, total * scale, D, BLOCK_D)


@triton.jit
def backward_keys(
    q, k, v, do, lse, delta, dk, dv, tokens, starts, ends,
    qb, qh, qs, kb, kh, ks, vb, vh, vs, ob, oh, os, gb, gh, gs,
    H, GROUPS, Q, K, scale, softcap, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
    PACKED: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of keys and values, summed in order over the query heads that share them."""
    shared = H // GROUPS
    block, batch, group = tl.program_id(0), tl.program_id(1).to(tl.int64) // shared, tl.program_id(1) % shared
    cols = block * BLOCK_N + tl.arange(0, BLOCK_N)
    tokens += batch * K
    starts += batch * K
    ends += batch * K
    keys = _tile(k + batch * kb + group * kh, ks, cols, K, D, BLOCK_D)
    values = _tile(v + batch * vb + group * vh, vs, cols, K, D, BLOCK_D)
    low, high, at = 0, Q, block * BLOCK_N - (K - Q)
    if CAUSAL:
        low = tl.maximum(0, at)
    if WINDOW:
        low = tl.maximum(low, at - window + 1)
        high = tl.minimum(Q, at + BLOCK_N + window - 1)
    if PACKED:
        low = tl.maximum(low, tl.min(tl.load(starts + cols, mask=cols < K, other=K)))
        high = tl.minimum(high, tl.max(tl.load(ends + cols, mask=cols < K, other=0)))
    key_total = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    value_total = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    for member in range(0, GROUPS):
        head = group * GROUPS + member
        for start in range(low // BLOCK_M * BLOCK_M, high, BLOCK_M):
            rows = start + tl.arange(0, BLOCK_M)
            queries = _tile(q + batch * qb + head * qh, qs, rows, Q, D, BLOCK_D)
            outward = _tile(do + batch * ob + head * oh, os, rows, Q, D, BLOCK_D)
            line = (batch * H + head) * Q
            weights, slope = _gradient(
                queries, keys, values, outward, rows, cols, lse + line, delta + line, Q, K,
                tokens, starts, ends, scale, softcap, window, CAUSAL, WINDOW, SOFTCAP, MASK, PACKED, UPCAST,
            )  # fmt: skip
            value_total += _dot(tl.trans(weights.to(outward.dtype)), outward, UPCAST)
            key_total += _dot(tl.trans(slope.to(queries.dtype)), queries, UPCAST)
    _store(dk + batch * gb + group * gh, gs, cols, K, key_total * scale, D, BLOCK_D)
    _store(dv + batch * gb + group * gh, gs, cols, K, value_total, D, BLOCK_D)


@triton.jit
def decode(
    q, k, v, part, mass_of, tokens,
    qb, qh, qs, kb, kh, ks, vb, vh, vs,
    H, GROUPS, Q, K, SPLITS, SPLIT, scale, softcap, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """All queries of a key head over one split of its keys: each key is read once for all of them.

    A row of the block is a query of one of the heads: member · Q + query.
    """
    shared = H // GROUPS
    split, batch, group = tl.program_id(0), tl.program_id(1).to(tl.int64) // shared, tl.program_id(1) % shared
    lines = tl.arange(0, BLOCK_M)
    real = lines < GROUPS * Q
    rows = tl.where(real, lines % Q, Q)
    heads = group * GROUPS + lines // Q
    dims = tl.arange(0, BLOCK_D)
    inside = real[:, None] & (dims < D)[None, :]
    where = heads[:, None] * qh + rows[:, None] * qs + dims[None, :]
    queries = tl.load(q + batch * qb + where, mask=inside, other=0.0)
    k += batch * kb + group * kh
    v += batch * vb + group * vh
    tokens += batch * K
    low = split * SPLIT
    high = tl.minimum(K, low + SPLIT)
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    mass = tl.zeros((BLOCK_M,), tl.float32)
    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    if WINDOW:
        low = tl.maximum(low, (K - Q - window + 1) // BLOCK_N * BLOCK_N)
    for start in range(low, high, BLOCK_N):
        cols = start + tl.arange(0, BLOCK_N)
        keys = _tile(k, ks, cols, K, D, BLOCK_D)
        scores = _cap(_dot(queries, tl.trans(keys), UPCAST), scale, softcap, SOFTCAP) * LOG2E
        seen = _seen(rows, cols, Q, K, tokens, tokens, tokens, window, CAUSAL, WINDOW, MASK, False)
        scores = tl.where(seen, scores, float("-inf"))
        total, mass, top = _online(total, mass, top, scores, _tile(v, vs, cols, K, D, BLOCK_D), UPCAST)
    lit = mass > 0
    total = total / tl.where(lit, mass, 1.0)[:, None]
    line = ((batch * H + heads) * Q + rows) * SPLITS + split
    tl.store(part + line[:, None] * D + dims[None, :], total, mask=inside)
    found = tl.where(lit, top + tl.log2(tl.where(lit, mass, 1.0)), float("-inf"))
    tl.store(mass_of + line, found, mask=real)


@triton.jit
def combine(
    part, mass_of, o, ob, oh, os, H, Q, SPLITS,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """Output of one query from its splits, each weighted by its share of the softmax's denominator."""
    line = tl.program_id(0).to(tl.int64)
    splits, dims = tl.arange(0, BLOCK_S), tl.arange(0, BLOCK_D)
    mass = tl.load(mass_of + line * SPLITS + splits, mask=splits < SPLITS, other=float("-inf"))
    top = tl.max(mass)
    weights = tl.exp2(mass - tl.where(top == float("-inf"), 0.0, top))
    inside = (splits < SPLITS)[:, None] & (dims < D)[None, :]
    where = part + (line * SPLITS + splits)[:, None] * D + dims[None, :]
    total = tl.sum(tl.load(where, mask=inside, other=0.0) * weights[:, None], 0)
    sum_of = tl.sum(weights)
    total = total / tl.where(sum_of > 0, sum_of, 1.0)
    batch, head, row = line // (H * Q), line // Q % H, line % Q
    to = o + batch * ob + head * oh + row * os + dims
    tl.store(to, total.to(o.dtype.element_ty), mask=dims < D)
