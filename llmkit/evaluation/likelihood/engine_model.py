"""A model whose likelihoods another engine computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.evaluation.likelihood.loss import Pass
from llmkit.runtime.loaded_model import LoadedModel

if TYPE_CHECKING:
    from llmkit.engines.base import Engine


@dataclass
class EngineModel(LoadedModel):
    """An outline of a model, with the engine that has its weights.

    Attributes:
        engine: an engine with the ability ``score``.
    """

    engine: Any

    def identity(self) -> dict[str, Any]:
        """Return the engine's identity."""
        return dict(self.engine.identity())

    def losses(self, passes: Sequence[Pass]) -> list[list[float]]:
        """Return the losses of each pass in nats, in the order of its targets."""
        texts = [[*one.ids[: one.positions.stop], one.targets[-1]] for one in passes]
        if self.is_encoder_decoder:
            # The engine adds the first of `ids` itself.
            texts = [text[1:] for text in texts]
            logprobs = self.engine.score(texts, [list(one.source or ()) for one in passes])
        else:
            logprobs = self.engine.score(texts)
        losses = []
        for row, one in zip(logprobs, passes, strict=True):
            scored = row[one.positions.start : one.positions.stop]
            losses.append([-logprob for logprob in scored])
        return losses


def engine_model(engine: Engine) -> EngineModel:
    """Return the model of an engine, for metrics of likelihood.

    Raises:
        OptionError: the engine computes no likelihoods.
    """
    if "score" not in engine.abilities or not hasattr(engine, "outline"):
        raise OptionError(
            "engine", f"answers with text in {engine.identity()['engine']}, and this metric needs likelihoods"
        )
    outline: LoadedModel = engine.outline
    own = {field.name: getattr(outline, field.name) for field in dataclasses.fields(outline)}
    return EngineModel(**own, engine=engine)
