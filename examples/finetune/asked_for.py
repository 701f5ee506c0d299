"""A metric of one's own, as `llmkit eval --metric FILE.py` takes it: how many words asked for are there."""

import re

import datasets
import evaluate


class AskedFor(evaluate.Metric):
    """The share of the references, words each, that stand in the prediction (`dog` also as `dogs`)."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Share of the words asked for that the text has.",
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
