"""State that the routes share: settings, models, metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from llmkit.serving.errors import ApiError
from llmkit.serving.metrics import Labels, Metrics
from llmkit.serving.scheduling.abilities import ServedTask
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.settings import ServerSettings

TIMEOUT_HEADER = "X-Request-Timeout"
"""Header with the maximum seconds that a client waits."""


@dataclass
class ServerState:
    """State that the routes share.

    Attributes:
        settings: see `ServerSettings`.
        models: models by name, in the order of the command line.
        metrics: counters and times.
        log: receives a line for stderr.
        draining: the server shuts down and refuses new requests.
        held: models that stay loaded for a request, by its `id`.
    """

    settings: ServerSettings
    models: dict[str, ServedModel]
    metrics: Metrics
    log: Callable[[str], None]
    draining: bool = False
    held: dict[int, list[ServedModel]] = field(default_factory=dict)

    def model(self, name: str | None) -> ServedModel:
        """Return the model with a name; without a name, the first model.

        Raises:
            ApiError: there is none, or the server shuts down.
        """
        if self.draining:
            raise ApiError(503, "the server is shutting down", code="shutting_down")
        if name is None:
            return next(iter(self.models.values()))
        # ollama's clients add the suffix.
        found = self.models.get(name) or self.models.get(name.removesuffix(":latest"))
        if found is None:
            there = ", ".join(self.models)
            message = f"there is no model {name!r}; the server has {there}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return found

    def let_go(self, request: web.Request) -> None:
        """Release the models of a request."""
        for model in self.held.pop(id(request), ()):
            model.worker.release()

    async def open(
        self, request: web.Request, name: str | None, task: ServedTask | None = None
    ) -> ServedModel:
        """Return a loaded model, and keep it loaded until the request is answered; see `model`.

        Without a name it is the model that suits the task best; of several, the first. A server with one
        model takes this one, and so does a request for any model (`task` is None): the first.

        Raises:
            ApiError: there is none, or it did not load in time.
        """
        found = self.model(name)
        if name is None and task is not None and len(self.models) > 1:
            found = await self._suitable(request, task)
        await self._hold(request, found)
        return found

    async def _suitable(self, request: web.Request, task: ServedTask) -> ServedModel:
        """Return the model that suits a task best.

        Models of unknown abilities are loaded, if they are loaded on demand, until one is the best possible.

        Raises:
            ApiError: no model can do the task, or one did not load in time.
        """
        ranks: list[tuple[int, ServedModel]] = []
        loading: list[ServedModel] = []
        for model in self.models.values():
            if (abilities := await model.abilities()) is None and model.worker.loads_on_demand:
                await self._hold(request, model)
                abilities = await model.abilities()
            if abilities is not None and (rank := task.rank(abilities)) is not None:
                ranks.append((rank, model))
                if rank == 0:
                    break
            elif abilities is None and model.worker.failure is None:
                loading.append(model)
        if ranks:
            return min(ranks, key=lambda one: one[0])[1]
        if loading:
            return loading[0]
        message = f"no model of this server can {task.verb}; it has {', '.join(self.models)}"
        raise ApiError(400, message, param="model", code="no_suitable_model")

    async def _hold(self, request: web.Request, model: ServedModel) -> None:
        """Load a model, if it is loaded on demand, and keep it loaded until the request is answered."""
        if model.worker.loads_on_demand:
            held = self.held.setdefault(id(request), [])
            if model not in held:
                model.worker.hold()
                held.append(model)
            await model.loaded(self.seconds(request))

    def seconds(self, request: web.Request) -> float:
        """Return the time limit of a request in seconds: the client's limit in a header, up to the server's.

        Raises:
            ApiError: the header is not a number above 0.
        """
        given = request.headers.get(TIMEOUT_HEADER)
        if given is None:
            return self.settings.request_timeout
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise ApiError(400, f"{TIMEOUT_HEADER} must be a number of seconds above 0", code="invalid_value")
        return min(seconds, self.settings.request_timeout)

    def gauges(self) -> dict[tuple[str, Labels], float]:
        """Return the numbers of running and waiting answers."""
        found: dict[tuple[str, Labels], float] = {}
        for name, model in self.models.items():
            labels = (("model", name),)
            found["llmkit_requests_running", labels] = model.worker.running
            found["llmkit_requests_waiting", labels] = model.worker.waiting
        return found


STATE: web.AppKey[ServerState] = web.AppKey("state", ServerState)
