"""Time a model's own layers on this machine, once, with random weights; store the result.

Public: `StepTimes`, `process_bytes`, `write_random_model`.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.benchmark.limits import calibrate, signs_of_load
from llmkit.benchmark.one_step import StepCase, run_case
from llmkit.models.bundled import embedded_folder
from llmkit.runtime.estimate.counts import model_kind
from llmkit.runtime.estimate.remember import remembered
from llmkit.runtime.estimate.workload import trains
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    from llmkit.runtime.estimate.memory import MemoryPlan

# Weights up to which the whole model is timed; of a larger one some layers, which no processor's cache holds.
_WHOLE, _PART, _LARGEST = 200e6, 64e6, 1.5e9
_TOKENS, _ROWS, _NEW = 4096, 32, 64  # most tokens of prompts, rows, and new tokens that are timed
_TINY = {
    **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "vocab_size": 4096, "max_position_embeddings": 512},
}


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a plan's stages on this machine.

    A large model is timed with two layer counts, and the time of the other layers is extrapolated. Prompts
    above some length are timed at that length, and their time grows with their operations.

    Args:
        again: measure again, even if a result is stored.
        notice: called with a sentence before a measurement.
    """

    again: bool = False
    notice: Callable[[str], None] = lambda message: None

    def __call__(self, plan: MemoryPlan) -> dict[str, float]:
        """Return the seconds of each stage by its name; empty for a model that cannot be timed so."""
        counts = plan.counts
        if counts.kind == "encoder" or (plan.task == "finetune" and plan.training.qlora):
            return {}
        case = _case(plan)
        few = _layers_to_time(plan)
        if not few:
            self.notice(
                f"a layer of {plan.source.name} is too large to be measured here; times are lower bounds"
            )
            return {}
        found = [self._timed(plan, case, layers) for layers in few]
        if len(few) == 1:
            seconds = found[0]
        else:
            rest = (counts.layers - few[0]) / (few[1] - few[0])
            seconds = {name: max(one, one + (found[1][name] - one) * rest) for name, one in found[0].items()}
        return _scaled(plan, case, seconds)

    def _timed(self, plan: MemoryPlan, case: StepCase, layers: int) -> dict[str, float]:
        config = plan.counts.config.to_json_string(use_diff=False)
        key = {
            **{name: value for name, value in vars(case).items() if name != "model"},
            "config": hashlib.sha256(config.encode()).hexdigest(),
            "layers": layers,
        }

        def measure() -> dict[str, float]:
            self.notice(f"timing {layers} layers with random weights once; the result is stored")
            with temporary_folder("estimate") as folder:
                write_random_model(plan.counts.config, folder, plan.dtype, layers=layers)
                return run_case(_with(case, model=str(folder))).seconds

        return remembered("steps", key, measure, again=self.again, keep=self._is_quiet)

    def _is_quiet(self) -> bool:
        """Return False, with a notice, if other programs made the times too long."""
        signs = signs_of_load(None, os.cpu_count() or 1, calibrate())
        if signs:
            self.notice(
                f"the machine is busy, so the times are too long and are not stored: {'; '.join(signs)}"
            )
        return not signs


def process_bytes(task: str, *, again: bool = False) -> int:
    """Return the bytes of a process that runs a task with a model of almost no size; measured once.

    Raises:
        LLMKitError: the process failed.
    """
    from transformers import AutoConfig

    kind = "training" if trains(task) else "generate"

    def measure() -> dict[str, float]:
        with temporary_folder("estimate") as folder:
            write_random_model(AutoConfig.for_model("llama", **_TINY), folder, "float32")
            own = "finetune" if kind == "training" else "generate"
            return {"peak": float(run_case(StepCase(str(folder), own, 1, 16, 2, steps=2)).peak)}

    return int(remembered("process", {"kind": kind}, measure, again=again)["peak"])


def write_random_model(config: Any, folder: Path, dtype: str, *, layers: int | None = None) -> None:
    """Write a model with random weights, and an embedded model's tokenizer.

    Args:
        config: its configuration.
        folder: an empty folder.
        dtype: dtype of its weights.
        layers: number of layers; None is the configuration's.
    """
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    config = copy.deepcopy(config)
    if layers is not None:
        _cut(config, layers)
    kind, auto = model_kind(config)
    with no_init_weights():
        model = getattr(transformers, auto).from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=False
        )
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one.uniform_(-0.02, 0.02, generator=draw)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer = embedded_folder("translator" if kind == "seq2seq" else "stories")
    assert tokenizer is not None
    for path in tokenizer.iterdir():
        if "token" in path.name or path.suffix in (".spm", ".model"):
            shutil.copy(path, folder)


def _cut(config: Any, layers: int) -> None:
    own = config.get_text_config(decoder=True)
    for name in ("num_hidden_layers", "decoder_layers", "encoder_layers", "num_decoder_layers", "num_layers"):
        if isinstance(getattr(own, name, None), int):
            setattr(own, name, layers)
    kinds = getattr(own, "layer_types", None)
    if isinstance(kinds, list):
        own.layer_types = kinds[:layers]


def _layers_to_time(plan: MemoryPlan) -> list[int]:
    """Return numbers of layers to time: all of a small model, none of one whose layers are too large."""
    counts = plan.counts
    if counts.parameters <= _WHOLE:
        return [counts.layers]
    each = (counts.parameters - counts.embedding_weights) / counts.layers
    first = max(1, math.ceil(_PART / each))
    if each > _LARGEST:
        return []
    return [counts.layers] if 3 * first >= counts.layers else [first, 3 * first]


def _case(plan: MemoryPlan) -> StepCase:
    """Return the workload that is timed in place of the plan's."""
    work, training = plan.workload, plan.training
    rows = min(work.batch_size, _ROWS)
    return StepCase(
        model="",
        task="generate" if plan.task == "serve" else plan.task,
        rows=rows,
        prompt_tokens=min(work.prompt_tokens, max(16, _TOKENS // rows)),
        new_tokens=min(work.new_tokens, _NEW),
        dtype=plan.dtype,
        quantize=plan.quantize,
        lora_rank=training.lora_rank if plan.task == "finetune" else None,
        target_modules=training.target_modules,
        gradient_checkpointing=training.gradient_checkpointing,
        gradient_accumulation=1,
    )


def _with(case: StepCase, *, model: str) -> StepCase:
    from dataclasses import replace

    return replace(case, model=model)


def _scaled(plan: MemoryPlan, case: StepCase, seconds: dict[str, float]) -> dict[str, float]:
    """Return the times of the plan's own lengths: a prompt's grows with its operations."""
    work, counts = plan.workload, plan.counts
    same = (work.batch_size, work.prompt_tokens) == (case.rows, case.prompt_tokens)
    grown = 1.0
    if not same:
        timed = counts.forward_flops(case.rows, case.prompt_tokens)
        grown = counts.forward_flops(work.batch_size, work.prompt_tokens) / timed
    passes = plan.training.gradient_accumulation if trains(plan.task) else 1
    rows = work.batch_size / case.rows
    factors = {"token": rows, "step": grown * passes}
    return {name: value * factors.get(name, grown) for name, value in seconds.items()}
