"""`llmkit merge`: an adapter in, a whole model's folder out."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.common import console, options
from llmkit.cli.common.options import flag


@options.expand
def run(
    *,
    adapter: Annotated[
        str,
        typer.Argument(
            metavar="ADAPTER",
            help="The adapter's folder or Hub id, as finetune writes it.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, flag("-o", "--output", metavar="FOLDER", help="The merged model's folder.")],
    model: Annotated[
        str | None,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="The base (the one that the adapter names); needed where that one is quantized.",
        ),
    ] = None,
    save_dtype: Annotated[
        str, flag("--save-dtype", help="Of the weights: float32, bfloat16, float16, or auto: as the base.")
    ] = "auto",
    device: Annotated[str, flag("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it is there.")] = False,
    trust_remote_code: Annotated[
        bool, flag("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    offline: Annotated[bool, flag("--offline", help="Use only what is on this machine.")] = False,
    cache_dir: Annotated[Path | None, flag("--cache-dir", help="Where downloaded models are kept.")] = None,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    messages: options.MessageFlags,
) -> None:
    """Put a LoRA adapter into its base model, after measuring what that changes."""
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
    result = merge(spec, output, save_dtype=save_dtype, overwrite=overwrite, notice=console.notice)
    if json:
        print(json_module.dumps(dataclasses.asdict(result), default=str))
        return
    print(f"folder: {result.folder}")
    print(f"weights: {result.parameters:,} in {result.dtype}")
    print(f"largest logit difference, merged: {result.logit_difference:.3g} ({result.probes} probe tokens)")
    if result.cast_difference is not None:
        print(f"largest logit difference, cast unmerged: {result.cast_difference:.3g}")
