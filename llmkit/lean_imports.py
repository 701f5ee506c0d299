"""Import torch and transformers' model code without parts that a command does not use.

torch imports functions that compute the shapes of results, for tensors on the meta device and for its
compiler: 18 MB, and a sixth of its import time. transformers 5.23 imports `torch._dynamo` for decorators and
one class, and `torch.distributed.tensor` for type checks. With sympy and Triton, which they bring, they take
150 MB, and time at each start. A command that runs a model in one process uses none of these. Code that uses
them imports them at its first use.

Public: `import_torch`, `import_lean`, `empty_meta`.
"""

from __future__ import annotations

import functools
import importlib
import linecache
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    import torch

_TESTED = {"torch": "2.13.", "transformers": "5.23."}
"""Versions whose imports are known; others are imported as they are."""
_SHAPES = "torch._meta_registrations"
_SHAPE_USERS = ("torch._decomp", "torch._prims", "torch._refs", "torch._dynamo")
"""Modules that expect `_SHAPES` to be imported, or bring parts of it."""
_META_FACTORIES = ("empty.memory_format", "empty_strided")
"""Operations that make all tensors on the device meta; other factories call them."""
_COMPILER = "torch._dynamo"
_INDEXING = f"{_COMPILER}._trace_wrapped_higher_order_op"
_SHARED = ("transformers.modeling_utils", "transformers.generation.utils")
"""Modules that import all others that the model classes share."""
_ATTRIBUTES = {
    "torch": ("_decomp", "_meta_registrations", "_prims", "_refs"),
    "torch.distributed": ("_functional_collectives", "checkpoint", "elastic", "fsdp", "nn", "tensor"),
}
"""Modules that programs use as attributes without importing them: usually torch or transformers has."""
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Variables that programs such as torchrun set for each process."""
F = TypeVar("F", bound=Callable[..., Any])


def import_torch() -> None:
    """Import torch without the shapes of results on the device meta; they are imported at their first use.

    That is when a tensor is made on the device meta, or a module is used that needs them, such as the
    compiler. Nothing is changed if torch is there already, if its version is not tested, or if the process is
    one of several.
    """
    if "torch" in sys.modules or not _is_tested("torch"):
        importlib.import_module("torch")
        return
    sys.modules[_SHAPES] = ModuleType(_SHAPES)
    try:
        torch: Any = importlib.import_module("torch")
    finally:
        del sys.modules[_SHAPES]
    vars(torch).pop(_SHAPES.rpartition(".")[2], None)
    sys.meta_path.insert(0, _AroundImport(_SHAPE_USERS, before=_import_shapes))
    _watch_meta(torch)
    _import_attributes("torch")


def _is_tested(package: str) -> bool:
    """Return True if a package's version is tested, and this process runs alone."""
    if any(name in os.environ for name in _LAUNCHED):
        return False
    try:
        return version(package).startswith(_TESTED[package])
    except PackageNotFoundError:
        return False


def _import_shapes() -> None:
    importlib.import_module(_SHAPES)


class _Watch(threading.local):
    library: ClassVar[Any] = None  # its kernels stay registered for as long as it is held
    paused = False  # in this thread


_WATCH = _Watch()


def _watch_meta(torch: Any) -> None:
    """Import `_SHAPES` when the first tensor on the device meta is made."""
    _Watch.library = torch.library.Library("aten", "IMPL", "Meta")
    for name in _META_FACTORIES:
        kernel = torch.library.get_kernel(f"aten::{name}", "Meta")

        def make(keys: Any, *args: Any, kernel: Any = kernel, **kwargs: Any) -> Any:
            if not _WATCH.paused:
                _import_shapes()
            return kernel.call_boxed(keys, *args, **kwargs)

        _Watch.library.impl(name, make, with_keyset=True, allow_override=True)


