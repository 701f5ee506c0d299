"""`explain`: compute the contribution of each unit of a text to a prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.insight.explanation.attribution import Attribution, matrix_of
from llmkit.insight.explanation.case import PredictionCase
from llmkit.insight.explanation.components import components_of
from llmkit.insight.explanation.faithfulness import measure, probability_of
from llmkit.insight.explanation.families import parts_of
from llmkit.insight.explanation.lens import lens_of
from llmkit.insight.explanation.options import ExplainOptions
from llmkit.insight.explanation.prompts import AskedText, TextCases
from llmkit.insight.explanation.result import ExplainedUnit, Explanation
from llmkit.insight.explanation.scorer import (
    Scorer,
    SequenceScorer,
    SpanScorer,
    UnitRemoval,
    choose_baseline,
    embed,
)
from llmkit.records.rows import check_text

if TYPE_CHECKING:
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

    def ask(self, text: str, where: str) -> AskedText:
        """Return a text with the target, foil and question of the options."""
        options = self.options
        return AskedText(text, where, options.target, options.instead_of, options.question)

    def explain(self, asked: AskedText, *, key: int = 0, tokens_at_once: int | None = None) -> Explanation:
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
        scorer: Scorer = (
            SpanScorer(self.loaded, case) if self.extractive else SequenceScorer(self.loaded, case)
        )
        removal = UnitRemoval(scorer, self._baseline, tokens_at_once)
        work = Attribution(self.loaded, self.options, case, removal)
        scores = work.scores(method)
        totals = scores.sum(0)
        value, base = work.ends or [float(one) for one in removal.scores([(), case.positions]).sum(1)]
        found = Explanation(
            **self._about(case, method),
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
            matrix=matrix_of(case, scores, [unit.text for unit in case.units]),
            prefix_matrix=work.prefix_matrix(method),
            completeness_error=abs(float(totals.sum()) - (value - base)) / max(abs(value - base), 1e-6),
            notes=(*case.notes, *work.notes),
        )
        return self._measured(found, case, removal, key) if self.options.check else found

    def _measured(
        self, found: Explanation, case: PredictionCase, removal: UnitRemoval, key: int
    ) -> Explanation:
        """Return an explanation with the effect of removing units in the order of its scores."""
        comprehensiveness, sufficiency = measure(
            removal,
            [unit.positions for unit in case.units],
            [unit.score for unit in found.units],
            parts=len(case.target.ids),
            contrast=case.foil is not None,
            orders=self.options.orders,
            seed=(self.options.seed, key),
        )
        return replace(found, comprehensiveness=comprehensiveness, sufficiency=sufficiency)

    def _about(self, case: PredictionCase, method: str) -> dict[str, Any]:
        return {
            "text": case.text,
            "question": case.question,
            "target": case.target.text,
            "foil": case.foil.text if case.foil else None,
            "target_tokens": case.target.tokens,
            "method": method,
            "unit": case.unit,
        }

    def _inside(self, case: PredictionCase, method: str) -> Explanation:
        """Return the logit lens, or the parts of the logit."""
        scorer = SequenceScorer(self.loaded, case, logit=True)
        likely = SequenceScorer(self.loaded, case).distribution().log_softmax(-1)
        logs = [float(likely[i, token]) for i, token in enumerate(case.target.ids)]
        about = self._about(case, method)
        about |= {"probability": math.exp(math.fsum(logs) / len(logs)), "notes": case.notes}
        if method == "lens":
            grid = lens_of(self.loaded, scorer, case)
            return Explanation(**about, explained="log-probability", value=math.fsum(logs), lens=grid)
        found, logit, error = components_of(self.loaded, scorer, case)
        explained = _explained(case, logit=True)
        return Explanation(
            **about, explained=explained, value=logit, components=found, completeness_error=error
        )


def check_method(loaded: LoadedModel, method: str | None) -> None:
    """Refuse a method that the model cannot follow.

    Raises:
        OptionError: a family whose parts are not known, quantized weights, or a kernel without a backward
            pass.
    """
    if method in {"attnlrp", "lens", "components"}:
        parts_of(loaded, str(method))
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


__all__ = ["Explainer", "check_method", "explain", "load_for"]
