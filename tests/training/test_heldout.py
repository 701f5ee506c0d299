import math
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmkit.training import heldout
from llmkit.training.heldout import HeldOut, measure


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config)


def documents(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, 40, (n,), generator=generator).tolist() for n in lengths]


def nats(model: Any, context: list[int], target: int) -> float:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([context])).logits[0, -1]
    return -float(torch.log_softmax(logits.double(), -1)[target])


def test_batches_give_what_a_loop_over_single_tokens_gives(model: Any) -> None:
    texts = documents([3, 14, 7, 1, 9])
    expected = 0.0
    for text in texts:
        row = [0, *text, 0]
        expected += sum(nats(model, row[:i], row[i]) for i in range(1, len(row)))
    got = measure(model, texts, boundary=0, context=16, utf8_bytes=100, batch_tokens=32)
    assert got.tokens == 3 + 14 + 7 + 1 + 9 + 5
    assert got.nats == pytest.approx(expected, rel=1e-5)


def test_a_long_document_is_scored_once_a_token_with_half_a_context_before_it(model: Any) -> None:
    (text,) = documents([40])
    row = [0, *text, 0]
    # Windows of 8 that overlap by 4: 1 to 7 see all before them, 8 to 11 see from 4 on, and so on.
    starts = {i: 0 if i < 8 else (i // 4) * 4 - 4 for i in range(1, len(row))}
    expected = sum(nats(model, row[starts[i] : i], row[i]) for i in range(1, len(row)))
    got = measure(model, [text], boundary=0, context=8, utf8_bytes=100)
    assert got.tokens == 41
    assert got.nats == pytest.approx(expected, rel=1e-5)


def test_documents_that_come_in_stretches_are_each_scored_once(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = documents([3, 14, 7, 1, 9, 40, 2])
    whole = measure(model, texts, boundary=0, context=16, utf8_bytes=100)
    monkeypatch.setattr(heldout, "_SECTION_TOKENS", 12)
    parts = measure(model, iter(texts), boundary=0, context=16, utf8_bytes=100)
    assert parts.tokens == whole.tokens == sum(map(len, texts)) + len(texts)
    assert parts.nats == pytest.approx(whole.nats, rel=1e-5)


def test_the_model_stays_in_training_mode(model: Any) -> None:
    model.train()
    measure(model, documents([4]), boundary=0, context=16, utf8_bytes=4)
    assert model.training


def test_units() -> None:
    held_out = HeldOut(nats=math.log(2) * 300, tokens=100, utf8_bytes=150)
    assert held_out.loss == pytest.approx(3 * math.log(2))
    assert held_out.perplexity == pytest.approx(8)
    assert held_out.bits_per_byte == pytest.approx(2)
