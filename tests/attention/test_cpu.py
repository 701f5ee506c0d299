"""The native kernel: right on each instruction set of this processor, and honest where it cannot run."""

from __future__ import annotations

import ctypes
import mmap
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from llmkit.attention import cpu, native_build
from llmkit.attention.registry import find
from llmkit.attention.verify import verify
from llmkit.attention.verify_model import small_model, verify_inside
from tests.command import ROOT


@pytest.fixture
def calls(monkeypatch):
    """How often the native code ran, and every shape is worth its while."""
    if not _compiler():
        pytest.skip("there is no C++ compiler here")
    seen = []
    run = cpu._run
    monkeypatch.setattr(cpu, "_run", lambda *a: seen.append(a[0].dtype) or run(*a))
    monkeypatch.setattr(cpu, "is_faster", lambda *a: True)
    return seen


def _compiler():
    try:
        native_build.load("portable")
    except native_build.CannotBuildError:
        return False
    return True


def inputs(batch=2, heads=4, kv_heads=2, queries=40, keys=40, dim=64, dtype=torch.float32):
    made = torch.Generator().manual_seed(0)
    shapes = [(batch, heads, queries, dim), *[(batch, kv_heads, keys, dim)] * 2]
    return [torch.randn(*shape, generator=made).to(dtype) for shape in shapes]


def module(heads=4, kv_heads=2):
    return SimpleNamespace(num_key_value_groups=heads // kv_heads, is_causal=True)


@pytest.mark.parametrize("level", native_build.levels())
def test_right_on_every_instruction_set(level, calls, monkeypatch):
    monkeypatch.setattr(cpu, "LEVEL", level)
    wrong = [one for one in verify(find("cpu")) if one.passed is False]
    assert wrong == []
    assert {torch.float32, torch.bfloat16} <= set(calls)
    assert len(calls) > 25


def test_inside_a_model(calls):
    kernel = find("cpu")
    for dtype in (torch.float32, torch.bfloat16):
        model = small_model(kernel).to(dtype)
        assert [one for one in verify_inside(kernel, model) if one.passed is False] == []
    assert len(calls) > 50


@pytest.mark.parametrize("dim", [16, 48, 64, 80, 112, 256])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (3, 1), (6, 2), (32, 1), (7, 7)])
def test_shapes_of_all_kinds(heads, kv_heads, dim, calls):
    """Odd group sizes, heads that fill no vector, and a length that fills no block, against float64."""
    query, key, value = inputs(2, heads, kv_heads, 37, 131, dim)
    mask = torch.ones(37, 131, dtype=torch.bool).tril(131 - 37)[None, None].repeat(2, 1, 1, 1)
    mask[1, :, :, :70] = False
    found, _ = cpu.cpu_attention(module(heads, kv_heads), query, key, value, mask, scaling=dim**-0.5)
    exact = torch.nn.functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), attn_mask=mask, enable_gqa=True
    )
    assert calls
    assert (found - exact.transpose(1, 2)).abs().max() < 2e-6


