"""Finding a model: embedded, in a folder, in a Hub cache laid out as huggingface_hub lays it out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmkit import InputError, LLMKitError, ModelSpec, load
from llmkit.errors import OptionError
from llmkit.runtime.locate import locate
from tests.conftest import TinyModel

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, tiny_model: TinyModel) -> Path:
    """A cache that holds `someone/tiny-llama`, as a download leaves it: blobs, snapshot links, refs."""
    repo = tmp_path / "hub" / "models--someone--tiny-llama"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(tiny_model("llama").iterdir())):
        blob = repo / "blobs" / f"{number:040x}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return tmp_path / "hub"


def test_a_cached_model_loads_offline_and_tells_its_commit(hub_cache: Path) -> None:
    loaded = load(ModelSpec("someone/tiny-llama", cache_dir=hub_cache, offline=True))
    assert type(loaded.model).__name__ == "LlamaForCausalLM"
    assert loaded.revision == COMMIT
    assert loaded.identity()["revision"] == COMMIT


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_cached_revision_is_found(hub_cache: Path, revision: str) -> None:
    spec = ModelSpec("someone/tiny-llama", cache_dir=hub_cache, offline=True, revision=revision)
    assert load(spec).revision == COMMIT


def test_a_revision_that_is_not_cached_is_named(hub_cache: Path) -> None:
    spec = ModelSpec("someone/tiny-llama", cache_dir=hub_cache, offline=True, revision="v2")
    with pytest.raises(InputError, match="someone/tiny-llama is not in the cache at revision v2, and"):
        load(spec)


def test_a_revision_is_the_models_and_not_its_adapters(hub_cache: Path, tmp_path: Path) -> None:
    spec = ModelSpec("someone/tiny-llama", cache_dir=hub_cache, offline=True, revision=COMMIT)
    with pytest.raises(InputError, match="not an adapter"):
        load(dataclasses.replace(spec, adapter=str(tmp_path)))


def test_a_cached_model_with_a_missing_shard_is_refused(hub_cache: Path) -> None:
    snapshot = hub_cache / "models--someone--tiny-llama" / "snapshots" / COMMIT
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    )
    (snapshot / "model-00002-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"incomplete: model-00001-of-00002\.safetensors is missing"):
        load(ModelSpec("someone/tiny-llama", cache_dir=hub_cache, offline=True))


def test_an_unknown_name_says_where_to_look() -> None:
    with pytest.raises(InputError, match="someone/nothing is not in the cache, and this run is offline; "):
        load(ModelSpec("someone/nothing"))


@pytest.mark.parametrize("config", ["config.json", "adapter_config.json"])
def test_a_folder_with_an_embedded_model_s_name_is_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stories").mkdir()
    spec = ModelSpec("stories")
    assert locate("stories", spec).revision == "embedded"  # a folder of texts, say
    Path("stories", config).write_text("{}")
    with pytest.raises(InputError, match=r"embedded model and a folder here: write \./stories"):
        locate("stories", spec)
    assert locate("./stories", spec).revision == "local"
    assert locate("stories", dataclasses.replace(spec, bundled=True)).revision == "embedded"


def test_a_name_near_an_embedded_one_is_guessed() -> None:
    with pytest.raises(InputError, match="did you mean stories"):
        load(ModelSpec("storeis"))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-llmkit", "a/b/c", "../models"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(InputError, match="no model folder at"):
        load(ModelSpec(name))


def test_a_gguf_file_has_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(InputError, match=r"must end in \.gguf"):
        load(ModelSpec(str(tmp_path / "model")))
    for name in ("nowhere.gguf", str(tmp_path / "nowhere.gguf")):
        with pytest.raises(InputError, match=r"nowhere\.gguf: no such file"):
            load(ModelSpec(name))


def test_an_empty_name_is_bad_usage() -> None:
    with pytest.raises(OptionError) as caught:
        load(ModelSpec(""))
    assert caught.value.option == "model"


def test_a_revision_of_what_is_not_on_the_hub_is_refused(tiny_model: TinyModel) -> None:
    for name, kind in (("stories", "embedded"), (str(tiny_model("llama")), "a folder")):
        with pytest.raises(OptionError, match=f"v2: .* {name} is {kind}") as caught:
            load(ModelSpec(name, revision="v2"))
        assert caught.value.option == "revision"


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file"):
        load(ModelSpec(str(tmp_path / "model.safetensors")))


class _Hub:
    """Stands in for the Hub's API: what `model_info` answers, and what was asked to be fetched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        import huggingface_hub
        from huggingface_hub import constants

        self.fetched: list[str] = []
        self.answer = answer
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self._info)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self._download)

    def _info(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _download(self, name: str, *, allow_patterns: list[str] | None = None, **kwargs: Any) -> str:
        if kwargs.get("local_files_only"):
            from huggingface_hub.errors import LocalEntryNotFoundError

            raise LocalEntryNotFoundError("nothing cached")
        self.fetched = sorted(allow_patterns or [])
        raise LLMKitError("far enough")


def _error(kind: str) -> Exception:
    import httpx2
    from huggingface_hub import errors

    response = httpx2.Response(401, request=httpx2.Request("GET", "https://example.org"))
    return getattr(errors, kind)("refused", response=response)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("GatedRepoError", r"org/model is gated: accept its terms at https://huggingface.co/org/model"),
        ("RepositoryNotFoundError", r"not on the Hub \(or private: see https://huggingface.co/org/model"),
        ("RevisionNotFoundError", r"org/model has no revision v9; see https://huggingface.co/org/model/tree"),
    ],
)
def test_a_refusal_of_the_hub_names_the_page_to_visit(
    monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    _Hub(monkeypatch, _error(kind))
    with pytest.raises(InputError, match=said):
        load(ModelSpec("org/model", revision="v9"))


def test_a_dead_network_falls_back_on_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    _Hub(monkeypatch, httpx2.ConnectError("no route"))
    with pytest.raises(InputError, match="org/model is not in the cache, and the Hub cannot be reached"):
        load(ModelSpec("org/model"))


class _Info:
    sha = COMMIT

    def __init__(self, *files: str) -> None:
        self.siblings = [type("Sibling", (), {"rfilename": file}) for file in files]


def test_only_what_loading_reads_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        "config.json",
        "tokenizer.json",
        "model-00001-of-00001.safetensors",
        "consolidated.safetensors",
        "pytorch_model.bin",
        "tf_model.h5",
        "modeling_x.py",
        "onnx/model.onnx",
        "README.md",
    ]
    hub = _Hub(monkeypatch, _Info(*files))
    with pytest.raises(LLMKitError, match="far enough"):
        load(ModelSpec("org/model"))
    assert hub.fetched == ["config.json", "model-00001-of-00001.safetensors", "tokenizer.json"]
    with pytest.raises(LLMKitError, match="far enough"):
        load(ModelSpec("org/model", trust_remote_code=True))
    assert "modeling_x.py" in hub.fetched


def test_a_pickled_model_is_refused_before_it_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = _Hub(monkeypatch, _Info("config.json", "pytorch_model.bin"))
    with pytest.raises(InputError, match=r"only pytorch_model\.bin.*allow_bin=True"):
        load(ModelSpec("org/model"))
    assert hub.fetched == []
    with pytest.raises(LLMKitError, match="far enough"):
        load(ModelSpec("org/model", allow_bin=True))
    assert hub.fetched == ["config.json", "pytorch_model.bin"]
