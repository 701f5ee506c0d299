"""`llmkit merge`: an adapter in, a whole model's folder out."""

from __future__ import annotations

import dataclasses
import json as json_module
import shlex
from pathlib import Path
from typing import Annotated

from llmkit.cli.common import console, options, progress, signals
from llmkit.cli.common.options import argument, flag
from llmkit.records.strict_json import finite

EXAMPLES = ["llmkit merge my-adapter -o my-model"]


@options.expand
def run(
    *,
    adapter: Annotated[
        str,
        argument("ADAPTER", help="Folder or Hub id of the adapter, as finetune writes it."),
    ],
    output: Annotated[Path, flag("-o", "--output", metavar="FOLDER", help="Folder of the merged model.")],
    model: Annotated[
        str | None,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="Base model; needed if the adapter's base model is quantized.",
            default="the base that the adapter names",
            group="Model",
        ),
    ] = None,
    save_dtype: Annotated[
        str,
        flag(
            "--save-dtype",
            metavar="NAME",
            help="Dtype of the weights: float32, bfloat16, float16, or auto, the dtype of the base model.",
        ),
    ] = "auto",
    device: Annotated[
        str, flag("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.", group="Model")
    ] = "auto",
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it exists.")] = False,
    trust_remote_code: options.TrustRemoteCode = False,
    offline: options.Offline = False,
    cache_dir: options.CacheDir = None,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    messages: options.MessageFlags,
) -> None:
    """Merge a LoRA adapter into its base model, and measure the change."""
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.merge import check_output, merge

    check_output(output, overwrite=overwrite)
    spec = ModelSpec(
        name=model or adapter,
        adapter=adapter if model else None,
        device=device,
        trust_remote_code=trust_remote_code,
        offline=offline,
        cache_dir=cache_dir,
    )
    signals.unwind()
    with progress.waiting(f"merging {adapter}"):
        result = merge(spec, output, save_dtype=save_dtype, overwrite=overwrite, notice=console.notice)
    if json:
        print(json_module.dumps(finite(dataclasses.asdict(result)), default=str))
        return
    print(f"folder: {result.folder}")
    print(f"weights: {result.parameters:,} parameters in {result.dtype}")
    print(f"largest change of a logit: {result.logit_difference:.3g} ({result.probes} probe tokens)")
    if result.cast_difference is not None:
        print(f"rounding to {result.dtype} alone, without merging: {result.cast_difference:.3g}")
    console.suggest(f'llmkit generate -m {shlex.quote(str(output))} "..."')
