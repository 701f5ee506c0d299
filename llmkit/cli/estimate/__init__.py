"""`llmkit estimate`: a model's memory, time and price, before it is downloaded or loaded."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console, options
from llmkit.cli.common.options import flag
from llmkit.errors import OptionError
from llmkit.records.strict_json import finite

if TYPE_CHECKING:
    from llmkit.benchmark.one_step import StepResult
    from llmkit.runtime.estimate.estimate import Estimate
    from llmkit.runtime.spec import ModelSpec

EXAMPLES = [
    "llmkit estimate -m stories",
    "llmkit estimate -m my-model --quantize int4 --batch-size 8 --on rtx4090",
    "llmkit estimate -m my-model --task finetune --on this --check",
]


@dataclasses.dataclass
class TrainingFlags:
    """Options of `finetune` and `pretrain` that change the memory."""

    GROUP = "Training"

    lora: Annotated[
        bool,
        flag("--lora/--full", help="Train an adapter, or the whole model.", default="an adapter"),
    ] = True
    lora_rank: Annotated[int, flag("--lora-rank", metavar="N", help="Rank of the adapter's matrices.")] = 16
    target_modules: Annotated[
        str | None,
        flag(
            "--target-modules",
            metavar="A,B",
            help="Layers that get an adapter.",
            default="all linear layers",
        ),
    ] = None
    qlora: Annotated[bool, flag("--qlora", help="Keep the frozen model in 4 bits.")] = False
    gradient_checkpointing: Annotated[
        bool, flag("--gradient-checkpointing", help="Recompute activations in the backward pass.")
    ] = False
    gradient_accumulation: Annotated[
        int, flag("--gradient-accumulation", metavar="N", help="Forward passes in a step.")
    ] = 1


@dataclasses.dataclass
class MachineFlags:
    """The machine and its costs."""

    GROUP = "Machine"

    on: Annotated[
        str | None,
        flag(
            "--on",
            metavar="NAME|FILE",
            help="Machine: this, cpu, t4, rtx3090, rtx4090, l4, a100, h100, h200, or a .json file.",
            default="none",
        ),
    ] = None
    watts: Annotated[
        float | None,
        flag("--watts", metavar="N", help="Power of a device.", default="the data sheet's"),
    ] = None
    grid: Annotated[
        str | None,
        flag(
            "--grid",
            metavar="COUNTRY|N",
            help="Country of the electricity, or grams of CO2 per kWh.",
            default="none",
        ),
    ] = None
    price: Annotated[
        float | None,
        flag("--price", metavar="N", help="Price per device and hour.", default="none"),
    ] = None
    check: Annotated[
        bool, flag("--check", help="Run one batch or step here, and compare it with the estimate.")
    ] = False
    again: Annotated[bool, flag("--again", help="Measure the model's layers again for `--on this`.")] = False


@options.expand
def run(
    *,
    task: Annotated[
        str, flag("--task", metavar="NAME", help="generate, serve, eval, finetune or pretrain.")
    ] = "generate",
    prompt_tokens: Annotated[
        int | None,
        flag(
            "--prompt-tokens",
            metavar="N",
            help="Length in tokens of a prompt, or of a row to train on or score.",
            default="512, for finetune 1024; at most the context",
        ),
    ] = None,
    new_tokens: Annotated[
        int | None,
        flag(
            "--new-tokens",
            metavar="N",
            help="Tokens of an answer.",
            default="256; at most what fits the context",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        flag(
            "--batch-size",
            metavar="N",
            help="Rows at the same time.",
            default="1; finetune 8, pretrain 16, serve 32",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        flag("--rows", metavar="N", help="Number of rows, for time, energy and price.", default="one batch"),
    ] = None,
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    training: TrainingFlags,
    machine: MachineFlags,
    model: Annotated[
        str,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="Hub id, folder (config.json is enough), GGUF file, adapter, or embedded model.",
            group="Model",
        ),
    ],
    revision: options.Revision = None,
    dtype: Annotated[
        str,
        flag(
            "--dtype",
            metavar="NAME",
            help="auto, float32, bfloat16 or float16; auto is the default of the verb.",
            group="Model",
        ),
    ] = "auto",
    quantize: Annotated[
        str | None,
        flag(
            "--quantize",
            metavar="int8|int4",
            help="Weights in 8 or 4 bits.",
            default="as stored",
            group="Model",
        ),
    ] = None,
    adapter: options.Adapter = None,
    offline: options.Offline = False,
    messages: options.MessageFlags,
) -> None:
    """Estimate the memory, time and price of a model before download and loading."""
    from llmkit.cli.common.loading import quick_imports
    from llmkit.runtime.spec import ModelSpec

    with quick_imports():
        from llmkit.runtime.estimate.energy import grid_named
        from llmkit.runtime.estimate.estimate import estimate
    on = machine.on or ("this" if machine.check else None)
    if machine.check and on != "this":
        raise OptionError("check", "runs a step on this machine; omit `on`, or set it to `this`")
    spec = ModelSpec(
        model, revision=revision, dtype=dtype, quantize=quantize, adapter=adapter, offline=offline
    )
    found = estimate(
        spec,
        task=task,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        batch_size=batch_size,
        rows=rows,
        training=_training(task, training),
        watts=machine.watts,
        grid=None if machine.grid is None else grid_named(machine.grid)[0],
        price=machine.price,
        **_machine(on, task, machine.again),
    )
    checked = _check(spec, found) if machine.check else None
    if json:
        print(json_module.dumps(finite(_as_json(found, checked, machine.grid))))
        return
    from llmkit.cli.estimate.table import lines

    print("\n".join(lines(found, None if machine.grid is None else grid_named(machine.grid)[1])))
    if checked is not None:
        from llmkit.cli.estimate.table import check_lines

        print("\n".join(check_lines(found, checked)))


def _training(task: str, flags: TrainingFlags) -> Any:
    """Return the options of a training; refuse those that the task does not have."""
    from llmkit.runtime.estimate.workload import Training, trains

    given = {one.name for one in dataclasses.fields(flags)} & options.typed()
    if task == "pretrain":
        given &= {"lora", "lora_rank", "target_modules", "qlora"}
    elif trains(task):
        given = set()
    if given:
        name = sorted(given)[0]
        raise OptionError(name, f"cannot be combined with the task {task}")
    whole = task == "pretrain" or not flags.lora
    if not flags.lora:
        for name in ("lora_rank", "target_modules"):
            if name in options.typed():
                raise OptionError(name, "needs an adapter; lora=False trains the whole model")
    return Training(
        lora_rank=None if whole else flags.lora_rank,
        qlora=flags.qlora,
        target_modules=flags.target_modules,
        gradient_checkpointing=flags.gradient_checkpointing,
        gradient_accumulation=flags.gradient_accumulation,
    )


def _machine(on: str | None, task: str, again: bool) -> dict[str, Any]:
    """Return the arguments of `estimate` for a machine; measure this machine if requested."""
    if on is None:
        return {}
    from llmkit.runtime.estimate.this_machine import find_machine

    machine = find_machine(on)
    if on.lower() != "this" or machine.kind != "cpu":
        return {"machine": machine}
    from llmkit.benchmark.step_times import StepTimes, process_bytes

    times = StepTimes(again, console.notice)
    return {"machine": machine, "process": lambda: process_bytes(task, again=again), "measure": times}


def _check(spec: ModelSpec, found: Estimate) -> StepResult:
    """Run a batch or some steps of the model itself."""
    from llmkit.benchmark.one_step import StepCase, run_case

    work, training = found.workload, found.training
    if training is not None and training.qlora:
        raise OptionError("check", "does not run training in 4 bits, which needs a GPU")
    if sys.platform == "win32":
        raise OptionError("check", "needs Linux or macOS, because it reads the memory of a process")
    console.notice(f"running one {found.stages[0].name} of {found.model}")
    case = StepCase(
        spec.name,
        found.task,
        work.batch_size,
        work.prompt_tokens,
        max(1, work.new_tokens),
        dtype=found.dtype,
        quantize=spec.quantize,
        adapter=spec.adapter,
        revision=spec.revision,
    )
    if training is not None:
        case = dataclasses.replace(
            case,
            lora_rank=training.lora_rank,
            target_modules=training.target_modules,
            gradient_checkpointing=training.gradient_checkpointing,
            gradient_accumulation=training.gradient_accumulation,
        )
    return run_case(case)


def _as_json(found: Estimate, checked: StepResult | None, grid: str | None) -> dict[str, Any]:
    from llmkit.runtime.estimate.energy import grid_named

    more: dict[str, Any] = {"total": found.total}
    if checked is not None:
        more["measured"] = dataclasses.asdict(checked)
    if grid is not None:
        grams, source = grid_named(grid)
        more["grid"] = {"grams_per_kwh": grams, "source": source}
    return {**dataclasses.asdict(found), **more}
