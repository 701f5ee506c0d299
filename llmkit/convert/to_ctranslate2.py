"""Write a CTranslate2 model with CTranslate2's own converter, run it, and compare."""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.convert import to_safetensors
from llmkit.convert.greedy import Greedy, greedy_of, same_texts
from llmkit.convert.proof import Check, compare, outputs_of
from llmkit.convert.quiet import quiet
from llmkit.errors import InputError, LLMKitError, one_line
from llmkit.records.disk import writing

if TYPE_CHECKING:
    import torch

    from llmkit.convert.source import SourceModel

BOUNDS = {"float32": 0.002, "float16": 0.02, "bfloat16": 0.1, "int8": 0.2}
# Settings that CTranslate2's converter reads, but transformers 5 no longer has.
_GONE = {"bart": {"normalize_before": False, "normalize_embedding": True, "add_final_layer_norm": False}}


def package() -> Any:
    """Return the package `ctranslate2`.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ctranslate2
    except ImportError:
        raise InputError("CTranslate2 needs its package: pip install 'llmkit[ctranslate2]'") from None
    return ctranslate2


def write(source: SourceModel, folder: Path, dtype: str) -> None:
    """Write the source in CTranslate2's format, with the tokenizer's files.

    Args:
        source: a model that generates, with its tokenizer.
        folder: existing empty folder for the files.
        dtype: float32, float16, bfloat16 or int8.

    Raises:
        InputError: CTranslate2's converter does not support the model.
    """
    ctranslate2 = package()
    kind = source.model.config.model_type
    if not source.model.can_generate():
        raise InputError(
            f"{source.name} does not generate text; conversion to CTranslate2 supports only models that do"
        )
    if source.tokenizer is None:
        raise InputError(f"{source.name} has no tokenizer, and CTranslate2 needs one")
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        plain = Path(name)
        to_safetensors.write(source, plain, "float32")
        _prepare(source, plain)
        try:
            with quiet(), writing(folder, folder, "nothing was written"):
                converter = ctranslate2.converters.TransformersConverter(str(plain))
                converter.convert(str(folder), quantization=dtype, force=True)
        except LLMKitError:
            raise
        except Exception as error:  # the converter can raise any exception
            raise InputError(f"CTranslate2 does not convert this {kind} model: {one_line(error)}") from error
        source.tokenizer.save_pretrained(folder)
        for file in ("generation_config.json",):
            if (plain / file).is_file():
                (folder / file).write_bytes((plain / file).read_bytes())


def _prepare(source: SourceModel, plain: Path) -> None:
    """Prepare the model for the converter: settings of transformers 4, and an unknown token as a text."""
    path = plain / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= _GONE.get(config["model_type"], {})
    path.write_text(json.dumps(config), encoding="utf-8")
    if source.tokenizer.unk_token is None:
        # Without an unknown token it writes null, which its own loader refuses.
        tokenizer = copy.deepcopy(source.tokenizer)
        tokenizer.unk_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        tokenizer.save_pretrained(plain)


def check(
    folder: Path, source: SourceModel, rows: list[list[int]], expected: list[torch.Tensor], dtype: str
) -> Check:
    """Run the result in CTranslate2 and compare: logits, or log-probabilities for an encoder-decoder.

    It also continues the rows greedily.

    Raises:
        LLMKitError: CTranslate2 does not run the converted model.
    """
    greedy = greedy_of(source, rows)
    try:
        found, following = _run(folder, source, rows, expected, dtype, greedy)
    except (RuntimeError, ValueError) as error:
        raise LLMKitError(
            f"CTranslate2 does not run the converted model ({source.model.config.model_type}):"
            f" {one_line(error)}; nothing was written"
        ) from error
    same, differs = same_texts("CTranslate2", greedy, following, found.logit_difference)
    return replace(found, same_greedy=same, differs=differs)


def _run(
    folder: Path,
    source: SourceModel,
    rows: list[list[int]],
    expected: list[torch.Tensor],
    dtype: str,
    greedy: Greedy,
) -> tuple[Check, list[list[int]]]:
    """Return the comparison of outputs, and the greedy continuation of each row."""
    import numpy as np
    import torch

    ctranslate2 = package()
    kind = "default" if dtype == "int8" else "float32"
    if source.model.config.is_encoder_decoder:
        translator = ctranslate2.Translator(str(folder), device="cpu", compute_type=kind, intra_threads=1)
        return _check_scores(translator, source, rows), _translated(translator, source, greedy)
    generator = ctranslate2.Generator(str(folder), device="cpu", compute_type=kind, intra_threads=1)
    found = []
    for row in rows:
        logits = generator.forward_batch([row], return_log_probs=False)
        found.append(torch.from_numpy(np.array(logits)[0].astype(np.float32)))
    width = expected[0].shape[-1]
    names = source.tokenizer.convert_ids_to_tokens
    following = [
        generator.generate_batch(
            [names(prompt)], max_length=greedy.steps, sampling_topk=1, include_prompt_in_result=False
        )[0].sequences_ids[0]
        for prompt in greedy.prompts
    ]
    return compare("CTranslate2", expected, [one[:, :width] for one in found], logits=True), following


def _translated(translator: Any, source: SourceModel, greedy: Greedy) -> list[list[int]]:
    names, ids = source.tokenizer.convert_ids_to_tokens, source.tokenizer.convert_tokens_to_ids
    results = [
        translator.translate_batch([names(prompt)], beam_size=1, max_decoding_length=greedy.steps)[0]
        for prompt in greedy.prompts
    ]
    return [ids(result.hypotheses[0]) for result in results]


def _check_scores(translator: Any, source: SourceModel, rows: list[list[int]]) -> Check:
    """Compare the log-probability of each token of the row after the start token."""
    import torch

    start = source.model.config.decoder_start_token_id
    tokens = [source.tokenizer.convert_ids_to_tokens(row) for row in rows]
    found, wanted = [], []
    answers = translator.score_batch(tokens, tokens)
    for row, answer in zip(rows, answers, strict=True):
        given = torch.tensor(answer.log_probs)[: len(row)]
        output = outputs_of(source.model, [row], decoder=[[start, *row[:-1]]])[0].log_softmax(-1)
        own = output.gather(-1, torch.tensor(row)[:, None])[:, 0]
        found.append(given[None, :])
        wanted.append(own[None, : len(given)])
    return compare("CTranslate2", wanted, found, logits=False)
