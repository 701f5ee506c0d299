"""Connect to a Ray cluster, or start one on this machine, without noise and without usage statistics."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from llmkit.cluster.options import ClusterOptions
from llmkit.errors import LLMKitError, OptionError, one_line

_OBJECT_STORE = 200 << 20
"""Bytes of shared memory for objects on this machine; it can be small, because requests and answers are."""
_SECONDS = 10.0  # timeout in seconds for a connection to a cluster's port
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # otherwise a call after a lost connection would start another cluster
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_open_telemetry": "0",
    "GLOG_minloglevel": "2",
}


def connect(options: ClusterOptions) -> Any:
    """Return the module `ray`, connected.

    Raises:
        OptionError: Ray is not installed, or the cluster cannot be reached.
    """
    if options.address is not None:
        _knock(options.address)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        import ray
    except ImportError:
        raise OptionError("cluster", "needs Ray: pip install 'llmkit[cluster]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)  # the import sets it to INFO
    try:
        if not ray.is_initialized():
            ray.init(**_settings(options))
    except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
        where = options.address or "this machine"
        raise OptionError("cluster", f"cannot be reached at {where}: {one_line(error)}") from error
    except ray.exceptions.RayError as error:
        raise LLMKitError(f"Ray failed: {one_line(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray's own would end the process silently
    return ray


def _knock(address: str) -> None:
    """Check that a server listens at an address; Ray itself would try for minutes.

    Raises:
        OptionError: no server listens.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # such as ``auto`` in RAY_ADDRESS
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise OptionError("cluster", f"cannot be reached at {address}: {reason}") from None


def _settings(options: ClusterOptions) -> dict[str, Any]:
    """Return the arguments of `ray.init`."""
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "configure_logging": False,
    }
    if options.address is None:
        return {
            **common,
            "address": "local",  # otherwise Ray joins any cluster on this machine
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "namespace": "llmkit",
        }
    common["namespace"] = f"llmkit-{os.getpid()}"
    if options.address.startswith("ray://"):
        del common["configure_logging"]
    return {**common, "address": options.address, "runtime_env": _runtime_env()}


def _runtime_env() -> dict[str, Any]:
    """Return the runtime environment for other machines: this package, and the user's settings of the Hub."""
    import llmkit

    kept = ("HF_HUB_OFFLINE", "HF_HOME", "LLMKIT_CLUSTER_PATH")
    variables = {name: os.environ[name] for name in kept if name in os.environ}
    # Folders on a shared disk; not needed for a package that is installed on each node.
    path = os.environ.get("LLMKIT_CLUSTER_PATH")
    if path is not None:
        return {"env_vars": {**variables, "PYTHONPATH": path}}
    environment: dict[str, Any] = {"py_modules": [str(Path(llmkit.__file__).parent)]}
    return {**environment, "env_vars": variables} if variables else environment


def disconnect() -> None:
    """Leave the cluster; a cluster that `connect` started ends."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
