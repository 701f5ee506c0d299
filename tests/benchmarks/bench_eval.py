"""The cost of judging: ROUGE and BLEU, and perplexity where lm-eval is installed.

ROUGE and BLEU over 10,000 rows, against rouge_score and sacrebleu as `evaluate`'s hub modules call them.
Those modules (metrics/rouge and metrics/sacrebleu on the Hub) come with no interval for BLEU; ROUGE's
aggregator draws 1,000 resamples, as we do for both. Runs alternate, so that a machine that slows down slows
both sides.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

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
    from llmkit.evaluation import examples, make, score_rows

    def run(predictions: list[str], references: list[str]) -> float:
        found = score_rows([make(name)], examples(predictions, references)).scores
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


def perplexity_texts(mixed: bool) -> list[str]:
    """Texts for the embedded model: all about three windows long, or from a few words to four windows."""
    generator = random.Random(2)
    words = ["the", "little", "dog", "ran", "to", "his", "mother", "and", "said", "happy", "ball", "tree."]
    lengths = [400] * 24 if not mixed else [int(8 * 2 ** generator.uniform(0, 6.5)) for _ in range(72)]
    return [" ".join(generator.choices(words, k=length)) for length in lengths]


def compare_perplexity(mixed: bool, window: int = 128) -> None:
    """Print tokens per second of both on the same windows; lm-eval at the best of three batch sizes."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from llmkit.evaluation.likelihood.perplexity import measure
    from llmkit.evaluation.likelihood.windowing import windowing
    from llmkit.records.read import rows_of
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    loaded = load(ModelSpec(name="stories", dtype="float32"))
    how = windowing(loaded, window=window, stride=window, bos="first")
    texts = perplexity_texts(mixed)
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=i)
        for i, text in enumerate(texts)
    ]
    options = {"max_length": window, "add_bos_token": False, "backend": "causal"}
    runs: dict[str, Callable[[], object]] = {"ours": lambda: list(measure(loaded, rows_of(texts), how))}
    for size in (1, 8, 32):
        harness = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=size, **options)
        runs[f"batch {size}"] = lambda harness=harness: harness.loglikelihood_rolling(requests, True)
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(ROUNDS):
        for side, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - start)
    tokens = sum(one.prediction[0].tokens for one in measure(loaded, rows_of(texts), how))
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    ours_s = medians.pop("ours")
    best = min(medians, key=lambda side: medians[side])
    print(
        f"perplexity, {'mixed' if mixed else 'equal'} lengths, {tokens:,} tokens in float32: "
        f"llmkit {tokens / ours_s:,.0f} tokens/s, lm-eval ({best}) {tokens / medians[best]:,.0f} tokens/s, "
        f"ratio {medians[best] / ours_s:.2f}"
    )


def main() -> None:
    """Print a line for ROUGE and one for BLEU, and two for perplexity where lm-eval is installed."""
    compare("ROUGE", ours("rouge"), hub_rouge, "rouge_score with its aggregator")
    compare("BLEU", ours("bleu"), hub_bleu, "sacrebleu without intervals")
    if find_spec("lm_eval") is None:
        print("perplexity: skipped, lm-eval is not installed (pip install 'llmkit[benchmarks]')")
        return
    for mixed in (False, True):
        compare_perplexity(mixed)


if __name__ == "__main__":
    main()
