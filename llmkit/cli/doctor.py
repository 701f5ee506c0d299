"""`llmkit doctor`: show versions, devices, and install commands of missing packages."""

from __future__ import annotations

import importlib.metadata
import json as json_module
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import console, options
from llmkit.cli.common.options import flag

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Packages that some models or options need, and the commands that install them.
OPTIONAL = {
    "bitsandbytes": "quantized models on NVIDIA GPUs: pip install bitsandbytes",
    "gguf": "GGUF files: pip install 'llmkit[gguf]'",
    "h5py": "TensorFlow checkpoints: pip install 'llmkit[convert]'",
    "msgpack": "Flax checkpoints: pip install 'llmkit[convert]'",
    "llama-cpp-python": "a check of GGUF files, and the engine llamacpp: pip install 'llmkit[llamacpp]'",
    "openvino-genai": "the engine openvino: pip install 'llmkit[openvino]'",
    "vllm": "the engine vllm, in a separate environment: python -m venv ~/vllm && ~/vllm/bin/pip install"
    " vllm; then --engine vllm --engine-python ~/vllm/bin/python",
    "onnx": "writing ONNX: pip install 'llmkit[onnx]'",
    "onnxscript": "writing ONNX: pip install 'llmkit[onnx]'",
    "onnxruntime": "an independent check of ONNX files: pip install 'llmkit[onnx]'",
    "ctranslate2": "writing CTranslate2, and its engine: pip install 'llmkit[ctranslate2]'",
    "mlx-lm": "an independent check of MLX folders: pip install mlx-lm (on Linux: 'mlx[cpu]' mlx-lm)",
    "kernels": "attention kernels from the Hub: pip install 'transformers[kernels]'",
    "trl": "finetuning on preferences: pip install trl",
    "tiktoken": "models with a tiktoken tokenizer: pip install tiktoken",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; `ok` is None for a fact without a check."""

    what: str
    value: str
    ok: bool | None = None
    advice: str = ""


EXAMPLES = ["llmkit doctor"]


@options.expand
def run(
    *,
    json: Annotated[bool, flag("--json", help="Print one JSON object per line.")] = False,
    messages: options.MessageFlags,
) -> None:
    """Show versions, devices, and missing packages with their install commands."""
    findings = list(_findings())
    failed = any(finding.ok is False for finding in findings)
    console.will_exit(int(failed))
    for finding in findings:
        if json:
            print(json_module.dumps(asdict(finding), ensure_ascii=False))
            continue
        mark = {True: "ok", False: "MISSING", None: ""}[finding.ok]
        advice = f"({finding.advice})" if finding.advice else ""
        line = "  ".join(
            part for part in (f"{finding.what:<16}", f"{finding.value:<34}", mark, advice) if part
        )
        print(console.fitted(line.rstrip(), indent=18))
    if failed:
        console.notice("something is missing; see the lines marked MISSING")
        raise console.Exit(1)


def _findings() -> Iterator[Finding]:
    import llmkit

    yield Finding("llmkit", f"{llmkit.__version__} in {Path(llmkit.__file__).parent}")
    yield Finding("python", platform.python_version(), sys.version_info >= (3, 11))
    yield Finding("system", f"{platform.system()} {platform.machine()}")
    yield from _packages()
    yield from _devices()
    yield from _places()


def _packages() -> Iterator[Finding]:
    for need in required():
        version = _version(need.name)
        install = f"pip install '{need.name}{need.specifier}'"
        if version is None:
            yield Finding(need.name, "not installed", False, install)
        elif not need.specifier.contains(version, prereleases=True):
            yield Finding(need.name, f"{version}, not {need.specifier}", False, install)
        else:
            yield Finding(need.name, version, True)
    for name, advice in OPTIONAL.items():
        version = _version(name)
        if version is None:
            yield Finding(name, "not installed (optional)", advice=advice)
        else:
            yield Finding(name, version, True)


def required() -> list[Requirement]:
    """Return the packages that llmkit's metadata requires, with their versions, without extras."""
    from packaging.requirements import Requirement

    needs = map(Requirement, importlib.metadata.requires("llmkit") or [])
    return [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    if _version("torch") is None:
        return
    import psutil
    import torch

    from llmkit.runtime.device import cpu_has_bfloat16

    memory = psutil.virtual_memory()
    fast = "float32, bfloat16" if cpu_has_bfloat16() else "float32"
    yield Finding("cpu", f"{console.count(torch.get_num_threads(), 'thread')}, fast in {fast}")
    yield Finding("memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free")
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(i)
        name = torch.cuda.get_device_name(i)
        yield Finding(f"cuda:{i}", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free", True)
    if torch.backends.mps.is_available():
        yield Finding("mps", "Metal", True)
    if not torch.cuda.is_available():
        built = "this torch is a CPU build" if torch.version.cuda is None else "torch finds no CUDA device"
        seen = shutil.which("nvidia-smi") is not None
        advice = "this machine has nvidia-smi: install a CUDA build of torch" if seen else ""
        yield Finding("cuda", f"none: {built}", advice=advice)


def _places() -> Iterator[Finding]:
    from huggingface_hub import constants, get_token

    from llmkit.models.bundled import embedded_models

    names = [model.name for model in embedded_models()]
    missing = "the installation is incomplete: run pip install --force-reinstall . in the checkout"
    yield Finding("embedded models", ", ".join(names) or "none", bool(names), advice="" if names else missing)
    cache = Path(constants.HF_HUB_CACHE)
    yield Finding("model cache", str(cache) if cache.is_dir() else f"{cache} (does not exist yet)")
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    yield Finding("free disk there", f"{shutil.disk_usage(there).free / 2**30:.1f} GiB")
    token = "found" if get_token() else "none"
    yield Finding("Hub token", token, advice="" if token == "found" else "for gated models: hf auth login")
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE"):
        yield Finding("offline", "HF_HUB_OFFLINE is set: nothing is downloaded")
