"""Options and results of a benchmark."""

from __future__ import annotations

import dataclasses
import shutil
import statistics
from dataclasses import dataclass, field
from typing import Any

from llmkit.errors import OptionError, did_you_mean

PEERS = ("pipeline", "generate_batch", "ctranslate2", "llama.cpp", "openvino")
"""Programs that can run beside llmkit: two ways of transformers, CTranslate2, llama.cpp, OpenVINO."""
_LARGEST = {
    "prompt_tokens": 1 << 20,
    "new_tokens": 1 << 16,
    "batch": 100_000,
    "repeats": 1000,
    "threads": 4096,
}


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of a benchmark.

    Attributes:
        prompt_tokens: tokens of a prompt.
        new_tokens: tokens that follow it; end tokens do not end an answer.
        batch: prompts per batch.
        repeats: counted rounds, after one warm-up round.
        threads: threads of the processor for every program; None keeps torch's number.
        mixed: vary the lengths in a batch, from a quarter to the full length.
        guesses: let llmkit guess tokens from the text, as `generate` does. Without, each token is one step,
            as with the other programs.
        compare: names from `PEERS`.
        peer_python: paths of Pythons that have llama-cpp-python or openvino-genai; the running Python is
            tried too.
        start: (name, command) of programs whose time to the first byte of output is measured.
        seed: chooses the words of the prompts.
    """

    prompt_tokens: int = 256
    new_tokens: int = 64
    batch: int = 8
    repeats: int = 5
    threads: int | None = None
    mixed: bool = False
    guesses: bool = False
    compare: tuple[str, ...] = ()
    peer_python: tuple[str, ...] = ()
    start: tuple[tuple[str, tuple[str, ...]], ...] = ()
    seed: int = 0

    def check(self) -> None:
        """Refuse values that cannot be used.

        Raises:
            OptionError: it names the option.
        """
        least = {"prompt_tokens": 1, "new_tokens": 2, "batch": 1, "repeats": 1, "threads": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and not smallest <= value <= _LARGEST[name]:
                raise OptionError(name, f"must be {smallest} to {_LARGEST[name]}, not {value}")
        for i, name in enumerate(self.compare):
            if name not in PEERS:
                hint = did_you_mean(name, PEERS) or f"; use {', '.join(PEERS)}"
                raise OptionError("compare", f"has no program {name!r}{hint}")
            if name in self.compare[:i]:
                raise OptionError("compare", f"contains {name} twice")
        if self.peer_python and not {"llama.cpp", "openvino"}.intersection(self.compare):
            raise OptionError(
                "peer_python", "applies to llama.cpp and openvino; add one of them to `compare`"
            )
        for python in self.peer_python:
            if shutil.which(python) is None:
                raise OptionError("peer_python", f"{python}: no such program; give the path of a Python")


@dataclass(frozen=True)
class MachineLimits:
    """Limits of the machine, measured.

    Attributes:
        bandwidth: bytes read from memory in a second.
        operations: floating-point operations in a second, in a large matrix product of the model's dtype.
        dtype: that dtype.
        notes: remarks on the measurement, if it differs from the usual one.
    """

    bandwidth: float
    operations: float
    dtype: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bound:
    """The best value that the machine allows.

    Attributes:
        value: in the unit of the measurement.
        by: ``bandwidth``, ``arithmetic`` or ``memory``.
    """

    value: float
    by: str


@dataclass(frozen=True)
class Quantity:
    """One measured quantity of one program.

    Attributes:
        name: name, such as ``decode``.
        unit: ``s``, ``tokens/s`` or ``bytes``.
        samples: one number for each round.
        limit: limit of the machine; None if there is none.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    limit: Bound | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Largest minus smallest sample, as a share of the median."""
        return (max(self.samples) - min(self.samples)) / self.median

    @property
    def share(self) -> float | None:
        """Share of the limit that was reached; 1 is the limit itself."""
        if self.limit is None:
            return None
        if self.unit == "tokens/s":
            return self.median / self.limit.value
        return self.limit.value / self.median

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "unit": self.unit, "median": self.median}
        found |= {"spread": self.spread, "samples": list(self.samples)}
        if self.limit is not None:
            found |= {"limit": self.limit.value, "limit_by": self.limit.by, "share": self.share}
        return found


@dataclass(frozen=True)
class SystemResult:
    """Measurements of one program.

    Attributes:
        name: ``llmkit`` or a name from `PEERS`.
        measurements: the measured quantities.
        notes: notes for the reader, such as the version.
        skipped: reason why nothing was measured; None if something was.
    """

    name: str
    measurements: tuple[Quantity, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str | None = None

    def find(self, name: str) -> Quantity | None:
        """Return the measurement of that name, if there is one."""
        return next((one for one in self.measurements if one.name == name), None)


@dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark.

    Attributes:
        model: name of the model.
        dtype: precision that it computes in.
        quantize: ``int8``, ``int4`` or None.
        device: where it ran.
        threads: threads of the processor.
        options: the options.
        limits: of the machine.
        systems: llmkit first, then the others.
        busy: True if other programs disturbed the measurement.
        reasons: signs of other programs.
        notes: automatic choices.
        versions: name of a library -> its version.
    """

    model: str
    dtype: str
    quantize: str | None
    device: str
    threads: int
    options: BenchmarkOptions
    limits: MachineLimits
    systems: tuple[SystemResult, ...]
    busy: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON, with medians, spreads and shares."""
        found = dataclasses.asdict(self)
        found["systems"] = [
            {
                "name": one.name,
                "skipped": one.skipped,
                "notes": list(one.notes),
                "measurements": [each.as_json() for each in one.measurements],
            }
            for one in self.systems
        ]
        return found
