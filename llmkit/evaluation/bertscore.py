"""BERTScore by its authors' package: how alike texts are to an encoder's contextual embeddings.

Zhang et al., BERTScore: Evaluating Text Generation with BERT (2020). The package is an extra.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        from bert_score import BERTScorer
        from bert_score.utils import model2layers
    except ImportError as error:
        raise InputError(f"bertscore needs its package: pip install 'llmkit[bertscore]' ({error})") from error
    import transformers

    from llmkit import __version__
    from llmkit.runtime.device import choose_device
    from llmkit.runtime.locate import locate
    from llmkit.runtime.spec import ModelSpec

    if model is None:
        raise InputError("bertscore needs an encoder, such as roberta-large: name it with --bertscore-model")
    layer = layer if layer is not None else model2layers.get(model)
    if layer is None:
        raise InputError(
            f"--bertscore-model {model}: which of its layers is best is not known; give one with"
            " --bertscore-layer"
        )
    location = locate(model, ModelSpec(name=model, task="feature-extraction"))
    place = choose_device(device, 0).device
    try:
        scorer: Any = BERTScorer(model_type=str(location.folder), num_layers=layer, device=place)
    except (AssertionError, OSError, ValueError, KeyError) as error:
        raise InputError(f"--bertscore-model {model}: {' '.join(str(error).split())}") from error
    tokenizer = scorer._tokenizer
    limit = scorer._model.config.max_position_embeddings
    # Without a length of its own a tokenizer has one that does not fit into its truncation.
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)

    found: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def ahead(examples: Sequence[Example]) -> None:
        keys = {(prediction, tuple(references)) for prediction, references in map(texts, examples)}
        new = sorted(keys - found.keys())
        for key in list(found.keys() - keys):
            del found[key]
        if not new:
            return
        scores = scorer.score([key[0] for key in new], [list(key[1]) for key in new])
        for number, key in enumerate(new):
            found[key] = [float(column[number]) for column in scores]

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        return [*found[prediction, tuple(references)], 1.0]

    return Metric(
        name="bertscore",
        scores=("bertscore_precision", "bertscore_recall", "bertscore_f1"),
        signature=f"refs:max|model:{model}@{location.revision}|layer:{layer}|idf:no|rescaled:no"
        f"|version:bert_score-{_version()}|transformers:{transformers.__version__}|llmkit-{__version__}",
        statistics=statistics,
        corpus=means,
        ahead=ahead,
    )


def _version() -> str:
    from importlib.metadata import version

    return version("bert_score")
