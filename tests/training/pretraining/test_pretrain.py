from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmkit.errors import InputError, LLMKitError
from llmkit.training.heldout import measure
from llmkit.training.pretraining.plan import DeviceChoice, load, plan, tokenize
from tests.training.helpers import refuses
from tests.training.pretraining.runs import TINY, metrics, train

Write = Callable[..., Path]


@pytest.fixture
def corpus(write_corpus: Write, stories: list[str]) -> Path:
    return write_corpus(stories)


def test_the_finished_folder_is_a_model_that_has_learned(corpus: Path, tmp_path: Path) -> None:
    result = train(corpus, tmp_path / "out", replace(TINY, max_steps=40))
    losses = [row["loss"] for row in metrics(result.folder) if "loss" in row]
    assert len(losses) == 40
    assert losses[-1] < losses[0] - 0.5
    assert {file.name for file in result.folder.iterdir()} == {
        "config.json",
        "finished.json",
        "generation_config.json",
        "loss.svg",
        "metrics.jsonl",
        "model.safetensors",
        "README.md",
        "report.html",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    model = AutoModelForCausalLM.from_pretrained(result.folder)
    assert model.num_parameters() == result.parameters
    assert model.config.use_cache
    tokenizer = AutoTokenizer.from_pretrained(result.folder)
    prompt = tokenizer("Once upon a time", return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=4).shape[1] > prompt["input_ids"].shape[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_held_out_loss_reported_is_that_of_the_saved_weights(
    corpus: Path, tmp_path: Path, dtype: str
) -> None:
    result = train(corpus, tmp_path / "out", replace(TINY, dtype=dtype), save_dtype="float16")
    tokenize([corpus], TINY, tmp_path / "ids")
    prepared = load(tmp_path / "ids", TINY, DeviceChoice.of(TINY, "cpu"))
    stored = load_file(tmp_path / "out/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    again = measure(model, prepared.held_out, boundary=0, context=32, utf8_bytes=prepared.held_out_bytes)
    assert result.held_out_loss == pytest.approx(again.loss, rel=1e-6)
    assert result.bits_per_byte == pytest.approx(again.bits_per_byte, rel=1e-6)


def test_an_output_in_use_is_refused_or_overwritten_with_care(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    train(corpus, output, replace(TINY, max_steps=1))
    (output / "notes.md").write_text("mine")
    with refuses("output", "not empty"):
        train(corpus, output)
    with refuses("resume", "`overwrite`"):
        train(corpus, output, resume=True, overwrite=True)
    assert train(corpus, output, replace(TINY, max_steps=2), overwrite=True).steps == 2
    assert (output / "notes.md").read_text() == "mine"
    with refuses("output", "is a file"):
        train(corpus, corpus)


def test_bad_input_leaves_an_earlier_model_alone(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    train(corpus, output, replace(TINY, max_steps=1))
    with pytest.raises(InputError, match="fills no block"):
        train(corpus, output, replace(TINY, max_length=10**6), overwrite=True)
    assert (output / "model.safetensors").exists()


def test_held_out_documents_of_their_own_leave_the_corpus_whole(
    corpus: Path, tmp_path: Path, write_corpus: Write, stories: list[str]
) -> None:
    held_out = write_corpus(stories[:5], "held.txt")
    found = plan([corpus], TINY, eval_data=held_out, device="cpu")
    assert (found.documents, found.held_out_documents) == (60, 5)
    found = plan([corpus], replace(TINY, eval_split=0.1), device="cpu")
    assert (found.documents, found.held_out_documents) == (54, 6)


def test_without_held_out_documents_the_last_weights_are_kept(corpus: Path, tmp_path: Path) -> None:
    result = train(corpus, tmp_path / "out", replace(TINY, eval_split=0, max_steps=3))
    assert (result.held_out_loss, result.perplexity, result.bits_per_byte) == (None, None, None)
    assert "held-out loss" not in (result.folder / "README.md").read_text()
    assert (result.folder / "model.safetensors").exists()


def test_a_tokenizer_can_be_taken_over(corpus: Path, tmp_path: Path) -> None:
    first = train(corpus, tmp_path / "first", replace(TINY, max_steps=1))
    recipe = replace(TINY, tokenizer=str(first.folder), max_steps=1)
    second = train(corpus, tmp_path / "second", recipe)
    files = [r.folder / "tokenizer.json" for r in (first, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_checkpoints_stay_when_asked(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "out", keep_checkpoints=True)
    assert (tmp_path / "out/checkpoints/checkpoint-12/optimizer.pt").exists()


def test_a_loss_that_is_no_number_ends_the_run(corpus: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, lr=1e30, warmup=0, eval_split=0)
    with pytest.raises(LLMKitError, match="smaller `lr`"):
        train(corpus, tmp_path / "out", recipe)


def test_nothing_is_printed(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(corpus, tmp_path / "out", replace(TINY, max_steps=2))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"scheduler": "cubic"}, ["'cubic'", "cosine"]),
        ({"dtype": "int8"}, ["'int8'"]),
        ({"dtype": "float16"}, ["CUDA"]),
        ({"epochs": 0}, ["not 0"]),
        ({"lr": float("nan")}, ["not nan"]),
        ({"batch_size": 0}, ["not 0"]),
        ({"weight_decay": -1}, ["not -1"]),
        ({"max_length": 4}, ["8", "not 4"]),
        ({"tokenizer_text": 0}, ["1 MB"]),
        ({"field": "text"}, ["plain text"]),
        ({"separator": ""}, ["whole=True"]),
        ({"eval_split": 1.0}, ["not 1.0"]),
        ({"save_steps": 5}, ["(5)", "`eval_steps` (4)"]),
        ({"on_error": "retry"}, ["'retry'", "fail, skip"]),
        ({"arch": "rnn"}, ["'rnn'"]),
        ({"params": "huge"}, ["'huge'"]),
    ],
)
def test_bad_options_are_named(
    corpus: Path, tmp_path: Path, change: dict[str, Any], facts: list[str]
) -> None:
    with refuses(*change, *facts):
        train(corpus, tmp_path / "out", replace(TINY, **change))
    assert not (tmp_path / "out").exists()


def test_a_numbered_gpu_is_refused_with_what_to_do(corpus: Path) -> None:
    with refuses("device", "CUDA_VISIBLE_DEVICES=1"):
        plan([corpus], TINY, device="cuda:1")


def test_an_output_that_cannot_be_written_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with refuses("output", "cannot write there"):
        train(corpus, tmp_path / "file" / "out")


HEADS = {
    "qwen3": "CausalLM",
    "gpt2": "CausalLM",
    "bert": "MaskedLM",
    "roformer": "MaskedLM",
    "t5": "Seq2SeqLM",
    "bart": "Seq2SeqLM",
}


@pytest.mark.parametrize("arch", HEADS)
def test_every_architecture_learns_and_loads_as_what_it_is(corpus: Path, tmp_path: Path, arch: str) -> None:
    import transformers

    recipe = replace(TINY, arch=arch, params="60k", vocab_size=400, max_steps=40, eval_steps=20, lr=5e-3)
    result = train(corpus, tmp_path / "out", recipe)
    losses = [row["loss"] for row in metrics(result.folder) if "loss" in row]
    assert sum(losses[-5:]) < sum(losses[:5]) - 2
    model = getattr(transformers, f"AutoModelFor{HEADS[arch]}").from_pretrained(result.folder)
    assert model.num_parameters() == result.parameters
    assert result.held_out_loss is not None
    assert (result.bits_per_byte is None) == (HEADS[arch] != "CausalLM")
    card = (result.folder / "README.md").read_text()
    assert f"A {arch} language model" in card
    tokenizer = AutoTokenizer.from_pretrained(result.folder)
    ids = tokenizer("Once upon a time", return_tensors="pt")["input_ids"]
    reads = {"input_ids": ids, "decoder_input_ids": ids} if HEADS[arch] == "Seq2SeqLM" else {"input_ids": ids}
    assert torch.isfinite(model(**reads).logits).all()


def test_what_a_kill_while_reading_leaves_is_not_in_the_way(corpus: Path, tmp_path: Path) -> None:
    left = tmp_path / "out/unfinished-corpus"
    left.mkdir(parents=True)
    (left / "train.bin").write_bytes(b"half")
    result = train(corpus, tmp_path / "out", replace(TINY, max_steps=1))
    assert not left.exists()
    assert (result.folder / "model.safetensors").exists()


def test_counting_agrees_with_what_is_written(corpus: Path, tmp_path: Path) -> None:
    for arch in ("llama", "bert", "t5"):
        recipe = replace(TINY, arch=arch, params="60k", vocab_size=400)
        tokenize([corpus], recipe, tmp_path / arch)
        prepared = load(tmp_path / arch, recipe, DeviceChoice.of(recipe, "cpu"))
        counted = plan([corpus], recipe, device="cpu")
        assert counted == prepared.plan
        assert (counted.blocks, counted.held_out_documents) == (len(prepared.train), 3)
        assert prepared.held_out is not None
    assert {file.name for file in tmp_path.iterdir()} == {"corpus.txt", "llama", "bert", "t5"}


def test_a_corpus_longer_than_the_tokenizer_s_text_is_split_by_threshold(
    tmp_path: Path, write_corpus: Write
) -> None:
    """A million characters and more: 3,000 documents, of which 300 are expected (sd 16)."""
    file = write_corpus([f"{i} " + "one two three four " * 20 for i in range(3000)])
    recipe = replace(TINY, tokenizer_text=1, eval_split=0.1)
    found = plan([file], recipe, device="cpu")
    assert found.documents + found.held_out_documents == 3000
    assert 230 < found.held_out_documents < 370
    assert found.held_out_documents != 300
    exact = plan([file], replace(recipe, tokenizer_text=100), device="cpu")
    assert exact.held_out_documents == 300
