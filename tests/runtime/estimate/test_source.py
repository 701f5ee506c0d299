"""Where an estimate finds a model's sizes: folders, GGUF files, adapters, and a Hub by range requests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmkit import ModelSpec
from llmkit.errors import InputError, OptionError
from llmkit.models.bundled import embedded_folder
from llmkit.runtime.estimate.source import find_source
from tests.formats.gguf import models
from tests.hub import serve

STORIES = embedded_folder("stories")
assert STORIES is not None


def test_a_config_alone_is_enough(tmp_path: Path) -> None:
    shutil.copy(STORIES / "config.json", tmp_path)
    found = find_source(ModelSpec(str(tmp_path)))
    assert (found.stored_bytes, found.file_kind, found.tokenizer_bytes) == (0, "", 0)
    assert found.config.model_type == "llama"


def test_headers_give_dtype_and_size() -> None:
    found = find_source(ModelSpec("stories"))
    assert (found.stored, found.file_kind, found.packed) == ("float16", "safetensors", False)
    assert found.stored_bytes == 2 * found.stored_values
    assert found.tokenizer_bytes == (STORIES / "tokenizer.json").stat().st_size


def test_an_adapter_is_counted_on_its_base(stories_adapter: Path) -> None:
    folder = stories_adapter
    found = find_source(ModelSpec(str(folder)))
    assert found.config.model_type == "llama"
    assert found.adapter_values > 0
    assert find_source(ModelSpec("stories", adapter=str(folder))).adapter_values == found.adapter_values
    with pytest.raises(OptionError):
        find_source(ModelSpec(str(folder), adapter=str(folder)))


def test_a_gguf_file_gives_its_architecture(tmp_path: Path) -> None:
    models.write("llama-tied", tmp_path / "m.gguf", "Q8_0")
    found = find_source(ModelSpec(str(tmp_path / "m.gguf")))
    assert (found.file_kind, found.stored) == ("GGUF", "float32")
    sizes = (found.config.hidden_size, found.config.num_hidden_layers, found.config.num_key_value_heads)
    assert sizes == (64, 4, 2)
    assert "Q8_0" in found.notes[0]
    # 34 bytes for 32 values, and norms in float32.
    assert found.stored_bytes / found.stored_values == pytest.approx(34 / 32, rel=0.1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    from huggingface_hub import constants

    with serve() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        files = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield running


def test_a_hub_model_is_read_by_ranges(hub: Any, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in STORIES.iterdir() if path.is_file()}
    hub.files["org/stories"] = files
    found = find_source(ModelSpec("org/stories", cache_dir=tmp_path / "cache"))
    plain = find_source(ModelSpec("stories"))
    for name in ("stored", "stored_bytes", "stored_values", "tokenizer_bytes", "file_kind"):
        assert getattr(found, name) == getattr(plain, name), name
    asked = [line for line in hub.asked if line.startswith("GET")]
    weights = [line for line in asked if line.split()[1].endswith("model.safetensors")]
    assert weights
    assert all(" bytes=0-" in line for line in weights), weights
    assert hub.sent["model.safetensors"] < len(files["model.safetensors"]) / 4
    assert not any("tokenizer" in line for line in asked)


def test_a_gguf_file_of_a_hub_is_read_by_ranges(hub: Any, tmp_path: Path) -> None:
    models.write("llama-tied", tmp_path / "m.gguf", "Q8_0")
    hub.files["org/gguf"] = {"m.gguf": (tmp_path / "m.gguf").read_bytes()}
    found = find_source(ModelSpec("org/gguf", cache_dir=tmp_path / "cache"))
    assert (found.file_kind, found.config.hidden_size) == ("GGUF", 64)
    assert all("bytes=0-" in line for line in hub.asked if line.startswith("GET") and ".gguf" in line)


def test_a_hub_model_that_is_refused_or_damaged(hub: Any, tmp_path: Path) -> None:
    config = (STORIES / "config.json").read_bytes()
    hub.files["org/broken"] = {"config.json": config, "model.safetensors": b"\xff" * 64}
    for name, reason in (("org/missing", "no model"), ("org/gated", "gated"), ("org/broken", "safetensors")):
        with pytest.raises(InputError, match=reason):
            find_source(ModelSpec(name, cache_dir=tmp_path / "cache"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "JSON object"),
        ("{", "JSON"),
        ('{"model_type": "nothing"}', "config.json"),
        ("{}", "config.json"),
    ],
)
def test_bad_configs_are_refused(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=reason):
        find_source(ModelSpec(str(tmp_path)))


def test_own_code_is_not_run(tmp_path: Path) -> None:
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match="own Python code"):
        find_source(ModelSpec(str(tmp_path)))
