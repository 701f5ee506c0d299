"""Options of a cluster: its address, and its workers."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from llmkit.errors import OptionError

_ADDRESS = re.compile(r"(ray://)?[^\s/:@]+:\d{1,5}|(ray://)?\[[0-9A-Fa-f:]+\]:\d{1,5}")
MOST_WORKERS = 256
"""Maximum number of workers of one driver, with two threads for each. See docs/scale.md for more."""


@dataclass(frozen=True)
class ClusterOptions:
    """A cluster and its workers.

    Attributes:
        cluster: ``auto`` (the cluster of this Ray job, otherwise this machine), a number of workers here,
            ``HOST:PORT`` of a cluster that this machine belongs to, or ``ray://HOST:PORT``.
        workers: number of workers; None uses all GPUs of the cluster, or all its cores.
        gpus_per_worker: GPUs of a worker; None is 1 if the cluster has GPUs, otherwise 0.
        allow_mixed: let workers differ in their device, processor or versions.

    Raises:
        OptionError: a value is bad.
    """

    cluster: str
    workers: int | None = None
    gpus_per_worker: float | None = None
    allow_mixed: bool = False

    def __post_init__(self) -> None:
        count = self._count
        if count is not None and self.workers is not None:
            raise OptionError("workers", f"is {self.workers}, but cluster={count} is also a number; omit one")
        for option, value in (("cluster", count), ("workers", self.workers)):
            if value is not None and not 1 <= value <= MOST_WORKERS:
                raise OptionError(option, f"must be between 1 and {MOST_WORKERS} workers, not {value}")
        gpus = self.gpus_per_worker
        if gpus is not None and not (0 <= gpus < 1 or (1 <= gpus <= 64 and gpus == int(gpus))):
            raise OptionError("gpus_per_worker", f"must be a share below 1 or a whole number, not {gpus:g}")
        if self.cluster != "auto" and count is None and not _ADDRESS.fullmatch(self.cluster):
            raise OptionError(
                "cluster",
                f"must be auto, a number of workers, HOST:PORT or ray://HOST:PORT, not {self.cluster!r}",
            )

    @property
    def _count(self) -> int | None:
        return int(self.cluster) if self.cluster.isascii() and self.cluster.isdigit() else None

    @property
    def wanted(self) -> int | None:
        """Number of workers that the user chose; None if it is not set."""
        return self.workers if self._count is None else self._count

    @property
    def address(self) -> str | None:
        """Address of a running cluster; None starts one on this machine.

        A job that was submitted to a cluster finds its address in ``RAY_ADDRESS``.
        """
        if self._count is not None:
            return None
        return os.environ.get("RAY_ADDRESS") or None if self.cluster == "auto" else self.cluster
