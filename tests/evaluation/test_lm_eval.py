"""The same perplexity as EleutherAI's harness, where it is installed."""

from __future__ import annotations

import pytest

from llmkit.evaluation import score
from llmkit.evaluation.perplexity import measure, perplexity
from llmkit.evaluation.reading import windowing
from llmkit.records.read import rows_of
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec

TEXTS = [
    "Once upon a time there was a little dog. The dog lived in a big house by the sea, and every day he ran "
    "to the beach to look at the waves. One day he found a shell. “What is this?” he asked.",
    "The cat sat on the mat and looked at the moon.",
]


@pytest.mark.parametrize("window", [16, 64])
def test_same_windows_same_numbers(window):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity
    from lm_eval.models.huggingface import HFLM

    loaded = load(ModelSpec(name="stories", dtype="float32", device="cpu"))
    # The harness puts a beginning token before a text by itself; without this the tokenizer adds a second.
    theirs = HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        max_length=window,
        batch_size=2,
        add_bos_token=False,
        backend="causal",
    )
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=i)
        for i, text in enumerate(TEXTS)
    ]
    likelihoods = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    words = [(one, len(text.split())) for one, text in zip(likelihoods, TEXTS, strict=True)]
    size = [(one, len(text.encode())) for one, text in zip(likelihoods, TEXTS, strict=True)]

    # It feeds disjoint windows, with the beginning token in the first alone.
    how = windowing(loaded, window=window, stride=window, bos="first")
    found = {
        one.name: one.score
        for one in score([perplexity(loaded, how)], measure(loaded, rows_of(TEXTS), how)).scores
    }
    assert found["word_perplexity"] == pytest.approx(weighted_perplexity(words), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(bits_per_byte(size), rel=1e-5)
