"""Sentence embeddings: the mean of a model's last hidden states, whatever stands in the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.errors import InputError
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.embeddings.embedder import SentenceEmbedder
from tests.conftest import TinyModel
from tests.tiny import SENTENCES, make_tokenizer


def embedder_of(tiny_model: TinyModel, family: str, **options: bool) -> SentenceEmbedder:
    name = str(tiny_model(family, **options))
    return SentenceEmbedder(load(ModelSpec(name, task="feature-extraction", device="cpu")))


@pytest.mark.parametrize("family", ["bert-qa", "gpt2", "t5", "bart"])
def test_the_mean_of_the_last_hidden_states(tiny_model: TinyModel, family: str) -> None:
    import torch
    from transformers import AutoModel

    embedder = embedder_of(tiny_model, family)
    reference: Any = AutoModel.from_pretrained(tiny_model(family)).eval()
    if reference.config.is_encoder_decoder:
        reference = reference.get_encoder()
    vectors = embedder(SENTENCES)
    for sentence, vector in zip(SENTENCES, vectors, strict=True):
        ids = embedder.loaded.tokenizer(sentence, return_tensors="pt").input_ids
        with torch.no_grad():
            mean = reference(input_ids=ids).last_hidden_state[0].mean(0).double().numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("family", ["bert-qa", "gpt2", "t5"])
def test_batches_do_not_matter(tiny_model: TinyModel, family: str) -> None:
    embedder = embedder_of(tiny_model, family)
    together = embedder(SENTENCES)
    calls: list[tuple[int, int]] = []
    embedder.progress = lambda done, total: calls.append((done, total))
    embedder.tokens_at_once = 1
    np.testing.assert_allclose(embedder(SENTENCES), together, atol=1e-5)
    assert calls == [(i + 1, len(SENTENCES)) for i in range(len(SENTENCES))]


def test_when_memory_runs_out_the_batches_get_smaller(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = embedder_of(tiny_model, "bert-qa")
    expected = embedder(SENTENCES)
    forward, sizes = embedder.model.forward, []

    def small(input_ids: Any, **more: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise MemoryError
        return forward(input_ids=input_ids, **more)

    monkeypatch.setattr(embedder.model, "forward", small)
    np.testing.assert_allclose(embedder(SENTENCES), expected, atol=1e-5)
    assert sizes[0] == len(SENTENCES)
    assert sizes[-1] <= 2


def test_what_the_model_cannot_see_is_cut_and_counted(tiny_model: TinyModel) -> None:
    embedder = embedder_of(tiny_model, "bert-qa")
    assert embedder.window == 128
    long = "moon " * 300
    first, second, short = embedder([long, long + "and a cat", "A cat."])
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert abs(first @ short) < 0.999
    assert embedder.cut == 2


def test_a_sentence_without_tokens_has_no_direction(tiny_model: TinyModel) -> None:
    embedder = embedder_of(tiny_model, "bert-qa", bos=False)
    vectors = embedder(["", "A cat."])
    assert not vectors[0].any()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1)
    assert embedder([""]).shape == (1, 1)


def test_a_model_that_does_not_read_text(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16
    )
    ViTModel(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="does not read text"):
        SentenceEmbedder(load(ModelSpec(str(tmp_path), task="feature-extraction", device="cpu")))


def test_embeddings_that_overflow(tiny_model: TinyModel) -> None:
    import torch

    embedder = embedder_of(tiny_model, "bert-qa")
    with torch.no_grad():
        next(embedder.model.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="try dtype=float32"):
        embedder(["A cat."])
