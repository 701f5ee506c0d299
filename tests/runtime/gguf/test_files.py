"""The GGUF file that MODEL:FILE and MODEL:TYPE mean."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmkit import InputError, ModelSpec, OptionError, load
from llmkit.convert import convert
from llmkit.runtime.gguf.files import choose_gguf, shards_of, split_name
from llmkit.runtime.locate import locate
from tests.command import run
from tests.conftest import TinyModel

FILES = [
    "m-Q4_K.gguf",
    "m-Q4_K_M.gguf",
    "m.Q8_0.gguf",
    "F16/m-00001-of-00002.gguf",
    "F16/m-00002-of-00002.gguf",
    "mmproj-m-Q8_0.gguf",
    "README.md",
]


@pytest.mark.parametrize(
    ("variant", "file"),
    [
        ("Q4_K", "m-Q4_K.gguf"),
        ("q4_k_m", "m-Q4_K_M.gguf"),
        ("Q8_0", "m.Q8_0.gguf"),
        ("m-Q4_K.gguf", "m-Q4_K.gguf"),
        ("mmproj-m-Q8_0.gguf", "mmproj-m-Q8_0.gguf"),
        ("F16", "F16/m-00001-of-00002.gguf"),
        ("m-00001-of-00002.gguf", "F16/m-00001-of-00002.gguf"),
        ("Q4", None),
        ("Q5_0", None),
        ("README.md", None),
        ("../m.Q8_0.gguf", None),
        (None, None),
    ],
)
def test_types_and_names(variant: str | None, file: str | None) -> None:
    if file is not None:
        assert choose_gguf(FILES, variant, "x") == file
        return
    with pytest.raises(InputError, match=r"x .*m-Q4_K\.gguf"):
        choose_gguf(FILES, variant, "x")


def test_shards_and_names() -> None:
    assert shards_of(FILES[3], FILES) == FILES[3:5]
    assert shards_of(FILES[0], FILES) == FILES[:1]
    assert split_name("org/m:Q8_0") == ("org/m", "Q8_0")
    assert (
        split_name("org/m") is split_name("org/m:") is split_name(":x") is split_name("http://host") is None
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "m-F32.gguf"
    convert(ModelSpec(str(tiny_model("llama", chat=True))), "gguf", path, gguf_type="F32")
    return path


def test_a_folder_and_a_cached_repository_hold_files(file: Path, tmp_path: Path) -> None:
    commit = "c" * 40
    snapshot = tmp_path / "models--org--m" / "snapshots" / commit
    (snapshot / "more").mkdir(parents=True)
    (tmp_path / "models--org--m" / "refs").mkdir()
    (tmp_path / "models--org--m" / "refs" / "main").write_text(commit)
    shutil.copy(file, snapshot / "m-F32.gguf")
    spec = ModelSpec("org/m", cache_dir=tmp_path, offline=True)
    assert locate("org/m", spec).folder == snapshot / "m-F32.gguf"  # the only one
    shutil.copy(file, snapshot / "more" / "m-Q8_0.gguf")
    shutil.copy(file, snapshot / "m-Q4_0.gguf")
    with pytest.raises(InputError, match=r"several.*org/m:FILE"):
        locate("org/m", spec)
    for name in ("org/m:F32", "org/m:m-F32.gguf"):
        assert locate(name, spec).folder == snapshot / "m-F32.gguf"
        assert locate(name, spec).revision == commit
    assert locate(f"{snapshot}:q8_0", spec).folder == snapshot / "more" / "m-Q8_0.gguf"
    with pytest.raises(InputError, match=r"no GGUF file Q2_K.*in the cache"):
        locate("org/m:Q2_K", spec)
    with pytest.raises(OptionError):
        locate(f"{snapshot}:F32", ModelSpec("x", revision="v2"))
    loaded = load(ModelSpec("org/m:F32", cache_dir=tmp_path, offline=True))
    assert loaded.revision == commit
    assert loaded.has_chat_template


@pytest.mark.parametrize("name", ["stories:Q8_0", "/nowhere:Q8_0", "x.gguf:Q8_0"])
def test_what_holds_no_files_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.gguf").write_bytes(b"x")
    with pytest.raises(InputError, match=name.partition(":")[0]):
        load(ModelSpec(name))


def test_verbs_take_such_names(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "m-F32.gguf")
    shutil.copy(file, tmp_path / "m-F16.gguf")
    name, options = f"{tmp_path}:F32", ("--max-new-tokens", "4")
    direct = run("generate", "the", "-m", file, *options)
    assert (direct.code, run("generate", "the", "-m", name, *options).out) == (0, direct.out)
    assert run("models", "show", name).code == 0
    converted = run("convert", "-m", name, "--to", "safetensors", "-o", tmp_path / "out")
    assert converted.code == 0, converted.err
