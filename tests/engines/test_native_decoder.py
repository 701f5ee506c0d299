"""The native decoding step computes what the model computes, for every sequence as if it were alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from llmkit.engines.transformers import native_decoder, native_library
from llmkit.engines.transformers.native_decoder import NativeDecoder, reason_against
from llmkit.linear.quantize import quantize_model

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, scaled positions, tied, biases": (
        "Llama",
        {"rope_parameters": LLAMA3, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "mistral, sliding window": ("Mistral", {"sliding_window": 7}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
}


def make(name: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A random model whose numbers depend on its family alone."""
    family, options = FAMILIES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **options, **changes})
    return getattr(transformers, f"{family}ForCausalLM")(config).to(dtype).eval()


def prompts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 300, (n,), generator=generator).tolist() for n in lengths]


def expected(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([ids])).logits[0, -1].float()
    return logits


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_the_model(name: str) -> None:
    model = make(name)
    assert reason_against(model) is None
    decoder = NativeDecoder(model, 200)
    texts = prompts(5, 30, 17, 1)
    slots = [decoder.allocate(45) for _ in texts]
    after = list(decoder.prefill([(slot, ids) for slot, ids in zip(slots, texts, strict=True)]))
    for _ in range(8):
        for ids, logits in zip(texts, after, strict=True):
            torch.testing.assert_close(logits, expected(model, ids), rtol=1e-4, atol=1e-4)
            ids.append(int(logits.argmax()))
        after = list(decoder.step([(slot, ids[-1:]) for slot, ids in zip(slots, texts, strict=True)]))


def test_bfloat16_is_nearer_to_float32_than_transformers_is() -> None:
    model, (ids,) = make("llama", torch.bfloat16), prompts(12)
    exact = expected(make("llama").to(torch.bfloat16).float(), ids)
    decoder = NativeDecoder(model, 20)
    slot = decoder.allocate(20)
    assert slot is not None
    ours = (decoder.step([(slot, ids)])[-1] - exact).abs().mean()
    theirs = (expected(model, ids) - exact).abs().mean()
    assert ours < theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_sequence_is_computed_alike_alone_and_beside_others(dtype: torch.dtype) -> None:
    model, texts = make("mistral, sliding window", dtype), prompts(12, 9, 16, 3, 14, 12, 1)
    decoder = NativeDecoder(model, 400)
    alone = []
    for ids in texts:
        slot = decoder.allocate(20)
        assert slot is not None
        alone.append(torch.cat([decoder.step([(slot, [token])]) for token in ids]))
    slots = [decoder.allocate(20) for _ in texts]
    together = decoder.step([(slot, ids) for slot, ids in zip(slots, texts, strict=True)])
    assert torch.equal(together, torch.cat(alone))


def test_layers_of_another_type_beside_one_are_not_claimed() -> None:
    model = make("qwen3", torch.bfloat16)
    model.model.layers[1].mlp.up_proj.float()
    assert "several types" in (reason_against(model) or "")


FORMS = ("float32", "bfloat16", "8 bits", "4 bits")


def in_form(name: str, form: str) -> Any:
    model = make(name, torch.float32 if form == "float32" else torch.bfloat16)
    if form.endswith("bits"):
        quantize_model(model, int(form[0]))
    return model


@pytest.mark.parametrize("form", FORMS)
def test_prompts_are_read_alike_alone_beside_others_and_in_pieces(form: str) -> None:
    model = in_form("mistral, sliding window", form)
    assert reason_against(model) is None
    texts = prompts(150, 33, 1, 70, 9)
    decoder = NativeDecoder(model, 1000)

    def slots() -> list[Any]:
        return [decoder.allocate(len(ids)) for ids in texts]

    def cached(found: list[Any]) -> torch.Tensor:
        return torch.cat([decoder.cache[:, :, one.offset : one.offset + one.capacity] for one in found], 2)

    alone, together, cut = slots(), slots(), slots()
    logits = torch.cat([decoder.prefill([row]) for row in zip(alone, texts, strict=True)])
    beside = decoder.prefill(list(zip(together, texts, strict=True)))
    for slot, ids, whole in zip(cut, texts, logits, strict=True):
        pieces = [ids[first:last] for first, last in ((0, 1), (1, 8), (8, 27), (27, 66), (66, 150))]
        after = [decoder.prefill([(slot, piece)]) for piece in pieces if piece]
        assert torch.equal(after[-1][0], whole)
    assert torch.equal(beside, logits)
    assert torch.equal(cached(together), cached(alone))
    assert torch.equal(cached(cut), cached(alone))


