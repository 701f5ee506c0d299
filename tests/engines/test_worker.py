"""Engines in another Python: the contract, and a program that ends with us; stand-ins are the libraries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from llmkit import ModelSpec
from llmkit.engines.base import Engine, Request, Sampling
from llmkit.engines.open import open_engine
from llmkit.engines.worker.engine import LLAMACPP, OPENVINO, ProgramEngine, RowLibrary
from llmkit.engines.worker.process import WorkerProcess, check_module
from llmkit.engines.worker.vllm import open_vllm
from llmkit.errors import InputError, LLMKitError, OptionError, OutOfMemory
from llmkit.runtime.load import load_outline
from tests.conftest import TinyModel
from tests.engines.contract import EngineContract, request

STAND_INS = str(Path(__file__).with_name("stand_ins"))
LLAMA_PYTHON = os.environ.get("LLMKIT_LLAMA_PYTHON")
OPENVINO_PYTHON = os.environ.get("LLMKIT_OPENVINO_PYTHON")


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", STAND_INS)
        yield


def started(folder: Path, model: str = "model.gguf") -> ProgramEngine:
    job = {"model": model, "context": 128, "threads": 1, "gpu": False, "exact": False}
    process = WorkerProcess(sys.executable, LLAMACPP.program, job, LLAMACPP.name)
    outline = load_outline(ModelSpec(str(folder)))
    return ProgramEngine(outline, LLAMACPP, process, kind="F16", context=128, device="cpu", notes=())


class TestContract(EngineContract):
    @pytest.fixture(scope="class")
    def engine(self, tiny_model: TinyModel, stand_ins: None) -> Iterator[Engine]:
        engine = started(tiny_model("llama"))
        yield engine
        engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("library", [LLAMACPP, OPENVINO], ids=lambda one: one.engine)
def test_the_libraries_themselves_write_what_transformers_writes(
    library: RowLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = LLAMA_PYTHON if library is LLAMACPP else OPENVINO_PYTHON
    if python is None:
        pytest.skip(f"no Python with {library.module} is named")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = ModelSpec("stories", bundled=True, engine=library.engine, engine_python=python, dtype="float16")
    engine = open_engine(spec)
    assert any("the same greedy text as transformers" in note for note in engine.notes)
    seeded = [request(engine, "The", temperature=1.0, key=(7, row, 0)) for row in range(4)]
    found = engine.generate(seeded)
    assert len({tuple(one[0].ids) for one in found}) > 1
    if "row_seeds" in engine.abilities:
        assert engine.generate(seeded[::-1]) == found[::-1]
    shown: list[int] = []
    streamed = engine.stream(request(engine, "The"), lambda ids: shown.extend(ids) or len(shown) < 3)
    assert (streamed.finish_reason, len(shown)) == ("interrupted", 3)
    assert open_engine(spec).identity() == engine.identity()


def test_failures_of_rows_leave_the_program_running(tiny_model: TinyModel, stand_ins: None) -> None:
    engine = started(tiny_model("llama"))
    good = Request(Sampling(max_new_tokens=3, eos_token_ids=()), ids=[5])
    before = engine.generate([good])
    with pytest.raises(OutOfMemory):
        engine.generate([good, Request(Sampling(max_new_tokens=3), ids=[99])])
    with pytest.raises(LLMKitError, match=r"llama\.cpp failed: RuntimeError: decode failed"):
        engine.generate([Request(Sampling(max_new_tokens=3), ids=[98])])

    def interrupt(ids: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.stream(replace_limit(good, 10**6), interrupt)
    assert engine.generate([good]) == before
    engine.close()
    with pytest.raises(LLMKitError, match=r"llama\.cpp ended"):
        engine.generate([good])


def replace_limit(one: Request, limit: int) -> Request:
    return Request(Sampling(max_new_tokens=limit, eos_token_ids=()), ids=one.ids)


def test_a_model_that_does_not_load_is_named(tiny_model: TinyModel, stand_ins: None) -> None:
    with pytest.raises(LLMKitError, match=r"llama\.cpp failed: ValueError: no file at missing"):
        started(tiny_model("llama"), "missing.gguf")


@pytest.mark.parametrize("python", [None, sys.executable, "/no/such/python"])
def test_a_python_without_the_module_is_refused(python: str | None) -> None:
    with pytest.raises(OptionError) as raised:
        check_module(python, "no_such_module_here", "install it")
    assert raised.value.option == "engine_python"


def test_an_encoder_decoder_is_refused(tiny_model: TinyModel, stand_ins: None) -> None:
    spec = ModelSpec(str(tiny_model("t5")), engine="llamacpp", engine_python=sys.executable)
    with pytest.raises(InputError, match="use ctranslate2"):
        open_engine(spec)


class TestVLLM:
    """Its server, which ends with us."""

    @pytest.fixture(autouse=True)
    def _place(self, stand_ins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STAND_IN_FOLDER", str(tmp_path))

    @pytest.fixture
    def spec(self, tiny_model: TinyModel) -> ModelSpec:
        return ModelSpec(str(tiny_model("llama")), engine="vllm", engine_python=sys.executable)

    def test_it_answers_and_ends(self, spec: ModelSpec, tmp_path: Path) -> None:
        engine = open_engine(spec)
        asked = Request(Sampling(), messages=[{"role": "user", "content": "hi"}])
        assert engine.generate([asked])[0][0].text == "re: hi"
        assert (engine.context_length, engine.identity()["vllm"]) == (64, "0.0.stand-in")
        again = open_engine(spec)
        assert again.identity() == engine.identity()  # `resume` finds the same engine
        arguments = json.loads((tmp_path / "arguments").read_text())
        assert "key" not in " ".join(arguments).lower()
        for one in (engine, again):
            one.close()  # type: ignore[attr-defined]
        assert gone(tmp_path)

    def test_a_server_that_ends_at_its_start_is_explained(
        self, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LLMKIT_VLLM_ARGS", "--crash")
        with pytest.raises(LLMKitError, match="ended at its start: ValueError: no GPU here"):
            open_engine(spec)

    def test_a_server_that_is_never_ready_is_ended(self, spec: ModelSpec, tmp_path: Path) -> None:
        with pytest.raises(LLMKitError, match="was not ready"):
            open_vllm(spec, seconds=0)
        assert not (tmp_path / "pids").exists() or gone(tmp_path)

    @pytest.mark.parametrize(
        "number",
        [
            signal.SIGKILL,
            pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
            pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        ],
    )
    def test_it_ends_when_we_are_killed(self, spec: ModelSpec, tmp_path: Path, number: int) -> None:
        shell = [sys.executable, "-m", "llmkit", "generate", "-m", spec.name, "wait for me"]
        shell += ["--engine", "vllm", "--engine-python", sys.executable]
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": f"{root}:{STAND_INS}"}
        with subprocess.Popen(shell, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ours:
            assert until((tmp_path / "arguments").exists)
            time.sleep(0.5)
            ours.send_signal(number)
            ours.communicate(timeout=60)
            assert ours.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
        assert gone(tmp_path)


def gone(folder: Path) -> bool:
    """Wait until the server and its child are gone."""
    pids = list(map(int, (folder / "pids").read_text().split()))

    def none_lives() -> bool:
        return not any(psutil.pid_exists(pid) and not is_zombie(pid) for pid in pids)

    return until(none_lives)


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False
