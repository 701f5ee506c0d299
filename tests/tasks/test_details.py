"""Columns beside an answer: log-probabilities, and the facts that `details` adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from llmkit import GenerationOptions, ModelSpec, generate, translate
from llmkit.engines.base import Request, Sampling
from llmkit.engines.open import open_engine
from llmkit.errors import OptionError
from llmkit.tasks.details import logprobs_as_json
from llmkit.text.token_bytes import TokenBytes
from tests.conftest import TinyModel

# Decoded in native steps, by a sampler inside `generate`, and by `generate` alone.
FAMILIES = ["llama", "gpt2", "t5", "bart"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    tiny_model: TinyModel, family: str, temperature: float
) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    folder = tiny_model(family)
    engine = open_engine(ModelSpec(str(folder), device="cpu", dtype="float32"))
    tokenizer: Any = engine.tokenizer
    prompts = [tokenizer(text)["input_ids"] for text in ("The moon is", "A cat sat on the mat and")]
    sampling = Sampling(max_new_tokens=8, temperature=temperature, repetition_penalty=1.3)
    asked = [
        Request(sampling, ids=ids, key=(1, i, 0), logprobs=count)
        for i, (ids, count) in enumerate(zip(prompts, (3, 0), strict=True))
    ]
    found = [one for (one,) in engine.generate(asked)]
    kind: Any = AutoModelForSeq2SeqLM if engine.is_encoder_decoder else AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    for prompt, answer, count in zip(prompts, found, (3, 0), strict=True):
        with torch.no_grad():
            if engine.is_encoder_decoder:
                start = model.config.decoder_start_token_id
                decoder = torch.tensor([[start, *answer.ids]])
                logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder).logits[0, :-1]
            else:
                logits = model(torch.tensor([[*prompt, *answer.ids]])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1)
        assert answer.logprobs is not None
        assert len(answer.logprobs) == len(answer.ids)
        for step, one in enumerate(answer.logprobs):
            assert one.token == answer.ids[step]
            assert one.logprob == pytest.approx(float(expected[step, one.token]), abs=1e-4)
            top = expected[step].topk(count).values.tolist()
            assert [value for _, value in one.top] == pytest.approx(top, abs=1e-4)
            for token, value in one.top:
                assert value == pytest.approx(float(expected[step, token]), abs=1e-4)
    plain = [Request(sampling, ids=ids, key=(1, i, 0)) for i, ids in enumerate(prompts)]
    assert [one.ids for (one,) in engine.generate(plain)] == [one.ids for one in found]


def test_the_bytes_of_an_answer_s_tokens_are_its_text() -> None:
    options = GenerationOptions(max_new_tokens=12, logprobs=1, greedy=True)
    (result,) = generate("stories", "Once upon a time", options)
    (answer,) = result.answers
    tokens = TokenBytes(open_engine(ModelSpec("stories", bundled=True)).tokenizer)
    found = logprobs_as_json(answer.logprobs or (), tokens)
    assert bytes(byte for one in found for byte in one["bytes"]).decode() == answer.text
    assert all(one["logprob"] == one["top_logprobs"][0]["logprob"] for one in found)
    assert len(found) == answer.tokens == 12


def test_an_answer_in_several_passages_has_those_of_all() -> None:
    options = GenerationOptions(logprobs=0, num_beams=1)
    (result,) = translate(
        "translator", ["Where is it? It is here."], source="en", target="de", options=options
    )
    (details,) = result.details
    assert details.logprobs is not None
    assert len(details.logprobs) == details.tokens == result.tokens


def test_a_column_of_schemas_needs_rows() -> None:
    with pytest.raises(OptionError, match="schema_field"):
        generate("stories", "x", GenerationOptions(schema_field="schema"))
