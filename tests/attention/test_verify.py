"""The proof finds every kernel that was broken on purpose, and passes those that are right."""

from __future__ import annotations

import pytest
import torch

from llmkit.attention.interface import wrap_kernel
from llmkit.attention.packed import packed_attention as documents
from llmkit.attention.reference import reference_attention as reference
from llmkit.attention.registry import Kernel, find, kernel
from llmkit.attention.verify import IGNORED, verify
from llmkit.attention.verify_cases import matrix
from llmkit.attention.verify_model import running, small_model, verify_inside

SUPPORTS = ("gqa", "backward", "position_bias")


def right(module, query, key, value, attention_mask, *, scaling, position_bias=None):
    return reference(module, query, key, value, attention_mask, scaling=scaling, position_bias=position_bias)


def causality_lost(module, query, key, value, attention_mask, **keywords):
    seen = attention_mask.any(-2, keepdim=True).expand_as(attention_mask)  # padding is still honoured
    return right(module, query, key, value, seen, **keywords)


def padding_ignored(module, query, key, value, attention_mask, **keywords):
    queries, keys = query.shape[2], key.shape[2]
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return right(module, query, key, value, seen.expand_as(attention_mask), **keywords)


def wrong_scale(module, query, key, value, attention_mask, *, scaling, **keywords):
    return right(module, query, key, value, attention_mask, scaling=scaling * 1.01, **keywords)


def heads_mixed_up(module, query, key, value, attention_mask, **keywords):
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat(1, groups, 1, 1) for x in (key, value))  # 0 1 0 1, and not 0 0 1 1
    return right(module, query, key, value, attention_mask, **keywords)


def nan_on_masked_rows(module, query, key, value, attention_mask, *, scaling, position_bias=None):
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scores = query @ key.mT * scaling + (0 if position_bias is None else position_bias)
    scores = scores.masked_fill(~attention_mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2), None


def cache_offset_wrong(module, query, key, value, attention_mask, **keywords):
    queries, keys = query.shape[2], key.shape[2]
    if 1 < queries < keys:
        # As PyTorch aligns `is_causal`: to the first key.
        attention_mask = attention_mask & torch.ones(queries, keys, dtype=torch.bool).tril()
    return right(module, query, key, value, attention_mask, **keywords)


def position_bias_dropped(module, query, key, value, attention_mask, *, scaling, **dropped):
    return right(module, query, key, value, attention_mask, scaling=scaling)


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1.1


def backward_wrong(module, query, key, value, attention_mask, **keywords):
    return right(module, query, key, _WrongBackward.apply(value), attention_mask, **keywords)


def no_gradient(module, query, key, value, attention_mask, **keywords):
    return right(module, query, key.detach(), value, attention_mask, **keywords)


def not_the_same_twice(module, query, key, value, attention_mask, **keywords):
    output, weights = right(module, query, key, value, attention_mask, **keywords)
    return output + 1e-6 * torch.rand(()), weights


def raises(module, query, key, value, attention_mask, **keywords):
    if query.shape[2] > 64:
        raise RuntimeError("no more than one block")
    return right(module, query, key, value, attention_mask, **keywords)


# kernel -> a case that names what is wrong with it
BROKEN = {
    causality_lost: "causal",
    padding_ignored: "left padding",
    wrong_scale: "causal",
    heads_mixed_up: "fewer key and value heads",
    nan_on_masked_rows: "a fully masked row",
    cache_offset_wrong: "cached decoding, several tokens",
    position_bias_dropped: "position bias",
    backward_wrong: "gradients",
    no_gradient: "gradients",
    not_the_same_twice: "the same twice",
    raises: "one past a block",
}


def declared(function, mask="boolean", supports=SUPPORTS, **options):
    return kernel(mask=mask, supports=supports, **options)(function).llmkit_kernel


def failures(found):
    return {one.name: one for one in found if one.passed is False}


