"""Finetune with Ray Train: Ray starts the processes, torch and accelerate train in them as under torchrun.

pip install 'llmkit[cluster]' 'ray[train]'
python examples/cluster/ray_train.py data.jsonl out 2
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def train(settings: dict[str, str]) -> None:
    """Run one process of the training; Ray Train has set RANK, WORLD_SIZE and MASTER_ADDR."""
    import llmkit

    recipe = llmkit.FinetuneRecipe(max_steps=int(settings["steps"]))
    llmkit.finetune(settings["data"], settings["out"], "stories", recipe)


def main(data: str, out: str, workers: str = "2", steps: str = "20") -> None:
    import ray
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:
        ray.init("local", object_store_memory=200 << 20, include_dashboard=False)
    settings = {"data": str(Path(data).resolve()), "out": str(Path(out).resolve()), "steps": steps}
    scaling = ScalingConfig(num_workers=int(workers), use_gpu=False)
    TorchTrainer(train, train_loop_config=settings, scaling_config=scaling).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
