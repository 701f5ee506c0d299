"""A custom metric for `llmkit eval --metric FILE.py`: share of requested words that the text has."""

import re

import datasets
import evaluate


class AskedFor(evaluate.Metric):
    """Share of the references (single words) that occur in the prediction (`dog` also as `dogs`)."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Share of the requested words that the text has.",
            citation="",
            features=datasets.Features({"predictions": text, "references": datasets.List(text)}),
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        found = [
            re.search(rf"\b{re.escape(word)}s?\b", text, re.IGNORECASE) is not None
            for text, words in zip(predictions, references, strict=True)
            for word in words
        ]
        return {"asked_for": 100 * sum(found) / len(found)}