@pytest.mark.parametrize("name", ["reference", "eager", "sdpa"])
def test_those_that_are_right(name):
    results = list(verify(find(name)))
    assert failures(results) == {}
    assert sum(one.passed is True for one in results) > 35


@pytest.mark.parametrize("function", BROKEN, ids=lambda function: function.__name__)
def test_those_that_are_broken(function):
    found = failures(verify(declared(function)))
    assert BROKEN[function] in found
    # What is not touched by the fault is not blamed on it.
    assert "not causal" not in found or function in (wrong_scale, padding_ignored)


def test_what_is_wrong_is_said():
    note = failures(verify(declared(nan_on_masked_rows)))["a fully masked row"].note
    assert note.startswith("NaN or infinity in the output; ")
    assert "lowest number" in note
    assert failures(verify(declared(backward_wrong)))["gradients"].note == "gradient of the value"
    causal = failures(verify(declared(padding_ignored), quick=True))
    assert causal["left padding"].note == IGNORED[1]
    # A mask half lost is neither.
    assert failures(verify(declared(causality_lost), quick=True))["left padding"].note == ""
    assert (
        failures(verify(declared(raises)))["one past a block"].note == "RuntimeError: no more than one block"
    )
    assert (
        "gradcheck"
        in failures(verify(declared(backward_wrong, dtypes=["float32", "float64"])))[
            "gradients by finite differences"
        ].note
    )


def test_the_quick_form_finds_what_is_seen_in_the_wild():
    quick = {case.name for case in matrix(declared(right), quick=True)}
    for function, case in BROKEN.items():
        if case in quick:
            assert case in failures(verify(declared(function), quick=True)), function


def test_what_is_not_declared_is_not_asked():
    results = {one.name: one for one in verify(declared(right, supports=["gqa"]))}
    assert results["gradients"].passed is None
    assert results["position bias"].note == "not claimed: position_bias"
    assert results["fewer key and value heads"].passed is True


@pytest.mark.parametrize("function", [causality_lost, padding_ignored, heads_mixed_up, cache_offset_wrong])
def test_broken_inside_a_model(function):
    broken = declared(function)
    found = failures(verify_inside(broken, small_model(broken)))
    case = "padded batch against single texts" if function is padding_ignored else "prefill"
    if function is cache_offset_wrong:
        case = "cached decoding"
    assert f"LlamaForCausalLM: {case}" in found
    assert find("reference") is not broken


# The four of transformers' own interface, where a name without a mask gets none.


def eager_style(module, query, key, value, attention_mask, *, scaling, fill=None):
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scores = query @ key.mT * scaling
    if attention_mask is not None:
        scores = scores + attention_mask if fill is None else scores.masked_fill(~attention_mask, fill)
    return (scores.softmax(-1) @ value).transpose(1, 2), None


def boolean_and_infinite(module, query, key, value, attention_mask, *, scaling):
    return eager_style(module, query, key, value, attention_mask, scaling=scaling, fill=-torch.inf)


def sdpa_without_mask(module, query, key, value, attention_mask, *, scaling, is_causal):
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    output = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=is_causal, scale=scaling
    )
    return output.transpose(1, 2), None


def mask_dropped(module, query, key, value, attention_mask, *, scaling):
    return eager_style(module, query, key, value, None, scaling=scaling)


def test_the_four_of_the_field():
    gqa = ["gqa"]
    # A kernel that takes the additive mask is right; one that gets none loses causality.
    right_one = declared(eager_style, mask="additive", supports=gqa)
    assert failures([*verify(right_one), *verify_inside(right_one, small_model(right_one))]) == {}
    assert "causal" in failures(verify(declared(mask_dropped, supports=gqa)))
    # One that takes no mask is refused padding, and says so; claimed to take it, it is found out.
    unmasked = declared(sdpa_without_mask, mask="none", supports=gqa)
    found = failures(verify_inside(unmasked, small_model(unmasked)))
    assert "accepts no mask" in found["LlamaForCausalLM: padded batch against single texts"].note
    claimed = declared(sdpa_without_mask, mask="padding", supports=gqa)
    assert "left padding" in failures(verify(claimed))
    # Filling with minus infinity makes NaN of a row that sees nothing.
    assert "a fully masked row" in failures(verify(declared(boolean_and_infinite, supports=gqa)))


