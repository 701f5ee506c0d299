"""The loss in chunks against torch's and transformers' own, on every family of tiny models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM

from llmkit.training import loss as losses
from llmkit.training.loss import (
    linear_cross_entropy,
    patch_forward_with_span_loss,
    patch_forward_with_summed_loss,
)

TinyModel = Callable[..., Path]


def drawn(dtype: torch.dtype, *, tokens: int = 37, width: int = 16, vocabulary: int = 50) -> list[Any]:
    """Hidden states, a head's weight, its bias, and targets."""
    chance = torch.Generator().manual_seed(1)
    shapes = [(tokens, width), (vocabulary, width), (vocabulary,)]
    numbers = [
        torch.randn(shape, generator=chance, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in shapes
    ]
    return [*numbers, torch.randint(vocabulary, (tokens,), generator=chance)]


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_loss_and_gradients_are_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, chunk: int, dtype: torch.dtype, smoothing: float, bias: bool
) -> None:
    hidden, weight, shift, targets = drawn(dtype)
    monkeypatch.setattr(losses, "_CHUNK", chunk * len(weight))
    shift = shift if bias else None
    inputs = [one for one in (hidden, weight, shift) if one is not None]
    ours = linear_cross_entropy(hidden, weight, targets, bias=shift, smoothing=smoothing)
    # Scaled, as a step's loss is by the number of its targets.
    found = torch.autograd.grad(ours * 0.3, inputs)
    theirs = F.cross_entropy(
        F.linear(hidden, weight, shift), targets, reduction="sum", label_smoothing=smoothing
    )
    expected = torch.autograd.grad(theirs * 0.3, inputs)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == other.dtype
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_frozen_head_gets_no_gradient_and_hands_one_on() -> None:
    hidden, weight, bias, targets = drawn(torch.float32)
    linear_cross_entropy(hidden, weight.requires_grad_(False), targets, bias=bias.detach()).backward()
    assert weight.grad is None
    frozen = hidden.grad.clone()
    hidden.grad = None
    F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum").backward()
    torch.testing.assert_close(frozen, hidden.grad, rtol=1e-4, atol=1e-5)


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    hidden, weight, bias, targets = drawn(torch.float32)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets, bias=bias)
    assert not loss.requires_grad
    expected = F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum")
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_no_tokens_lose_nothing() -> None:
    hidden, weight, bias, targets = drawn(torch.float32, tokens=0)
    loss = linear_cross_entropy(hidden, weight, targets, bias=bias)
    loss.backward()
    assert float(loss) == 0
    assert not weight.grad.any()


def test_autocast_multiplies_in_its_precision_and_sums_in_float32() -> None:
    hidden, weight, bias, targets = drawn(torch.float32, tokens=200)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = linear_cross_entropy(hidden, weight, targets, bias=bias)
    found = torch.autograd.grad(ours, [hidden, weight, bias])
    theirs = F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum")
    expected = torch.autograd.grad(theirs, [hidden, weight, bias])
    assert ours.dtype == torch.float32
    assert float(ours) != float(theirs)
    assert float(ours) == pytest.approx(float(theirs), rel=5e-3)
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - other).norm()) < 0.02 * float(other.norm())


class Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that anything makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return made


def causal(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def capped(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, final_logit_softcapping=2.0)


def scaled(folder: Path) -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    config = AutoModelForCausalLM.from_pretrained(folder).config.to_dict()
    config = {k: v for k, v in config.items() if k not in ("model_type", "architectures")}
    torch.manual_seed(0)
    return GraniteForCausalLM(GraniteConfig(**config, logits_scaling=0.25))


def pairs(folder: Path) -> Any:
    return AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)


def added(folder: Path) -> Any:
    model = pairs(folder)
    model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(5))
    return model


# name -> family, how it is loaded, whether its logits stay unmade
MODELS: dict[str, tuple[str, Callable[[Path], Any], bool]] = {
    **{name: (name, causal, True) for name in ("llama", "gpt2", "qwen3", "gemma3", "opt", "bloom")},
    "t5": ("t5", pairs, True),
    "bart, which adds a row to its logits": ("bart", added, True),
    "gemma3, its logits capped": ("gemma3", capped, False),
    "granite, its logits scaled": ("llama", scaled, True),  # a scale goes through a matrix
}


