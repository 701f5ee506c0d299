"""The CTranslate2 engine: the contract of all engines, and what is its own."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmkit import ModelSpec, load
from llmkit.engines.base import Engine
from llmkit.engines.converted.cache import place_of
from llmkit.engines.converted.comparison import first_use
from llmkit.engines.open import open_engine
from llmkit.engines.own_settings import own_settings
from llmkit.errors import InputError, LLMKitError, NoticeWarning, OptionError
from llmkit.runtime.load import load_outline
from tests.command import run
from tests.conftest import TinyModel
from tests.engines.contract import EngineContract, request, requests

pytest.importorskip("ctranslate2")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def opened(tiny_model: TinyModel, cache: None) -> Any:
    found: dict[str, Engine] = {}

    def get(family: str) -> Engine:
        if family not in found:
            found[family] = open_engine(ModelSpec(str(tiny_model(family)), engine="ctranslate2"))
        return found[family]

    return get


class TestContract(EngineContract):
    """A decoder with rotary positions, and encoder-decoders."""

    @pytest.fixture(params=["llama", "bart", pytest.param("t5", marks=pytest.mark.slow)])
    def engine(self, request: pytest.FixtureRequest, opened: Any) -> Engine:
        return opened(request.param)


def test_a_conversion_is_made_once_and_kept(tiny_model: TinyModel, opened: Any, monkeypatch: Any) -> None:
    first = opened("llama")
    monkeypatch.setattr("llmkit.convert.conversion.convert", None)  # a second conversion would fail
    again = open_engine(ModelSpec(str(tiny_model("llama")), engine="ctranslate2"))
    assert again.identity() == first.identity()
    assert any("the same greedy text for 20 of 20" in note for note in again.notes)


@pytest.mark.slow
def test_another_model_in_the_same_folder_is_another_conversion(
    tiny_model: TinyModel, cache: None, tmp_path: Path
) -> None:
    texts = []
    for family in ("llama", "gpt2"):
        folder = tmp_path / "model"
        shutil.copytree(tiny_model(family), folder)
        engine = open_engine(ModelSpec(str(folder), engine="ctranslate2"))
        texts.append(engine.generate([request(engine, "Once")])[0][0].ids)
        shutil.rmtree(folder)
    assert texts[0] != texts[1]


def test_weights_that_changed_in_their_middle_are_converted_again(
    tiny_model: TinyModel, cache: None, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama"), folder)
    (weights,) = folder.glob("*.safetensors")
    outline = load_outline(ModelSpec(str(folder)))
    before = place_of(outline, "gguf", "F16", ())
    os.utime(weights, ns=(1, 1))
    assert place_of(outline, "gguf", "F16", ()) != before


@pytest.mark.parametrize("family", ["llama", "bart", pytest.param("t5", marks=pytest.mark.slow)])
@pytest.mark.parametrize("changes", [{}, {"num_beams": 3, "early_stopping": True}])
def test_its_text_is_transformers_own(
    tiny_model: TinyModel, opened: Any, family: str, changes: dict[str, Any]
) -> None:
    theirs = open_engine(ModelSpec(str(tiny_model(family)), device="cpu", dtype="float32"))
    asked = requests(theirs, **changes, eos_token_ids=None)
    assert opened(family).generate(asked) == theirs.generate(asked)


@pytest.mark.parametrize("family", ["llama", "bart"])
def test_its_likelihoods_are_transformers_own(tiny_model: TinyModel, opened: Any, family: str) -> None:
    loaded = load(ModelSpec(str(tiny_model(family)), device="cpu", dtype="float32"))
    texts, sources = [[5, 9, 7, 30, 8], [11, 12]], [[6, 7], [40, 41, 42]]
    if loaded.is_encoder_decoder:
        found = opened(family).score(texts, sources)
        start = loaded.model.generation_config.decoder_start_token_id
        inputs = [
            {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([[start, *text[:-1]]])}
            for source, text in zip(sources, texts, strict=True)
        ]
        targets = texts
    else:
        found = opened(family).score(texts)
        inputs = [{"input_ids": torch.tensor([text[:-1]])} for text in texts]
        targets = [text[1:] for text in texts]
    for row, given, target in zip(found, inputs, targets, strict=True):
        with torch.inference_mode():
            wanted = loaded.model(**given).logits[0].log_softmax(-1)
        wanted = wanted.gather(1, torch.tensor(target)[:, None])[:, 0].tolist()
        assert row[: len(wanted)] == pytest.approx(wanted, abs=1e-4)


def test_text_that_differs_from_transformers_is_told_once(
    opened: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    engine, kept = opened("llama"), tmp_path / "new" / "kept.txt"
    right = type(engine).generate

    def wrong(self: Any, asked: Any) -> Any:
        found = right(self, asked)
        found[1][0].ids[2] += 1
        return found

    monkeypatch.setattr(type(engine), "generate", wrong)
    with pytest.warns(NoticeWarning, match=r"1 of \d greedy texts differ from those .* leads by \d"):
        told = first_use(engine, engine.outline, kept)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first_use(engine, engine.outline, kept) == told
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    assert first_use(engine, engine.outline, tmp_path / "other.txt").startswith("not compared")


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"quantize": "int4"}, "quantize"),
        ({"quantize": "int8", "dtype": "float32"}, "dtype"),
        ({"dtype": "float64"}, "dtype"),
        ({"device": "mps"}, "device"),
        ({"device": "cuda:99"}, "device"),
        ({"attn": "sdpa"}, "attn"),
        ({"linear": "cpu"}, "linear"),
        ({"engine_python": "python"}, "engine_python"),
        ({"engine": "ctranslate"}, "engine"),
    ],
)
def test_what_it_does_not_take_is_refused_by_name(
    tiny_model: TinyModel, cache: None, changes: dict[str, Any], option: str
) -> None:
    with pytest.raises(OptionError) as raised:
        open_engine(ModelSpec(str(tiny_model("llama")), **{"engine": "ctranslate2", **changes}))
    assert raised.value.option == option


def test_sampled_text_is_said_to_be_gone(opened: Any) -> None:
    engine = opened("llama")
    engine._warned = False
    with pytest.warns(NoticeWarning, match="is not reproducible"):
        engine.generate([request(engine, "The", temperature=1.0)])


def test_settings_of_the_model_that_it_lacks_are_named(tiny_model: TinyModel) -> None:
    outline = load_outline(ModelSpec(str(tiny_model("llama"))))
    outline.model.generation_config.update(repetition_penalty=1.3, typical_p=0.5, do_sample=True, top_p=0.5)
    with pytest.warns(NoticeWarning, match=r"sets top_k, repetition_penalty, typical_p, which x"):
        found = own_settings(outline, {"top_p"}, "x")
    assert (found.repetition_penalty, found.top_p) == (1.0, 0.5)


def test_a_damaged_conversion_says_what_to_remove(
    tiny_model: TinyModel, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened("llama")
    shutil.copytree(os.environ["XDG_CACHE_HOME"], tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = ModelSpec(str(tiny_model("llama")), engine="ctranslate2")
    for weights in tmp_path.rglob("model.bin"):
        weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LLMKitError, match="remove that folder"):
        open_engine(spec)


def test_a_cache_that_cannot_be_written_is_named(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    with pytest.raises(InputError, match="XDG_CACHE_HOME names another cache"):
        open_engine(ModelSpec(str(tiny_model("llama")), engine="ctranslate2"))


def test_perplexity_is_transformers_own(tiny_model: TinyModel, opened: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "Once upon a time there was a dog."}\n{"text": "The cat sat."}\n')
    opened("llama")  # is converted
    shell = ["eval", "--metric", "perplexity", str(rows), "--bare", "--dtype", "float32", "-q"]
    shell += ["-m", str(tiny_model("llama"))]
    ours, theirs = run(*shell, "--engine", "ctranslate2"), run(*shell)
    assert (ours.code, theirs.code) == (0, 0), ours.err + theirs.err
    assert list(map(float, ours.out.split())) == pytest.approx(list(map(float, theirs.out.split())), rel=1e-3)


@pytest.mark.slow
def test_the_command_translates(cache: None) -> None:
    shell = ["translate", "--from", "en", "--to", "de", "Good morning. I am tired.", "--dtype", "float32"]
    assert run(*shell, "--engine", "ctranslate2").out == run(*shell).out
