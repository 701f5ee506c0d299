"""Translations per second: a Marian-shaped model of 75M random weights, beside CTranslate2 and transformers.

All programs have the same weights and sources, and write the same number of tokens greedily: none sees end
tokens. Sources are of mixed length. Programs take turns; what is printed are medians, and ratios of them.

LLMKIT_TRANSLATE_ROUNDS (5), LLMKIT_TRANSLATE_TOKENS (32) of an answer, LLMKIT_TRANSLATE_ROWS (1,16,32),
LLMKIT_TRANSLATE_THREADS (1,2) and LLMKIT_TRANSLATE_BEAMS (1) change the run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.side_by_side import seconds_of

SHAPE = {
    **{"vocab_size": 58_101, "d_model": 512, "max_position_embeddings": 512, "scale_embedding": True},
    **{"encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 8, "decoder_attention_heads": 8},
    **{"encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "activation_function": "swish"},
    **{"pad_token_id": 58_100, "eos_token_id": 0, "bos_token_id": None, "decoder_start_token_id": 58_100},
    **{"forced_eos_token_id": None, "tie_word_embeddings": True, "num_beams": 1},
}
"""The configuration of Marian's models, as those of the Opus-MT project have it."""
SOURCES = (8, 48)  # tokens of the shortest and the longest source
Sources = Sequence[Sequence[int]]
Answer = Callable[[Sources], object]


def main() -> None:
    """Print the table."""
    rows = _numbers("LLMKIT_TRANSLATE_ROWS", "1,16,32")
    rounds = _numbers("LLMKIT_TRANSLATE_ROUNDS", "5")[0]
    new_tokens, beams = (
        _numbers("LLMKIT_TRANSLATE_TOKENS", "32")[0],
        _numbers("LLMKIT_TRANSLATE_BEAMS", "1")[0],
    )
    print("\ntranslate: 75M random weights in Marian's shape, new tokens per second")
    print("| rows | threads | program | tokens/s | llmkit int8 is faster |\n|---:|---:|---|---:|---:|")
    with TemporaryDirectory() as folder:
        make_model(Path(folder))
        for threads in _numbers("LLMKIT_TRANSLATE_THREADS", "1,2"):
            answers = open_programs(Path(folder), threads, new_tokens, beams)
            for count in rows:
                _show(count, threads, new_tokens, answers, rounds)


def make_model(folder: Path) -> None:
    """Write a model with random weights, and a tokenizer of as many words as it has tokens."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config: Any = MarianConfig(**SHAPE)
    MarianMTModel(config).save_pretrained(folder)
    names = ["</s>", "<unk>", *(f"t{i}" for i in range(2, SHAPE["vocab_size"] - 1)), "<pad>"]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)


def open_programs(folder: Path, threads: int, new_tokens: int, beams: int) -> dict[str, Answer]:
    """Return what answers sources; llmkit in 8 bits comes first."""
    import torch

    torch.set_num_threads(threads)
    return {
        "llmkit, int8": _llmkit(folder, new_tokens, beams, quantize="int8"),
        "CTranslate2, int8": _ctranslate2(folder, new_tokens, beams, threads, "int8"),
        "llmkit, float32": _llmkit(folder, new_tokens, beams),
        "CTranslate2, float32": _ctranslate2(folder, new_tokens, beams, threads, "float32"),
        "transformers, float32": _transformers(folder, new_tokens, beams),
    }


def _llmkit(folder: Path, new_tokens: int, beams: int, **options: Any) -> Answer:
    from llmkit import ModelSpec
    from llmkit.engines.base import Request, Sampling
    from llmkit.engines.open import open_engine

    engine: Any = open_engine(ModelSpec(str(folder), device="cpu", dtype="float32", **options))
    sampling = Sampling(max_new_tokens=new_tokens, num_beams=beams, eos_token_ids=())

    def answer(sources: Sources) -> None:
        found = engine.generate([Request(sampling, ids=list(one)) for one in sources])
        assert all(len(one[0].ids) == new_tokens for one in found)

    return answer


def _ctranslate2(folder: Path, new_tokens: int, beams: int, threads: int, kind: str) -> Answer:
    import ctranslate2
    from transformers import AutoTokenizer

    converted = folder / kind
    if not converted.exists():
        converter = ctranslate2.converters.TransformersConverter(str(folder))
        converter.convert(str(converted), quantization=None if kind == "float32" else kind)
    program = ctranslate2.Translator(
        str(converted), device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
    )
    name = AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens
    limits: Any = {"min_decoding_length": new_tokens, "max_decoding_length": new_tokens}

    def answer(sources: Sources) -> None:
        words = [name(list(one)) for one in sources]
        found = program.translate_batch(words, beam_size=beams, **limits)
        assert all(len(one.hypotheses[0]) == new_tokens for one in found)

    return answer


def _transformers(folder: Path, new_tokens: int, beams: int) -> Answer:
    import torch
    from transformers import MarianMTModel

    from llmkit.runtime.padding import pad

    model: Any = MarianMTModel.from_pretrained(folder).eval()
    limits = {"min_new_tokens": new_tokens, "max_new_tokens": new_tokens, "num_beams": beams}

    def answer(sources: Sources) -> None:
        ids, mask = pad(sources, model.config.pad_token_id)
        with torch.inference_mode():
            found = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, **limits)
        assert found.shape == (len(sources), new_tokens + 1)

    return answer


def _show(count: int, threads: int, new_tokens: int, answers: dict[str, Answer], rounds: int) -> None:
    chance = random.Random(count)
    lengths = [sum(SOURCES) // 2] if count == 1 else [chance.randint(*SOURCES) for _ in range(count)]
    sources = [[*(chance.randrange(2, 58_000) for _ in range(length - 1)), 0] for length in lengths]
    calls: dict[str, Callable[[], object]] = {
        name: (lambda answer=answer: answer(sources)) for name, answer in answers.items()
    }
    seconds = seconds_of(calls, rounds)
    ours = next(iter(seconds.values()))
    for name, taken in seconds.items():
        print(
            f"| {count} | {threads} | {name} | {count * new_tokens / taken:.0f} | {taken / ours:.2f} |",
            flush=True,
        )


def _numbers(name: str, default: str) -> list[int]:
    return [int(one) for one in os.environ.get(name, default).split(",")]


if __name__ == "__main__":
    main()