def inputs_of(model: Any) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The same batch as transformers' loss takes it, as ours does, and its targets' number."""
    ids = torch.randint(3, 300, (3, 12), generator=torch.Generator().manual_seed(2))
    if not model.config.is_encoder_decoder:
        return {"input_ids": ids, "labels": ids}, {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}, 33
    labels = ids.flip(0)[:, :9].clone()
    labels[1, 5:] = -100
    read = model.prepare_decoder_input_ids_from_labels(labels.masked_fill(labels == -100, 2))
    return (
        {"input_ids": ids, "labels": labels},
        {"input_ids": ids, "decoder_input_ids": read, "labels": labels},
        23,
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_one_that_transformers_computes(tiny_model: TinyModel, name: str) -> None:
    family, load, unmade = MODELS[name]
    model = load(tiny_model(family))
    theirs, ours, count = inputs_of(model)
    expected = model(**theirs).loss * count
    expected.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert patch_forward_with_summed_loss(model) is unmade
    found = model(**ours)["loss"]
    found.backward()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    for n, p in model.named_parameters():
        if n in gradients:
            size = float(gradients[n].abs().max())
            torch.testing.assert_close(p.grad, gradients[n], rtol=1e-3, atol=1e-4 * max(size, 1e-2), msg=n)
    # Without labels the model is as it was.
    assert (
        model(input_ids=ours["input_ids"], decoder_input_ids=ours["decoder_input_ids"]).logits.dim() == 3
        if ("decoder_input_ids" in ours)
        else model(input_ids=ours["input_ids"]).logits.shape[-1] == model.config.vocab_size
    )


def test_the_logits_never_exist_whole(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = causal(tiny_model("llama"))
    vocabulary = model.config.vocab_size
    monkeypatch.setattr(losses, "_CHUNK", 64 * vocabulary)
    ids = torch.randint(3, 300, (32, 40), generator=torch.Generator().manual_seed(3))
    assert patch_forward_with_summed_loss(model)
    with Largest() as seen:
        model(input_ids=ids, labels=ids.roll(-1, 1))["loss"].backward()
    assert seen.numbers < ids.numel() * vocabulary / 2
    with Largest() as seen:
        causal(tiny_model("llama"))(input_ids=ids, labels=ids).loss.backward()
    assert seen.numbers >= ids.numel() * vocabulary


def test_smoothing_is_for_training_alone(tiny_model: TinyModel) -> None:
    model = causal(tiny_model("llama"))
    _, ours, _ = inputs_of(model)
    logits, targets = model(input_ids=ours["input_ids"]).logits.flatten(0, 1), ours["labels"].flatten()
    patch_forward_with_summed_loss(model, 0.2)
    for training, smoothing in ((True, 0.2), (False, 0.0)):
        model.train(training)
        expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
        assert float(model(**ours)["loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_an_adapter_learns_under_a_frozen_head(tiny_model: TinyModel) -> None:
    from peft import LoraConfig, get_peft_model

    found = []
    for chunked in (True, False):
        torch.manual_seed(0)
        model: Any = get_peft_model(
            causal(tiny_model("llama")), LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])
        )
        theirs, ours, count = inputs_of(model)
        if chunked:
            assert patch_forward_with_summed_loss(model)
        loss = model(**ours)["loss"] if chunked else model(**theirs).loss * count
        loss.backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        assert model.get_output_embeddings().weight.grad is None
    assert any(one.any() for one in found[1].values())
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-4, atol=1e-4)


def test_a_span_s_loss_is_the_one_that_transformers_computes(tiny_model: TinyModel) -> None:
    model = AutoModelForQuestionAnswering.from_pretrained(tiny_model("bert-qa"), dtype=torch.float32)
    ids = torch.randint(3, 300, (3, 12), generator=torch.Generator().manual_seed(4))
    spans = torch.tensor([[1, 3], [0, 0], [10, 11]])
    model.eval()
    # transformers takes the mean over the rows, and the mean of both ends.
    expected = model(input_ids=ids, start_positions=spans[:, 0], end_positions=spans[:, 1]).loss * 6
    patch_forward_with_span_loss(model)
    assert float(model(input_ids=ids, labels=spans)["loss"]) == pytest.approx(float(expected), rel=1e-5)
    # No part of the probability is padding's.
    padded = {
        "input_ids": F.pad(ids, (0, 5), value=2),
        "attention_mask": F.pad(torch.ones_like(ids), (0, 5)),
        "labels": spans,
    }
    assert float(model(**padded)["loss"]) == pytest.approx(float(expected), rel=1e-4)
