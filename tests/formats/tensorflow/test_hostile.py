"""Damaged TensorFlow and Flax files are refused in one line, or read; nothing else happens."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from llmkit.errors import InputError
from llmkit.formats.flax import read_flax
from llmkit.formats.tensorflow.bundle import read_bundle
from llmkit.formats.tensorflow.h5 import read_h5

# Read mutations in a process of its own: a crash of the HDF5 library is a failure, and memory can be limited.
PROGRAM = """
import random, resource, sys
from pathlib import Path
from llmkit.errors import InputError
from llmkit.formats.flax import read_flax
from llmkit.formats.tensorflow.bundle import read_bundle
from llmkit.formats.tensorflow.h5 import read_h5
from tests.formats.tensorflow.test_hostile import mutate
import h5py, msgpack, numpy
reader = {"h5": read_h5, "msgpack": read_flax, "index": read_bundle}[sys.argv[1]]
path, first, last = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20),) * 2)
data, refused = path.read_bytes(), 0
for seed in range(first, last):
    path.write_bytes(mutate(data, seed))
    try:
        reader(path)
    except InputError as error:
        assert "\\n" not in str(error), str(error)
        refused += 1
print(refused)
"""


def mutate(data: bytes, seed: int) -> bytes:
    """Change, cut out or repeat some bytes."""
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at, kind = chance.randrange(len(changed)), chance.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + 8] = chance.choice((b"\xff" * 8, bytes(8), b"\x00" * 6 + b"\x7f\x00"))
        elif kind == 2:
            del changed[at : at + chance.randrange(1, 200)]
        elif kind == 3:
            changed[at:at] = changed[at : at + chance.randrange(1, 200)]
        elif chance.random() < 0.2:
            del changed[at:]
    return bytes(changed) or b"\0"


FILES = {
    "h5": ("tensorflow/bert/tf_model.h5", "tf_model.h5"),
    "msgpack": ("flax/bert/flax_model.msgpack", "flax_model.msgpack"),
    "index": ("ckpt/bert/model.ckpt.index", "model.ckpt.index"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_mutations_are_read_or_refused(kind: str, part: int, checkpoints: Path, tmp_path: Path) -> None:
    source, name = FILES[kind]
    path = tmp_path / name
    path.write_bytes((checkpoints / source).read_bytes())
    if kind == "index":
        data = checkpoints / "ckpt/bert/model.ckpt.data-00000-of-00001"
        (tmp_path / data.name).write_bytes(data.read_bytes())
    first, last = ((0, 150), (150, 1150))[part]
    arguments = [sys.executable, "-c", PROGRAM, kind, str(path), str(first), str(last)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > (last - first) // 5


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no HDF5 at all" * 100])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    for name, read in (
        ("tf_model.h5", read_h5),
        ("flax_model.msgpack", read_flax),
        ("a.ckpt.index", read_bundle),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            read(tmp_path / name)


def make_h5(path: Path, weight: str) -> h5py.File:
    file = h5py.File(path, "w")
    file.attrs["layer_names"] = ["a"]
    file.create_group("a").attrs["weight_names"] = [weight]
    return file


def test_an_array_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    with make_h5(tmp_path / "tf_model.h5", "w:0") as file:
        # Without storage: a terabyte of zeros in a file of 2 kB.
        file["a"].create_dataset("w:0", shape=(1 << 19, 1 << 19), dtype="f4", chunks=(1024, 1024))
    with pytest.raises(InputError, match="claims"):
        read_h5(tmp_path / "tf_model.h5")


@pytest.mark.parametrize("link", ["external", "soft", "other file", "virtual", "strings"])
def test_what_leads_out_of_the_file_is_refused(link: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["x"] = np.ones(4, dtype=np.float32)
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    with make_h5(tmp_path / "tf_model.h5", "w:0") as file:
        group = file["a"]
        if link == "external":
            group["w:0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
        elif link == "soft":
            group["w:0"] = h5py.SoftLink("/nowhere")
        elif link == "other file":
            group.create_dataset("w:0", (4,), dtype="f4", external=[(str(tmp_path / "secret.bin"), 0, 16)])
        elif link == "virtual":
            layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", shape=(4,))
            group.create_virtual_dataset("w:0", layout)
        else:
            group["w:0"] = ["a", "b"]
    with pytest.raises(InputError):
        read_h5(tmp_path / "tf_model.h5")


@pytest.mark.parametrize("weights", [{"a": "../../etc/passwd"}, {"a": 7}, [], {"a": ""}])
def test_an_index_that_leads_out_of_the_folder_is_refused(weights: object, tmp_path: Path) -> None:
    (tmp_path / "tf_model.h5.index.json").write_text(json.dumps({"weight_map": weights}))
    with pytest.raises(InputError):
        read_h5(tmp_path / "tf_model.h5.index.json")