def padded_texts_only(supports):
    """A kernel that gets padding for a mask, and knows nothing of texts in a row or of windows by itself."""

    def attend(module, query, key, value, attention_mask, *, scaling, is_causal):
        return documents(module, query, key, value, attention_mask, scaling=scaling, is_causal=is_causal)

    return declared(attend, mask="padding", supports=supports)


def test_texts_in_a_row_are_asked_of_a_padding_kernel():
    """One that says it keeps them apart, and does not look at where they begin, is found out."""
    claimed = failures(verify(padded_texts_only(["gqa", "packed"]), quick=True))
    assert set(claimed) == {"packed sequences"}
    assert failures(verify(find("documents"))) == {}
    assert {one.name: one.note for one in verify(padded_texts_only(["gqa"]), quick=True)}[
        "packed sequences"
    ] == "not claimed: packed"


@pytest.mark.parametrize("rows", [1, 2])
def test_texts_in_a_row_inside_a_model(rows):
    """What a padding mask cannot say is refused where the kernel cannot do it, and right where it can."""
    from llmkit.errors import InputError

    model = small_model(find("reference"))
    ids = torch.arange(3, 15).repeat(rows, 1)
    cuts = torch.tensor([5, 8])[:rows, None]
    places = torch.arange(12).expand(rows, -1)
    positions = torch.where(places < cuts, places, places - cuts)

    def logits(one):
        with running(one, model), torch.inference_mode():
            return model(ids, position_ids=positions, use_cache=False).logits

    assert (logits(find("documents")) - logits(None)).abs().max() < 1e-4
    with pytest.raises(InputError, match="packed sequences"):
        logits(padded_texts_only(["gqa"]))


def test_patterns_beyond_padding_are_refused():
    """Image tokens that see each other both ways, for one: transformers drops them for such a mask."""
    from transformers.masking_utils import create_causal_mask

    from llmkit.attention.interface import register
    from llmkit.errors import InputError

    config = small_model(find("reference")).config
    given = {"inputs_embeds": torch.zeros(1, 6, 8), "attention_mask": None, "past_key_values": None}
    image = {"or_mask_function": lambda batch, head, query, key: (query < 3) & (key < 3)}
    config._attn_implementation = register(padded_texts_only(["gqa"]))
    assert create_causal_mask(config, **given) is None
    with pytest.raises(InputError, match=r"the model needs more \(or_masks\)"):
        create_causal_mask(config, **given, **image)
    config._attn_implementation = register(find("reference"))
    assert create_causal_mask(config, **given, **image)[0, 0, 0].tolist() == [True] * 3 + [False] * 3


def test_weights_are_given_or_refused():
    from llmkit.errors import InputError

    model = small_model(find("reference"))
    ids = torch.arange(3, 9)[None]
    with running(find("reference"), model), torch.inference_mode():
        assert [x.shape for x in model(ids, output_attentions=True).attentions] == [(1, 4, 6, 6)] * 2
    with (
        running(find("documents"), model),
        torch.inference_mode(),
        pytest.raises(InputError, match="attention weights"),
    ):
        model(ids, output_attentions=True)


@pytest.mark.parametrize("family", ["bert", "bart", "gpt2", "llama"])
def test_a_batch_is_compared_with_its_texts_alone(family, tiny_model):
    """Not with itself: what eager, too, would make of the padding counts."""
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    task = "fill-mask" if family == "bert" else "text-generation"
    spec = ModelSpec(str(tiny_model(family)), dtype="float32", device="cpu", task=task)
    model = load(spec).model
    found = {one.name.partition(": ")[2]: one for one in verify_inside(find("reference"), model)}
    assert failures(found.values()) == {}
    assert ("greedy tokens" in found) == (family != "bert")
    broken = failures(verify_inside(declared(sees_padding), model))
    assert f"{type(model).__name__}: padded batch against single texts" in broken


