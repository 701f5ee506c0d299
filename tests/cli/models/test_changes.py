"""`llmkit models pull`, `rm` and `check`, with a Hub on this machine."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import run, spawn
from tests.conftest import TinyModel
from tests.hub import COMMIT, Hub, serve

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


@pytest.fixture
def llmkit(hub: Hub, tmp_path: Path) -> Command:
    env = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    return lambda *arguments, **more: spawn(*arguments, env={**env, **more})


@pytest.fixture
def tiny(hub: Hub, tiny_model: TinyModel) -> dict[str, bytes]:
    """A repository as they are on the Hub, with files that loading does not read."""
    files = {path.name: path.read_bytes() for path in tiny_model("llama").iterdir()}
    hub.files["org/tiny"] = {
        **files,
        "README.md": b"---\nlicense: mit\n---\n# Tiny\n",
        "tf_model.h5": b"x" * 99,
    }
    return hub.files["org/tiny"]


def test_a_model_is_pulled_shown_checked_used_and_removed(
    hub: Hub, llmkit: Command, tiny: dict[str, bytes], tmp_path: Path
) -> None:
    hub.cuts["model.safetensors"] = 1
    pulled = llmkit("models", "pull", "org/tiny")
    assert pulled.returncode == 0, pulled.stderr
    folder = Path(pulled.stdout.strip())
    assert folder == tmp_path / "cache" / "models--org--tiny" / "snapshots" / COMMIT
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: data for name, data in tiny.items() if name != "tf_model.h5"
    }
    assert sum(line.startswith("GET") and "model.safetensors" in line for line in hub.asked) == 2
    hub.asked.clear()
    again = llmkit("models", "pull", "org/tiny")
    assert again.stdout == pulled.stdout
    assert not any("resolve" in line for line in hub.asked)
    options = ("--cache-dir", tmp_path / "cache")
    listed = run("models", *options).out
    assert any(line.split()[:2] == ["cached", "org/tiny"] and " mit " in line for line in listed.splitlines())
    shown = run("models", "show", "org/tiny", *options).out
    assert "LlamaForCausalLM" in shown
    assert shown.endswith("# Tiny\n")
    checked = run("models", "check", *options)
    assert (checked.code, checked.out.split()[:2]) == (0, ["org/tiny", "ok"])
    used = run("generate", "the", "-m", "org/tiny", "--offline", "--max-new-tokens", "3", *options)
    assert used.code == 0, used.err
    assert run("models", "rm", "org/tiny", "--yes", *options).code == 0
    assert not (tmp_path / "cache" / "models--org--tiny").exists()


def test_one_gguf_file_of_several_is_pulled(hub: Hub, llmkit: Command, tmp_path: Path) -> None:
    names = ("t-Q4_K.gguf", "t-Q4_K_M.gguf", "big/t-F16-00001-of-00002.gguf", "big/t-F16-00002-of-00002.gguf")
    hub.files["org/ggufs"] = {name: name.encode() for name in (*names, "README.md", "mmproj-F16.gguf")}
    several = llmkit("models", "pull", "org/ggufs")
    assert (several.returncode, all(name in several.stderr for name in names[:2])) == (2, True)
    missing = llmkit("models", "pull", "org/ggufs:Q2_K")
    assert (missing.returncode, "Q2_K" in missing.stderr) == (2, True)
    for variant, files in (("q4_k_m", names[1:2]), ("Q4_K", names[:1]), ("F16", names[2:])):
        found = llmkit("models", "pull", f"org/ggufs:{variant}")
        assert found.returncode == 0, found.stderr
        there = {
            path.relative_to(found.stdout.strip()).as_posix()
            for path in Path(found.stdout.strip()).rglob("*.gguf")
        }
        assert set(files) <= there
    assert "mmproj-F16.gguf" not in there


@pytest.mark.parametrize(
    ("name", "options", "code", "facts"),
    [
        ("org/gated", (), 2, ("org/gated is gated", "/org/gated", "hf auth login")),
        ("org/private", (), 2, ("org/private", "hf auth login")),
        ("org/missing", (), 2, ("no model org/missing",)),
        ("org/tiny", ("--revision", "v9"), 2, ("no revision v9",)),
        ("org/tiny", ("--offline",), 2, ("--offline",)),
    ],
)
def test_what_the_hub_refuses_is_explained(
    name: str, options: tuple[str, ...], code: int, facts: tuple[str, ...], llmkit: Command, tiny: object
) -> None:
    result = llmkit("models", "pull", name, *options)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1
    assert all(fact in result.stderr for fact in facts), result.stderr


def test_a_dead_hub_is_told(llmkit: Command) -> None:
    result = llmkit("models", "pull", "org/tiny", HF_ENDPOINT="http://127.0.0.1:9")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:9" in result.stderr


def test_a_wrong_hash_is_noticed_and_the_file_removed(
    hub: Hub, llmkit: Command, tiny: object, tmp_path: Path
) -> None:
    hub.spoiled.add("model.safetensors")
    result = llmkit("models", "pull", "org/tiny")
    assert (result.returncode, result.stdout) == (1, "")
    assert "model.safetensors" in result.stderr
    assert "hash" in result.stderr
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    hub.spoiled.clear()
    assert llmkit("models", "pull", "org/tiny").returncode == 0


# Removal: the cache's layout without a server.


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with two revisions that share a blob, a GGUF repository, and links that lead out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    for name, commit, files in (
        ("models--org--two", "a" * 40, {"config.json": "shared", "model.safetensors": "old"}),
        ("models--org--two", "b" * 40, {"config.json": "shared", "model.safetensors": "new"}),
        ("models--org--one", "c" * 40, {"x-Q8_0.gguf": "eight", "x-Q4_0.gguf": "four"}),
    ):
        repository = tmp_path / "cache" / name
        snapshot = repository / "snapshots" / commit
        (repository / "blobs").mkdir(parents=True, exist_ok=True)
        snapshot.mkdir(parents=True)
        for file, content in files.items():
            (repository / "blobs" / content).write_text(content)
            (snapshot / file).symlink_to(f"../../blobs/{content}")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ("v" + commit[0])).write_text(commit)
        (snapshot / "stray").symlink_to(outside / "precious")
        (snapshot / "folder").symlink_to(outside)
    (tmp_path / "cache" / "models--org--linked").symlink_to(outside)
    return tmp_path / "cache"


def left(cache: Path) -> set[str]:
    files = {path.name for path in cache.glob("models--org-*/blobs/*")}
    assert (cache.parent / "outside" / "precious").read_text() == "mine"
    return files


def test_a_revision_is_removed_with_what_it_alone_uses(cache: Path) -> None:
    options = ("--cache-dir", cache, "--yes")
    assert run("models", "rm", "org/two", "--revision", "va", *options).code == 0
    assert left(cache) == {"shared", "new", "eight", "four"}
    assert [path.name for path in (cache / "models--org--two" / "refs").iterdir()] == ["vb"]
    assert run("models", "rm", "org/two", "--revision", "b" * 12, *options).code == 0
    assert not (cache / "models--org--two").exists()
    assert run("models", "rm", "org/one:Q8_0", *options).code == 0
    assert left(cache) == {"four"}
    assert run("models", "rm", "org/one", *options).code == 0
    assert left(cache) == set()


def test_links_are_never_followed(cache: Path) -> None:
    assert run("models", "rm", "org/linked", "--yes", "--cache-dir", cache).code == 2
    blobs = cache / "models--org--one" / "blobs"
    os.rename(blobs, cache.parent / "moved")
    blobs.symlink_to(cache.parent / "moved")
    assert run("models", "rm", "org/one:Q8_0", "--yes", "--cache-dir", cache).code == 1
    assert {path.name for path in (cache.parent / "moved").iterdir()} == {"eight", "four"}
    assert run("models", "rm", "org/one", "--yes", "--cache-dir", cache).code == 0
    assert {path.name for path in (cache.parent / "moved").iterdir()} == {"eight", "four"}
    assert left(cache) == {"shared", "old", "new"}


def test_removal_asks_in_a_terminal_and_needs_yes_in_a_pipe(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = run("models", "rm", "org/one", "--cache-dir", cache, stdin="y\n")
    assert (piped.code, "--yes" in piped.err) == (2, True)
    refused = run("models", "rm", "org/one", "--cache-dir", cache)  # a terminal at which nobody answers
    assert (refused.code, "kept" in refused.err) == (0, True)
    assert {"eight", "four"} <= left(cache)
    monkeypatch.setattr("llmkit.cli.models.changes._confirmed", lambda question: "org/one" in question)
    assert run("models", "rm", "org/one", "--cache-dir", cache).code == 0
    assert not (cache / "models--org--one").exists()


def test_check_finds_a_changed_byte_and_a_lost_blob(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(5_000)
    import hashlib

    repository = tmp_path / "models--org--x"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    digests = {
        "small.txt": hashlib.sha1(b"blob 5000\0" + data).hexdigest(),
        "large.bin": hashlib.sha256(data).hexdigest(),
    }
    for name, digest in digests.items():
        (repository / "blobs" / digest).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{digest}")
    options = ("models", "check", "--cache-dir", tmp_path)
    assert run(*options).code == 0
    (repository / "blobs" / digests["large.bin"]).write_bytes(data[:-1] + b"\0")
    (repository / "blobs" / digests["small.txt"]).unlink()
    result = run(*options)
    assert result.code == 1
    assert [line.split()[2].rstrip(":") for line in result.out.splitlines()] == ["large.bin", "small.txt"]
