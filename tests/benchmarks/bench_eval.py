"""ROUGE and BLEU over 10,000 rows, against rouge_score and sacrebleu as `evaluate`'s hub modules call them.

Those modules (metrics/rouge and metrics/sacrebleu on the Hub) come with no interval for BLEU; ROUGE's
aggregator draws 1,000 resamples, as we do for both. Runs alternate, so that a machine that slows down slows
both sides.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

ROWS = 10_000
ROUNDS = 3


def rows() -> tuple[list[str], list[str]]:
    """Predictions and references of 15 to 60 words, drawn as often as words of a language are (Zipf)."""
    generator = random.Random(1)
    words = [f"w{i}" for i in range(5_000)]
    weights = [1 / (i + 3) for i in range(5_000)]
    references, predictions = [], []
    for _ in range(ROWS):
        reference = generator.choices(words, weights, k=generator.randint(15, 60))
        # A prediction keeps about 60% of its reference's words and replaces the rest.
        other = generator.choices(words, weights, k=len(reference))
        kept = [a if generator.random() < 0.6 else b for a, b in zip(reference, other, strict=True)]
        references.append(" ".join(reference) + ".")
        predictions.append(" ".join(kept) + ".")
    return predictions, references


def hub_rouge(predictions: list[str], references: list[str]) -> float:
    """What the Hub's `rouge` computes with `use_aggregator=True`, its default."""
    from rouge_score import rouge_scorer, scoring

    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
    aggregator = scoring.BootstrapAggregator()
    for reference, prediction in zip(references, predictions, strict=True):
        aggregator.add_scores(scorer.score(reference, prediction))
    return float(aggregator.aggregate()["rougeL"].mid.fmeasure)


def hub_bleu(predictions: list[str], references: list[str]) -> float:
    """What the Hub's `sacrebleu` computes."""
    from sacrebleu import corpus_bleu

    return float(corpus_bleu(predictions, [references]).score)


def ours(name: str) -> Callable[[list[str], list[str]], float]:
    """Our metric with its interval; gives rougeL or BLEU."""
    from llmkit.evaluation import examples, make, score

    def run(predictions: list[str], references: list[str]) -> float:
        found = score([make(name)], examples(predictions, references)).scores
        return next(one.score for one in found if one.name in ("rougeL", "bleu"))

    return run


def compare(name: str, one: Callable[..., float], other: Callable[..., float], label: str) -> None:
    """Print the medians of both, and how many times faster ours is."""
    data = rows()
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    results = {}
    for _ in range(ROUNDS):
        for side, run in (("ours", one), ("theirs", other)):
            start = time.perf_counter()
            results[side] = run(*data)
            seconds[side].append(time.perf_counter() - start)
    ours_s, theirs_s = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
    print(
        f"{name}, {ROWS:,} rows: llmkit with intervals {ours_s:.2f} s, {label} {theirs_s:.2f} s, "
        f"ratio {theirs_s / ours_s:.2f} (scores {results['ours']:.4f} and {results['theirs']:.4f})"
    )


def main() -> None:
    """Print a line for ROUGE and one for BLEU."""
    compare("ROUGE", ours("rouge"), hub_rouge, "rouge_score with its aggregator")
    compare("BLEU", ours("bleu"), hub_bleu, "sacrebleu without intervals")


if __name__ == "__main__":
    main()
