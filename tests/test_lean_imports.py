"""A command imports no compiler; a program that compiles afterwards gets what it would have got."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llmkit.lean_imports import _AroundImport

HEAVY = (
    "torch._dynamo",
    "torch._inductor",
    "torch._refs",
    "torch.distributed.tensor",
    "sympy",
    "triton",
    "pandas",
)

COMMAND = f"""
import atexit, sys
atexit.register(lambda: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))
from llmkit.cli.main import main
main()
"""


def python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "Once upon a time", "--max-new-tokens", "2"],
        pytest.param(
            ["generate", "Once", "--max-new-tokens", "2", "--quantize", "int4"], marks=pytest.mark.slow
        ),
        pytest.param(["translate", "--from", "en", "--to", "de", "Good morning."], marks=pytest.mark.slow),
        pytest.param(
            ["qa", "--question", "Who came?", "--context", "examples/story.txt"], marks=pytest.mark.slow
        ),
    ],
    ids=["generate", "int4", "translate", "qa"],
)
def test_a_command_that_runs_a_model_imports_no_compiler(arguments: list[str]) -> None:
    done = python(COMMAND, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.splitlines()[-1] == "[]"


SHAPES = """
import sys
from llmkit.lean_imports import import_torch
import_torch()
import torch
assert "torch._refs" not in sys.modules and "_meta_registrations" not in vars(torch)
{use}
x, w = torch.empty(1, 2, 9, device="meta"), torch.empty(3, 2, 3, device="meta")
print(list(torch.conv1d(x, w).shape))
from torch._decomp import __spec__, meta_table
names = torch._C._dispatch_get_all_op_names()
meta = sum(torch._C._dispatch_has_kernel_for_dispatch_key(name, "Meta") for name in names)
print(len(meta_table), meta, __spec__.origin == torch._decomp.__file__)
"""


@pytest.mark.parametrize(
    "use",
    [
        "",
        pytest.param("torch._decomp", marks=pytest.mark.slow),
        pytest.param("import torch._decomp", marks=pytest.mark.slow),
        pytest.param(
            "import importlib.util as u; assert u.find_spec('torch._decomp')", marks=pytest.mark.slow
        ),
        pytest.param("import torch._refs.nn.functional", marks=pytest.mark.slow),
        pytest.param("from torch._prims import broadcast_in_dim", marks=pytest.mark.slow),
    ],
)
def test_shapes_come_when_they_are_used(use: str) -> None:
    """Whatever asks for them first, a tensor in the end, they are those of a plain import."""
    done = python(SHAPES.format(use=use))
    assert done.returncode == 0, done.stderr
    plain = SHAPES.replace("import_torch()\n", "").replace("assert", "assert 1 or").format(use="")
    assert done.stdout == python(plain).stdout
    assert done.stdout.startswith("[1, 3, 7]")


def test_modules_that_threads_import_at_the_same_time_keep_their_own_specs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both threads have found the module before one of them imports it."""
    names = ["llmkit_test_one", "llmkit_test_two"]
    for name in names:
        (tmp_path / f"{name}.py").write_text("")
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]
    monkeypatch.syspath_prepend(tmp_path)
    finder, other = _AroundImport(names), _AroundImport(())
    monkeypatch.setattr(sys, "meta_path", [finder, other, *sys.meta_path])
    search = iter(sys.meta_path)
    assert next(search) is finder
    specs = [finder.find_spec(name) for name in names]
    modules = [importlib.util.module_from_spec(spec) for spec in specs if spec is not None]
    for module in modules:
        finder.exec_module(module)
    assert [module.__spec__ and module.__spec__.origin for module in modules] == [
        str(tmp_path / f"{name}.py") for name in names
    ]
    assert next(search) is other
    assert finder.find_spec(names[0]) is None


ATTRIBUTES = """
import torch
print(torch.distributed.tensor.DTensor.__name__, torch.distributed.fsdp.FullyShardedDataParallel.__name__)
print(callable(torch._refs.add), callable(torch._prims.add), hasattr(torch.distributed, "nothing"))
"""


@pytest.mark.slow
def test_modules_that_were_not_imported_are_found_as_attributes() -> None:
    assert (
        python(LEAN + ATTRIBUTES).stdout == python("import transformers.modeling_utils" + ATTRIBUTES).stdout
    )


LEAN = """
import sys
from llmkit.lean_imports import import_lean, import_torch
import_torch()
import torch
import_lean()
import transformers.masking_utils
found = "torch._dynamo" in sys.modules, "torch.distributed.tensor" in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_version_that_is_not_tested_is_imported_as_it_is(package: str) -> None:
    setting = f"import llmkit.lean_imports as lean; lean._TESTED[{package!r}] = '1.'"
    program = f"{setting}{LEAN}print(found, transformers.utils.is_torch_distributed_available())"
    assert python(program).stdout == "(True, True) True\n"


@pytest.mark.slow
def test_one_of_several_processes_imports_everything() -> None:
    program = (
        f"{LEAN}import transformers.utils as utils; print(found, utils.is_torch_distributed_available())"
    )
    done = python(program, RANK="0", WORLD_SIZE="2")
    assert done.stdout == "(True, True) True\n", done.stderr
    assert python(program).stdout == "(False, False) False\n"


COMPILED = (
    LEAN
    + """
from transformers.integrations.eager_paged import eager_paged_attention_forward as disabled
from transformers.integrations.finegrained_fp8 import ALL_FP8_EXPERTS_FUNCTIONS
from transformers.integrations import deepgemm
import torch._dynamo
from torch._dynamo import trace_rules
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex as real
assert torch._dynamo.__file__ and isinstance(transformers.masking_utils.TransformGetItemToIndex(), real)
assert disabled._torchdynamo_disable
assert trace_rules._allowed_callable_ids.function_ids, "nothing was registered"
print(found, float(torch.compile(lambda x: x.sin() + 1, backend="eager")(torch.zeros(1))))
calls = []
@torch._dynamo.disable
def reference(x):
    return x + 1
from llmkit.lean_imports import _disable_later
@_disable_later
def own(x):
    calls.append(torch.compiler.is_compiling())
    return x + 1
graphs = []
def backend(graph, inputs):
    graphs.append(graph)
    return graph.forward
for function in (reference, own):
    graphs.clear()
    torch._dynamo.reset()
    found = torch.compile(lambda x: function(x.sin()).cos(), backend=backend)(torch.zeros(1))
    print(len(graphs), round(float(found), 4))
print(calls)
"""
)


@pytest.mark.slow
def test_the_compiler_gets_what_the_decorators_said() -> None:
    """Functions that must not be compiled split the graph as with the compiler's own decorator."""
    done = python(COMPILED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(False, False) 1.0", "2 0.5403", "2 0.5403", "[False]"]


REMOTE = """
import sys
from llmkit.cli.common import loading, signals
from llmkit.runtime.spec import ModelSpec
signals.end_at_once()
loading._import_libraries(ModelSpec("one", trust_remote_code=True))
import torch
print("torch._refs" in sys.modules)
"""


@pytest.mark.slow
def test_a_model_with_its_own_code_gets_all_imports() -> None:
    assert python(REMOTE).stdout == "True\n"


def test_an_adapter_loads_in_a_process_with_few_imports(stories_adapter: Path) -> None:
    """Peft uses distributed tensors where torch has them."""
    model = str(stories_adapter)
    done = python(COMMAND, "generate", "Once upon a time", "--model", model, "--max-new-tokens", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