def test_other_tokens_are_found_in_half_precision():
    """There a tie is not held against a kernel, and a clear choice is."""
    model = small_model(find("reference")).to(torch.bfloat16)
    assert "LlamaForCausalLM: greedy tokens" in failures(verify_inside(declared(causality_lost), model))


def sees_padding(module, query, key, value, attention_mask, **keywords):
    """As `padding_ignored`, causal or not."""
    queries, keys = query.shape[2], key.shape[2]
    seen = torch.ones(queries, keys, dtype=torch.bool)
    seen = seen.tril(keys - queries) if getattr(module, "is_causal", True) else seen
    return right(module, query, key, value, seen.expand_as(attention_mask), **keywords)


def test_never_called(tiny_model):
    """BLOOM keeps eager in silence: its answers are right, and not the kernel's."""
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    model = load(ModelSpec(str(tiny_model("bloom")), dtype="float32", device="cpu")).model
    (only,) = verify_inside(find("reference"), model)
    assert only.passed is False
    assert "BloomForCausalLM does not use the attention interface" in only.note


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3", "t5", "bart", "opt"])
def test_inside_families(family, tiny_model):
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    model = load(ModelSpec(str(tiny_model(family)), dtype="float32", device="cpu")).model
    results = list(verify_inside(find("reference"), model))
    assert failures(results) == {}
    assert len(results) >= 4


def test_position_bias_is_never_lost(tiny_model):
    """A kernel that does not declare it is refused inside a T5, whatever it swallows."""
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    def swallows(module, query, key, value, attention_mask, *, scaling, **keywords):
        return reference(module, query, key, value, attention_mask, scaling=scaling)

    model = load(ModelSpec(str(tiny_model("t5")), dtype="float32", device="cpu")).model
    (only,) = verify_inside(declared(swallows, supports=["gqa"]), model)
    assert "passes position_bias, which the kernel does not declare" in only.note


def test_a_kernel_in_the_wrong_place():
    from llmkit.errors import InputError

    bare = torch.nn.Module()
    x = torch.zeros(1, 2, 3, 8)
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    only = declared(right, supports=["gqa"], devices=["cuda"])
    with pytest.raises(InputError, match="right runs on cuda, not on cpu"):
        wrap_kernel(only)(bare, x, x, x, mask)
    with pytest.raises(InputError, match="accepts bfloat16, not float32"):
        wrap_kernel(declared(right, dtypes=["bfloat16"]))(bare, x, x, x, mask)
    with pytest.raises(InputError, match="heads of size 64, 128, and the model's have 8"):
        wrap_kernel(declared(right, head_dims=[64, 128]))(bare, x, x, x, mask)
    with pytest.raises(InputError, match="has no backward pass and cannot train"):
        wrap_kernel(declared(right, supports=["gqa"]))(bare, x.requires_grad_(), x, x, mask)
    with pytest.raises(InputError, match="has no dropout"):
        wrap_kernel(declared(right))(bare, x.detach(), x.detach(), x.detach(), mask, dropout=0.1)
    with pytest.raises(InputError, match=r"output of shape \(1, 2, 3, 8\); it must be"):
        wrap_kernel(declared(lambda *a, **k: (torch.zeros(1, 2, 3, 8), None), supports=[]))(
            bare, *[x.detach()] * 3, mask
        )


def test_a_declaration_that_is_none():
    from llmkit.errors import InputError

    with pytest.raises(InputError, match="mask 'bool' is none of none, boolean"):
        Kernel("x", right, "bool")
    with pytest.raises(InputError, match="supports 'speed' is none of"):
        Kernel("x", right, "boolean", frozenset({"speed"}))
