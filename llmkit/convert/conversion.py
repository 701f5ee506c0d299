"""Convert a model to another format, and prove that the result gives the source's outputs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.convert.output import Unfinished, check_output, proof_of, unfinished
from llmkit.convert.proof import Check, outputs_of, probe_ids
from llmkit.convert.reader_process import reader_with
from llmkit.convert.result import ConvertResult, write_proof
from llmkit.errors import LLMKitError, OptionError

if TYPE_CHECKING:
    import torch

    from llmkit.convert.source import SourceModel
    from llmkit.runtime.spec import ModelSpec

FORMATS = ("safetensors", "gguf", "onnx", "ctranslate2", "mlx")
GGUF_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
_WITH_INTEGERS = (("ctranslate2", "int8"), ("mlx", "int8"), ("mlx", "int4"))
DTYPES = ("float32", "float16", "bfloat16", "int8", "int4")


@dataclass(frozen=True)
class Conversion:
    """A checked request.

    Attributes:
        to: the format.
        output: the file or folder to make.
        kind: a GGUF type or the name of a torch dtype; ``auto`` uses the source's.
        bound: maximum relative difference; None uses the default of the type.
        reader_python: a Python that has independent readers.
        max_shard_size: maximum size of a safetensors file, such as ``5GB``.
        progress: called with the number of tensors done and their total.
    """

    to: str
    output: Path
    kind: str
    bound: float | None
    reader_python: str | None
    max_shard_size: str
    progress: Callable[[int, int], None]


def convert(
    spec: ModelSpec,
    to: str,
    output: str | Path,
    *,
    gguf_type: str = "auto",
    dtype: str = "auto",
    bound: float | None = None,
    reader_python: str | None = None,
    max_shard_size: str = "5GB",
    overwrite: bool = False,
    accept_other_texts: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ConvertResult:
    """Convert a model.

    The result is written next to `output` and read again: by llmkit and, if one is installed, by an
    independent program. Their outputs for 20 texts are compared with the source's, in float32. Only a result
    within the bound is moved to `output`. The measurements are next to it, in ``proof.json`` or
    ``NAME.gguf.proof.json``.

    Args:
        spec: the model: a folder, Hub id or embedded model, with or without an adapter, a GGUF file, or a
            folder with a TensorFlow or Flax checkpoint. Its dtype and device are not used.
        to: a format of `FORMATS`.
        output: a file for GGUF, otherwise a folder.
        gguf_type: for GGUF: ``auto`` (the source's stored type), or one of `GGUF_TYPES`.
        dtype: for other formats: ``auto`` (the source's stored type), or one of `DTYPES`.
        bound: maximum relative difference (see `Check`); None uses the default of the type.
        reader_python: path of a Python that has the independent reader (llama-cpp-python for GGUF); None
            tries the running Python.
        max_shard_size: maximum size of a safetensors file. A killed conversion continues with the next file.
        overwrite: replace an existing output.
        accept_other_texts: accept a result whose greedy text differs from the source's at a step without
            nearly equal logits; `Check.differs` describes it.
        progress: called with the number of tensors done and their total.

    Raises:
        InputError: there is no such model, the format does not support it, or the output exists. LLMKitError:
            a reader's outputs differ from the source's by more than the bound; nothing is moved to `output`.
    """
    from llmkit.convert.source import load_source

    output = Path(output)
    job = Conversion(to, output, _kind(to, gguf_type, dtype), bound, reader_python, max_shard_size, progress)
    check_output(output, as_file=to == "gguf", overwrite=overwrite)
    source = load_source(spec)
    rows = probe_ids(source.tokenizer, source.model.config)
    probe = _Probe(rows, outputs_of(source.model, rows))
    with unfinished(output, _header(job, source), as_file=to == "gguf") as work:
        result = _result(job, source, _TARGETS[to](job, source, work, probe))
        _accept(result, other_texts=accept_other_texts)
        _carry(source, work.path)
        write_proof(_proof_path(work.path, to), result)
        work.accepted = True
    return result


def _kind(to: str, gguf_type: str, dtype: str) -> str:
    if to not in FORMATS:
        raise OptionError("to", f"must be one of {', '.join(FORMATS)}; {to} is not written")
    name, value, known = ("gguf_type", gguf_type, GGUF_TYPES) if to == "gguf" else ("dtype", dtype, DTYPES)
    if (dtype if to == "gguf" else gguf_type) != "auto":
        other = "dtype" if to == "gguf" else "gguf_type"
        raise OptionError(other, f"is not used for {to}; give `{name}`")
    if (to, value) not in _WITH_INTEGERS and value in ("int8", "int4"):
        raise OptionError("dtype", f"{value} is not written for {to}")
    value = value.upper() if to == "gguf" and value != "auto" else value
    if value != "auto" and value not in known:
        raise OptionError(name, f"must be auto or one of {', '.join(known)}, not {value}")
    return value


def _result(job: Conversion, source: SourceModel, written: _FormatResult) -> ConvertResult:
    own = sum(one.numel() for one in source.model.parameters())
    return ConvertResult(
        output=job.output,
        to=job.to,
        source=f"{source.name} ({source.format})",
        stored=written.stored,
        parameters=own if written.parameters is None else written.parameters,
        nbytes=written.nbytes,
        checks=written.checks,
        bound=written.bound if job.bound is None else job.bound,
        not_checked=list(written.not_checked),
        notes=[*source.notes, *written.notes],
    )


def _proof_path(path: Path, to: str) -> Path:
    return proof_of(path) if to == "gguf" else path / "proof.json"


def _header(job: Conversion, source: SourceModel) -> dict[str, Any]:
    """Return all settings that the weights in the result depend on."""
    import torch
    import transformers

    from llmkit.records.unfinished.shards import digest

    return {
        "verb": "convert",
        "to": job.to,
        "kind": job.kind,
        "max_shard_size": job.max_shard_size,
        "source": digest(source.model.state_dict()),
        "config": hashlib.sha256(source.model.config.to_json_string().encode()).hexdigest(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


@dataclass(frozen=True)
class _Probe:
    """Texts for the comparison.

    Attributes:
        rows: token ids of each text.
        expected: the source's outputs for them.
    """

    rows: list[list[int]]
    expected: list[torch.Tensor]


@dataclass(frozen=True)
class _FormatResult:
    """Facts about a written model; the fields are those of `ConvertResult`."""

    stored: str
    nbytes: int
    checks: list[Check]
    bound: float
    parameters: int | None = None
    not_checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _to_gguf(job: Conversion, source: SourceModel, work: Unfinished, probe: _Probe) -> _FormatResult:
    from llmkit.convert import to_gguf

    path = work.path
    kind = to_gguf.TYPE_OF[source.stored] if job.kind == "auto" else job.kind
    written = to_gguf.write(source, path, kind, _general(source, job.output), job.progress)
    checks = [to_gguf.own_check(path, probe.rows, probe.expected)]
    not_checked = []
    python = reader_with("llama_cpp", job.reader_python)
    if source.model.config.is_encoder_decoder:
        not_checked.append("llama.cpp (llama-cpp-python runs no encoder-decoder)")
    elif python is None:
        not_checked.append("llama.cpp; install llama-cpp-python to check with it")
    else:
        checks.append(to_gguf.llama_cpp_check(path, source, probe.rows, probe.expected, python))
    return _FormatResult(
        kind,
        path.stat().st_size,
        checks,
        to_gguf.BOUNDS[kind],
        written.parameters,
        tuple(not_checked),
        tuple(written.notes),
    )


def _to_safetensors(job: Conversion, source: SourceModel, work: Unfinished, probe: _Probe) -> _FormatResult:
    from llmkit.convert import to_safetensors

    dtype, path = _dtype(job, source), work.path
    to_safetensors.write(source, path, dtype, parts=work.parts, max_shard_size=job.max_shard_size)
    checks = [to_safetensors.own_check(path, source, probe.rows, probe.expected)]
    return _FormatResult(dtype, _weight_bytes(path), checks, to_safetensors.BOUNDS[dtype])


def _to_ctranslate2(job: Conversion, source: SourceModel, work: Unfinished, probe: _Probe) -> _FormatResult:
    from llmkit.convert import to_ctranslate2

    dtype, path = _dtype(job, source), work.path
    to_ctranslate2.write(source, path, dtype)
    checks = [to_ctranslate2.check(path, source, probe.rows, probe.expected, dtype)]
    return _FormatResult(dtype, (path / "model.bin").stat().st_size, checks, to_ctranslate2.BOUNDS[dtype])


def _to_onnx(job: Conversion, source: SourceModel, work: Unfinished, probe: _Probe) -> _FormatResult:
    from llmkit.convert import to_onnx

    dtype = to_onnx.type_of(source.stored, job.kind)
    written = to_onnx.write(source, work.path, dtype, job.progress)
    checks = to_onnx.checks_of(written, source, probe.rows, probe.expected, job.reader_python)
    missing = () if checks else ("onnxruntime; install onnxruntime to check with it",)
    notes = tuple(written.notes)
    bound = to_onnx.BOUNDS[dtype]
    return _FormatResult(dtype, written.nbytes, checks or [], bound, not_checked=missing, notes=notes)


def _to_mlx(job: Conversion, source: SourceModel, work: Unfinished, probe: _Probe) -> _FormatResult:
    from llmkit.convert import to_mlx

    dtype, path = _dtype(job, source), work.path
    to_mlx.write(source, path, dtype, job.progress, work.parts, job.max_shard_size)
    checks = [to_mlx.own_check(path, source, probe.rows, probe.expected, dtype)]
    independent = to_mlx.mlx_checks(path, source, probe.rows, probe.expected, dtype, job.reader_python)
    missing = () if independent else ("mlx-lm; install mlx-lm to check with it",)
    bound = to_mlx.BOUNDS[dtype]
    return _FormatResult(dtype, _weight_bytes(path), [*checks, *independent], bound, not_checked=missing)


def _dtype(job: Conversion, source: SourceModel) -> str:
    return source.stored if job.kind == "auto" else job.kind


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


_Target = Callable[["Conversion", "SourceModel", "Unfinished", _Probe], _FormatResult]
_TARGETS: dict[str, _Target] = {
    "gguf": _to_gguf,
    "safetensors": _to_safetensors,
    "onnx": _to_onnx,
    "ctranslate2": _to_ctranslate2,
    "mlx": _to_mlx,
}


def _accept(result: ConvertResult, *, other_texts: bool) -> None:
    for check in result.checks:
        if check.differs is not None and not other_texts:
            raise LLMKitError(f"{check.differs}; nothing was written")
        if check.same_tokens is False:
            raise LLMKitError(
                f"{check.reader} tokenizes the texts differently from the source; nothing was written"
            )
        if not check.relative_difference <= result.bound:
            raise LLMKitError(
                f"{check.reader} gives other results than the source: relative difference"
                f" {check.relative_difference:.3g}, and {result.bound:g} is allowed for {result.stored}"
                f" (largest difference {check.logit_difference:.3g}{_agreement(check)}); nothing was written."
                " A higher `bound` accepts it"
            )


def _agreement(check: Check) -> str:
    share = check.top_token_agreement
    return f", the same top token at {share:.1%} of {check.tokens}" if share is not None else ""


def _carry(source: SourceModel, path: Path) -> None:
    """Copy the source's card and license."""
    import shutil

    if source.folder is None or not path.is_dir():
        return
    for name in ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE"):
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, path / name)


def _general(source: SourceModel, output: Path) -> dict[str, str]:
    """Return name and license for the file, from the source's card."""
    general = {"name": output.stem}
    card = source.folder / "README.md" if source.folder is not None else None
    if card is not None and card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        front = text.split("---")[1] if text.startswith("---") and text.count("---") > 1 else ""
        match = re.search(r"^license: *['\"]?([\w.-]+)", front, re.M)
        if match is not None:
            general["license"] = match[1]
    return general
