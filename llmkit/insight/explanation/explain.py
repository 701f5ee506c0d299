"""`explain`: score the pieces of texts by their part in a prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.insight.explanation.case import PredictionCase
from llmkit.insight.explanation.components import components_of
from llmkit.insight.explanation.faithfulness import measure, probability_of
from llmkit.insight.explanation.gradients import TOLERANCE, integrate
from llmkit.insight.explanation.lens import lens_of
from llmkit.insight.explanation.occlusion import occlude, occlude_prefix
from llmkit.insight.explanation.options import ExplainOptions
from llmkit.insight.explanation.prompts import Asked, TextCases
from llmkit.insight.explanation.relevance import propagate
from llmkit.insight.explanation.result import ExplainedUnit, Explanation, ScoreMatrix
from llmkit.insight.explanation.scorer import (
    Removal,
    Scorer,
    SequenceScorer,
    SpanScorer,
    choose_baseline,
    embed,
)
from llmkit.records.rows import check_text

if TYPE_CHECKING:
    import numpy as np
    import torch

    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

MOST_OCCLUDED = 64
"""Most units that occlusion removes one by one; above, integrated gradients are the default."""


def explain(
    model: LoadedModel | ModelSpec | str,
    texts: str | Sequence[str],
    options: ExplainOptions | None = None,
) -> list[Explanation]:
    """Explain a model's predictions for texts.

    Args:
        model: a loaded model, a spec, or a name to load. A name is loaded in float32, for rounding costs
            more than a half-precision model saves.
        texts: one or several.
        options: see `ExplainOptions`.

    Returns:
        The explanation of each text, in order. It does not depend on the other texts.

    Raises:
        InputError: unknown model, an empty text, a target that begins inside a token, or a text and target
            longer than the context.
        OptionError: a method that this model has no rules for.
        OutOfMemory: a single pass over one text does not fit into memory.
    """
    wanted = options or ExplainOptions()
    explainer = Explainer(load_for(model, wanted), wanted)
    found = []
    for i, text in enumerate([texts] if isinstance(texts, str) else texts):
        where = f"text {i + 1}"
        found.append(explainer.explain(explainer.ask(check_text(text, where), where), key=i))
    return found


def load_for(model: LoadedModel | ModelSpec | str, options: ExplainOptions) -> LoadedModel:
    """Return the model, loaded in float32 for the task of `options`."""
    from dataclasses import replace

    from llmkit.runtime.load import LoadedModel, is_extractive_qa, load
    from llmkit.runtime.spec import ModelSpec

    if isinstance(model, LoadedModel):
        return model
    spec = ModelSpec(model) if isinstance(model, str) else model
    if spec.dtype == "auto":
        spec = replace(spec, dtype="float32")
    if options.task == "qa" and is_extractive_qa(replace(spec, task="question-answering")):
        spec = replace(spec, task="question-answering")
    return load(spec)


class Explainer:
    """Explains texts with one model.

    Args:
        loaded: the model, from `runtime.load`.
        options: see `ExplainOptions`.

    Raises:
        InputError, OptionError: the model cannot do the task, or the method has no rules for it.
    """

    def __init__(self, loaded: LoadedModel, options: ExplainOptions) -> None:
        self.loaded = loaded
        self.options = options
        self.extractive = loaded.spec.task == "question-answering"
        check_method(loaded, options.method)
        if self.extractive:
            from llmkit.insight.explanation.spans import SpanCases

            self.cases: Any = SpanCases(loaded, options)
        else:
            self.cases = TextCases(loaded, options)
        self.baseline_id, self.baseline = choose_baseline(loaded, options.baseline)
        layer: Any = loaded.model.get_input_embeddings()
        self._baseline: torch.Tensor = embed(layer, [self.baseline_id], loaded.device)[0]

    def ask(self, text: str, where: str) -> Asked:
        """Return a text with the target, foil and question of the options."""
        options = self.options
        return Asked(text, where, options.target, options.instead_of, options.question)

    def explain(self, asked: Asked, *, key: int = 0, tokens_at_once: int | None = None) -> Explanation:
        """Explain one text.

        Args:
            asked: the text.
            key: number that, with the seed, chooses the random orders.
            tokens_at_once: tokens in one forward pass; None takes as many as suit the device.

        Raises:
            RowError: the text or its target is bad.
            OutOfMemory: a single pass does not fit.
        """
        case: PredictionCase = self.cases.make(asked)
        method = self.options.method
        if method is None:
            method = "occlusion" if len(case.units) <= MOST_OCCLUDED else "ig"
        if method in {"lens", "components"}:
            return self._inside(case, method)
        scorer = self._scorer(case)
        removal = Removal(scorer, self._baseline, tokens_at_once)
        positions = [unit.positions for unit in case.units]
        ends = removal.scores([(), case.positions]).sum(1)
        work = _Attribution(self, case, scorer, removal)
        scores = getattr(work, method)()
        totals = scores.sum(0)
        comprehensiveness = sufficiency = None
        if self.options.check:
            comprehensiveness, sufficiency = measure(
                removal,
                positions,
                totals.tolist(),
                parts=len(case.target.ids),
                contrast=case.foil is not None,
                orders=self.options.orders,
                seed=(self.options.seed, key),
            )
        value, base = (float(one) for one in work.ends or ends)
        return Explanation(
            text=case.text,
            question=case.question,
            target=case.target.text,
            foil=case.foil.text if case.foil else None,
            target_tokens=case.target.tokens,
            method=method,
            unit=case.unit,
            explained=_explained(case, logit=method == "attnlrp"),
            value=value,
            probability=probability_of(len(case.target.ids), case.foil is not None)(removal.scores([()])[0]),
            baseline=self.baseline,
            baseline_value=base,
            steps=work.steps,
            units=tuple(
                ExplainedUnit(unit.text, unit.start, unit.end, float(score), unit.part)
                for unit, score in zip(case.units, totals, strict=True)
            ),
            matrix=_matrix(case, scores, [unit.text for unit in case.units]),
            prefix_matrix=work.prefix_matrix(method),
            completeness_error=abs(float(totals.sum()) - (value - base)) / max(abs(value - base), 1e-6),
            comprehensiveness=comprehensiveness,
            sufficiency=sufficiency,
            notes=(*case.notes, *work.notes),
        )

    def _scorer(self, case: PredictionCase, *, logit: bool = False) -> Scorer:
        if self.extractive:
            return SpanScorer(self.loaded, case)
        return SequenceScorer(self.loaded, case, logit=logit)

    def _inside(self, case: PredictionCase, method: str) -> Explanation:
        """Return the logit lens, or the parts of the logit."""
        scorer = SequenceScorer(self.loaded, case, logit=True)
        likely = SequenceScorer(self.loaded, case).distribution().log_softmax(-1)
        logs = [float(likely[i, token]) for i, token in enumerate(case.target.ids)]
        about: dict[str, Any] = {
            "text": case.text,
            "question": case.question,
            "target": case.target.text,
            "foil": case.foil.text if case.foil else None,
            "target_tokens": case.target.tokens,
            "method": method,
            "unit": case.unit,
            "probability": math.exp(math.fsum(logs) / len(logs)),
            "notes": case.notes,
        }
        if method == "lens":
            grid = lens_of(self.loaded, scorer, case)
            return Explanation(**about, explained="log-probability", value=math.fsum(logs), lens=grid)
        found, logit, error = components_of(self.loaded, scorer, case)
        explained = _explained(case, logit=True)
        return Explanation(
            **about, explained=explained, value=logit, components=found, completeness_error=error
        )


class _Attribution:
    """The methods that score units of one case.

    Attributes:
        steps: steps of integrated gradients, or None.
        ends: f(text) and f(baseline) where the method explains another number than the log-probability.
        notes: sentences that the reader needs to know.
    """

    def __init__(self, explainer: Explainer, case: PredictionCase, scorer: Scorer, removal: Removal) -> None:
        self._explainer = explainer
        self._case = case
        self._scorer = scorer
        self._removal = removal
        self.steps: int | None = None
        self.ends: tuple[float, float] | None = None
        self.notes: list[str] = []

    def occlusion(self) -> np.ndarray:
        """Return the scores of the units by occlusion: [parts, units]."""
        return occlude(self._removal, [unit.positions for unit in self._case.units])

    def ig(self) -> np.ndarray:
        """Return the scores of the units by integrated gradients: [parts, units]."""
        options = self._explainer.options
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

    def attnlrp(self) -> np.ndarray:
        """Return the scores of the units by relevance propagation: [parts, units], in the unit of the logit."""
        explainer, case = self._explainer, self._case
        scorer = explainer._scorer(case, logit=True)
        removal = Removal(scorer, self._removal.baseline)
        whole, without = removal.scores([(), case.positions]).sum(1)
        self.ends = (float(whole), float(without))
        source, self._prefix = propagate(explainer.loaded, scorer)
        return self._by_unit(source)

    def prefix_matrix(self, method: str) -> ScoreMatrix | None:
        """Return the scores of the target's parts for the parts after them."""
        case = self._case
        if case.foil is not None or len(case.target.groups) < 2 or case.candidates:
            return None
        skip = len(case.start)
        if method == "ig":
            options = self._explainer.options
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
            scores = _padded(self._prefix[:, skip:])
        columns = case.target.groups
        summed = [[scores[:, list(one.positions)].sum(1)] for one in columns]
        return _matrix(case, _stacked(summed), [one.text for one in columns])

    def _by_unit(self, scores: np.ndarray) -> np.ndarray:
        return _stacked([[scores[:, list(unit.positions)].sum(1)] for unit in self._case.units])


