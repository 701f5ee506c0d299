"""The CTranslate2 engine: the contract of all engines, and what is its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmkit import ModelSpec
from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from tests.conftest import TinyModel
from tests.engines.contract import EngineContract

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

    @pytest.fixture(params=["llama", "bart", "t5"])
    def engine(self, request: pytest.FixtureRequest, opened: Any) -> Engine:
        return opened(request.param)
