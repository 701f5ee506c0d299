"""Flags of the model of a verb that generates text: the usual ones, and the program that runs it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common.options import Draft, ModelFlags, flag
from llmkit.engines.choice import check_engine, is_url, runs_here
from llmkit.errors import OptionError

if TYPE_CHECKING:
    from llmkit.cluster.options import ClusterOptions
    from llmkit.runtime.spec import ModelSpec


@dataclass
class TextModelFlags(ModelFlags):
    """The model, and the program or the server that runs it."""

    engine: Annotated[
        str | None,
        flag(
            "--engine",
            metavar="NAME|URL",
            help="transformers, ctranslate2, llamacpp, openvino, vllm, or a server with OpenAI's API, such as"
            " http://127.0.0.1:8000/v1, where -m is the name of its model.",
            default="transformers",
        ),
    ] = None
    engine_python: Annotated[
        str | None,
        flag(
            "--engine-python",
            metavar="PATH",
            help="Path of a Python that has the package of llamacpp, openvino or vllm.",
            default="this Python",
        ),
    ] = None
    concurrency: Annotated[
        int, flag("--concurrency", metavar="N", help="Parallel requests to vllm or a URL.")
    ] = 8
    draft: Draft = None

    @property
    def unnamed(self) -> bool:
        """True if neither a model nor a program other than transformers is named."""
        return self.model is None and runs_here(self.engine)

    def spec(self, *, task: str, verb: str | None = None) -> ModelSpec:
        engine = None if self.engine == "transformers" else self.engine
        here = replace(self, engine=None)
        if is_url(engine):
            found = ModelFlags.spec(replace(here, model=self.model or ""), task=task)
            found = replace(found, bundled=False)
        else:
            found = ModelFlags.spec(here, task=task, verb=verb)
        found = replace(found, engine=engine, draft=self.draft)
        found = replace(found, engine_python=self.engine_python, concurrency=self.concurrency)
        check_engine(found)  # before any import or loading
        return found

    @property
    def on_cluster(self) -> ClusterOptions | None:
        """The cluster that runs the model; None runs it in this process."""
        return None


@dataclass
class RowModelFlags(TextModelFlags):
    """The model, and the server or the cluster that runs it over rows."""

    cluster: Annotated[
        str | None,
        flag(
            "--cluster",
            metavar="auto|N|ADDRESS",
            help="Run batches on a Ray cluster: auto, N workers on this machine, HOST:6379 or"
            " ray://HOST:10001.",
            default="this process",
        ),
    ] = None
    workers: Annotated[
        int | None,
        flag(
            "--workers",
            metavar="N",
            help="Workers of --cluster.",
            default="use all GPUs or cores",
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        flag("--gpus-per-worker", metavar="N", help="GPUs per worker.", default="1 if there are GPUs"),
    ] = None
    allow_mixed: Annotated[
        bool,
        flag("--allow-mixed", help="Allow workers with different devices and versions; results may differ."),
    ] = False

    @property
    def on_cluster(self) -> ClusterOptions | None:
        from llmkit.cluster.options import ClusterOptions

        if self.cluster is None:
            for option in ("workers", "gpus_per_worker", "allow_mixed"):
                if getattr(self, option):
                    raise OptionError(option, "needs a cluster: give it with `cluster`")
            return None
        return ClusterOptions(self.cluster, self.workers, self.gpus_per_worker, self.allow_mixed)

    def refuse_cluster(self, reason: str) -> None:
        """Refuse a cluster for work that runs in this process.

        Raises:
            OptionError: a cluster is named.
        """
        if self.on_cluster is not None:
            raise OptionError("cluster", f"{reason}; omit it")
