"""Perplexity against a loop that is plain enough to be seen to be right."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from llmkit.errors import InputError, LLMKitError, OptionError, OutOfMemory, RowError
from llmkit.evaluation import score_rows
from llmkit.evaluation.likelihood.perplexity import measure, perplexity
from llmkit.evaluation.likelihood.windowing import windowing
from llmkit.records.read import rows_of
from llmkit.records.rows import Row
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec

# Jane Austen, Pride and Prejudice (1813), the first page.
PAGE = """It is a truth universally acknowledged, that a single man in possession of a good fortune, must be
in want of a wife.

However little known the feelings or views of such a man may be on his first entering a neighbourhood,
this truth is so well fixed in the minds of the surrounding families, that he is considered as the
rightful property of some one or other of their daughters.

“My dear Mr. Bennet,” said his lady to him one day, “have you heard that Netherfield Park is let at last?”

Mr. Bennet replied that he had not.

“But it is,” returned she; “for Mrs. Long has just been here, and she told me all about it.”

Mr. Bennet made no answer.

“Do not you want to know who has taken it?” cried his wife, impatiently.

“_You_ want to tell me, and I have no objection to hearing it.”

This was invitation enough."""


def reference_loss(model, ids, window, stride, bos=None):
    """Total negative log-likelihood of ids[1:]: one window at a time, one token at a time, no padding.

    Args:
        bos: the token that every window after the first begins with, too.
    """
    import torch

    total, done = 0.0, 0
    while done < len(ids) - 1:
        last = min(done + (stride if done else window), len(ids) - 1)
        fed = ids[max(0, last - window) : last]
        if bos is not None and last > window:
            fed = [bos, *fed[1:]]
        with torch.no_grad():
            logits = model(torch.tensor([fed])).logits[0]
        for target in range(done + 1, last + 1):
            place = len(fed) - 1 - (last - target)
            total -= torch.log_softmax(logits[place].to(torch.float64), -1)[ids[target]].item()
        done = last
    return total


def total_loss(loaded, texts, how, **options):
    rows = measure(loaded, rows_of(texts), how, **options)
    (first, *_) = score_rows([perplexity(loaded, how)], rows, resamples=5).scores
    return first.details


@pytest.fixture
def tiny(tiny_model):
    def get(family, **options):
        task = "fill-mask" if family == "bert" else "text-generation"
        name = str(tiny_model(family, **options))
        return load(ModelSpec(name=name, task=task, dtype="float32", device="cpu"))

    return get


@pytest.mark.parametrize(("window", "stride"), [(128, 128), (128, 64), (40, 7)])
@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "bloom", "gemma3"])
def test_equal_to_the_loop(tiny, family, window, stride):
    loaded = tiny(family, bos=False)
    how = windowing(loaded, window=window, stride=stride)
    ids = [loaded.tokenizer.bos_token_id, *loaded.tokenizer(PAGE)["input_ids"]]
    found = total_loss(loaded, [PAGE], how)
    assert found["tokens"] == len(ids) - 1
    assert found["nll"] == pytest.approx(reference_loss(loaded.model, ids, window, stride), rel=1e-5)
    loaded.model.double()
    exact = total_loss(loaded, [PAGE], how)["nll"]
    assert exact == pytest.approx(reference_loss(loaded.model, ids, window, stride), rel=1e-9)


@pytest.mark.parametrize("stride", [512, 100])
def test_the_embedded_model(stride):
    loaded = load(ModelSpec(name="stories", dtype="float32", device="cpu"))
    how = windowing(loaded, window=512, stride=stride, bos="first")
    ids = [how.bos, *loaded.tokenizer(PAGE, add_special_tokens=False)["input_ids"]]
    assert total_loss(loaded, [PAGE], how)["nll"] == pytest.approx(
        reference_loss(loaded.model, ids, 512, stride), rel=1e-5
    )
    loaded.model.double()
    assert total_loss(loaded, [PAGE], how)["nll"] == pytest.approx(
        reference_loss(loaded.model, ids, 512, stride), rel=1e-9
    )


def test_wikitext(data_folder):
    (path,) = (data_folder / "lm").glob("*wiki*valid*")
    text = path.read_text(encoding="utf-8")[:2_500]
    loaded = load(ModelSpec(name="stories", dtype="float32", device="cpu"))
    loaded.model.double()
    how = windowing(loaded)
    ids = [how.bos, *loaded.tokenizer(text, add_special_tokens=False)["input_ids"]]
    expected = reference_loss(loaded.model, ids, how.window, how.stride, how.bos if how.repeat_bos else None)
    assert total_loss(loaded, [text], how)["nll"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bos", ["first", "every", "none"])
def test_the_first_token(tiny, bos):
    loaded = tiny("llama", bos=False)
    loaded.model.double()
    how = windowing(loaded, window=32, stride=16, bos=bos)
    text = loaded.tokenizer(PAGE)["input_ids"]
    ids = text if bos == "none" else [0, *text]
    found = total_loss(loaded, [PAGE], how)
    expected = reference_loss(loaded.model, ids, 32, 16, bos=0 if bos == "every" else None)
    assert found["nll"] == pytest.approx(expected, rel=1e-9)
    assert found["tokens"] == len(ids) - 1
    assert how.name == {"first": "<s>,first", "every": "<s>,every", "none": "none"}[bos]


def test_bos_follows_the_tokenizer(tiny):
    assert windowing(tiny("llama", bos=True)).name == "<s>,every"
    assert windowing(tiny("llama", bos=False)).name == "<s>,first"


def test_the_tokenizers_own_bos_is_not_doubled(tiny):
    """A tokenizer that adds the token and one that does not give the same loss."""
    losses = [
        total_loss(tiny("llama", bos=bos), [PAGE], windowing(tiny("llama", bos=bos), bos="first"))
        for bos in (True, False)
    ]
    assert losses[0] == losses[1]


def test_scores_by_hand(tiny):
    loaded = tiny("gpt2")
    how = windowing(loaded)
    scores = {
        one.name: one
        for one in score_rows(
            [perplexity(loaded, how)], measure(loaded, rows_of(["Größe one", "two"]), how)
        ).scores
    }
    behind = scores["perplexity"].details
    assert (behind["words"], behind["bytes"]) == (3, 14)
    assert scores["perplexity"].score == pytest.approx(math.exp(behind["nll"] / behind["tokens"]))
    assert scores["word_perplexity"].score == pytest.approx(math.exp(behind["nll"] / 3))
    assert scores["bits_per_byte"].score == pytest.approx(behind["nll"] / math.log(2) / 14)
    assert scores["perplexity"].low < scores["perplexity"].score < scores["perplexity"].high


def test_batches_do_not_move_the_loss(tiny):
    """Texts of all lengths, alone and padded together, and in the order in which they came."""
    loaded = tiny("gpt2")
    loaded.model.double()
    how = windowing(loaded, window=64, stride=20)
    texts = [PAGE[i : i + length] for i, length in enumerate([3, 900, 40, 1, 300, 77, 600, 5])]
    alone = [next(measure(loaded, rows_of([text]), how)).prediction[0] for text in texts]
    for batch_size in (None, 1, 3):
        together = [one.prediction[0] for one in measure(loaded, rows_of(texts), how, batch_size=batch_size)]
        assert [one.token_ids for one in together] == [one.token_ids for one in alone]
        for found, expected in zip(together, alone, strict=True):
            assert found.token_losses == pytest.approx(expected.token_losses, rel=1e-9)


def test_a_long_window_makes_no_larger_batches(tiny):
    """A batch keeps to the budget of the CPU, 1,024 tokens, unless one window alone has more."""
    loaded = tiny("gpt2")
    how = replace(windowing(loaded), window=8192)
    sizes = []
    forward = loaded.model.forward

    def counted(**options):
        sizes.append(options["input_ids"].numel())
        return forward(**options)

    loaded.model.forward = counted
    list(measure(loaded, rows_of([PAGE[:100]] * 60), how))
    assert len(sizes) > 1
    assert max(sizes) <= 1024


def test_concatenated_texts_are_one(tiny):
    loaded = tiny("gpt2")
    how = windowing(loaded, window=32)
    texts = ["One day.", "Another day.", PAGE]
    joined = list(measure(loaded, rows_of(texts), how, concatenated=True))
    (whole,) = measure(loaded, rows_of(["\n\n".join(texts)]), how)
    assert len(joined) > 3
    for part in ("nll", "tokens", "words", "bytes"):
        total = sum(getattr(one.prediction[0], part) for one in joined)
        assert total == pytest.approx(getattr(whole.prediction[0], part))
    assert (joined[1].data["first_token"], joined[1].data["scored_tokens"]) == (32, 16)


def test_token_losses_for_plots(tiny):
    loaded = tiny("gpt2")
    how = windowing(loaded)
    (found,) = measure(loaded, [Row(0, {"text": "One day.", "id": 7}, "x:1")], how, token_losses=True)
    ids = loaded.tokenizer("One day.", add_special_tokens=False)["input_ids"]
    assert found.data["tokens"] == loaded.tokenizer.convert_ids_to_tokens(ids)
    assert found.data["id"] == 7
    assert sum(found.data["token_losses"]) == pytest.approx(found.prediction[0].nll)


def test_words_where_there_are_no_spaces(tiny):
    loaded = tiny("gpt2")
    (found,) = measure(loaded, rows_of(["春天来了，two"]), windowing(loaded))
    assert (found.prediction[0].words, found.prediction[0].bytes) == (5, 18)


def test_low_precision_is_judged_in_float32(tiny_model):
    """bfloat16 logits have 8 bits; a loss computed in them would be off by percents."""
    import torch

    folder = str(tiny_model("llama"))
    loaded = load(ModelSpec(name=folder, dtype="bfloat16", device="cpu"))
    how = windowing(loaded, bos="first")
    (found,) = measure(loaded, rows_of([PAGE[:200]]), how)
    ids = [how.bos, *loaded.tokenizer(PAGE[:200], add_special_tokens=False)["input_ids"]]
    assert loaded.model.dtype == torch.bfloat16
    expected = reference_loss(loaded.model, ids, how.window, how.stride)
    assert found.prediction[0].nll == pytest.approx(expected, rel=1e-6)


CPU_FAILURE = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_out_of_memory_halves_the_batch(tiny, monkeypatch, kind):
    """A batch of two passes fails: the GPU's allocator has an error of its own, the CPU's a RuntimeError."""
    import torch

    loaded = tiny("gpt2")
    how = windowing(loaded)
    texts = ["a b", "c d e", "f", "g h", "i j k"]
    expected = [one.prediction[0] for one in measure(loaded, rows_of(texts), how)]
    forward, notices, sizes = loaded.model.forward, [], []

    def scarce(input_ids, **options):
        sizes.append(len(input_ids))
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError if kind == "cuda" else RuntimeError(CPU_FAILURE)
        return forward(input_ids, **options)

    monkeypatch.setattr(loaded.model, "forward", scarce)
    rows = measure(loaded, rows_of(texts), how, batch_size=3, notice=notices.append)
    found = [one.prediction[0] for one in rows]
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.nll for one in found] == pytest.approx([one.nll for one in expected], rel=1e-5)
    assert sizes == [3, 1, 1, 1, 1, 1]  # the second batch begins with the size that fits
    assert len(notices) == 1
    assert "out of memory" in notices[0]


def test_one_window_that_does_not_fit(tiny, monkeypatch):
    loaded = tiny("gpt2")

    def none(**options):
        raise RuntimeError(CPU_FAILURE)

    monkeypatch.setattr(loaded.model, "forward", none)
    with pytest.raises(OutOfMemory, match=r"window of 2 tokens.*`window`"):
        list(measure(loaded, rows_of(["a b"]), windowing(loaded, bos="first")))


def test_nothing_scored_is_an_error(tiny):
    """Without a token before it, a text of one token has nothing to be scored: no perplexity of 1."""
    loaded = tiny("gpt2", bos=False)
    how = windowing(loaded, bos="none")
    with pytest.raises(InputError, match="perplexity has nothing to score"):
        score_rows([perplexity(loaded, how)], measure(loaded, rows_of(["a"]), how))
    seen = []
    rows = measure(loaded, rows_of(["a", "a b"]), how)
    score_rows([perplexity(loaded, how)], rows, resamples=2, on_record=seen.append)
    assert all(math.isnan(value) for value in seen[0].scores.values())
    assert all(math.isfinite(value) for value in seen[1].scores.values())


def test_a_loss_that_is_no_number_is_an_error(tiny):
    loaded = tiny("gpt2")
    loaded.model.get_output_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(LLMKitError, match=r"argument:1: .*float32"):
        list(measure(loaded, rows_of(["a b"]), windowing(loaded)))


def test_progress_counts_tokens(tiny):
    loaded, counts = tiny("gpt2"), []
    how = windowing(loaded, window=16)
    (found,) = measure(loaded, rows_of([PAGE]), how, batch_size=4, progress=counts.append)
    assert counts == sorted(set(counts))
    assert counts[-1] == found.prediction[0].tokens


def test_only_empty_texts(tiny):
    loaded = tiny("gpt2")
    how = windowing(loaded)
    with pytest.raises(InputError, match="perplexity has nothing to score: the texts are empty"):
        score_rows([perplexity(loaded, how)], measure(loaded, rows_of(["", ""]), how))


def test_a_text_without_tokens_counts_nothing(tiny):
    loaded = tiny("gpt2")
    how = windowing(loaded)
    losses = [one.prediction[0] for one in measure(loaded, rows_of(["", "a b"]), how)]
    assert (losses[0].tokens, losses[0].nll) == (0, 0)
    assert losses[1].tokens > 0


def test_rows_without_text(tiny):
    loaded = tiny("gpt2")
    with pytest.raises(RowError, match="x:1: column 'text' is null"):
        list(measure(loaded, [Row(0, {"text": None}, "x:1")], windowing(loaded)))


@pytest.mark.parametrize(
    ("option", "value", "fact"),
    [
        ("window", 129, "128"),
        ("window", 0, "0"),
        ("stride", 0, "128"),
        ("window", 1, "1"),
        ("stride", 129, "129"),
        ("bos", "always", "every"),
    ],
)
def test_bad_options(tiny, option, value, fact):
    with pytest.raises(OptionError) as caught:
        windowing(tiny("gpt2"), **{option: value})
    assert caught.value.option == option
    assert fact in caught.value.reason


@pytest.mark.parametrize(("window", "stride"), [(None, None), (24, 9), (24, 22)])
def test_a_masked_model_equal_to_the_loop(tiny, window, stride):
    """Salazar et al. 2020: each token masked in turn, scored from both sides."""
    import torch

    loaded = tiny("bert")
    loaded.model.double()
    how = windowing(loaded, window=window, stride=stride)
    text = PAGE[:300]
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    size = how.window - 2
    total = 0.0
    for place, target in enumerate(ids):
        # The first window goes as far as the middle of its overlap with the second, and so on.
        beyond = max(0, place - (size - (size - how.stride) // 2) + 1)
        start = min(-(-beyond // how.stride) * how.stride, max(0, len(ids) - size))
        fed = [0, *ids[start : start + size], 1]
        fed[place - start + 1] = loaded.tokenizer.mask_token_id
        with torch.no_grad():
            logits = loaded.model(torch.tensor([fed])).logits[0, place - start + 1]
        total -= torch.log_softmax(logits, -1)[target].item()
    found = total_loss(loaded, [text], how)
    assert found["tokens"] == len(ids)
    assert found["nll"] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_equal_to_its_own_loss(tiny, family):
    import torch

    loaded = tiny(family)
    loaded.model.double()
    rows = [Row(0, {"text": "Der Hund.", "en": "The dog."}, "x:1"), Row(1, {"text": "x", "en": PAGE}, "x:2")]
    how = windowing(loaded)
    found = list(measure(loaded, rows[:1], how, given=lambda row: row.data["en"]))
    # The tiny tokenizer writes <s>, an input of the decoder, and no end.
    source = loaded.tokenizer("The dog.", return_tensors="pt")["input_ids"]
    target = loaded.tokenizer("Der Hund.", add_special_tokens=False)["input_ids"]
    fed = torch.tensor([[loaded.model.config.decoder_start_token_id, 0, *target[:-1]]])
    with torch.no_grad():
        logits = loaded.model(input_ids=source, decoder_input_ids=fed).logits[0, 1:]
    expected = -torch.log_softmax(logits, -1)[range(len(target)), target].sum().item()
    assert found[0].prediction[0].nll == pytest.approx(expected, rel=1e-9)
    assert found[0].prediction[0].tokens == len(target)
    with pytest.raises(RowError, match=r"x:1: .* encoder-decoder .*`given`"):
        list(measure(loaded, rows[:1], how))
    if family == "bart":
        with pytest.raises(RowError, match=r"x:2: its source has \d+ tokens; .* 128"):
            list(measure(loaded, rows, how, given=lambda row: row.data["en"]))


@pytest.mark.parametrize("window", [128, 12])
def test_what_is_given_is_not_scored(tiny, window):
    import torch

    loaded = tiny("llama", bos=False)
    loaded.model.double()
    how = windowing(loaded, window=window, stride=window // 2, given=True)
    rows = [Row(0, {"text": "the moon looked back at it.", "before": "The cat sat and"}, "x:1")]
    (found,) = measure(loaded, rows, how, given=lambda row: row.data["before"])
    ids = loaded.tokenizer("The cat sat and the moon looked back at it.")["input_ids"]
    given = len(loaded.tokenizer("The cat sat and")["input_ids"])
    expected = [
        -torch.log_softmax(loaded.model(torch.tensor([ids[:place]])).logits[0, -1], -1)[ids[place]].item()
        for place in range(given, len(ids))
    ]
    assert list(found.prediction[0].token_ids) == ids[given:]
    if window == 128:
        assert found.prediction[0].token_losses == pytest.approx(expected, rel=1e-9)
