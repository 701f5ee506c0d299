"""A real chat model: the text that other programs get from the same weights, however it is asked."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit import GenerationOptions, LoadedModel, ModelSpec, generate, load
from llmkit.convert import convert
from llmkit.engines.base import Request, Sampling
from llmkit.engines.open import as_engine
from tests.command import rows_of, run
from tests.real import table
from tests.real.prompts import PROMPTS

TOKENS = 60
# Reads ids by greedy decoding with llama.cpp, token by token: prints one JSON list a prompt.
LLAMA = """
import json, sys
import numpy as np
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=256, verbose=False, logits_all=True)
for prompt in json.load(sys.stdin):
    model.reset()
    ids = model.tokenize(prompt.encode(), add_bos=False)
    model.eval(ids)
    out = []
    for _ in range(int(sys.argv[2])):
        logits = model.scores[model.n_tokens - 1]
        token = int(logits.argmax())
        second = np.partition(logits, -2)[-2]
        out.append([token, float(logits[token] - second)])
        if token in (0, 2):
            break
        model.eval([token])
    print(json.dumps(out))
"""


def ours(loaded: LoadedModel, prompts: list[str], **changes: Any) -> list[list[int]]:
    engine = as_engine(loaded)
    sampling = Sampling(max_new_tokens=TOKENS, eos_token_ids=(0, 2), **changes)
    encoded: Any = loaded.tokenizer(prompts)["input_ids"]
    requests = [Request(sampling, ids=ids, key=(0, i, 0)) for i, ids in enumerate(encoded)]
    return [answer[0].ids for answer in engine.generate(requests)]


def test_greedy_text_is_that_of_llama_cpp(chat: LoadedModel, llama_python: str, tmp_path: Path) -> None:
    """Both in float32; where they part, the two best tokens of llama.cpp are all but tied."""
    file = tmp_path / "chat-F32.gguf"
    convert(chat.spec, "gguf", file, gguf_type="F32")
    done = subprocess.run(
        [llama_python, "-c", LLAMA, str(file), str(TOKENS)],
        input=json.dumps(PROMPTS),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]
    theirs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    ties = []
    for prompt, mine, other in zip(PROMPTS, ours(chat, PROMPTS), theirs, strict=True):
        ids = [token for token, _ in other]
        if mine == ids:
            continue
        at = next(i for i, (a, b) in enumerate(zip(mine, ids, strict=False)) if a != b)
        ties.append(f"{prompt!r} at token {at + 1}, its logits {other[at][1]:.1e} apart")
        assert other[at][1] < 1e-2, (prompt, at, other[at])
    equal = f"{len(PROMPTS) - len(ties)} of {len(PROMPTS)} equal"
    table.add(f"greedy text, {TOKENS} tokens, float32", equal, "llama.cpp", "; ".join(ties) or "none")
    assert len(ties) <= 2


def test_log_probabilities_are_those_of_a_plain_forward_pass(chat: LoadedModel, chat_folder: Path) -> None:
    """All prompts in one batch, beside each sequence alone in transformers."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(chat_folder, dtype=torch.float32)
    encoded: Any = chat.tokenizer(PROMPTS)["input_ids"]
    sampling = Sampling(max_new_tokens=20)
    requests = [Request(sampling, ids=ids, logprobs=3, key=(0, i, 0)) for i, ids in enumerate(encoded)]
    answers = as_engine(chat).generate(requests)
    largest = 0.0
    for ids, (answer,) in zip(encoded, answers, strict=True):
        with torch.inference_mode():
            logits = plain(torch.tensor([[*ids, *answer.ids]])).logits[0].log_softmax(-1)
        assert answer.logprobs is not None
        for i, one in enumerate(answer.logprobs):
            row = logits[len(ids) - 1 + i]
            values = [float(row[one.token]), *row.topk(3).values.tolist()]
            found = [one.logprob, *(value for _, value in one.top)]
            largest = max(largest, *(abs(a - b) for a, b in zip(found, values, strict=True)))
    table.add(
        f"log-probabilities, {len(PROMPTS)} prompts, 20 tokens, float32", "generate", "transformers", largest
    )
    assert largest < 1e-4


def test_batched_streamed_and_single_texts_are_one(chat: LoadedModel) -> None:
    for sampling in ({}, {"temperature": 0.8, "top_p": 0.9}):
        together = ours(chat, PROMPTS[:8], **sampling)
        for i in (0, 5):
            engine = as_engine(chat)
            ids: Any = chat.tokenizer(PROMPTS[i])["input_ids"]
            wanted = Sampling(max_new_tokens=TOKENS, eos_token_ids=(0, 2), **sampling)
            heard: list[int] = []
            engine.stream(Request(wanted, ids=ids, key=(0, i, 0)), heard.extend)
            assert heard == together[i]
            assert engine.generate([Request(wanted, ids=ids, key=(0, i, 0))])[0][0].ids == heard
        name = "sampled" if sampling else "greedy"
        table.add(
            f"batched and streamed text, {name}", "8 in a batch, 2 in a stream", "one prompt alone", "none"
        )


