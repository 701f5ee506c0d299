"""GGUF headers beside the gguf package's reader, and files that lie about their sizes."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from llmkit.errors import InputError
from llmkit.formats.gguf.checkpoint import as_checkpoint
from llmkit.formats.gguf.header import read_header
from tests.formats.gguf.models import write


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    write("llama-biases", path, "Q8_0")
    return path


def test_metadata_and_tensors_are_those_of_the_package(file: Path) -> None:
    ours, theirs = read_header(file), GGUFReader(file)
    fields = {key: field for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert set(ours.metadata) == set(fields)
    for key, field in fields.items():
        assert list(np.atleast_1d(ours.metadata[key])) == list(np.atleast_1d(field.contents())), key
    assert {
        name: (info.shape, info.kind, info.offset, info.nbytes) for name, info in ours.tensors.items()
    } == {
        t.name: (tuple(t.shape[::-1].tolist()), t.tensor_type.name, t.data_offset, t.n_bytes)
        for t in theirs.tensors
    }


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def array(key: str, kind: int, count: int, data: bytes = b"") -> bytes:
    return text(key) + struct.pack("<IIQ", 9, kind, count) + data


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def head(tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


HUGE = 1 << 62
HOSTILE = {
    "empty": b"",
    "other magic": b"GGML" + bytes(40),
    "only magic": b"GGUF",
    "version 1": head(version=1),
    "version 9": head(version=9),
    "big-endian": head(version=3 << 24),
    "many tensors": head(tensors=HUGE) + bytes(100),
    "many keys": head(keys=HUGE) + bytes(100),
    "long key": head(keys=1) + struct.pack("<Q", HUGE) + bytes(100),
    "key longer than the file": head(keys=1) + struct.pack("<Q", 1000) + bytes(100),
    "key not UTF-8": head(keys=1) + struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<II", 4, 1),
    "same key twice": head(keys=2) + number("a", 1) + number("a", 1),
    "unknown type": head(keys=1) + text("a") + struct.pack("<IQ", 77, 1),
    "long array of numbers": head(keys=1) + array("a", 4, HUGE, bytes(100)),
    "long array of bytes": head(keys=1) + array("a", 0, HUGE, bytes(100)),
    "long array of strings": head(keys=1) + array("a", 8, HUGE, bytes(100)),
    "array of arrays": head(keys=1) + array("a", 9, 1, bytes(100)),
    "array cut off": head(keys=1) + array("a", 8, 2, text("x")),
    "alignment 0": head(keys=1) + number("general.alignment", 0),
    "alignment 3": head(keys=1) + number("general.alignment", 3),
    "alignment huge": head(keys=1) + number("general.alignment", 1 << 31),
    "no dimensions": head(tensors=1) + tensor("t", ()) + bytes(64),
    "many dimensions": head(tensors=1) + tensor("t", (1,) * 9) + bytes(64),
    "huge shape": head(tensors=1) + tensor("t", (HUGE, HUGE)) + bytes(64),
    "empty shape": head(tensors=1) + tensor("t", (0, 4)) + bytes(64),
    "unknown tensor type": head(tensors=1) + tensor("t", (4,), kind=99) + bytes(64),
    "row cuts a block": head(tensors=1) + tensor("t", (33,), kind=8) + bytes(99),
    "offset past the end": head(tensors=1) + tensor("t", (4,), offset=4096) + bytes(64),
    "offset that wraps": head(tensors=1) + tensor("t", (4,), offset=(1 << 64) - 16) + bytes(64),
    "same tensor twice": head(tensors=2) + tensor("t", (4,)) + tensor("t", (4,), offset=32) + bytes(128),
    "overlap": head(tensors=2) + tensor("t", (16,)) + tensor("u", (16,), offset=32) + bytes(256),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_lies_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(InputError) as refusal:
        read_header(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_shard_is_named(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m-00001-of-99999.gguf"
    path.write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="m-00002-of-99999"):
        read_header(path)


def test_every_cut_is_noticed(file: Path, tmp_path: Path) -> None:
    data, path = file.read_bytes(), tmp_path / "m.gguf"
    for end in range(0, len(data) - 32, 997):
        path.write_bytes(data[:end])
        with pytest.raises(InputError):
            read_header(path)


def read_all(path: Path) -> None:
    checkpoint = as_checkpoint(path)
    checkpoint.state_dict(torch.float32)
    checkpoint.tokenizer()


def mutate(data: bytes, seed: int) -> bytes:
    """Change, cut out, or repeat a few bytes; most changes fall in the header."""
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(4, 20_000 if chance.random() < 0.8 else len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + 8] = chance.choice((b"\xff" * 8, bytes(8), b"\x00" * 7 + b"\x7f"))
        elif kind == 2:
            del changed[at : at + chance.randrange(1, 40)]
        else:
            changed[at:at] = changed[at : at + chance.randrange(1, 40)]
    return bytes(changed)


# A process of its own, so that memory can be limited: to what the libraries take, the file, and 512 MB.
PROGRAM = """
import resource, sys
from pathlib import Path
import gguf, torch, transformers
from transformers import PreTrainedTokenizerFast
from llmkit.errors import InputError
from tests.formats.gguf.test_header import mutate, read_all
path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
data = path.read_bytes()
read_all(path)  # modules that are imported on the way
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + len(data) + (512 << 20),) * 2)
refused = 0
for seed in range(first, last):
    path.write_bytes(mutate(data, seed))
    try:
        read_all(path)
    except InputError as error:
        assert "\\n" not in str(error), str(error)
        refused += 1
