"""An engine whose model runs on the workers of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Completion, OnPiece, OnTokens, Request, Sampling, check_request
from llmkit.engines.form import Form
from llmkit.engines.streaming import check_streamed

if TYPE_CHECKING:
    import numpy as np

    from llmkit.cluster.pool import WorkerPool
    from llmkit.engines.base import Engine, LiveBatch, Session

_FACTS = (
    *("name", "tokenizer", "context_length", "is_encoder_decoder", "has_chat_template", "config"),
    *("abilities", "defaults", "samples_by_default", "batch_rows", "notes"),
)
_LATER = ("session",)  # an ability that workers do not support


class WorkerEngine:
    """The engine inside a worker.

    Args:
        opener: opens the engine.
    """

    def __init__(self, opener: Callable[[], Engine]) -> None:
        self._engine = opener()
        self.loaded: Any = getattr(self._engine, "loaded", None)
        self._constraints: dict[str, Any] = {}

    def identity(self) -> dict[str, Any]:
        """Return everything that the answers depend on, except the requests."""
        return self._engine.identity()

    def facts(self) -> dict[str, Any]:
        """Return the engine's attributes for the driver, which does not load the model."""
        facts = {name: getattr(self._engine, name) for name in _FACTS}
        return {**facts, "token_budget": self._engine.token_budget()}

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests; see `Engine.generate`."""
        return self._engine.generate([self._with_constraint(one) for one in requests])

    def align(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], start: int | None
    ) -> list[np.ndarray]:
        """Return the weights between tokens of answers and prompts; see `AligningEngine.align`."""
        engine: Any = self._engine
        found: list[np.ndarray] = engine.align(prompts, answers, start)
        return found

    def _with_constraint(self, request: Request) -> Request:
        form: Any = request.constraint
        if not isinstance(form, dict):
            return request
        from llmkit.engines.structured import AfterThoughts, constraint_for

        key = json.dumps(form, sort_keys=True)
        if key not in self._constraints:
            made = constraint_for(Form(form["kind"], form["value"]), self._engine)
            self._constraints = {key: AfterThoughts(made, self._engine) if "after" in form else made}
        return replace(request, constraint=self._constraints[key])


class ClusterEngine:
    """An `Engine` whose calls run on workers; several threads may use it.

    Its answers are those of the engine in the workers. A thread releases its turn while a worker computes.

    Args:
        pool: workers, each with a `WorkerEngine`.

    Attributes:
        workers: the workers, for `RunState.workers`.
    """

    def __init__(self, pool: WorkerPool) -> None:
        described = pool.wait()
        facts = described.facts
        self.workers = pool
        self.name: str = facts["name"]
        self.tokenizer: Any = facts["tokenizer"]
        self.context_length: int | None = facts["context_length"]
        self.is_encoder_decoder: bool = facts["is_encoder_decoder"]
        self.has_chat_template: bool = facts["has_chat_template"]
        self.config: Any = facts["config"]
        self.abilities: frozenset[str] = facts["abilities"].difference(_LATER)
        self.defaults: Sampling = facts["defaults"]
        self.samples_by_default: bool = facts["samples_by_default"]
        self.batch_rows: int | None = facts["batch_rows"]
        self.notes: Sequence[str] = [
            *facts["notes"],
            f"runs on {pool.describe()}, the first on {described.node}",
        ]
        self._tokens: int | None = facts["token_budget"]

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests on one worker; see `Engine.generate`.

        Raises:
            RequestRefused: the workers that ran them failed.
        """
        sent, same = [], dict[Sampling, Sampling]()
        for request in requests:
            check_request(request, self)
            form: Any = None if request.constraint is None else request.constraint.identity()
            # Equal settings become one object, so that they are pickled once.
            sampling = same.setdefault(request.sampling, request.sampling)
            sent.append(replace(request, sampling=sampling, constraint=form))
        keys = frozenset(request.key for request in requests)
        found: list[list[Completion]] = self.workers.call("generate", (sent,), keys)
        return found

    def align(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], start: int | None = None
    ) -> list[np.ndarray]:
        """Return the weights between tokens of answers and prompts; see `AligningEngine.align`."""
        found: list[np.ndarray] = self.workers.call("align", (prompts, answers, start))
        return found

    def stream(
        self,
        request: Request,
        on_tokens: OnTokens,
        *,
        session: Session | None = None,
        on_piece: OnPiece | None = None,
    ) -> Completion:
        """Answer one request, and pass on all its tokens at the end.

        Raises:
            OptionError: more than one answer is requested.
        """
        check_streamed(request)
        ((completion,),) = self.generate([request])
        if on_piece is not None and completion.text is not None:
            on_piece(completion.text)
        stopped = on_tokens(completion.ids) is False
        return replace(completion, finish_reason="interrupted") if stopped else completion

    def session(self) -> Session | None:
        """Return None: workers keep no state between requests."""
        return None

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        """Return None: the driver plans the batches."""
        return None

    def token_budget(self) -> int | None:
        """Return the token budget of one call on the first worker."""
        return self._tokens

    def identity(self) -> dict[str, Any]:
        """Return the identity of a worker's engine, as a run without a cluster records it."""
        return self.workers.identity()
