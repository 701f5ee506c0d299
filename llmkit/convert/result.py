"""The result of a conversion, and its record on disk."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from llmkit.convert.proof import Check
from llmkit.records.strict_json import finite


@dataclass(frozen=True)
class ConvertResult:
    """A converted model.

    Attributes:
        output: the file or folder.
        to: the format.
        source: name and format of the converted model.
        stored: type of most weights in the result, such as ``bfloat16`` or ``Q8_0``.
        parameters: number of weights.
        nbytes: size of the result's weights on disk.
        checks: difference of each reader's outputs from the source's.
        bound: maximum relative difference.
        not_checked: readers that are not installed, with their installation commands.
        notes: sentences for the user.
    """

    output: Path
    to: str
    source: str
    stored: str
    parameters: int
    nbytes: int
    checks: list[Check]
    bound: float
    not_checked: list[str]
    notes: list[str]


def write_proof(path: Path, result: ConvertResult) -> None:
    """Write the measurements next to the model, as JSON."""
    import llmkit

    record = dataclasses.asdict(result) | {"output": result.output.name, "llmkit": llmkit.__version__}
    path.write_text(json.dumps(finite(record), indent=2, default=str) + "\n", encoding="utf-8")
