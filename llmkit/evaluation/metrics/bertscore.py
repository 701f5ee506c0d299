"""BERTScore by its authors' package: how alike texts are to an encoder's contextual embeddings.

Zhang et al., BERTScore: Evaluating Text Generation with BERT (2020). The package is an extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import InputError
from llmkit.evaluation.metric import Example, Metric, means, texts


def bertscore(*, model: str | None = None, layer: int | None = None, device: str = "auto") -> Metric:
    """Precision, recall and F1 of a row's greedy token matches; a corpus's are their means.

    Args:
        model: the encoder, a Hub name or a folder.
        layer: which layer's embeddings are compared; None takes what the package chose for this model.
        device: where it runs.

    Several references count by the best of each score. Weights by inverse document frequency and rescaled
    scores need the whole corpus or a baseline file, and are not used.

    Raises:
        InputError: the package is missing, no model is named, or its layer is not known.
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
        raise InputError("bertscore needs an encoder, such as roberta-large: name it with --bertscore-model")
    layer = layer if layer is not None else utils.model2layers.get(model)
    if layer is None:
        raise InputError(
            f"--bertscore-model {model}: which of its layers is best is not known; give one with"
            " --bertscore-layer"
        )
    location = locate(model, ModelSpec(name=model, task="feature-extraction"))
    matches = _Matches(_scorer(model, location.folder, layer, choose_device(device, 0).device))
    return Metric(
        name="bertscore",
        scores=("bertscore_precision", "bertscore_recall", "bertscore_f1"),
        signature=f"refs:max|model:{model}@{location.revision}|layer:{layer}|idf:no|rescaled:no"
        f"|version:bert_score-{_version()}|transformers:{transformers.__version__}|llmkit-{__version__}",
        statistics=matches.statistics,
        corpus=means,
        ahead=matches.ahead,
    )


def _scorer(model: str, folder: Path, layer: int, device: str) -> Any:
    """The package's scorer, with the encoder loaded from its folder."""
    from bert_score import BERTScorer

    try:
        scorer: Any = BERTScorer(model_type=str(folder), num_layers=layer, device=device)
    except (AssertionError, OSError, ValueError, KeyError) as error:
        raise InputError(f"--bertscore-model {model}: {' '.join(str(error).split())}") from error
    tokenizer = scorer._tokenizer
    limit = scorer._model.config.max_position_embeddings
    # Without a length of its own a tokenizer has one that does not fit into its truncation.
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return scorer


class _Matches:
    """The scores of the rows that were shown together last, each text with its references scored once."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self._found: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def ahead(self, examples: Sequence[Example]) -> None:
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
