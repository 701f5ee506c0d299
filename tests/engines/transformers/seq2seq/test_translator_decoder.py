"""The native encoder and decoding step compute what the model computes, for each row as if it were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from llmkit.engines.transformers.seq2seq import library
from llmkit.engines.transformers.seq2seq.decoder import TranslatorDecoder, reason_against
from llmkit.linear.quantize import quantize_model

BART: dict[str, Any] = {
    **{"vocab_size": 300, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "init_std": 0.2},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 4, "encoder_ffn_dim": 96},
    **{"decoder_ffn_dim": 112, "max_position_embeddings": 400, "pad_token_id": 0, "eos_token_id": 2},
    **{"bos_token_id": 1, "decoder_start_token_id": 2},
}
T5: dict[str, Any] = {
    **{"vocab_size": 300, "d_model": 64, "d_kv": 32, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2},
    **{"num_heads": 4, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20},
    **{"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2, "initializer_factor": 0.8},
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "marian": ("MarianMTModel", {**BART, "activation_function": "swish", "scale_embedding": True}),
    "bart": ("BartForConditionalGeneration", BART),
    "mbart": ("MBartForConditionalGeneration", {**BART, "activation_function": "relu"}),
    "m2m_100": ("M2M100ForConditionalGeneration", {**BART, "max_position_embeddings": 16}),  # its table grows
    "pegasus": ("PegasusForConditionalGeneration", {**BART, "activation_function": "gelu_new"}),
    "t5": ("T5ForConditionalGeneration", T5),
    "t5, gated": ("T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu"}),
    "mt5": ("MT5ForConditionalGeneration", {**T5, "tie_word_embeddings": False}),
}
FORMS = ("float32", "bfloat16", "8 bits", "4 bits")


def make(name: str, form: str = "float32", **changes: Any) -> Any:
    """A random model whose numbers depend on its family alone."""
    kind, options = FAMILIES[name]
    torch.manual_seed(0)
    made = getattr(transformers, kind)
    model = made(made.config_class(**{**options, **changes})).eval()
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_()
    if form.endswith("bits"):
        quantize_model(model, int(form[0]))
    return model.to(torch.bfloat16) if form == "bfloat16" else model


def sources(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 300, (n,), generator=generator).tolist() for n in lengths]


def answers(model: Any, rows: list[list[int]], steps: int, beside: bool) -> torch.Tensor:
    """The logits of each step of answers of given tokens, [rows, steps, vocabulary]."""
    found = []
    for group in [rows] if beside else [[row] for row in rows]:
        decoder = TranslatorDecoder(model, sum(map(len, group)), steps * len(group))
        spans = [span for span in map(decoder.place, group) if span is not None]
        decoder.read(spans)
        slots = [slot for slot in (decoder.open(span, steps) for span in spans) if slot is not None]
        after = [
            decoder.step([(slot, (7 * i + len(slot.source.ids)) % 290 + 3) for slot in slots]).clone()
            for i in range(steps)
        ]
        found.append(torch.stack(after, dim=1))
    return torch.cat(found)


def expected(model: Any, rows: list[list[int]], steps: int) -> torch.Tensor:
    """The same by transformers."""
    found = []
    with torch.inference_mode():
        for row in rows:
            written = [(7 * i + len(row)) % 290 + 3 for i in range(steps)]
            output = model(input_ids=torch.tensor([row]), decoder_input_ids=torch.tensor([written]))
            found.append(output.logits.float())
    return torch.cat(found)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_the_model(name: str) -> None:
    model, rows = make(name), sources(5, 40, 17, 1)
    assert reason_against(model) is None
    torch.testing.assert_close(
        answers(model, rows, 20, True), expected(model, rows, 20), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["marian", "m2m_100", "t5, gated"])
def test_rounded_weights_give_logits_as_near_as_transformers_does(name: str) -> None:
    rows = sources(12, 30)
    for form in ("bfloat16", "8 bits"):
        model = make(name, form)
        exact = expected(make(name), rows, 6)
        ours, theirs = (
            (found - exact).abs().mean()
            for found in (answers(model, rows, 6, True), expected(model, rows, 6))
        )
        assert ours < 1.1 * theirs, form


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["marian", "t5, gated"])
def test_rows_are_computed_alike_alone_and_in_batches(name: str, form: str) -> None:
    model, rows = make(name, form), sources(*(1 + (13 * i) % 37 for i in range(64)))
    assert reason_against(model) is None
    alone = answers(model, rows, 4, False)
    for count in (2, 7, 64):  # more tokens than are read at a time, too
        assert torch.equal(answers(model, rows[:count], 4, True), alone[:count])


def test_threads_change_no_bit() -> None:
    before, found = torch.get_num_threads(), []
    for form in ("float32", "8 bits"):
        model, rows = make("bart", form), sources(60, 33, 9)
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found.append(answers(model, rows, 3, True))
        finally:
            torch.set_num_threads(before)
        assert torch.equal(found[-1], found[-2])
        assert torch.equal(found[-1], found[-3])


def test_wide_layers_are_read_in_parts() -> None:
    """The inputs of a layer fill more than one panel, which holds 1,024 words."""
    changes = {"encoder_ffn_dim": 2112, "decoder_ffn_dim": 2112, "init_std": 0.05}
    model, rows = make("bart", **changes), sources(40)
    torch.testing.assert_close(answers(model, rows, 3, True), expected(model, rows, 3), rtol=1e-4, atol=2e-4)


def test_room_is_given_back_and_used_again() -> None:
    decoder, rows = TranslatorDecoder(make("bart"), 20, 10), sources(12, 8, 3)
    first, second, none = map(decoder.place, rows)
    assert first is not None
    assert second is not None
    assert none is None
    slots = [decoder.open(first, 5), decoder.open(first, 5)]
    assert decoder.open(second, 1) is None
    for slot in slots:
        assert slot is not None
        assert decoder.place(rows[2]) is None  # the other answer still attends to the source
        decoder.close(slot)
    assert decoder.place(rows[2]) is not None
    assert decoder.open(second, 10) is not None


def test_an_answer_longer_than_its_slot_is_refused_and_the_cache_can_grow() -> None:
    model, rows = make("t5"), sources(9)
    decoder = TranslatorDecoder(model, 9, 2)
    span = decoder.place(rows[0])
    assert span is not None
    decoder.read([span])
    slot = decoder.open(span, 2)
    assert slot is not None
    logits = [decoder.step([(slot, (7 * i + 9) % 290 + 3)]).clone() for i in range(2)]
    with pytest.raises(ValueError, match="longer than its slot"):
        decoder.step([(slot, 3)])
    decoder.grow(40)
    slot.capacity = 40
    logits += [decoder.step([(slot, (7 * i + 9) % 290 + 3)]).clone() for i in range(2, 40)]
    torch.testing.assert_close(torch.stack(logits, dim=1), expected(model, rows, 40), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"activation_function": "tanh"}, "activation"),
        ({"d_model": 72}, "multiples of 16"),
        ({"model_type": "blenderbot"}, "unsupported kind"),
    ],
)
def test_other_layers_are_not_claimed(changes: dict[str, Any], word: str) -> None:
    model = make("bart", **{key: value for key, value in changes.items() if key != "model_type"})
    model.config.model_type = changes.get("model_type", "bart")
    assert word in (reason_against(model) or "")


def test_wrapped_layers_and_other_types_are_not_claimed() -> None:
    model = make("bart")
    model.model.decoder.layers[1].fc1 = torch.nn.Sequential(model.model.decoder.layers[1].fc1)
    assert "wrapped" in (reason_against(model) or "")
    assert "float16" in (reason_against(make("bart").to(torch.float16)) or "")
    mixed = make("bart", "8 bits")
    mixed.model.encoder.layers[0].self_attn.k_proj = make("bart").model.encoder.layers[0].self_attn.k_proj
    assert "several types" in (reason_against(mixed) or "")


@pytest.mark.parametrize("other", [torch.float32, torch.float16], ids=str)
def test_layers_of_another_type_beside_one_are_not_claimed(other: torch.dtype) -> None:
    """One form of what they read is made for all of them."""
    model = make("bart", "bfloat16")
    model.model.decoder.layers[1].encoder_attn.v_proj.to(other)
    assert ("several types" if other == torch.float32 else "unsupported kind") in (
        reason_against(model) or ""
    )
    fitting = make("bart", "bfloat16")
    fitting.model.decoder.layers[1].fc2.to(torch.float32)  # as T5 keeps it
    assert reason_against(fitting) is None


@pytest.mark.slow
@pytest.mark.parametrize("level", library.SOURCES[0].available())
def test_every_instruction_set_gives_the_logits(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.engines.transformers.seq2seq import decoder

    functions = library.load(level)
    monkeypatch.setattr(decoder, "translator_functions", lambda: functions)
    rows = sources(5, 40)
    for name in ("marian", "t5, gated"):
        torch.testing.assert_close(
            answers(make(name), rows, 4, True), expected(make(name), rows, 4), rtol=1e-4, atol=1e-4
        )
        for form in ("bfloat16", "8 bits"):
            model = make(name, form)
            assert torch.equal(answers(model, rows, 4, True), answers(model, rows, 4, False))
