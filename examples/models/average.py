"""Average the weights of models that were trained from the same weights.

Public: `average`.
"""

from __future__ import annotations

import shutil
from pathlib import Path


def average(folders: list[Path], output: Path) -> None:
    """Write a model whose weights are the mean of those of others, which it may beat (arXiv 2203.05482).

    Args:
        folders: of the models; the first one's other files are copied.
        output: folder of the model.
    """
    from safetensors.torch import load_file, save_file

    models = [load_file(folder / "model.safetensors") for folder in folders]
    mean = {
        name: (sum(model[name].float() for model in models) / len(models)).to(value.dtype).contiguous()
        for name, value in models[0].items()
    }
    output.mkdir(parents=True, exist_ok=True)
    for file in folders[0].iterdir():
        if file.suffix in (".json", ".jinja") and file.name != "finished.json":
            shutil.copyfile(file, output / file.name)
    save_file(mean, output / "model.safetensors", metadata={"format": "pt"})