@pytest.mark.parametrize("form", FORMS)
def test_threads_change_no_bit_of_a_prompt(form: str) -> None:
    decoder, (ids,) = NativeDecoder(in_form("qwen3", form), 400), prompts(130)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            slot = decoder.allocate(130)
            assert slot is not None
            found.append(decoder.prefill([(slot, ids)]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_prompt_gives_the_logits_of_the_model(name: str) -> None:
    (ids,), pieces = prompts(260), range(0, 260, 20)

    def ours(model: Any) -> torch.Tensor:
        slot = (decoder := NativeDecoder(model, 260)).allocate(260)
        assert slot is not None
        return torch.cat([decoder.prefill([(slot, ids[first : first + 20])]) for first in pieces])

    def theirs(model: Any) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = model(torch.tensor([ids])).logits[0, 19::20].float()
        return logits

    exact, rounded = theirs(make(name)), make(name, torch.bfloat16)
    torch.testing.assert_close(ours(make(name)), exact, rtol=1e-4, atol=2e-4)
    assert (ours(rounded) - exact).abs().mean() < (theirs(rounded) - exact).abs().mean()


def test_wide_layers_are_read_in_parts() -> None:
    """The inputs of a layer fill more than one panel, which holds 1,024 words."""
    changes = {"intermediate_size": 2112, "attention_bias": True, "mlp_bias": True}
    model, (ids,) = make("llama", **changes), prompts(40)
    decoder = NativeDecoder(model, 40)
    slot = decoder.allocate(40)
    assert slot is not None
    torch.testing.assert_close(decoder.prefill([(slot, ids)])[0], expected(model, ids), rtol=1e-4, atol=2e-4)


def test_a_sequence_can_be_shortened_and_its_room_used_again() -> None:
    model, (ids,) = make("qwen3"), prompts(20)
    decoder = NativeDecoder(model, 30)
    slot = decoder.allocate(30)
    assert slot is not None
    assert decoder.allocate(1) is None
    decoder.step([(slot, [*ids[:10], 5, 6, 7])])
    del slot.ids[10:]
    whole = decoder.step([(slot, ids[10:])])[-1]
    torch.testing.assert_close(whole, expected(model, ids), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="longer than its slot"):
        decoder.step([(slot, ids)])
    decoder.release(slot)
    assert [decoder.allocate(10) is not None for _ in range(4)] == [True, True, True, False]


def test_rooms_given_back_in_any_order_make_one() -> None:
    decoder = NativeDecoder(make("llama"), 30)
    slots = [decoder.allocate(10) for _ in range(3)]
    for i in (1, 0, 2):
        slot = slots[i]
        assert slot is not None
        decoder.release(slot)
    assert decoder.allocate(30) is not None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_act": "relu"}, "activation"),
        ({"num_attention_heads": 64, "num_key_value_heads": 1}, "share one key"),
        ({"hidden_size": 72, "num_attention_heads": 4}, "multiples of 16"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}}, "rotary"),
    ],
)
def test_other_layers_are_not_claimed(changes: dict[str, Any], word: str) -> None:
    assert word in (reason_against(make("llama", **changes)) or "")


def test_wrapped_layers_are_not_claimed() -> None:
    model = make("llama")
    model.model.layers[1].mlp.up_proj = torch.nn.Sequential(model.model.layers[1].mlp.up_proj)
    assert "wrapped" in (reason_against(model) or "")
    assert "float16" in (reason_against(make("llama", torch.float16)) or "")