print(refused)
"""


def run_limited(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(("first", "last"), [(0, 100), pytest.param(100, 1100, marks=pytest.mark.slow)])
def test_mutations_are_read_or_refused(first: int, last: int, file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "m.gguf")
    assert int(run_limited(PROGRAM, tmp_path / "m.gguf", first, last)) > (last - first) // 2


def vocabulary(tokens: list[str], merges: list[str], kind: str) -> bytes:
    """A file with a vocabulary and no more."""

    def strings(key: str, values: list[str]) -> bytes:
        return array(key, 8, len(values), b"".join(map(text, values)))

    keys = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("tokenizer.ggml.model") + struct.pack("<I", 8) + text(kind),
        strings("tokenizer.ggml.tokens", tokens),
        strings("tokenizer.ggml.merges", merges),
        array("tokenizer.ggml.scores", 6, len(tokens), bytes(4 * len(tokens))),
    ]
    return head(keys=len(keys)) + b"".join(keys)


LARGEST = """
import resource, sys
from pathlib import Path
import gguf, torch, transformers, tokenizers
from llmkit.errors import InputError
from llmkit.formats.gguf.header import read_header
from llmkit.formats.gguf.tokenizer_read import read_tokenizer
for path in map(Path, sys.argv[1:]):
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + path.stat().st_size + (512 << 20), -1))
    try:
        read_tokenizer(read_header(path))
    except InputError as error:
        print(error)
"""


def test_no_metadata_take_all_memory(tmp_path: Path) -> None:
    """Small files whose contents grow many times in memory are refused before they do."""
    letters = [chr(i) for i in range(97, 123)]
    runs = [one * n + two for one in letters for two in letters for n in range(1, 240)]
    wide = ("x" * (15 << 20) + "\U0001f600").encode()  # four bytes a character in memory
    files = {
        "strings": vocabulary([f"{i:x}" for i in range(1_000_000)], [], "gpt2"),
        "cuts": vocabulary([*letters, *runs], [], "llama"),
        "text": head(keys=5)
        + b"".join(text(f"k{i}") + struct.pack("<IQ", 8, len(wide)) + wide for i in range(5)),
        "numbers": head(keys=1) + array("a", 0, 80 << 20, bytes(80 << 20)),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    said = run_limited(LARGEST, *(tmp_path / name for name in files)).splitlines()
    assert ["damaged" in line and name in line for name, line in zip(files, said, strict=True)] == [True] * 4


def test_a_factor_tensor_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write("llama-llama3", path)
    data = path.read_bytes()
    at = data.index(text("rope_freqs.weight")) + len(text("rope_freqs.weight")) + 4
    (size,) = struct.unpack_from("<Q", data, at)
    path.write_bytes(data[:at] + struct.pack("<Q", size // 2) + data[at + 8 :])
    with pytest.raises(InputError, match="rope_freqs"):
        as_checkpoint(path)
