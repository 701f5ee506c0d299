"""Steps of litgpt's finetuning: ``python -m tests.benchmarks.teach_litgpt FOLDER OUTPUT STEPS OPTIONS``.

OPTIONS, as JSON: `lora`, `batch` (rows a forward pass, padded) and `accumulation`. The model's weights
are converted by litgpt's own converter. Its finetuning never ties the head to the embeddings, as the
model does: it is tied here, so that all train the same parameters.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.steps import Steps


def convert(folder: Path, checkpoint: Path) -> None:
    """Write the model as litgpt has it, its tokenizer beside it."""
    import shutil

    import torch
    from litgpt.model import Config
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
    from litgpt.utils import save_config
    from safetensors.torch import load_file

    theirs = json.loads((folder / "model/config.json").read_text())
    config = Config(
        name="random",
        block_size=theirs["max_position_embeddings"],
        vocab_size=theirs["vocab_size"],
        padded_vocab_size=theirs["vocab_size"],
        n_layer=theirs["num_hidden_layers"],
        n_head=theirs["num_attention_heads"],
        n_query_groups=theirs["num_key_value_heads"],
        n_embd=theirs["hidden_size"],
        intermediate_size=theirs["intermediate_size"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=theirs["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
    )
    weights: dict[str, Any] = {}
    copy_weights_hf_llama(config, {}, weights, load_file(folder / "model/model.safetensors"))
    checkpoint.mkdir(parents=True)
    torch.save(weights, checkpoint / "lit_model.pth")
    save_config(config, checkpoint)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(folder / "model" / name, checkpoint / name)


def write_rows(folder: Path, data: Path) -> None:
    """The same rows as litgpt's JSON data has them: the first word is the instruction, and is learnt too."""
    rows = []
    for line in (folder / "rows.jsonl").read_text().splitlines():
        first, rest = json.loads(line)["text"].split(" ", 1)
        rows.append({"instruction": first, "output": rest})
    data.mkdir(parents=True)
    (data / "train.json").write_text(json.dumps(rows))
    (data / "val.json").write_text(json.dumps(rows[:1]))


def watch(module: Any, steps: Steps, last: int) -> None:
    """Count targets and steps in litgpt's loop, tie the head, and end after the last step."""
    import torch

    loss, make = module.chunked_cross_entropy, module.instantiate_torch_optimizer

    def counted(logits: Any, targets: Any, **options: Any) -> Any:
        if torch.is_grad_enabled():
            steps.count(int((targets != -100).sum()))
        return loss(logits, targets, **options)

    def end(*arguments: Any) -> None:
        steps.end()
        if len(steps.ends) == last:
            steps.report()
            sys.exit()

    def watched(*arguments: Any, **options: Any) -> Any:
        optimizer = make(*arguments, **options)
        optimizer.register_step_post_hook(end)
        return optimizer

    class Tied(module.GPT):  # type: ignore[misc, name-defined]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            head = getattr(self.lm_head, "linear", self.lm_head)
            head.weight = self.transformer.wte.weight

    module.chunked_cross_entropy, module.instantiate_torch_optimizer = counted, watched
    module.GPT = Tied


def main(folder: str, output: str, count: str, options: str) -> None:
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.data import JSON
    from litgpt.finetune import full, lora
    from litgpt.prompts import Default

    asked, out = json.loads(options), Path(output)
    convert(Path(folder), out / "checkpoint")
    write_rows(Path(folder), out / "rows")
    steps = Steps()
    module = lora if asked["lora"] else full
    watch(module, steps, int(count))
    everywhere = ("query", "key", "value", "projection", "mlp")
    adapter = {f"lora_{name}": True for name in everywhere} | {
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
    }
    module.setup(
        checkpoint_dir=out / "checkpoint",
        out_dir=out / "run",
        # For LoRA the nearest to frozen bfloat16 weights: the adapter is in bfloat16 too.
        precision="bf16-true" if asked["lora"] else "bf16-mixed",
        data=JSON(out / "rows", prompt_style=Default(), num_workers=0),
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=asked["batch"] * asked["accumulation"],
            micro_batch_size=asked["batch"],
            lr_warmup_steps=1,
            epochs=1,
            max_steps=int(count),
            max_seq_length=512,
        ),
        eval=EvalArgs(interval=10**9, max_new_tokens=1, max_iters=1, final_validation=False),
        optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4, "fused": True}},
        **(adapter if asked["lora"] else {}),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