@pytest.mark.slow
@pytest.mark.skipif("avx512bf16" not in native_library.SOURCES[0].available(), reason="needs AVX512-BF16")
def test_products_in_matrix_registers_are_alike_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays stand for the registers, which this processor need not have."""
    step, prefill = native_library.SOURCES
    emulated = replace(prefill, flags=(*prefill.flags, "-DEMULATE_TILES"))
    monkeypatch.setattr(native_library, "SOURCES", (step, emulated))
    functions = native_library.load("avx512bf16")
    monkeypatch.setattr(native_decoder, "functions", lambda: functions)
    test_prompts_are_read_alike_alone_beside_others_and_in_pieces("bfloat16")
    test_threads_change_no_bit_of_a_prompt("bfloat16")
    for name in FAMILIES:
        test_a_long_prompt_gives_the_logits_of_the_model(name)


def adapted(base: Any, **options: Any) -> Any:
    """The model with a random LoRA adapter."""
    torch.manual_seed(2)
    found: Any = get_peft_model(base, LoraConfig(**{"target_modules": "all-linear", "r": 8, **options}))
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return found.eval()


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({}, torch.float32),
        ({"r": 20, "lora_alpha": 7, "use_rslora": True}, torch.float32),
        ({"target_modules": ["q_proj", "down_proj"]}, torch.bfloat16),
        ({"target_modules": ["o_proj", "up_proj"]}, torch.bfloat16),
    ],
    ids=str,
)
def test_a_lora_adapter_adds_what_it_adds_in_peft(options: dict[str, Any], dtype: torch.dtype) -> None:
    model, (ids,) = adapted(make("llama", dtype), **options), prompts(60)
    assert reason_against(model) is None
    slot = (decoder := NativeDecoder(model, 60)).allocate(60)
    assert slot is not None
    read = decoder.prefill([(slot, ids[:50])])[0]
    stepped = decoder.step([(slot, ids[50:])])[-1]
    exact = adapted(make("llama", dtype).float(), **options)
    for found, length in ((read, 50), (stepped, 60)):
        truth = expected(exact, ids[:length])
        assert (truth - expected(make("llama", dtype).float(), ids[:length])).abs().mean() > 0.1
        if dtype == torch.float32:
            torch.testing.assert_close(found, truth, rtol=1e-4, atol=2e-4)
        else:
            assert (found - truth).abs().mean() < (expected(model, ids[:length]) - truth).abs().mean()


def test_an_adapter_is_computed_alike_alone_and_beside_others() -> None:
    model, texts = adapted(make("llama", torch.bfloat16)), prompts(20, 3, 50)
    decoder = NativeDecoder(model, 200)
    slots = [decoder.allocate(len(ids) + 1) for ids in texts]
    alone = torch.cat([decoder.prefill([row]) for row in zip(slots, texts, strict=True)])
    one = torch.cat([decoder.step([(slot, [7])]) for slot in slots])
    for slot in slots:
        assert slot is not None
        slot.ids.clear()
    assert torch.equal(decoder.prefill(list(zip(slots, texts, strict=True))), alone)
    assert torch.equal(decoder.step([(slot, [7]) for slot in slots]), one)


@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"lora_bias": True}], ids=str
)
def test_other_adapters_are_not_claimed(options: dict[str, Any]) -> None:
    changes = {"attention_bias": True, "mlp_bias": True} if "lora_bias" in options else {}
    assert reason_against(adapted(make("llama", **changes), **options)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("level", native_library.SOURCES[0].available())
def test_every_instruction_set_gives_the_same_logits(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = native_library.load(level)
    monkeypatch.setattr(native_decoder, "functions", lambda: functions)
    for name in FAMILIES:
        model, (ids,) = make(name), prompts(114)
        slot = (decoder := NativeDecoder(model, 120)).allocate(120)
        assert slot is not None
        decoder.prefill([(slot, ids[:100])])
        after = decoder.step([(slot, ids[100:])])[-1]
        torch.testing.assert_close(after, expected(model, ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1"])
def test_weights_packed_in_a_gguf_file_run_natively(kind: str, tmp_path: Path) -> None:
    from llmkit import ModelSpec, load
    from tests.formats.gguf import models

    models.write("llama-tied", tmp_path / "m.gguf", kind)
    quantize = "int8" if kind == "Q8_0" else "int4"
    model = load(ModelSpec(str(tmp_path / "m.gguf"), dtype="float32", quantize=quantize)).model
    assert reason_against(model) is None
    ids = [5, 9, 23, 11, 30, 8, 14, 6]
    decoder = NativeDecoder(model, 20)
    slot = decoder.allocate(20)
    assert slot is not None
    found = torch.cat([decoder.step([(slot, ids[:3])]), decoder.step([(slot, ids[3:])])])
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    layer = model.model.layers[0].self_attn
    layer.v_proj = torch.nn.Linear(64, 32, bias=False)  # reads the same numbers without rounding them
    assert reason_against(model) is not None
