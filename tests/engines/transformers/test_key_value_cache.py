"""The cache with room: the same keys and values as transformers' own, in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    DynamicCache,
    MambaConfig,
    MambaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from llmkit import GenerationOptions, LoadedModel, ModelSpec, generate, load
from llmkit.engines.open import as_engine
from llmkit.engines.transformers import key_value_cache
from llmkit.engines.transformers.key_value_cache import PreallocatedLayer, preallocated_cache
from llmkit.engines.transformers.prefix_cache import PrefixCache
from llmkit.tasks.generation import Generation
from tests.conftest import TinyModel

PROMPTS = ["Once upon a time there was", "The", "One day, Tom and Lily went to the park to play"]
pytestmark = pytest.mark.filterwarnings("error:An output with one or more elements was resized")
STORY = " ".join(["The little dog went to the park and saw a cat with a red ball."] * 12)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room from the third token on, and copies into a larger one now and then."""
    monkeypatch.setattr(key_value_cache, "_SHORT", 2)
    monkeypatch.setattr(key_value_cache, "MAX_EXTRA_TOKENS", 5)


def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the cache to transformers."""
    monkeypatch.setattr(key_value_cache, "preallocated_cache", lambda *arguments: None)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("beams", [None, 3])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3", "bloom", "t5", "bart"])
def test_the_same_text_as_with_the_cache_of_transformers(
    family: str, beams: int | None, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full attention, a sliding window beside it, an encoder; token by token, and with beams that move."""
    model = load(ModelSpec(str(tiny_model(family)), device="cpu"))
    options = GenerationOptions(max_new_tokens=20, num_beams=beams, seed=0)
    ours = generate(model, PROMPTS, options)
    assert preallocated_cache(model) is not None
    own_cache(monkeypatch)
    assert ours == generate(model, PROMPTS, options)


@pytest.fixture(scope="module")
def stories() -> LoadedModel:
    # With an attention kernel named, `generate` decodes and not the native step, which has its own cache.
    return load(ModelSpec("stories", device="cpu", attn="sdpa"))


