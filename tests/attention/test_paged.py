"""Kernels under `generate_batch`: the tokens of `generate`, and transformers' own name given back."""

from __future__ import annotations

import pytest
import torch
from transformers import AttentionInterface, ContinuousBatchingConfig, GenerationConfig

from llmkit.attention.paged import paged
from llmkit.attention.reference import reference_attention as reference
from llmkit.attention.registry import find, kernel
from llmkit.attention.verify_model import small_model, verify_inside
from llmkit.errors import InputError

PROMPTS = [[5, 6, 7], [9] * 20, [11], [12, 13, 14, 15, 16, 17, 18, 19, 20]]


@pytest.fixture(scope="module")
def model():
    return small_model(find("reference"))


@pytest.fixture(scope="module")
def alone(model):
    """Each prompt by itself."""
    model.set_attn_implementation("eager")
    options = {"max_new_tokens": 10, "do_sample": False}
    return [model.generate(torch.tensor([ids]), **options)[0, len(ids) :].tolist() for ids in PROMPTS]


def batched(model):
    # Room for two prompts at once: the others come when one has ended, in the middle of the rest.
    small = ContinuousBatchingConfig(
        page_size=16, num_blocks=8, max_batch_tokens=24, use_async_batching=False, use_cuda_graph=False
    )
    greedy = GenerationConfig(max_new_tokens=10, do_sample=False, eos_token_id=-1, pad_token_id=0)
    found = model.generate_batch(PROMPTS, greedy, small)
    return [found[f"req_{i}"].generated_tokens for i in range(len(PROMPTS))]


@pytest.mark.parametrize("name", ["reference", "cpu", "documents"])
def test_the_tokens_of_generate(name, model, alone, monkeypatch):
    from llmkit.attention import cpu

    monkeypatch.setattr(cpu, "is_faster", lambda *a: True)
    theirs = AttentionInterface()["paged|eager"]
    with paged(find(name), model):
        assert batched(model) == alone
    assert AttentionInterface()["paged|eager"] is theirs
    assert model.config._attn_implementation == "eager"


def test_the_kernel_is_what_runs(model, alone):
    """One that is wrong gives other tokens, and the proof names it."""

    @kernel(mask="boolean", supports=["gqa", "paged"])
    def sees_all_but_itself(module, query, key, value, attention_mask, *, scaling):
        attention_mask = attention_mask.clone()
        attention_mask[..., -1] &= attention_mask.shape[-1] < 2
        return reference(module, query, key, value, attention_mask, scaling=scaling)

    wrong = vars(sees_all_but_itself)["llmkit_kernel"]
    with paged(wrong, model):
        assert batched(model) != alone
    found = {one.name: one for one in verify_inside(wrong, model)}
    assert found["LlamaForCausalLM: continuous batching"].passed is False
    assert {one.name: one.passed for one in verify_inside(find("reference"), model)}[
        "LlamaForCausalLM: continuous batching"
    ] is True


def test_one_that_does_not_declare_it_is_refused(model):
    @kernel(mask="boolean", supports=["gqa"])
    def attend(*inputs, **keywords):
        raise AssertionError

    with (
        pytest.raises(InputError, match=r'does not declare supports=\["paged"\]'),
        paged(vars(attend)["llmkit_kernel"], model),
    ):
        pass
