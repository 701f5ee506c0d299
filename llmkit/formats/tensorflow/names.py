"""Map names and layouts of TensorFlow variables to PyTorch.

transformers' TensorFlow classes name a variable by the path of its layers: lists have ``_._`` between name
and number, and ``a___b`` is a layer that PyTorch calls b.
Rules: modeling_tf_pytorch_utils.py of transformers 4.57.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmkit.formats.named import NamedArray

if TYPE_CHECKING:
    import numpy as np

_LAST = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}
_KERNEL_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
# Variables that training added.
_TRAINING = re.compile(
    r"(^|/)(save_counter|global_step|iter|learning_rate|optimizer|adam_[mv]|Adam|\.OPTIMIZER_SLOT)(/|$|:)"
)


def is_training_state(name: str) -> bool:
    """Return True if a variable belongs to the optimizer or counts steps."""
    return _TRAINING.search(name) is not None


def translate(name: str, values: np.ndarray) -> NamedArray:
    """A TensorFlow variable with its possible PyTorch names, in PyTorch's layout.

    Args:
        name: of the variable, such as ``tf_bert_model/bert/pooler/dense/kernel:0``.
        values: its array.
    """
    path = re.sub(r":\d+$", "", name)
    path = re.sub(r"(^|/)[^/]*___([^/]*)(?=/)", r"\1\2", path)
    path = re.sub(r"/+", "/", path.replace("_._", "/"))
    parts = path.split("/")
    if parts[-1] == "kernel" and values.ndim in _KERNEL_AXES:
        values = values.transpose(_KERNEL_AXES[values.ndim])
    parts[-1] = _LAST.get(parts[-1], parts[-1])
    # The first part is the whole model's own name, except in shards, whose names begin inside it.
    inside = ".".join(parts[1:] if len(parts) > 1 else parts)
    return NamedArray(name, (inside, ".".join(parts)), values)
