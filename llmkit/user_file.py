"""Take a function out of a user's Python file, which runs once in a process."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from llmkit.errors import InputError, did_you_mean


def function_in_file(path: Path, function: str, said: str) -> Any:
    """The object of that name in the file.

    Args:
        path: the file.
        function: the name in it.
        said: the option as the user gave it, which begins every message.

    Raises:
        InputError: there is no file, it does not load, or it has no such name.
    """
    if not path.is_file():
        raise InputError(f"{said}: no file {path}")
    module = _module(path, said)
    if not hasattr(module, function):
        raise InputError(f"{said}: {path} has no function {function}{did_you_mean(function, vars(module))}")
    return getattr(module, function)


def _module(path: Path, said: str) -> ModuleType:
    """The file as a module, loaded once: what it registers elsewhere it registers once."""
    known = f"llmkit_user_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{said}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module  # dataclasses, and torch's custom operations, look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        # Whatever the user's file raises while it is imported is the user's to read.
        del sys.modules[known]
        raise InputError(f"{said}: {path} does not load: {type(error).__name__}: {error}") from error
    return module
