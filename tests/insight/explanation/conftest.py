"""Models that the tests of explanations share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import llmkit
from tests.insight.explanation.toy import make_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> llmkit.LoadedModel:
    """The one-layer model with a known answer."""
    return llmkit.load(llmkit.ModelSpec(str(make_toy(tmp_path_factory.mktemp("toy")))))


@pytest.fixture(scope="session")
def loaded() -> Callable[..., llmkit.LoadedModel]:
    """An embedded model by name and task, in float32."""
    made: dict[tuple[str, str], llmkit.LoadedModel] = {}

    def get(name: str, task: str = "text-generation") -> llmkit.LoadedModel:
        if (name, task) not in made:
            made[name, task] = llmkit.load(llmkit.ModelSpec(name, task=task, dtype="float32", bundled=True))
        return made[name, task]

    return get