def test_the_gguf_file_itself_answers(chat_gguf: Path) -> None:
    result = run("generate", "-m", chat_gguf, "What is the capital of France?", "--greedy")
    assert result.code == 0, result.err
    assert result.out.strip() == "The capital of France is Paris."


def test_each_text_verb_runs_the_chat_model(chat_folder: Path, tmp_path: Path) -> None:
    model = ("-m", chat_folder, "--dtype", "float32", "--greedy")
    text = "Marie Curie was born in Warsaw in 1867. She moved to Paris in 1891 and studied physics there."
    file = tmp_path / "curie.txt"
    file.write_text(text)
    asked = run("qa", *model, "--question", "Where was Marie Curie born?", "--context", file)
    assert (asked.code, "Warsaw" in asked.out) == (0, True), asked
    told = run("summarize", *model, file, "--max-new-tokens", "40")
    assert (told.code, "Curie" in told.out) == (0, True), told
    translated = run("translate", *model, "--from", "en", "--to", "fr", "Good morning.")
    assert (translated.code, bool(translated.out.strip())) == (0, True), translated
    message = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}]})
    answered = run("chat", *model, "--json", "--max-new-tokens", "20", stdin=message)
    assert "Paris" in rows_of(answered.out)[0]["generated_text"], answered
    written = run("generate", *model, "--no-chat", "--max-new-tokens", "8", "The capital of France is")
    assert (written.code, "Paris" in written.out) == (0, True), written
    rows = tmp_path / "questions.jsonl"
    rows.write_text(json.dumps({"prompt": "What is the capital of France?", "reference": "Paris"}))
    scored = run(
        "eval", "--task", "generate", "--metric", "f1", rows, *model, "--max-new-tokens", "20", "--json"
    )
    assert (scored.code, json.loads(scored.out)["scores"][0]["score"] > 0) == (0, True), scored
    table.add(
        "generate, chat, translate, summarize, qa, eval --task",
        "each answers",
        "the answer in the text",
        "none",
    )


@pytest.mark.parametrize("linear", ["torch", "cpu"])
def test_a_file_that_stays_packed_answers_as_the_unpacked_one(linear: str, chat_gguf: Path) -> None:
    """With float activations the text is the same; with activations of 8 bits, all but a few thousandths."""
    from llmkit.linear.quality import divergence

    plain = load(ModelSpec(str(chat_gguf), dtype="float32"))
    packed = load(ModelSpec(str(chat_gguf), dtype="float32", quantize="int4", linear=linear))
    encoded: Any = plain.tokenizer(PROMPTS)["input_ids"]
    batches = [torch.tensor([ids]) for ids in encoded]
    original: Any = plain.model
    changed: Any = packed.model
    with torch.inference_mode():
        found = divergence(lambda ids: original(ids).logits, lambda ids: changed(ids).logits, batches)
    table.add(f"GGUF file kept packed, products by {linear}: KL", found.mean, "the file unpacked", found.mean)
    if linear == "torch":
        assert found.mean < 1e-6
        assert found.same_top == 1
    else:
        assert found.mean < 0.01
    (answer,) = generate(
        packed, "What is the capital of France?", GenerationOptions(max_new_tokens=20, greedy=True)
    )
    assert answer.text == "The capital of France is Paris."


def test_a_chat_prompt_is_the_one_of_llama_cpp(chat_gguf: Path, llama_python: str) -> None:
    """The same ids from the file's template, tokenizer and special tokens, and the same end of the turn."""
    program = (
        "import json, sys\n"
        "from llama_cpp import Llama\n"
        "from llama_cpp.llama_chat_format import Jinja2ChatFormatter\n"
        "m = Llama(sys.argv[1], n_ctx=64, verbose=False)\n"
        "f = Jinja2ChatFormatter(m.metadata['tokenizer.chat_template'], '<|im_end|>', '<|im_start|>')\n"
        "text = f(messages=json.loads(sys.argv[2])).prompt\n"
        "print(json.dumps([m.tokenize(text.encode(), add_bos=False, special=True), m.token_eos()]))\n"
    )
    messages = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    done = subprocess.run(
        [llama_python, "-c", program, str(chat_gguf), json.dumps(messages)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-500:]
    theirs, end = json.loads(done.stdout.splitlines()[-1])
    loaded = load(ModelSpec(str(chat_gguf), dtype="float32"))
    tokenizer: Any = loaded.tokenizer
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == theirs
    ends: Any = loaded.model.generation_config.eos_token_id
    assert end in (ends if isinstance(ends, list) else [ends])
