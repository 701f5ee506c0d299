"""`llmkit convert`: a model in one format in, the same model in another out, with a proof."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options, progress
from llmkit.cli.common.options import flag
from llmkit.records.strict_json import finite

if TYPE_CHECKING:
    from llmkit.convert.result import ConvertResult


EXAMPLES = [
    "llmkit convert -m my-model --to gguf --gguf-type Q8_0 -o my-model.gguf",
    "llmkit convert -m my-model --to onnx -o my-model-onnx",
    "llmkit convert -m folder-with-tf-model-h5 --to safetensors -o my-model",
]


@options.expand
def run(
    *,
    to: Annotated[str, flag("--to", metavar="FORMAT", help="safetensors, gguf, onnx, ctranslate2 or mlx.")],
    output: Annotated[
        Path, flag("-o", "--output", metavar="PATH", help="Folder; for GGUF a file, such as model.gguf.")
    ],
    gguf_type: Annotated[
        str,
        flag(
            "--gguf-type",
            metavar="NAME",
            help="F32, F16, BF16, Q8_0, Q4_0, Q4_1, or auto, as the model is stored.",
        ),
    ] = "auto",
    dtype: Annotated[
        str,
        flag(
            "--dtype",
            metavar="NAME",
            help="float32, float16, bfloat16, int8 (ctranslate2, mlx), int4 (mlx), or auto, as the model is"
            " stored.",
        ),
    ] = "auto",
    bound: Annotated[
        float | None,
        flag("--bound", help="Maximum accepted relative difference.", default="depends on the type"),
    ] = None,
    reader_python: Annotated[
        str | None,
        flag(
            "--reader-python",
            metavar="PATH",
            help="Python with llama-cpp-python, onnxruntime or mlx-lm, to check the result.",
            default="this Python, if it has them",
        ),
    ] = None,
    max_shard_size: Annotated[
        str,
        flag(
            "--max-shard-size",
            metavar="SIZE",
            help="Maximum size of a safetensors file; a killed run loses at most one.",
        ),
    ] = "5GB",
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the output if it exists.")] = False,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    model: Annotated[
        str,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="Folder or Hub id of a model, a .gguf file, or a folder with tf_model.h5, a SavedModel,"
            " a .ckpt or flax_model.msgpack.",
            group="Model",
        ),
    ],
    adapter: Annotated[
        str | None,
        flag(
            "--adapter",
            metavar="PATH",
            help="Folder or Hub id of a LoRA adapter to merge.",
            default="none",
            group="Model",
        ),
    ] = None,
    revision: options.Revision = None,
    allow_bin: options.AllowBin = False,
    trust_remote_code: options.TrustRemoteCode = False,
    offline: options.Offline = False,
    cache_dir: options.CacheDir = None,
    messages: options.MessageFlags,
) -> None:
    """Convert a model to another format, and compare its outputs with the source."""
    from llmkit.convert.conversion import convert
    from llmkit.runtime.spec import ModelSpec

    spec = ModelSpec(
        name=model,
        adapter=adapter,
        revision=revision,
        allow_bin=allow_bin,
        trust_remote_code=trust_remote_code,
        offline=offline,
        cache_dir=cache_dir,
    )
    with progress.Progress("convert") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done, f"{done} of {total} {'graphs' if to == 'onnx' else 'tensors'}")

        result = convert(
            spec,
            to,
            output,
            gguf_type=gguf_type,
            dtype=dtype,
            bound=bound,
            reader_python=reader_python,
            max_shard_size=max_shard_size,
            overwrite=overwrite,
            progress=show,
        )
    if json:
        print(json_module.dumps(finite(dataclasses.asdict(result)), default=str))
    else:
        _print(result)
    for sentence in result.notes:
        console.notice(sentence)


def _print(result: ConvertResult) -> None:
    print(f"output: {result.output}")
    print(f"source: {result.source}")
    print(f"weights: {result.parameters:,} in {result.stored}, {result.nbytes / 1e6:,.1f} MB")
    for check in result.checks:
        parts = [
            f"largest difference {check.logit_difference:.3g}",
            f"relative {check.relative_difference:.3g}",
        ]
        if check.top_token_agreement is not None:
            parts.append(f"same top token at {check.top_token_agreement:.1%} of {check.tokens:,}")
        if check.mean_kl is not None:
            parts.append(f"KL {check.mean_kl:.2g}")
        if check.same_greedy is not None:
            parts.append(f"same greedy text for {check.same_greedy} of {check.texts}")
        print(f"checked by {check.reader}: {', '.join(parts)}")
    for reader in result.not_checked:
        print(f"not checked by {reader}")
    print(f"allowed: relative {result.bound:g}")
