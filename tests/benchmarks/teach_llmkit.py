"""Steps of `llmkit finetune`: ``python -m tests.benchmarks.teach_llmkit FOLDER OUTPUT STEPS OPTIONS``.

OPTIONS, as JSON: `lora`; and `packed` rows of 512 tokens a step, or `rows` joined as they come.
"""

from __future__ import annotations

import json
import sys

from tests.benchmarks.steps import Steps, watch_trainer


def main(folder: str, output: str, count: str, options: str) -> None:
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.finetuning.finetune import FinetuneRecipe, finetune
    from llmkit.training.run import SilentProgress

    asked = json.loads(options)
    steps = Steps()
    watch_trainer(steps, first=0)

    class StopAtEnd(SilentProgress):
        def step(self, step: object) -> None:
            steps.end()
            if len(steps.ends) == int(count):
                steps.report()
                sys.exit()  # before the model is written

    finetune(
        [f"{folder}/rows.jsonl"],
        output,
        ModelSpec(f"{folder}/model", device="cpu"),
        FinetuneRecipe(
            lora=asked["lora"],
            packing="packed" in asked,
            batch_size=asked.get("packed") or asked["rows"],
            max_length=512,
            max_steps=int(count),
            lr=1e-4,
            eval_split=0.0,
            dtype="bfloat16",
            save_steps=1000,
        ),
        progress=StopAtEnd(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
