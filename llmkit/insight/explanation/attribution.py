"""Scores of the units of one case, by each method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.insight.explanation.case import PredictionCase
from llmkit.insight.explanation.gradients import TOLERANCE, integrate
from llmkit.insight.explanation.occlusion import occlude, occlude_prefix
from llmkit.insight.explanation.options import ExplainOptions
from llmkit.insight.explanation.relevance import propagate
from llmkit.insight.explanation.result import ScoreMatrix
from llmkit.insight.explanation.scorer import Scorer, SequenceScorer, UnitRemoval

if TYPE_CHECKING:
    import numpy as np

    from llmkit.runtime.load import LoadedModel


class Attribution:
    """The methods that score the units of one case.

    Args:
        loaded: the model.
        options: see `ExplainOptions`.
        case: the case.
        removal: the explained number of the case, as a log-probability.

    Attributes:
        steps: steps of integrated gradients, or None.
        ends: f(text) and f(baseline) where the method explains another number than the log-probability.
        notes: sentences that the reader needs to know.
    """

    def __init__(
        self, loaded: LoadedModel, options: ExplainOptions, case: PredictionCase, removal: UnitRemoval
    ) -> None:
        self._loaded = loaded
        self._options = options
        self._case = case
        self._scorer: Scorer = removal.scorer
        self._removal = removal
        self._prefix: np.ndarray | None = None
        self.steps: int | None = None
        self.ends: tuple[float, float] | None = None
        self.notes: list[str] = []

    def scores(self, method: str) -> np.ndarray:
        """Return the scores of the units by a method: [parts, units]."""
        return {"occlusion": self._occlusion, "ig": self._ig, "attnlrp": self._attnlrp}[method]()

    def _occlusion(self) -> np.ndarray:
        return occlude(self._removal, [unit.positions for unit in self._case.units])

    def _ig(self) -> np.ndarray:
        options = self._options
        found = integrate(
            self._scorer, self._removal.baseline, self._case.positions, steps=options.steps, rule=options.rule
        )
        self.steps = found.steps
        if found.error >= TOLERANCE:
            self.notes.append(
                f"the completeness error is {found.error:.1%} after {found.steps} steps: the scores do not"
                " add up to what they divide; use occlusion"
            )
        return self._by_unit(found.scores)

    def _attnlrp(self) -> np.ndarray:
        case = self._case
        scorer = SequenceScorer(self._loaded, case, logit=True)
        removal = UnitRemoval(scorer, self._removal.baseline)
        whole, without = removal.scores([(), case.positions]).sum(1)
        self.ends = (float(whole), float(without))
        source, self._prefix = propagate(self._loaded, scorer)
        return self._by_unit(source)

    def prefix_matrix(self, method: str) -> ScoreMatrix | None:
        """Return the scores of the target's parts for the parts after them."""
        case = self._case
        if case.foil is not None or len(case.target.groups) < 2 or case.candidates:
            return None
        skip = len(case.start)
        if method == "ig":
            options = self._options
            places = range(skip, len(self._scorer.prefix))
            path = integrate(
                self._scorer,
                self._removal.baseline,
                places,
                steps=options.steps,
                rule=options.rule,
                prefix=True,
            )
            scores = _padded(path.scores[:, skip:])
        elif method == "occlusion":
            scores = occlude_prefix(self._scorer, self._removal.baseline, skip)
        else:
            assert self._prefix is not None
            scores = _padded(self._prefix[:, skip:])
        columns = case.target.groups
        summed = [[scores[:, list(one.positions)].sum(1)] for one in columns]
        return matrix_of(case, _stacked(summed), [one.text for one in columns])

    def _by_unit(self, scores: np.ndarray) -> np.ndarray:
        return _stacked([[scores[:, list(unit.positions)].sum(1)] for unit in self._case.units])


def matrix_of(case: PredictionCase, scores: np.ndarray, columns: Sequence[str]) -> ScoreMatrix | None:
    """Return scores with the target's tokens grouped into its parts; None if there is one part."""
    groups = case.target.groups
    if case.foil is not None or len(groups) < 2:
        return None
    rows = [scores[list(group.positions)].sum(0) for group in groups]
    return ScoreMatrix(
        tuple(group.text for group in groups),
        tuple(columns),
        tuple(tuple(float(one) for one in row) for row in rows),
    )


def _stacked(columns: Sequence[Any]) -> np.ndarray:
    import numpy as np

    return np.concatenate(columns, axis=0).T


def _padded(scores: np.ndarray) -> np.ndarray:
    """Add a column of zeros for the last part, which comes before no other."""
    import numpy as np

    return np.pad(scores, ((0, 0), (0, 1)))
