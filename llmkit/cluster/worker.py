"""Code in a worker: open a model, describe it, and compute."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmkit.errors import LLMKitError, OptionError, RowError

HARDWARE = ("python", "machine", "cpu", "gpu", "sha256")
"""Keys of `WorkerDescription.identity` that describe the worker, not its object."""
Reply = tuple[str, Any]
"""("done", value), or the name of an error's class and its arguments.

Errors are sent as data, because exceptions with other constructor arguments cannot be unpickled.
"""


@dataclass(frozen=True)
class WorkerDescription:
    """Description of a worker, which the driver compares with the others.

    Attributes:
        identity: everything that its results depend on, except the requests, and its processor or GPU.
        facts: attributes of its object, for the driver.
        node: name of its machine, for messages.
    """

    identity: dict[str, Any]
    facts: dict[str, Any]
    node: str = field(default_factory=platform.node)


class ModelWorker:
    """Body of an actor.

    Args:
        opener: creates its object, such as an engine. The object has `identity`, and `facts` if the driver
            needs more.
    """

    def __init__(self, opener: Callable[[], Any]) -> None:
        self._opener = opener
        self._held: Any = None

    def describe(self) -> Reply:
        """Open the model and return a `WorkerDescription`."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # because the driver tokenizes

        def opened() -> WorkerDescription:
            self._held = self._opener()
            facts: dict[str, Any] = getattr(self._held, "facts", dict)()
            identity = {**self._held.identity(), **hardware(), "sha256": weights_hash(self._held)}
            return WorkerDescription(identity, facts)

        return _reply(opened)

    def run(self, method: str, arguments: tuple[Any, ...], threads: int | None) -> Reply:
        """Call a method of the loaded object.

        Args:
            method: its name.
            arguments: its arguments.
            threads: threads of torch on a CPU, the same on all workers: sums depend on their number.
        """
        torch = sys.modules.get("torch")
        if torch is not None and threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return _reply(lambda: getattr(self._held, method)(*arguments))


def hardware() -> dict[str, Any]:
    """Return the processor, or the GPU, and the version of Python."""
    found: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["cpu"] = torch.backends.cpu.get_cpu_capability()
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def weights_hash(held: Any) -> str | None:
    """Return the SHA-256 of all weights of a worker; None if they are not in this process."""
    model = getattr(getattr(held, "loaded", None), "model", None)
    if model is None:
        return None
    from llmkit.records.unfinished.shards import digest

    return digest(model.state_dict())


def raised(kind: str, arguments: Any) -> LLMKitError:
    """Return the error of a `Reply`."""
    import llmkit.errors

    found: LLMKitError = getattr(llmkit.errors, kind)(*arguments)
    return found


def _reply(work: Callable[[], Any]) -> Reply:
    try:
        return "done", work()
    except OptionError as error:
        return "OptionError", (error.option, error.reason)
    except RowError as error:
        return "RowError", (error.where, error.reason)
    except LLMKitError as error:
        import llmkit.errors

        known = next(one for one in type(error).__mro__ if hasattr(llmkit.errors, one.__name__))
        return known.__name__, (str(error),)
