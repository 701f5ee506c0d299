"""A user's attention kernel that never holds the whole matrix of scores: keys are read in blocks, with a
running maximum and a running sum (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018).

    llmkit kernels verify examples/attention/one_pass.py:attend
    llmkit generate --attn examples/attention/one_pass.py:attend "Once upon a time"
"""

import torch

import llmkit

BLOCK = 128


@llmkit.attention.kernel(mask="boolean", supports=["gqa", "backward"], devices=["cpu", "cuda", "mps"])
def attend(module, query, key, value, attention_mask, *, scaling):
    """query (batch, heads, queries, head_dim), key and value (batch, kv_heads, keys, head_dim)."""
    groups = query.shape[1] // key.shape[1]
    query, dtype = query.float() * scaling, query.dtype
    largest = torch.full((*query.shape[:3], 1), -torch.inf, device=query.device)
    total, output = torch.zeros_like(largest), torch.zeros_like(query)
    for start in range(0, key.shape[2], BLOCK):
        block = slice(start, start + BLOCK)
        k, v = (x[:, :, block].float().repeat_interleave(groups, dim=1) for x in (key, value))
        scores = (query @ k.mT).masked_fill(~attention_mask[..., block], -torch.inf)
        # A query that has seen no key yet has no largest score; 0 keeps the exponentials from being NaN.
        now = torch.maximum(largest, scores.amax(-1, keepdim=True)).detach()
        base = now.masked_fill(now == -torch.inf, 0)
        old, weights = torch.exp(largest - base), torch.exp(scores - base)
        total = total * old + weights.sum(-1, keepdim=True)
        output = output * old + weights @ v
        largest = now
    output = output / total.clamp_min(torch.finfo(total.dtype).tiny)
    return output.transpose(1, 2).to(dtype), None