@pytest.mark.parametrize("queries", [1, 2, 5, 37])
@pytest.mark.parametrize("dim", [16, 32, 64, 96, 256])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (3, 1), (6, 2), (24, 2), (32, 1)])
def test_shapes_of_all_kinds_in_bfloat16(heads, kv_heads, dim, queries, calls):
    """As above, with a row that sees nothing; each group size has its own way through the registers."""
    query, key, value = inputs(2, heads, kv_heads, queries, 131, dim, torch.bfloat16)
    mask = torch.ones(queries, 131, dtype=torch.bool).tril(131 - queries)[None, None].repeat(2, 1, 1, 1)
    mask[1, :, :, :70] = False
    mask[0, :, 0] = False
    found, _ = cpu.cpu_attention(module(heads, kv_heads), query, key, value, mask, scaling=dim**-0.5)
    scores = query.double() @ key.double().repeat_interleave(heads // kv_heads, 1).mT * dim**-0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0)
    exact = (weights @ value.double().repeat_interleave(heads // kv_heads, 1)).transpose(1, 2)
    assert calls
    assert (found[0, 0] == 0).all()
    # Weights and outputs are each rounded to 8 bits.
    assert (found - exact).abs().max() < 0.01


@pytest.mark.skipif("amx" not in native_build.levels(), reason="this processor has no matrix registers")
@pytest.mark.parametrize("queries", [1, 40])
def test_matrix_registers_are_used_where_there_are_some(queries, calls, monkeypatch):
    """They sum in another order than vectors do: the two differ in their last bits, and in no more."""
    tensors = inputs(queries=queries, keys=200, dtype=torch.bfloat16)
    found = {}
    for level in ("amx", "avx512bf16"):
        monkeypatch.setattr(cpu, "LEVEL", level)
        found[level], _ = cpu.cpu_attention(module(), *tensors, None, scaling=0.125, is_causal=True)
    assert not torch.equal(found["amx"], found["avx512bf16"])
    assert (found["amx"] - found["avx512bf16"]).abs().max() < 0.02


@pytest.mark.skipif("amx" not in native_build.levels(), reason="this processor has no matrix registers")
def test_the_matrix_registers_of_others_are_left_alone(tmp_path, calls):
    """Their configuration belongs to the thread, and whoever set it counts on it."""
    source, library = tmp_path / "tiles.c", tmp_path / "tiles.so"
    source.write_text(
        'void set(void *at) { __asm__ volatile("ldtilecfg (%0)" :: "r"(at)); }\n'
        'void get(void *at) { __asm__ volatile("sttilecfg (%0)" :: "r"(at) : "memory"); }\n'
    )
    subprocess.run(["c++", "-x", "c", "-shared", "-fPIC", source, "-o", library], check=True)
    tiles = ctypes.CDLL(str(library))
    # Palette 1; two registers of 3 rows of 8 bytes, which no kernel here asks for.
    theirs = bytes([1, *[0] * 15, 8, 0, 8, 0, *[0] * 28, 3, 3, *[0] * 14])
    for queries in (1, 40):
        tensors = inputs(queries=queries, dtype=torch.bfloat16)
        cpu.cpu_attention(
            module(), *tensors, None, scaling=0.125, is_causal=True
        )  # asks for leave to use them
        tiles.set(theirs)
        cpu.cpu_attention(module(), *tensors, None, scaling=0.125, is_causal=True)
        after = ctypes.create_string_buffer(64)
        tiles.get(after)
        tiles.set(bytes(64))
        assert after.raw == theirs


@pytest.mark.parametrize("scaling", [-0.3, 0.0])
@pytest.mark.parametrize("queries", [1, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_turned_round_or_all_alike(dtype, queries, scaling, calls):
    """A scale that is negative favours the smallest product; one of zero, none."""
    tensors = inputs(queries=queries, keys=150, dtype=dtype)
    found, _ = cpu.cpu_attention(module(), *tensors, None, scaling=scaling, is_causal=False)
    exact = torch.nn.functional.scaled_dot_product_attention(
        *(x.double() for x in tensors), scale=scaling, enable_gqa=True
    )
    assert calls == [dtype]
    assert (found - exact.transpose(1, 2)).abs().max() < (5e-6 if dtype == torch.float32 else 0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect by the C library's name")
@pytest.mark.parametrize("keys", [1, 31, 33, 63, 65, 129])
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("level", native_build.levels())
def test_nothing_is_read_behind_the_last_key(level, dtype, queries, keys, calls, monkeypatch):
    """Each tensor ends where memory does."""
    monkeypatch.setattr(cpu, "LEVEL", level)
    tensors = inputs(1, 4, 2, min(queries, keys), keys, 64, dtype)
    at_the_edge = [_before_a_wall(x) for x in tensors]
    found, _ = cpu.cpu_attention(module(), *at_the_edge, None, scaling=0.125, is_causal=True)
    expected, _ = cpu.cpu_attention(module(), *tensors, None, scaling=0.125, is_causal=True)
    assert len(calls) == 2
    assert torch.equal(found, expected)


def _before_a_wall(tensor):
    """A copy whose last byte is the last that may be read: the page behind it is closed."""
    size, page = tensor.numel() * tensor.element_size(), mmap.PAGESIZE
    room = mmap.mmap(-1, (-(-size // page) + 1) * page)
    wall = len(room) - page
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    assert libc.mprotect(ctypes.c_void_p(address + wall), page, 0) == 0  # no access at all
    copy = torch.frombuffer(room, dtype=tensor.dtype, count=tensor.numel(), offset=wall - size)
    copy = copy.view(tensor.shape)
    copy.copy_(tensor)
    return copy


@pytest.mark.parametrize(
    ("kind", "sizes", "expected"),
    [
        # batch, heads, key heads, queries, keys, head size
        ("bfloat16", (1, 8, 2, 1, 1024, 64), True),
        ("bfloat16", (1, 8, 8, 1, 1024, 64), False),
        ("bfloat16", (1, 8, 8, 1, 2048, 48), True),
        ("bfloat16", (1, 8, 2, 64, 64, 64), True),
        ("bfloat16", (1, 8, 8, 64, 64, 64), False),
        ("bfloat16", (1, 8, 8, 128, 128, 64), True),
        ("float32", (1, 8, 8, 128, 128, 64), False),
        ("float32", (1, 8, 8, 256, 256, 64), True),
        ("float32", (1, 8, 8, 1, 1024, 64), True),
        ("float32", (1, 8, 2, 1, 16, 64), False),
    ],
)
def test_what_is_worth_it_beside_matrix_registers(kind, sizes, expected, monkeypatch):
    """Where SDPA uses them too, heads that share no keys leave little to win."""
    for name, value in (("_has_amx", True), ("_tiles", True), ("_threads", 2)):
        monkeypatch.setattr(cpu, name, lambda value=value: value)
    assert cpu.is_faster(*sizes, dtype=getattr(torch, kind)) is expected


def test_large_scores_do_not_overflow(calls):
    query, key, value = inputs(queries=3, keys=200)
    found, _ = cpu.cpu_attention(
        module(), query * 300, key * 300, value, None, scaling=0.125, is_causal=False
    )
    exact = torch.nn.functional.scaled_dot_product_attention(
        query.double() * 300, key.double() * 300, value.double(), scale=0.125, enable_gqa=True
    )
    assert (found - exact.transpose(1, 2)).abs().max() < 1e-4


@pytest.mark.parametrize("queries", [1, 37])
@pytest.mark.parametrize("steepness", [0.01, 0.1, 1.0])
def test_scores_that_grow_from_key_to_key(queries, steepness, calls):
    """The largest score grows in each block: slowly, just enough to matter, and by leaps."""
    query, key, value = inputs(1, 4, 2, queries, 400, 64)
    query, key = (
        query.abs(),
        torch.arange(400.0).reshape(1, 1, 400, 1) * steepness * torch.ones_like(key) / 64,
    )
    for dtype, limit in ((torch.float32, 3e-4), (torch.bfloat16, 0.02)):
        tensors = [x.to(dtype) for x in (query, key, value)]
        found, _ = cpu.cpu_attention(module(), *tensors, None, scaling=1.0, is_causal=False)
        exact = torch.nn.functional.scaled_dot_product_attention(
            *(x.double() for x in tensors), scale=1.0, enable_gqa=True
        )
        assert (found - exact.transpose(1, 2)).abs().max() < limit
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_do_not_change_a_bit(dtype, calls):
    tensors = inputs(queries=200, keys=200, dtype=dtype)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(cpu.cpu_attention(module(), *tensors, None, scaling=0.125, is_causal=True)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda q, k, v: (q.requires_grad_(), k, v), {}),
        (lambda q, k, v: (q.half(), k.half(), v.half()), {}),
        (lambda q, k, v: (q[..., :50], k[..., :50], v[..., :50]), {}),
        (lambda q, k, v: (q, k, v), {"position_bias": torch.zeros(1, 4, 40, 40)}),
    ],
    ids=["training", "float16", "head size", "position bias"],
)
@pytest.mark.filterwarnings("ignore:the cpu attention kernel has no backward")
def test_what_is_handed_to_sdpa(change, options, calls):
    query, key, value = change(*inputs())
    found, _ = cpu.cpu_attention(module(), query, key, value, None, scaling=0.125, is_causal=True, **options)
    exact = torch.nn.functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), is_causal=True, scale=0.125, enable_gqa=True
    )
    assert calls == []
    assert (found - exact.transpose(1, 2)).abs().max() < 2e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_work_is_handed_over(dtype, monkeypatch):
    """Without asking the compiler."""
    seen = []
    monkeypatch.setattr(cpu, "_run", lambda *a: seen.append(a))
    monkeypatch.setattr(native_build, "_built", lambda *a: seen.append(a))
    native_build._tried.cache_clear()
    cpu.cpu_attention(module(), *inputs(1, 4, 2, 1, 8, dtype=dtype), None, scaling=0.125)
    assert seen == []


def test_without_a_compiler(tmp_path, monkeypatch):
    """It says so once, and the model runs on SDPA."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cpu, "is_faster", lambda *a: True)
    monkeypatch.setattr(cpu, "_reported", set())
    native_build._tried.cache_clear()
    try:
        tensors = inputs()
        with pytest.warns(UserWarning, match=r"SDPA runs instead: there is no C\+\+ compiler"):
            found, _ = cpu.cpu_attention(module(), *tensors, None, scaling=0.125, is_causal=True)
        again, _ = cpu.cpu_attention(module(), *tensors, None, scaling=0.125, is_causal=True)  # warns no more
    finally:
        native_build._tried.cache_clear()
    assert torch.equal(found, again)


def test_a_compiler_that_fails(tmp_path, monkeypatch):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(native_build.CannotBuildError, match="failed: no such flag"):
        native_build._built("portable")
    assert list((tmp_path / "cache").rglob("*.so")) == []


def test_a_compiler_that_does_not_know_the_newest_instructions(tmp_path, monkeypatch, calls):
    best, following = (*native_build.levels(), "portable")[:2]
    if best == "portable":
        pytest.skip("there is no level below")
    old = tmp_path / "c++"
    real = next(path for name in ("c++", "g++", "clang++") if (path := shutil.which(name)))
    old.write_text(f'#!/bin/sh\ncase "$*" in *attend_{best}*) exit 1;; esac\nexec {real} "$@"\n')
    old.chmod(0o755)
    native_build._tried.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("CXX", str(old))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert native_build.best() == following
        found, _ = cpu.cpu_attention(module(), *inputs(), None, scaling=0.125, is_causal=True)
    native_build._tried.cache_clear()
    assert native_build.best() == best
    exact, _ = cpu.cpu_attention(module(), *inputs(), None, scaling=0.125, is_causal=True)
    assert len(calls) == 2
    assert (found - exact).abs().max() < 1e-5


def test_a_compiler_whose_output_does_not_load(tmp_path, monkeypatch, calls):
    """It says so; and what it left does not stay in the way of a better compiler."""
    broken = tmp_path / "c++"
    broken.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho no library > "$2"\n')
    broken.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native_build._tried.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("CXX", str(broken))
        with pytest.raises(native_build.CannotBuildError, match="does not load"):
            native_build.load("portable")
    native_build._tried.cache_clear()  # as another process does
    assert callable(native_build.load("portable"))
    native_build._tried.cache_clear()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, calls):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert native_build._built("portable").is_file()


def test_several_first_uses_at_once(tmp_path, monkeypatch, calls):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("llmkit.native_build._OWN", [])  # of an earlier test that had no cache
    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(native_build._built, ["portable"] * 2))
    assert len(found) == 1
    assert [path.name for path in (tmp_path / "llmkit/native").iterdir()] == [found.pop().name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_compile_keeps_one_graph_where_it_weighs_the_work(dtype):
    """With the real `worth`, whatever it says."""
    inside = torch.nn.Module()
    inside.num_key_value_groups, inside.is_causal = 2, True

    def run(query, key, value):
        return cpu.cpu_attention(inside, query, key, value, None, scaling=0.125, is_causal=True)[0]

    tensors = inputs(queries=400, keys=400, dtype=dtype)
    with torch.inference_mode():
        # With a break in the graph this raises.
        compiled = torch.compile(run, backend="eager", fullgraph=True)(*tensors)
        assert torch.equal(compiled, run(*tensors))


def test_torch_compile_sees_one_operation(calls):
    inside = torch.nn.Module()
    inside.num_key_value_groups, inside.is_causal = 2, True

    def run(query, key, value):
        return cpu.cpu_attention(inside, query, key, value, None, scaling=0.125, is_causal=True)[0] * 2

    graphs = []

    def backend(graph, examples):
        graphs.append(str(graph.graph))
        return graph.forward

    tensors = inputs()
    with torch.inference_mode():
        compiled = torch.compile(run, backend=backend, fullgraph=True)(*tensors)
        expected = run(*tensors)
    assert "llmkit.cpu_attention" in graphs[0]
    assert torch.equal(compiled, expected)
    torch.library.opcheck(torch.ops.llmkit.cpu_attention, (*tensors, None, 0.125, True))


def test_the_source_includes_nothing_of_torch():
    folder = ROOT / "llmkit/attention/native"
    assert sorted(path.name for path in folder.iterdir()) == sorted(native_build._SOURCES)
    lines = [line for name in native_build._SOURCES for line in (folder / name).read_text().splitlines()]
    assert "torch" not in "".join(line for line in lines if "#include" in line)


def test_training_is_told_once(monkeypatch):
    monkeypatch.setattr(cpu, "_reported", set())
    query, key, value = inputs()
    with pytest.warns(UserWarning, match="SDPA runs in training"):
        found, _ = cpu.cpu_attention(
            module(), query.requires_grad_(), key, value, None, scaling=0.125, is_causal=True
        )
    found.sum().backward()
    assert query.grad is not None
