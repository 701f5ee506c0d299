"""`llmkit convert`: a model in one format in, the same model in another out, with a proof."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options
from llmkit.cli.common.options import flag

if TYPE_CHECKING:
    from llmkit.convert.result import ConvertResult


@options.expand
def run(
    *,
    model: Annotated[
        str,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="A model's folder or Hub id, a .gguf file, or a folder with tf_model.h5, a SavedModel,"
            " a .ckpt or flax_model.msgpack.",
        ),
    ],
    to: Annotated[str, flag("--to", metavar="FORMAT", help="safetensors or gguf.")],
    output: Annotated[
        Path, flag("-o", "--output", metavar="PATH", help="A folder; for GGUF a file, such as model.gguf.")
    ],
    gguf_type: Annotated[
        str, flag("--gguf-type", help="F32, F16, BF16, Q8_0, Q4_0, Q4_1, or auto: as the model is stored.")
    ] = "auto",
    dtype: Annotated[
        str,
        flag("--dtype", help="float32, float16, bfloat16, or auto: as stored (not for GGUF)."),
    ] = "auto",
    bound: Annotated[
        float | None,
        flag("--bound", help="Largest relative difference accepted; without it, the type's own."),
    ] = None,
    reader_python: Annotated[
        str | None,
        flag(
            "--reader-python",
            metavar="PATH",
            help="A Python that has llama-cpp-python, to check a GGUF file with; without it, this one.",
        ),
    ] = None,
    adapter: Annotated[str | None, flag("--adapter", help="A LoRA adapter's folder or Hub id.")] = None,
    revision: Annotated[str | None, flag("--revision", help="Branch, tag or commit on the Hub.")] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the output if it is there.")] = False,
    allow_bin: Annotated[
        bool, flag("--allow-bin", help="Read pytorch_model.bin where there is no safetensors file.")
    ] = False,
    trust_remote_code: Annotated[
        bool, flag("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    offline: Annotated[bool, flag("--offline", help="Use only what is on this machine.")] = False,
    cache_dir: Annotated[Path | None, flag("--cache-dir", help="Where downloaded models are kept.")] = None,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    messages: options.MessageFlags,
) -> None:
    """Convert a model to another format, and prove that the result answers alike."""
    from llmkit.convert.convert import convert
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
    with console.Progress("convert") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done, f"{done} of {total} tensors")

        result = convert(
            spec,
            to,
            output,
            gguf_type=gguf_type,
            dtype=dtype,
            bound=bound,
            reader_python=reader_python,
            overwrite=overwrite,
            progress=show,
        )
    if json:
        print(json_module.dumps(dataclasses.asdict(result), default=str))
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
        print(f"checked by {check.reader}: {', '.join(parts)}")
    for reader in result.not_checked:
        print(f"not checked by {reader}")
    print(f"allowed: relative {result.bound:g}")
