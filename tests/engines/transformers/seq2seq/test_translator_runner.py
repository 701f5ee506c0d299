"""Requests of encoder-decoder models: the text of `generate`, alone, in a batch, streamed and with beams."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.engines.base import Engine, Request, Sampling
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.engines.transformers.seq2seq import beams, decoder, runner
from llmkit.errors import OutOfMemory
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from tests.engines.contract import EngineContract
from tests.engines.native_contract import SETTINGS, NativeContract, ids_alone, ids_of, requests_for

TEXTS = tuple(
    f"de: {text}"
    for text in (
        "Where is my book?",
        "The dog is in the house and the cat is in the garden because it is cold today.",
        "Tom",
        "My sister wants to go home.",
        "He said that he would come.",
    )
)
BEAMS = {
    "beams": Sampling(max_new_tokens=40, num_beams=4),
    "several beams": Sampling(
        max_new_tokens=12, num_beams=3, num_return_sequences=2, length_penalty=0.5, early_stopping=True
    ),
    "drawn beams": Sampling(max_new_tokens=12, num_beams=2, temperature=1.1),
}


def open_translator(**options: Any) -> TransformersEngine:
    spec = ModelSpec("translator", device="cpu", bundled=True, **{"dtype": "float32", **options})
    return TransformersEngine(load(spec))


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    found = open_translator()
    assert isinstance(found._steps, runner.TranslatorRunner)
    return found


@pytest.fixture(scope="module")
def plain() -> TransformersEngine:
    """The same model by transformers' own `generate`."""
    found = open_translator(attn="sdpa")
    assert found._steps is None
    return found


def requests(engine: TransformersEngine, sampling: Sampling) -> list[Request]:
    return requests_for(engine, TEXTS, sampling)


class TestContract(EngineContract):
    """What every engine promises, in native steps."""

    @pytest.fixture
    def engine(self, engine: TransformersEngine) -> Engine:
        return engine


class TestNative(NativeContract):
    """What native steps promise, with rows that leave, and sources read in groups."""

    texts = TEXTS
    changes = (
        (runner, "MAX_ROWS", 2),
        (runner, "_JOINING", 1),  # the others join as rows leave
        (decoder, "READ", 7),  # tokens of sources at a time
    )


@pytest.mark.parametrize("name", BEAMS)
def test_beams_are_those_of_generate(
    name: str, engine: TransformersEngine, plain: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beams, "_STEPS", 4)  # the cache grows
    batch = requests(engine, BEAMS[name])
    assert engine.generate(batch) == plain.generate(batch)


@pytest.mark.parametrize(
    "options", [{"dtype": "bfloat16"}, {"quantize": "int8"}, {"quantize": "int4"}], ids=str
)
def test_rounded_weights_write_one_text_alone_and_in_batches(options: dict[str, str]) -> None:
    engine = open_translator(**options)
    assert isinstance(engine._steps, runner.TranslatorRunner)
    for sampling in (SETTINGS["greedy"], BEAMS["beams"]):
        batch = requests(engine, sampling) * 8
        assert ids_of(engine.generate(batch)) == ids_alone(engine, batch[:5]) * 8


def test_samples_of_one_source_read_it_once(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    plain = decoder.TranslatorDecoder.read

    def count(self: Any, spans: Any) -> None:
        read.append(len(spans))
        plain(self, spans)

    monkeypatch.setattr(decoder.TranslatorDecoder, "read", count)
    sampling = Sampling(max_new_tokens=8, temperature=1.5, num_return_sequences=4)
    texts = [one.ids for one in engine.generate(requests(engine, sampling)[:2])[0]]
    assert read == [2]
    assert len({tuple(ids) for ids in texts}) > 1


@pytest.mark.parametrize("bad", [[[200], [300], [2]], [[200, 300]]], ids=str)
def test_the_models_own_settings_are_kept(bad: list[list[int]]) -> None:
    """Tokens that it forces or forbids, as Marian's and Bart's configurations do."""
    single = len(bad[0]) == 1
    found = []
    for attn in (None, "sdpa"):
        loaded = load(ModelSpec("translator", device="cpu", dtype="float32", bundled=True, attn=attn))
        config: Any = loaded.model.generation_config
        config.update(forced_bos_token_id=70, forced_eos_token_id=90, bad_words_ids=bad)
        if attn is None and single:
            config.bad_words_ids = [*bad, [10**6]]  # there is no such token; `generate` refuses it
        engine = TransformersEngine(loaded)
        assert (engine._steps is None) == (attn is not None)
        batch = [
            Request(Sampling(max_new_tokens=most, min_new_tokens=most - 1), ids=ids, answer_prefix=prefix)
            for most, ids, prefix in ((6, [5, 6, 2], None), (9, [300, 2], (200, 201)), (1, [5, 2], None))
        ]
        found.append([ids_of(engine.generate([one])) for one in batch])
    assert found[0] == found[1]
    assert found[0][1][0][:2] == [200, 201]
    assert found[0][0][0][0] == 70
    assert found[0][0][0][-1] == 90


def test_a_sequence_that_needs_more_than_there_is_is_told_as_such(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes")

    wanted = ids_of(engine.generate(requests(engine, SETTINGS["greedy"])))
    with monkeypatch.context() as patched:
        patched.setattr(decoder.TranslatorDecoder, "step", fail)
        for sampling in (SETTINGS["greedy"], BEAMS["beams"]):
            with pytest.raises(OutOfMemory):
                engine.generate(requests(engine, sampling))
    assert ids_of(engine.generate(requests(engine, SETTINGS["greedy"]))) == wanted
