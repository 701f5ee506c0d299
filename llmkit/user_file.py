"""Take a function out of a user's Python file, which runs once in a process."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from llmkit.errors import OptionError, did_you_mean, one_line


def function_in_file(path: Path, function: str, option: str, name: str) -> Any:
    """Return the object called `function` in a Python file.

    Args:
        path: the file.
        function: name of the object.
        option: option that names the file.
        name: value of the option, as the user gave it.

    Raises:
        OptionError: there is no file, it does not load, or it has no such name.
    """
    if not path.is_file():
        raise OptionError(option, f"{name}: no file {path}")
    module = _module(path, option, name)
    if not hasattr(module, function):
        hint = did_you_mean(function, vars(module))
        raise OptionError(option, f"{name}: {path} has no function {function}{hint}")
    return getattr(module, function)


def _module(path: Path, option: str, name: str) -> ModuleType:
    """Run a user's file once in a process, so that it registers its operations once."""
    known = f"llmkit_user_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise OptionError(option, f"{name}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module  # dataclasses and torch's custom operations look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        # The user's file may raise anything; the user needs the message.
        del sys.modules[known]
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise OptionError(option, f"{name}: {path} does not load: {reason}") from error
    return module
