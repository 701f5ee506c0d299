"""Import transformers' model code without torch's compiler and without distributed tensors.

transformers 5.23 imports `torch._dynamo` for decorators and one class, and `torch.distributed.tensor` for
type checks. With sympy and Triton, which they bring, they take 150 MB, and time at each start. A command that
runs a model in one process uses neither.

Public: `import_lean`.
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
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

_COMPILER = "torch._dynamo"
_INDEXING = f"{_COMPILER}._trace_wrapped_higher_order_op"
_SHARED = ("transformers.modeling_utils", "transformers.generation.utils")
"""Modules that import all others that the model classes share."""
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Variables that programs such as torchrun set for each process."""
F = TypeVar("F", bound=Callable[..., Any])


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
