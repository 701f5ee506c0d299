"""Steps of TRL's SFTTrainer: ``python -m tests.benchmarks.teach_trl FOLDER OUTPUT STEPS OPTIONS``.

OPTIONS, as JSON: `lora`, `batch` (rows a forward pass), `accumulation`, and `packed`: rows of 512 tokens,
best fit first; else rows as they are, padded, like with like. TRL's loss is in chunks by default.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.benchmarks.steps import Steps, watch_trainer


def main(folder: str, output: str, count: str, options: str) -> None:
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    asked = json.loads(options)
    steps = Steps()
    watch_trainer(steps, first=1)

    class MetricsCallback(TrainerCallback):
        def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
            steps.end()

    more: dict[str, Any] = {}
    if asked["lora"]:
        from peft import LoraConfig

        more["peft_config"] = LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )
    packed = asked["packed"]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            f"{folder}/model", dtype=torch.bfloat16 if asked["lora"] else torch.float32
        ),
        train_dataset=load_dataset(
            "json", data_files=f"{folder}/rows.jsonl", split="train", cache_dir=f"{output}/cache"
        ),
        processing_class=AutoTokenizer.from_pretrained(f"{folder}/model"),
        callbacks=[MetricsCallback()],
        args=SFTConfig(
            output_dir=output,
            max_length=512,
            max_steps=int(count),
            per_device_train_batch_size=asked["batch"],
            gradient_accumulation_steps=asked["accumulation"],
            packing=packed,
            packing_strategy="bfd",
            train_sampling_strategy="random" if packed else "group_by_length",
            learning_rate=1e-4,
            bf16=True,
            use_cpu=True,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
        ),
        **more,
    )
    trainer.train()
    steps.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