@pytest.mark.parametrize("beams", [None, 2])
def test_a_long_prompt(stories: LoadedModel, beams: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = GenerationOptions(max_new_tokens=12, num_beams=beams, greedy=True, seed=0)
    prompts = [STORY, STORY[:700]]
    ours = generate(stories, prompts, options)
    own_cache(monkeypatch)
    assert ours == generate(stories, prompts, options)


def test_tokens_stay_where_they_are(stories: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step of decoding copies the keys that are there."""
    places: list[int] = []
    update = PreallocatedLayer.update

    def seen(self: PreallocatedLayer, *arguments: Any, **more: Any) -> Any:
        keys, values = update(self, *arguments, **more)
        places.append(keys.data_ptr())
        return keys, values

    monkeypatch.setattr(PreallocatedLayer, "update", seen)
    generate(stories, STORY, GenerationOptions(max_new_tokens=20, greedy=True))
    layers = stories.model.config.num_hidden_layers
    assert len(places) > 10 * layers
    assert len(set(places)) == layers


def filled(*lengths: int, rows: int = 3, room: int = 4) -> tuple[PreallocatedLayer, DynamicCache]:
    """A layer of each kind with the same random keys and values."""
    layer, own = PreallocatedLayer(room, {}), DynamicCache()
    add(layer, own, *lengths, rows=rows)
    return layer, own


def add(layer: PreallocatedLayer, own: DynamicCache, *lengths: int, rows: int = 3) -> None:
    for length in lengths:
        keys, values = torch.randn(2, rows, 2, length, 8)
        layer.update(keys, values)
        own.update(keys, values, 0)
        same(layer, own)


def same(layer: PreallocatedLayer, own: DynamicCache) -> None:
    assert layer.get_seq_length() == own.get_seq_length()
    assert torch.equal(layer.keys, own.layers[0].keys)
    assert torch.equal(layer.values, own.layers[0].values)


@pytest.mark.usefixtures("soon")
def test_what_generate_does_to_a_cache() -> None:
    """Grow past its room, crop, reorder, repeat and select rows, in turn."""
    layer, own = filled(3, 1, 1, 1, 7, 1)
    for change in (
        lambda cache: cache.crop(-4),
        lambda cache: cache.reorder_cache(torch.tensor([2, 0, 0])),
        lambda cache: cache.reorder_cache(torch.tensor([1, 0, 2])),
        lambda cache: cache.reorder_cache(torch.tensor([0, 1, 2])),
    ):
        change(layer)
        change(own)
        same(layer, own)
        add(layer, own, 1, 2)
    layer.batch_repeat_interleave(2)
    own.batch_repeat_interleave(2)
    add(layer, own, 1, 1, rows=6)
    layer.batch_select_indices(torch.tensor([0, 3]))
    own.batch_select_indices(torch.tensor([0, 3]))
    add(layer, own, 1, 1, rows=2)
    layer.reset()
    assert layer.get_seq_length() == 0
    add(layer, DynamicCache(), 3, 1, rows=4)
    layer, own = filled(5, 1)
    layer.crop(-6)
    own.crop(-6)
    add(layer, own, 2, 1)


@pytest.mark.usefixtures("soon")
def test_a_full_buffer_that_is_no_longer_the_cache() -> None:
    """Its rows are as many and as long as the tensor that took its place, which ends where it does."""
    layer, own = filled(4, 1, 1, room=2)
    for cache in (layer, own):
        cache.batch_select_indices(torch.tensor([1, 0, 2]))
        cache.crop(-3)
    new = torch.randn(2, 3, 2, 1, 8)
    own.update(*new, 0)
    keys, values = layer.update(*new)
    assert torch.equal(keys, own.layers[0].keys)
    assert torch.equal(values, own.layers[0].values)


@pytest.mark.usefixtures("soon")
def test_a_cache_cropped_to_nothing_takes_another_batch() -> None:
    layer, _ = filled(4, 1)
    layer.crop(-5)
    keys, _ = layer.update(*torch.randn(2, 1, 2, 3, 8))
    assert keys.shape == (1, 2, 3, 8)


@pytest.mark.parametrize("beams", [1, 4])
def test_how_much_memory_it_holds(stories: LoadedModel, beams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as there are tokens in the end; with beams one layer's keys more, whatever the layers."""
    made: list[Any] = []
    monkeypatch.setattr(
        key_value_cache, "preallocated_cache", lambda *a: made.append(preallocated_cache(*a)) or made[-1]
    )
    options = GenerationOptions(max_new_tokens=60, num_beams=beams, greedy=True)
    generate(stories, STORY, options)
    layers = made[0].layers
    held = sum(one.numel() for layer in layers for one in layer._buffers.values())
    spare_buffers = sum(one.numel() for one in layers[0]._spare_buffers.values())
    wanted = [(layer.get_seq_length() + 1) / layer._buffers["keys"].shape[-2] for layer in layers]
    assert min(wanted) > 0.8
    assert spare_buffers == (held // (2 * len(layers)) if beams > 1 else 0)


@pytest.mark.usefixtures("soon")
def test_a_conversation_goes_on_in_its_room(tiny_model: TinyModel) -> None:
    """A second prompt shares the beginning of the first one's cache."""
    model = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    generation = Generation(as_engine(model), GenerationOptions(max_new_tokens=8))
    cache = PrefixCache(model)

    def answer(text: str, kept: PrefixCache | None) -> str:
        prompt = generation.prompts.prepare_one(text)
        return generation.stream(prompt, lambda *piece: None, session=kept).text

    for text in ("Once upon a time", "Once upon a time there was a dog", "Once upon a cat"):
        assert answer(text, cache) == answer(text, None)
    assert cache.ids


def test_models_that_are_left_alone(tiny_model: TinyModel, tmp_path: Path) -> None:
    """Those whose cache is of another kind, or that want none."""
    model = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    assert preallocated_cache(model) is not None
    model.model.generation_config.cache_implementation = "static"
    assert preallocated_cache(model) is None
    model.model.generation_config.cache_implementation = None
    model.model.generation_config.use_cache = False
    assert preallocated_cache(model) is None
    model.model.generation_config.use_cache = True
    model.model.generation_config.assistant_early_exit = 1
    assert preallocated_cache(model) is None
    words = model.model.config.vocab_size
    others = (
        MambaForCausalLM(MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=words)),
        OpenAIGPTLMHeadModel(OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=4, vocab_size=words)),
    )
    for other in others:
        folder = tmp_path / type(other).__name__
        other.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        loaded = load(ModelSpec(str(folder), device="cpu"))
        assert preallocated_cache(loaded) is None
        assert generate(loaded, "The dog", GenerationOptions(max_new_tokens=3))


def test_a_conversation_with_a_prompt_tuning_adapter(tiny_model: TinyModel) -> None:
    """Its own tokens are in no prompt: nothing is kept from one answer to the next."""
    from peft import PromptTuningConfig, get_peft_model

    model = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    tuned = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    model = replace(model, model=get_peft_model(model.model, tuned))
    assert preallocated_cache(model) is not None
    assert PrefixCache(model).take([1, 2, 3]) is None
