"""BERTScore, computed by the package of its authors: similarity of contextual embeddings.

Zhang et al. (2020), BERTScore: Evaluating Text Generation with BERT, arXiv:1904.09675. The package is an
extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, OptionError, one_line
from llmkit.evaluation.metric import Declaration, Example, Metric, MetricOption, declare, means, texts


@declare(
    Declaration(
        "similarity of embeddings (pip install 'llmkit[bertscore]')",
        options=(
            MetricOption(
                "bertscore_model",
                str,
                "The encoder.",
                parameter="model",
                metavar="NAME|PATH",
                default="by the language",
            ),
            MetricOption(
                "bertscore_layer",
                int,
                "Layer of the encoder.",
                default="the choice of BERTScore's authors",
                parameter="layer",
            ),
        ),
    )
)
def bertscore(*, model: str | None = None, layer: int | None = None, device: str = "auto") -> Metric:
    """Build BERTScore: precision, recall and F1 of greedy token matches, averaged over rows.

    With several references, the best of each score counts. Weights by inverse document frequency and rescaled
    scores are not used: they need the whole corpus or a baseline file.

    Args:
        model: the encoder, a Hub name or a folder.
        layer: layer whose embeddings are compared; None uses the package's choice for this model.
        device: device for the encoder.

    Raises:
        InputError: the package is missing.
        OptionError: no model is named, it does not load, or its layer is not known.
    """
    try:
        from bert_score import utils
    except ImportError as error:
        raise InputError(f"bertscore needs its package: pip install 'llmkit[bertscore]' ({error})") from error
    import transformers

    from llmkit import __version__
    from llmkit.runtime.device import choose_device
    from llmkit.runtime.locate import locate
    from llmkit.runtime.spec import ModelSpec

    if model is None:
        raise OptionError("bertscore_model", "must name an encoder, such as roberta-large")
    layer = layer if layer is not None else utils.model2layers.get(model)
    if layer is None:
        raise OptionError("bertscore_layer", f"must be set: BERTScore's authors chose no layer of {model}")
    location = locate(model, ModelSpec(name=model, task="feature-extraction"))
    matches = _Matches(_scorer(model, location.folder, layer, choose_device(device, 0).device))
    return Metric(
        name="bertscore",
        scores=("bertscore_precision", "bertscore_recall", "bertscore_f1"),
        signature=f"refs:max|model:{model}@{location.revision}|layer:{layer}|idf:no|rescaled:no"
        f"|version:bert_score-{_version()}|transformers:{transformers.__version__}|llmkit-{__version__}",
        statistics=matches.statistics,
        corpus=means,
        prefetch=matches.prefetch,
    )


def _scorer(model: str, folder: Path, layer: int, device: str) -> Any:
    """Return the package's scorer, with the encoder loaded from its folder."""
    from bert_score import BERTScorer

    try:
        scorer: Any = BERTScorer(model_type=str(folder), num_layers=layer, device=device)
    except (AssertionError, OSError, ValueError, KeyError) as error:
        raise OptionError("bertscore_model", f"{model} does not load: {one_line(error)}") from error
    tokenizer = scorer._tokenizer
    limit = scorer._model.config.max_position_embeddings
    # A tokenizer without a separate length has a huge one, which overflows its truncation.
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return scorer


class _Matches:
    """Scores of the rows of the latest `prefetch`; each text is scored once with its references."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self._found: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def prefetch(self, examples: Sequence[Example]) -> None:
        found = self._found
        keys = {(prediction, tuple(references)) for prediction, references in map(texts, examples)}
        new = sorted(keys - found.keys())
        for key in list(found.keys() - keys):
            del found[key]
        if not new:
            return
        scores = self._scorer.score([key[0] for key in new], [list(key[1]) for key in new])
        for number, key in enumerate(new):
            found[key] = [float(column[number]) for column in scores]

    def statistics(self, example: Example) -> list[float]:
        prediction, references = texts(example)
        return [*self._found[prediction, tuple(references)], 1.0]


def _version() -> str:
    from importlib.metadata import version

    return version("bert_score")