def empty_meta(sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor without memory that no operation reads: for it, shapes of results are not imported."""
    import torch

    _WATCH.paused = True
    try:
        return torch.empty(tuple(sizes), dtype=dtype, device="meta")
    finally:
        _WATCH.paused = False


def _import_attributes(package: str) -> None:
    """Import the modules of `_ATTRIBUTES` when a program takes them from their package."""
    module: Any = sys.modules[package]
    inherited = vars(module).get("__getattr__")

    def find(name: str) -> Any:
        if name in _ATTRIBUTES[package]:
            return importlib.import_module(f"{package}.{name}")
        if inherited is not None:
            return inherited(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    module.__getattr__ = find


class _AroundImport(MetaPathFinder, Loader):
    """Call functions before and after the first import of one of several modules.

    Args:
        names: of the modules.
        before: called first.
        after: called with the module.
    """

    def __init__(
        self,
        names: Collection[str],
        before: Callable[[], object] = lambda: None,
        after: Callable[[Any], object] = lambda module: None,
    ) -> None:
        self._names, self._before, self._after = names, before, after

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        # Nothing is imported here: Python holds a lock for all threads, and a program may only ask.
        return ModuleSpec(fullname, self) if fullname in self._names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module as the other finders find it."""
        # It stays in `sys.meta_path`: another thread that goes through the list would leave out a finder.
        self._names = ()
        self._before()
        module = importlib.import_module(spec.name)
        self._after(module)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back; it has run."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def import_lean() -> None:
    """Import what transformers' model classes share; for a process that runs models and trains none.

    `torch.compile` works as ever afterwards: the compiler is imported when it is first used, and is given
    then what the decorators would have given it. transformers takes torch for one without `torch.distributed`
    until the process ends. So nothing is changed in a process that is one of several, that has imported the
    compiler or transformers' model code already, or where a version is not tested.
    """
    import torch

    if not (_is_tested("torch") and _is_tested("transformers")):
        return
    if any(name in sys.modules for name in (_COMPILER, *_SHARED)):
        return
    if torch.distributed.is_available():
        _import_attributes("torch.distributed")
    with _replaced(torch.distributed, "is_available", lambda: False), _stand_ins():
        try:
            for name in _SHARED:
                importlib.import_module(name)
        except Exception:
            # Another version needs more of the compiler. A module that failed is imported when it is used.
            return
    _skip_meta()
    linecache.clearcache()  # sources of transformers that were read for its docstrings, 2 MB


def _skip_meta() -> None:
    """Draw no numbers for tensors on the device meta, which hold none: torch would import its compiler."""
    import torch

    draw = getattr(torch.nn.init, "_no_grad_normal_", None)
    if draw is None:
        return

    def normal(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return tensor if tensor.is_meta else draw(tensor, *args, **kwargs)

    torch.nn.init._no_grad_normal_ = normal


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Put small modules in the places of the compiler's, for imports alone."""
    in_graph: list[Callable[..., Any]] = []

    def allow_in_graph(fn: F) -> F:
        in_graph.append(fn)
        return fn

    def register(module: Any) -> None:
        for fn in in_graph:
            module.allow_in_graph(fn)

    compiler: Any = ModuleType(_COMPILER)
    compiler.disable = _disable_later
    compiler.assume_constant_result = _mark_constant
    compiler.allow_in_graph = allow_in_graph
    indexing: Any = ModuleType(_INDEXING)
    indexing.TransformGetItemToIndex = _transform_later
    modules = {_COMPILER: compiler, _INDEXING: indexing}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, _AroundImport((_COMPILER,), after=register))


def _disable_later(fn: Callable[..., Any] | None = None, recursive: bool = True, **options: Any) -> Any:
    """Stand for `torch._dynamo.disable`, which takes a function, or gives a decorator."""
    if fn is None:
        return functools.partial(_disable_later, recursive=recursive, **options)
    function = fn
    disabled: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _COMPILER not in sys.modules:
            return function(*args, **kwargs)  # nothing can be compiling
        if not disabled:
            disabled.append(importlib.import_module(_COMPILER).disable(function, recursive, **options))
        return disabled[0](*args, **kwargs)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call


def _mark_constant(fn: F) -> F:
    """Mark a function as `torch._dynamo.assume_constant_result` does."""
    fn._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return fn


def _transform_later() -> Any:
    """Stand for the class `TransformGetItemToIndex`, of which masks for flex attention make instances."""
    return importlib.import_module(_INDEXING).TransformGetItemToIndex()
