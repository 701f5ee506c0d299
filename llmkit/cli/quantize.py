"""`llmkit quantize`: a model in, its folder with weights of 8 or 4 bits out."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

from llmkit.cli.common import options, progress
from llmkit.cli.common.options import flag
from llmkit.records.strict_json import finite

EXAMPLES = [
    "llmkit quantize -m stories -o stories-int8",
    "llmkit quantize -m my-model -o small --bits 4 --calibration texts.jsonl",
]


class StoredModelFlags(options.ModelFlags):
    """The model to quantize; it runs only for the comparison."""

    LEFT_OUT = frozenset({"attn", "no_verify", "quantize", "adapter", "seed"})


@options.expand
def run(
    *,
    output: Annotated[Path, flag("-o", "--output", metavar="FOLDER", help="Folder of the quantized model.")],
    bits: Annotated[int, flag("--bits", metavar="8|4", help="Bits of a weight.")] = 8,
    group: Annotated[
        int, flag("--group", metavar="N", help="Group size in 4 bits: number of inputs that share a scale.")
    ] = 32,
    calibration: Annotated[
        str | None,
        flag(
            "--calibration",
            metavar="FILE",
            help="Texts for GPTQ (4 bits): it minimizes the change of the outputs on them.",
            default="none: round to nearest",
        ),
    ] = None,
    field: Annotated[
        str | None,
        flag("--field", metavar="NAME", help="Column of the text.", default="`text`, or the only one"),
    ] = None,
    max_shard_size: Annotated[
        str,
        flag(
            "--max-shard-size",
            metavar="SIZE",
            help="Maximum size of a weight file; a killed run loses at most one.",
        ),
    ] = "5GB",
    encoding: options.Encoding = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace an existing model.")] = False,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    model: StoredModelFlags,
    messages: options.MessageFlags,
) -> None:
    """Quantize the weights of a model to 8 or 4 bits, and measure the change."""
    from llmkit.cli.common.loading import quick_imports
    from llmkit.convert.output import check_output
    from llmkit.errors import OptionError

    spec = model.spec(task="text-generation")
    if bits not in (8, 4):
        raise OptionError("bits", f"must be 8 or 4, not {bits}")
    if calibration is not None and bits != 4:
        raise OptionError("calibration", "is for bits=4; 8 bits need none")
    check_output(output, as_file=False, overwrite=overwrite)
    texts = None if calibration is None else _texts(calibration, field, encoding)
    with quick_imports():
        from llmkit.convert.quantize import quantize
    with progress.Progress("quantize", total=1.0) as bar:
        result = quantize(
            spec,
            output,
            bits=bits,
            group=group,
            calibration=texts,
            max_shard_size=max_shard_size,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(done / total, f"{done} of {total} layers"),
        )
    if json:
        print(json_module.dumps({**finite(dataclasses.asdict(result)), "folder": str(result.folder)}))
        return
    print(f"folder: {result.folder}")
    print(f"weights on disk: {result.nbytes / 1e6:.1f} MB")
    before, after = result.bytes_before / 1e6, result.bytes_after / 1e6
    print(f"weights in memory: {before:.1f} MB before, {after:.1f} MB after")
    print(f"layers: {result.layers} quantized, {len(result.kept)} kept as they are")
    if result.divergence is not None and result.same_top is not None:
        print(f"KL divergence from the original: {result.divergence:.2e} nats a token")
        print(f"same most likely token: {100 * result.same_top:.1f} % of {result.tokens} tokens")
    else:
        print("change: not measured (only for models that continue a text)")


def _texts(path: str, field: str | None, encoding: str | None) -> list[str]:
    """Read the texts of a file, at most as many as calibration uses."""
    from itertools import islice

    from llmkit.errors import RowError
    from llmkit.records.read import open_rows
    from llmkit.records.rows import text_of

    found = []
    for row in islice(open_rows(path, encoding=encoding).without_blank_lines(), 128):
        if row.error is not None:
            raise RowError(row.where, row.error)
        found.append(text_of(row, field=field, template=None, defaults=("text",)))
    return found
