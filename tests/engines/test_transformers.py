"""The transformers engine: the contract of all engines, and what is its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from llmkit import LoadedModel, ModelSpec, load
from llmkit.engines.base import Engine
from llmkit.engines.open import as_engine, open_engine
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.errors import OutOfMemory
from tests.conftest import TinyModel
from tests.engines.contract import EngineContract, request


@pytest.fixture(scope="module")
def loaded(tiny_model: TinyModel) -> Any:
    cache: dict[str, LoadedModel] = {}

    def get(family: str) -> LoadedModel:
        if family not in cache:
            cache[family] = load(ModelSpec(str(tiny_model(family)), device="cpu"))
        return cache[family]

    return get


class TestContract(EngineContract):
    """Decoders with absolute and rotary positions, encoder-decoders with relative and absolute ones."""

    @pytest.fixture(params=["gpt2", "llama", "t5", "bart"])
    def engine(self, request: pytest.FixtureRequest, loaded: Any) -> Engine:
        return as_engine(loaded(request.param))


def test_engines_are_opened_from_names_specs_and_loaded_models(tiny_model: TinyModel, loaded: Any) -> None:
    folder = str(tiny_model("llama"))
    engine = open_engine(ModelSpec(folder, device="cpu"))
    assert isinstance(engine, TransformersEngine)
    assert as_engine(engine) is engine
    for model in (folder, ModelSpec(folder), loaded("llama")):
        assert as_engine(model).name == folder


def test_the_models_own_settings_are_its_defaults(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("bart")), device="cpu"))
    config: Any = model.model.generation_config
    config.update(do_sample=True, temperature=0.6, top_p=0.9, max_length=143, min_length=57, num_beams=4)
    config.update(length_penalty=2.0, no_repeat_ngram_size=3, early_stopping=True, stop_strings="END")
    engine = as_engine(model)
    assert engine.samples_by_default
    assert engine.defaults.as_json() == {
        "max_new_tokens": 142,  # transformers counts the token that the decoder starts from
        "min_new_tokens": 56,
        "temperature": 0.6,
        "top_k": 50,
        "top_p": 0.9,
        "num_beams": 4,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
        "stop": ("END",),
    }


def test_an_end_that_the_model_forces_at_the_limit_is_not_forbidden(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("bart")), device="cpu"))
    model.model.generation_config.forced_eos_token_id = 1
    asked = request(as_engine(model), "The", max_new_tokens=4, min_new_tokens=9, eos_token_ids=(1,))
    (found,) = as_engine(model).generate([asked])[0]
    assert (len(found.ids), found.ids[-1]) == (4, 1)


def test_the_models_own_least_tokens_are_not_added_to_a_request(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    plain = request(as_engine(model), "The")
    first = as_engine(model).generate([plain])[0][0].ids[0]
    model.model.generation_config.min_new_tokens = 5
    ending = replace(plain, sampling=replace(plain.sampling, eos_token_ids=(first,)))
    assert len(as_engine(model).generate([ending])[0][0].ids) == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_one_error(
    loaded: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    engine = as_engine(loaded("llama"))

    def fail(**options: Any) -> None:
        raise error

    monkeypatch.setattr(loaded("llama").model, "generate", fail)
    with pytest.raises(OutOfMemory):
        engine.generate([request(engine, "The")])


def test_other_failures_are_passed_on(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(loaded("llama").model, "generate", fail)
    engine = as_engine(loaded("llama"))
    with pytest.raises(RuntimeError, match="shapes"):
        engine.generate([request(engine, "The")])
