"""Results of `llmkit.explain`: one `Explanation` for each text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ExplainedUnit:
    """A piece of the text with its score.

    Attributes:
        text: the piece, without white space around it.
        start, end: its characters in the text of its part; the end is exclusive.
        score: its part of the prediction, in the unit of `Explanation.value` (nats). A positive piece makes
            the target more likely.
        part: ``text``, or for questions ``context`` or ``question``.
    """

    text: str
    start: int
    end: int
    score: float
    part: str = "text"


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores of each column for each row; the sum over the rows is the score of the column.

    Attributes:
        rows: the tokens or words of the target.
        columns: the units of the text, or the tokens or words of the target before each row.
        scores: [rows][columns], in nats.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Faithfulness:
    """The effect on the model of removing units, or of keeping them, in the order of the scores.

    The area over the perturbation curve of DeYoung et al. 2020 (ERASER, https://arxiv.org/abs/1911.03429), of
    the log-probability in place of the probability: the mean over the shares 10, 20, 30, 40 and 50 % of the
    units. Removed units are replaced by the baseline token.

    Attributes:
        value: mean drop of the log-probability of a token of the target, in nats, in the order of the scores;
            with a foil that of the difference.
        position: the same if the units nearest to the end of the text come first.
        random: mean of the same over random orders.
        difference: `value` - `random`.
        low, high: 95 % bootstrap interval of `difference` over the random orders; None for one order.
        orders: number of random orders.
    """

    value: float
    position: float
    random: float
    difference: float
    low: float | None
    high: float | None
    orders: int


@dataclass(frozen=True)
class LensCell:
    """The prediction from a layer's hidden state at one position.

    Attributes:
        token: its most likely token.
        probability: the probability of that token.
        target: log-probability of the target's token.
        rank: place of the target's token among all tokens, from 1.
    """

    token: str
    probability: float
    target: float
    rank: int


@dataclass(frozen=True)
class LensGrid:
    """The logit lens: each layer's state under the model's own last norm and head, without training.

    Attributes:
        layers: names of the rows, ``embedding`` first.
        tokens: tokens of the input, one for each column.
        cells: [layers][tokens].
    """

    layers: tuple[str, ...]
    tokens: tuple[str, ...]
    cells: tuple[tuple[LensCell, ...], ...]


@dataclass(frozen=True)
class ComponentScore:
    """The part of the logit that one component of the model writes.

    Attributes:
        name: such as ``embedding``, ``layer 3 head 2``, ``layer 3 mlp`` or ``bias``.
        layer: number of its layer from 0; None for the embedding and the biases.
        score: its part, in the unit of the logit.
    """

    name: str
    layer: int | None
    score: float


@dataclass(frozen=True)
class Explanation:
    """An explained prediction.

    Attributes:
        text: the text.
        question: the question about it; None for other tasks.
        target: the text whose prediction is explained.
        foil: the text that the target is compared with; None if there is none.
        target_tokens: tokens of the target.
        method: ``occlusion``, ``ig``, ``attnlrp``, ``lens`` or ``components``.
        unit: ``token``, ``word`` or ``sentence``.
        explained: the number that is explained, in words: ``log-probability``, ``logit`` or a difference.
        value: that number, in nats.
        probability: probability of the target: with a foil, among the two; of several tokens, their geometric
            mean.
        baseline: the token that replaces a removed piece; None for methods that remove nothing.
        baseline_value: `value` if all units are removed; None as above.
        steps: steps of integrated gradients; None for other methods.
        units: the pieces of the text with their scores; empty for the lens and for components.
        matrix: scores of each unit for each part of the target; None if the target has one part.
        prefix_matrix: scores of the target's parts for the parts after them; None as above.
        completeness_error: distance of the sum of the scores from the number that they divide, as a share of
            it. Integrated gradients and components promise 0. Occlusion does not: its scores overlap.
        comprehensiveness: removes units; higher is better. None if it was not measured.
        sufficiency: keeps only these units; lower is better. None if it was not measured.
        lens: the grid of the logit lens; None for other methods.
        components: the parts of the logit; empty for other methods.
        notes: sentences that the reader needs to know.
    """

    text: str
    question: str | None
    target: str
    foil: str | None
    target_tokens: tuple[str, ...]
    method: str
    unit: str
    explained: str
    value: float
    probability: float
    baseline: str | None = None
    baseline_value: float | None = None
    steps: int | None = None
    units: tuple[ExplainedUnit, ...] = ()
    matrix: ScoreMatrix | None = None
    prefix_matrix: ScoreMatrix | None = None
    completeness_error: float | None = None
    comprehensiveness: Faithfulness | None = None
    sufficiency: Faithfulness | None = None
    lens: LensGrid | None = None
    components: tuple[ComponentScore, ...] = ()
    notes: tuple[str, ...] = ()


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON values, without fields that its method leaves empty."""
    found: dict[str, Any] = _plain(asdict(explanation))
    return {name: value for name, value in found.items() if value is not None and value != []}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
