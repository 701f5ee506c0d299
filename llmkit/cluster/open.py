"""Open a model on the workers of a cluster."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from llmkit.cluster.connect import connect, disconnect
from llmkit.cluster.engine import ClusterEngine, WorkerEngine
from llmkit.cluster.options import MOST_WORKERS, ClusterOptions
from llmkit.cluster.pool import WorkerPool
from llmkit.engines.open import open_engine
from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.spec import ModelSpec


def open_cluster_engine(
    model: ModelSpec | Callable[[], Engine],
    options: ClusterOptions,
    *,
    notice: Callable[[str], None] = lambda message: None,
) -> ClusterEngine:
    """Open a model on each worker of a cluster, and return an engine that uses them.

    The workers, and a cluster that this function started, end with the process.

    Args:
        model: the model, or a function that opens an engine; it is pickled.
        options: the cluster.
        notice: called with a sentence for the user.

    Raises:
        OptionError: Ray is not installed, the cluster cannot be reached, or it does not have the GPUs.
        InputError, LLMKitError: as `open_engine`, on the first worker.
    """
    opener = model if callable(model) else partial(open_engine, model)
    return ClusterEngine(open_pool(partial(WorkerEngine, opener), options, notice=notice))


def open_pool(
    opener: Callable[[], Any],
    options: ClusterOptions,
    *,
    notice: Callable[[str], None] = lambda message: None,
) -> WorkerPool:
    """Start workers that create the object of `opener`; see `open_cluster_engine`."""
    ray = connect(options)
    count, resources = _plan(ray, options)
    pool = WorkerPool(ray, opener, options, count, resources, notice)
    atexit.register(_end, pool)
    return pool


def _end(pool: WorkerPool) -> None:
    pool.close()
    disconnect()


def _plan(ray: Any, options: ClusterOptions) -> tuple[int, dict[str, Any]]:
    """Return the number of workers, and the resources of each."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = [node.get("GPU", 0) for node in nodes]
    each = options.gpus_per_worker
    if each is None:
        each = 1 if sum(gpus) else 0
    if each > max(gpus, default=0):
        raise OptionError("gpus_per_worker", f"is {each:g}, but no machine of the cluster has that many")
    if each:
        serve = sum(int(have // each) for have in gpus)
        return _count(options, serve), {"num_gpus": each, "num_cpus": 1}
    torch = sys.modules.get("torch")
    threads = 1 if torch is None else torch.get_num_threads()
    serve = sum(int(node.get("CPU", 0) // threads) for node in nodes)
    # Do not limit a number that the user chose by the number of cores.
    cores = 0 if options.wanted is not None else min(threads, max(node.get("CPU", 0) for node in nodes))
    return _count(options, serve), {"num_cpus": cores}


def _count(options: ClusterOptions, serve: int) -> int:
    return options.wanted or min(max(serve, 1), MOST_WORKERS)
