"""Import torch and transformers' model code without parts that a command does not use.

torch imports shapes of its operations' results for tensors without memory (device meta) and for its compiler:
18 MB, and a sixth of its time. transformers 5.23 imports `torch._dynamo` for decorators and one class, and
`torch.distributed.tensor` for type checks. With sympy and Triton, which they bring, they take 150 MB, and
time at each start. A command that runs a model in one process uses none of these.

Public: `import_torch`, `import_lean`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

_SHAPES = "torch._meta_registrations"
_SHAPE_USERS = ("torch._decomp", "torch._prims", "torch._refs", "torch._dynamo")
"""Modules that expect `_SHAPES` to be imported, or bring parts of it."""
_COMPILER = "torch._dynamo"
_INDEXING = f"{_COMPILER}._trace_wrapped_higher_order_op"
_SHARED = ("transformers.modeling_utils", "transformers.generation.utils")
"""Modules that import all others that the model classes share."""
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Variables that programs such as torchrun set for each process."""
F = TypeVar("F", bound=Callable[..., Any])


def import_torch() -> None:
    """Import torch without the shapes of results on the device meta; they come when they are first needed.

    That is when a tensor is made under ``torch.device("meta")``, or a module is imported that uses them, such
    as the compiler. Operations on tensors that were made with ``device="meta"`` alone may lack a shape until
    then. Nothing is changed if torch is there already, or the process is one of several.
    """
    if "torch" in sys.modules or any(name in os.environ for name in _LAUNCHED):
        importlib.import_module("torch")
        return
    sys.modules[_SHAPES] = ModuleType(_SHAPES)
    try:
        torch: Any = importlib.import_module("torch")
    finally:
        del sys.modules[_SHAPES]
    vars(torch).pop(_SHAPES.rpartition(".")[2], None)
    finder = _BeforeUse()
    sys.meta_path.insert(0, finder)
    context: Any = importlib.import_module("torch.utils._device").DeviceContext
    started = context.__init__

    def start(self: Any, device: Any) -> None:
        if torch.device(device).type == "meta":
            context.__init__ = started
            finder.import_shapes()
        started(self, device)

    context.__init__ = start


class _BeforeUse(MetaPathFinder, Loader):
    """Import `_SHAPES` before the modules that use it, which import parts of it in another order."""

    def __init__(self) -> None:
        self._spec: ModuleSpec | None = None

    def import_shapes(self) -> None:
        """Import them now, if nothing has yet."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            importlib.import_module(_SHAPES)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in _SHAPE_USERS:
            return None
        self.import_shapes()
        module = sys.modules.get(fullname)
        if module is None:
            return None
        # importlib prefers a module's own spec, and would run the module again.
        self._spec, module.__spec__ = module.__spec__, None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that has been imported meanwhile."""
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back; it has run."""
        module.__spec__ = self._spec


def import_lean() -> None:
    """Import what transformers' model classes share; for a process that runs models and trains none.

    `torch.compile` works as ever afterwards: the compiler is imported when it is first used, and is given
    then what the decorators would have given it. transformers takes torch for one without `torch.distributed`
    until the process ends. So nothing is changed in a process that is one of several, or that has imported
    the compiler or transformers' model code already.
    """
    import torch

    if any(name in os.environ for name in _LAUNCHED):
        return
    if any(name in sys.modules for name in (_COMPILER, *_SHARED)):
        return
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
    later = _Registration()
    compiler: Any = ModuleType(_COMPILER)
    compiler.disable = _disable_later
    compiler.assume_constant_result = _mark_constant
    compiler.allow_in_graph = later.allow_in_graph
    indexing: Any = ModuleType(_INDEXING)
    indexing.TransformGetItemToIndex = _transform_later
    modules = {_COMPILER: compiler, _INDEXING: indexing}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, later)


class _Registration(MetaPathFinder):
    """Functions that the compiler is to be given as soon as it has been imported."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., Any]] = []

    def allow_in_graph(self, fn: F) -> F:
        """Stand for `torch._dynamo.allow_in_graph`, a decorator."""
        self._functions.append(fn)
        return fn

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find the compiler as the other finders do, and add to what its loader does."""
        if fullname != _COMPILER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                for fn in self._functions:
                    module.allow_in_graph(fn)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


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
