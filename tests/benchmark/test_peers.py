"""Peers: those that run, and those that are skipped by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from llmkit.benchmark import peers
from llmkit.benchmark.peers import GGUFSystem, PeerContext, open_peers
from llmkit.benchmark.results import BenchmarkOptions
from llmkit.benchmark.systems import BenchmarkPrompt, SingleRun
from llmkit.errors import LLMKitError
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel

# A stand-in for llama-cpp-python: its `generate` counts upward.
LLAMA = """
__version__ = "1.2"
class Llama:
    def __init__(self, model_path, n_ctx, n_threads, **rest):
        open(model_path, "rb").close()
        self.ready = (n_ctx, n_threads) == (24, 1)
    def reset(self):
        self.fresh = True
    def generate(self, ids, **rest):
        assert self.ready and self.fresh and ids
        self.fresh = False
        yield from range(10**6)
"""

# A stand-in for openvino-genai: it answers after a millisecond with as many tokens as were wanted.
OPENVINO = """
__version__ = "2.3"
class GenerationConfig:
    pass
class Metrics:
    def get_ttft(self):
        self.mean = 1.0
        return self
class Answer:
    perf_metrics = Metrics()
class LLMPipeline:
    def __init__(self, path, device, **properties):
        open(path, "rb").close()
        assert (device, properties) == ("CPU", {"INFERENCE_NUM_THREADS": 1})
    def generate(self, ids, config):
        assert config.ignore_eos and not config.do_sample
        answer = Answer()
        answer.tokens = [[0] * (config.max_new_tokens if ids.shape[1] else 0)]
        return answer
"""


@pytest.fixture
def context(tiny_model: TinyModel, tmp_path: Path) -> Any:
    def make(*compare: str, family: str = "llama", **options: Any) -> PeerContext:
        chosen = BenchmarkOptions(prompt_tokens=12, new_tokens=4, compare=compare, **options)
        spec = ModelSpec(str(tiny_model(family)), dtype="float32")
        return PeerContext(spec, "float32", family == "bart", chosen, 1, tmp_path)

    return make


def prompts(*lengths: int) -> list[BenchmarkPrompt]:
    return [BenchmarkPrompt(tuple(range(5, 5 + n)), "a dog went home", 4) for n in lengths]


def test_a_named_python_goes_before_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python, `sys.executable`, has the module too."""
    has = {"/one": False, "/two": True, None: True}
    monkeypatch.setattr(
        "llmkit.convert.reader_process.reader_with",
        lambda module, python: python if python and has[python] else sys.executable if has[None] else None,
    )
    assert peers.python_with("x", ("/one", "/two")) == "/two"
    assert peers.python_with("x", ("/one",)) == sys.executable
    has[None] = False
    assert peers.python_with("x", ("/one",)) is None


def test_transformers_own_ways_answer(context: Any) -> None:
    opened, skipped = open_peers(context("pipeline", "generate_batch"))
    assert skipped == []
    pipeline, together = opened
    assert [one.name for one in opened] == ["pipeline", "generate_batch"]
    single = pipeline.single(prompts(12)[0])
    assert single is not None
    assert (single.prompt_tokens, single.later_tokens) == (12, 3)
    assert together.single(prompts(12)[0]) is None
    for one in opened:
        many = one.many(prompts(12, 7))
        assert many is not None
        assert many.tokens == 8
        one.close()


@pytest.mark.parametrize("family", ["llama", "bart"])
def test_ctranslate2_answers(context: Any, family: str) -> None:
    pytest.importorskip("ctranslate2")
    opened, skipped = open_peers(context("ctranslate2", family=family))
    assert skipped == []
    (system,) = opened
    single = system.single(prompts(12)[0])
    assert single is not None
    assert (single.prompt_tokens, single.later_tokens) == (12, 3)
    many = system.many(prompts(12, 7))
    assert many is not None
    assert many.tokens == 8


def test_what_is_not_installed_is_skipped_by_name(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    monkeypatch.setattr("llmkit.convert.reader_process.find_spec", lambda name: None)
    opened, skipped = open_peers(context("ctranslate2", "llama.cpp"))
    assert opened == []
    assert [one.name for one in skipped] == ["ctranslate2", "llama.cpp"]
    assert all("not installed" in (one.skipped or "") for one in skipped)
    assert "`peer_python`" in (skipped[1].skipped or "")


def test_an_encoder_decoder_is_left_to_those_that_run_one(context: Any) -> None:
    opened, skipped = open_peers(context("pipeline", "generate_batch", "llama.cpp", family="bart"))
    assert opened == []
    assert all("encoder-decoder" in (one.skipped or "") for one in skipped)


def test_any_failure_of_a_library_is_a_reason(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: PeerContext) -> Any:
        raise RuntimeError("wrong\nversion")

    monkeypatch.setitem(peers._OPENERS, "pipeline", broken)
    assert open_peers(context("pipeline"))[1][0].skipped == "RuntimeError: wrong version"


def test_llama_cpp_runs_in_the_python_that_is_named(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp.py").write_text(LLAMA)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    opened, skipped = open_peers(context("llama.cpp", peer_python=(sys.executable,)))
    assert skipped == []
    (llama,) = opened
    assert isinstance(llama, GGUFSystem)
    assert "llama-cpp-python 1.2, F32.gguf" in llama.notes
    single = llama.single(prompts(12)[0])
    assert isinstance(single, SingleRun)
    assert single.later_tokens == 3
    assert single.first > 0
    assert llama.many(prompts(12, 7)).tokens == 8
    with pytest.raises(LLMKitError, match="ended with exit code 1"):
        llama.many(prompts(0))  # the stand-in fails


def test_openvino_runs_in_a_python_that_is_named(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openvino_genai.py").write_text(OPENVINO)
    (tmp_path / "openvino.py").write_text("Tensor = lambda values: values")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (openvino,), skipped = open_peers(context("openvino", peer_python=("false", sys.executable)))
    assert skipped == []
    assert "openvino-genai 2.3, F32.gguf" in openvino.notes
    single = openvino.single(prompts(12)[0])
    assert isinstance(single, SingleRun)
    assert (single.prompt_tokens, single.later_tokens) == (12, 3)
    assert 0.001 <= single.first < 1
    many = openvino.many(prompts(12, 7))
    assert many is not None
    assert many.tokens == 8
    with pytest.raises(LLMKitError, match="ended with exit code 1"):
        openvino.many(prompts(0))  # too few tokens


def test_a_program_that_prints_something_else_is_skipped(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp.py").write_text("print('Hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    opened, (skipped,) = open_peers(context("llama.cpp", peer_python=(sys.executable,)))
    assert opened == []
    assert skipped.skipped == "its answer is not JSON: Hello"