def check_method(loaded: LoadedModel, method: str | None) -> None:
    """Refuse a method that the model cannot follow.

    Raises:
        OptionError: quantized weights or a kernel without a backward pass.
    """
    if method in {None, "occlusion", "lens"}:
        return
    if (
        loaded.spec.quantize is not None
        or getattr(loaded.model.config, "quantization_config", None) is not None
    ):
        raise OptionError("method", f"{method} needs weights that are not quantized; use occlusion")
    if method in {"ig", "attnlrp"} and loaded.spec.attn is not None:
        from llmkit.attention.registry import find

        kernel = find(loaded.spec.attn, trust_remote_code=loaded.spec.trust_remote_code)
        if "backward" not in kernel.supports:
            raise OptionError("attn", f"{kernel.name} has no backward pass, which {method} needs; use sdpa")


def _explained(case: PredictionCase, *, logit: bool) -> str:
    single = all(len(branch.ids) == 1 for branch in case.branches)
    if case.foil is not None:
        return "logit difference" if single or logit else "log-probability difference"
    return "logit" if logit else "log-probability"


def _matrix(case: PredictionCase, scores: np.ndarray, columns: Sequence[str]) -> ScoreMatrix | None:
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


__all__ = ["Explainer", "InputError", "RowError", "check_method", "explain", "load_for"]
