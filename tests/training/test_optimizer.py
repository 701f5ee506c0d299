"""Muon: orthogonal steps for matrices, AdamW's for the rest."""

import copy
import math

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from llmkit.training.optimizer import Muon, muon_groups, orthogonal
from tests.training.helpers import refuses


@pytest.mark.parametrize("shape", [(6, 6), (4, 16), (16, 4)])
def test_what_is_orthogonal_has_like_singular_values_and_the_same_directions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonal(matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    # In the basis of the matrix's own directions nothing is left beside the diagonal.
    inner = u.T @ found @ v.T
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-4)


def test_matrices_step_as_torch_s_muon_and_the_rest_as_adamw() -> None:
    torch.manual_seed(0)
    start = [torch.randn(8, 24), torch.randn(24, 8), torch.randn(8)]
    ours = [torch.nn.Parameter(one.clone()) for one in start]
    theirs = [torch.nn.Parameter(one.clone()) for one in start]
    options = {"lr": 0.02, "weight_decay": 0.1}
    mine = Muon(
        [{"params": ours[:2], "muon": True}, {"params": ours[2:], "muon": False}],
        betas=(0.9, 0.95),
        **options,
    )
    muon = torch.optim.Muon(theirs[:2], adjust_lr_fn="match_rms_adamw", **options)
    adamw = torch.optim.AdamW(theirs[2:], betas=(0.9, 0.95), **options)
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in (mine, muon, adamw):
            optimizer.step()
    moved = [float((theirs[i].detach() - start[i]).abs().max()) for i in range(3)]
    # torch iterates in bfloat16: about two digits.
    for i in range(2):
        assert torch.allclose(ours[i], theirs[i], atol=0.05 * moved[i])
    assert torch.equal(ours[2], theirs[2])


def test_a_step_s_size_is_adamw_s() -> None:
    torch.manual_seed(0)
    matrix = torch.nn.Parameter(torch.zeros(64, 256))
    matrix.grad = torch.randn(64, 256)
    Muon([{"params": [matrix], "muon": True}], lr=1.0, weight_decay=0.0).step()
    # Root mean square 0.2, where AdamW's first step has 1 and its later ones 0.2 to 0.4.
    assert float(matrix.detach().square().mean().sqrt()) == pytest.approx(0.2, rel=0.15)


def test_state_saved_goes_on_to_the_same_weights() -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(8, 8) for _ in range(6)]

    def run(matrix: torch.nn.Parameter, optimizer: Muon, steps: list[torch.Tensor]) -> None:
        for gradient in steps:
            matrix.grad = gradient.clone()
            optimizer.step()

    whole = torch.nn.Parameter(torch.ones(8, 8))
    groups = [{"params": [whole], "muon": True}]
    run(whole, Muon(groups, lr=0.1), gradients)
    first = torch.nn.Parameter(torch.ones(8, 8))
    before = Muon([{"params": [first], "muon": True}], lr=0.1)
    run(first, before, gradients[:3])
    second = torch.nn.Parameter(first.detach().clone())
    after = Muon([{"params": [second], "muon": True}], lr=0.1)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(second, after, gradients[3:])
    assert torch.equal(whole, second)


def test_embeddings_heads_norms_and_biases_are_adamw_s() -> None:
    small = {"num_attention_heads": 2, "hidden_size": 16, "vocab_size": 40}
    llama = LlamaForCausalLM(
        LlamaConfig(**small, intermediate_size=24, num_hidden_layers=2, tie_word_embeddings=False)
    )
    narrow = {"d_model": 16, "vocab_size": 40, "max_position_embeddings": 16}
    narrow |= {f"{side}_layers": 1 for side in ("encoder", "decoder")}
    narrow |= {f"{side}_ffn_dim": 24 for side in ("encoder", "decoder")}
    narrow |= {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    bart = BartForConditionalGeneration(BartConfig(**narrow))
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=16))
    for model, matrices in ((gpt2, 2 * 4), (llama, 2 * 7), (bart, 6 + 10)):
        names = {id(p): name for name, p in model.named_parameters()}
        groups = muon_groups(model, {n for n in names.values() if n.endswith("proj.weight")}, 0.1)
        found = [names[id(p)] for group in groups if group["muon"] for p in group["params"]]
        assert len(found) == matrices
        assert not [name for name in found if "embed" in name or "head" in name or "norm" in name]
        assert sum(len(group["params"]) for group in groups) == len(names)
        for group in groups:
            decays = {names[id(p)].endswith("proj.weight") for p in group["params"]}
            assert decays == {group["weight_decay"] == 0.1}
    assert math.isclose(groups[0]["weight_decay"] + groups[1]["weight_decay"], 0.1)


def test_without_matrices_there_is_nothing_for_it() -> None:
    with refuses("optimizer", "Embedding"):
        muon_groups(torch.nn.Embedding(4, 4), set(), 0.0)


def test_matrices_alone_need_no_adamw() -> None:
    matrix = torch.nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([{"params": [matrix], "muon": True}], lr=0.1)
    matrix.grad = torch.eye(4)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert float(matrix.detach().abs().max()) > 0
