"""Vectors of texts as a library function and as a `Task`: rows in, rows with an `embedding` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, check_text, text_of
from llmkit.records.task import Fields, RunState
from llmkit.tasks.embeddings.embedder import SentenceEmbedder

if TYPE_CHECKING:
    import numpy as np

    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

DEFAULT_FIELDS = ("text", "sentence", "prompt")


@dataclass(frozen=True)
class EmbeddingResult:
    """Vectors of texts.

    Attributes:
        vectors: float32 [texts, dimensions].
        tokens: number of tokens that the model read of each text.
        truncated: number of texts that were longer than the model sees.
        pooling: ``mean``, ``cls`` or ``last``.
        normalized: True if the vectors have length 1.
    """

    vectors: np.ndarray
    tokens: list[int]
    truncated: int
    pooling: str
    normalized: bool


def embed(
    model: LoadedModel | ModelSpec | str | Path,
    texts: str | Sequence[str],
    *,
    pooling: str | None = None,
    normalize: bool | None = None,
    prompt: str | None = None,
) -> EmbeddingResult:
    """Embed texts.

    Args:
        model: a model loaded for the task ``feature-extraction``, or a name, path or `ModelSpec` to load.
        texts: one or several; of a text that is longer than the model sees, the beginning is embedded.
        pooling: ``mean``, ``cls`` or ``last``; None takes what the model's `modules.json` says, or the mean.
        normalize: scale vectors to length 1; None takes what `modules.json` says, or True without one.
        prompt: name of one of the model's prompts; None takes its default, if it has one.

    Raises:
        InputError: unknown model, or one that does not embed texts.
        OptionError: there is no such pooling or prompt.
        OutOfMemory: a single text does not fit into memory.
    """
    import numpy as np

    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    if isinstance(model, str | Path | ModelSpec):
        spec = model if isinstance(model, ModelSpec) else ModelSpec(str(model))
        model = load(replace(spec, task="feature-extraction"))
    embedder = SentenceEmbedder(model, pooling=pooling, normalize=normalize, prompt=prompt)
    listed = [texts] if isinstance(texts, str) else list(texts)
    checked = [check_text(text, f"text {i + 1}") for i, text in enumerate(listed)]
    vectors = embedder(checked).astype(np.float32)
    truncated = embedder.cut
    tokens = [len(ids) for ids in embedder.encode(checked)]
    return EmbeddingResult(vectors, tokens, truncated, embedder.modules.pooling, embedder.modules.normalize)


class Embedding:
    """Embedding of rows as a `Task`.

    Args:
        embedder: makes the vectors.
        field: column with the text; None takes `text`, `sentence`, `prompt` or the only one.
        template: text over several columns.
        details: rows gain `tokens`, the number of tokens that the model read.

    Attributes:
        run_state: counters; nothing is random.
    """

    def __init__(
        self,
        embedder: SentenceEmbedder,
        *,
        field: str | None = None,
        template: str | None = None,
        details: bool = False,
    ) -> None:
        self.embedder = embedder
        self.field, self.template, self.details = field, template, details
        self.run_state = RunState()

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[list[int]] | RowError]:
        """Tokenize the texts of rows; a row without one, or with an empty one, becomes its RowError."""
        taken = [self._text(row) for row in rows]
        encoded = iter(self.embedder.encode([text for text in taken if isinstance(text, str)]))
        return [
            text if isinstance(text, RowError) else _prepared(row, next(encoded))
            for row, text in zip(rows, taken, strict=True)
        ]

    def fields(self, batch: Sequence[PreparedRow[list[int]]], budget: Budget) -> list[Fields | RowError]:
        """Embed a batch: the `embedding` of each row, a list of numbers with the digits of a float32.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        import numpy as np

        vectors = self.embedder.vectors([one.payload for one in batch]).astype(np.float32)
        found: list[Fields | RowError] = []
        for one, vector in zip(batch, vectors, strict=True):
            fields: Fields = {"embedding": [float(str(value)) for value in vector]}
            found.append(fields | ({"tokens": one.length} if self.details else {}))
        return found

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one batch."""
        tokens = self.embedder.tokens_at_once if batch_size is None else None
        return Budget(tokens=tokens, rows=batch_size, new_tokens=0)

    def header(self) -> dict[str, Any]:
        """Return all that the vectors depend on, besides the rows, as JSON, for the journal."""
        return {
            **self.embedder.identity(),
            "field": self.field,
            "template": self.template,
            "details": self.details,
        }

    def _text(self, row: Row) -> str | RowError:
        try:
            text = text_of(row, field=self.field, template=self.template, defaults=DEFAULT_FIELDS)
        except RowError as error:
            return error
        return text if text.strip() else RowError(row.where, "nothing to embed: the text is empty")


def _prepared(row: Row, ids: list[int]) -> PreparedRow[list[int]] | RowError:
    return PreparedRow(row, len(ids), ids) if ids else RowError(row.where, "the text has no token")
