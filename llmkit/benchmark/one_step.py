"""Run one batch or one training step of a model in a separate process, and measure its memory and time.

Public: `StepCase`, `StepResult`, `run_case`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, one_line
from llmkit.temporary import temporary_folder

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.finetuning.recipe import FinetuneRecipe

_RESULT = "llmkit-one-step:"
_RUNS, _ENOUGH = 5, 4.0  # most runs, and seconds after which no run is repeated


@dataclass(frozen=True)
class StepCase:
    """A batch or a training step to run.

    Attributes:
        model: a name that `runtime.load` takes.
        task: ``generate``, ``serve``, ``eval``, ``finetune`` or ``pretrain``.
        rows, prompt_tokens, new_tokens: the batch.
        dtype: dtype to compute in.
        quantize, adapter: as in `ModelSpec`.
        lora_rank: rank of an adapter; None trains the whole model.
        target_modules, gradient_checkpointing, gradient_accumulation: as in a recipe.
        steps: training steps; the first does not count for the time.
    """

    model: str
    task: str = "generate"
    rows: int = 1
    prompt_tokens: int = 64
    new_tokens: int = 16
    dtype: str = "auto"
    quantize: str | None = None
    adapter: str | None = None
    lora_rank: int | None = None
    target_modules: str | None = None
    gradient_checkpointing: bool = False
    gradient_accumulation: int = 1
    steps: int = 3
    allow_bin: bool = False
    cache_dir: str | None = None
    revision: str | None = None

    @property
    def spec(self) -> ModelSpec:
        """Return the model as `runtime.load` takes it."""
        from llmkit.runtime.spec import ModelSpec

        return ModelSpec(
            self.model,
            device="cpu",
            dtype=self.dtype,
            quantize=self.quantize,
            adapter=self.adapter,
            allow_bin=self.allow_bin,
            cache_dir=None if self.cache_dir is None else Path(self.cache_dir),
            revision=self.revision,
        )


@dataclass(frozen=True)
class StepResult:
    """Memory and time of a case.

    Attributes:
        peak: most bytes that the process had.
        seconds: by the name of the stage: ``prompt``, ``token``, ``pass`` or ``step``.
    """

    peak: int
    seconds: dict[str, float] = field(default_factory=dict)


def run_case(case: StepCase) -> StepResult:
    """Run a case in a new process.

    Raises:
        LLMKitError: the process failed; the message has its last line.
    """
    command = [sys.executable, "-m", "llmkit.benchmark.one_step", json.dumps(asdict(case))]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise LLMKitError(f"no process could be started: {error}") from error
    lines = [line for line in done.stdout.splitlines() if line.startswith(_RESULT)]
    if done.returncode or not lines:
        ends = [line for line in done.stderr.splitlines() if line.strip()]
        reason = one_line(ends[-1], 300) if ends else f"exit code {done.returncode}"
        raise LLMKitError(f"{case.model}: the step failed: {reason}")
    found = json.loads(lines[-1].removeprefix(_RESULT))
    return StepResult(int(found["peak"]), found["seconds"])


def _main(text: str) -> None:
    case = StepCase(**json.loads(text))
    run = {"generate": _generate, "serve": _generate, "eval": _eval}.get(case.task, _train)
    seconds = run(case)
    import torch

    from llmkit.runtime.estimate.process import measured_peak

    print(_RESULT + json.dumps({"peak": measured_peak(torch.device("cpu")), "seconds": seconds}))


def _generate(case: StepCase) -> dict[str, float]:
    """Answer random prompts, without guesses, whose number depends on the text."""
    from llmkit.engines.base import Request, Sampling
    from llmkit.engines.open import open_engine
    from llmkit.engines.transformers import step_decoder

    step_decoder.GUESSING_ROWS = 0
    engine: Any = open_engine(case.spec)
    if case.task == "serve":
        engine.live_batch()
    vocabulary = int(engine.loaded.model.get_input_embeddings().weight.shape[0])
    draw = random.Random(0)

    def seconds(rows: int, new: int) -> float:
        requests = [
            Request(
                Sampling(max_new_tokens=new, eos_token_ids=()),
                ids=_ids(draw, case.prompt_tokens, vocabulary),
                key=(0, i, 0),
            )
            for i in range(rows)
        ]
        started = time.perf_counter()
        engine.generate(requests)
        return time.perf_counter() - started

    seconds(1, 1)  # compiles and fills caches
    first = _least(lambda: seconds(case.rows, 1))
    if case.new_tokens < 2:
        return {"prompt": first}
    whole = _least(lambda: seconds(case.rows, case.new_tokens))
    return {"prompt": first, "token": max(1e-9, (whole - first) / (case.new_tokens - 1))}


def _least(run: Callable[[], float]) -> float:
    """Return the shortest of some runs: other programs only make them longer."""
    taken = [run()]
    while len(taken) < _RUNS and sum(taken) < _ENOUGH:
        taken.append(run())
    return min(taken)


def _eval(case: StepCase) -> dict[str, float]:
    """Run passes, and compute the loss of each row as `eval` does."""
    import torch

    loaded = _loaded(case, "text-generation")
    model: Any = loaded.model
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    draw = random.Random(0)
    taken = []
    for _ in range(3):
        ids = torch.tensor([_ids(draw, case.prompt_tokens, vocabulary) for _ in range(case.rows)])
        inputs = {"input_ids": ids}
        if loaded.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids[:, :1]
        started = time.perf_counter()
        with torch.inference_mode():
            logits = model(**inputs, use_cache=False).logits
            for row, targets in zip(logits, inputs.get("decoder_input_ids", ids), strict=True):
                torch.nn.functional.cross_entropy(row.float(), targets, reduction="none")
        del logits
        taken.append(time.perf_counter() - started)
    return {"pass": min(taken)}


def _train(case: StepCase) -> dict[str, float]:
    """Run steps of the trainer on random rows."""
    from llmkit.training.batches import Batches, SingletonBatches
    from llmkit.training.encoded import Encoded
    from llmkit.training.finetuning.columns import Columns
    from llmkit.training.finetuning.model_setup import load_for_training
    from llmkit.training.recipe import arguments, training_dtype

    recipe = _recipe(case)
    dtype, _ = training_dtype(recipe.dtype, "cpu")
    columns = Columns("text", {"text": "text"})
    loaded, flattens = load_for_training(case.spec, recipe, dtype, columns, lambda message: None)
    # After loading, as in a real run: these modules take memory, and loading may have the peak.
    from llmkit.training.loss import patch_forward_with_summed_loss
    from llmkit.training.trainer import Job, MetricsCallback, SummedLossTrainer

    patch_forward_with_summed_loss(loaded.model)
    model: Any = loaded.model
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    draw, count = random.Random(0), case.rows * case.gradient_accumulation * case.steps
    length = case.prompt_tokens
    rows = [Encoded(_ids(draw, length, vocabulary), _ids(draw, length, vocabulary)) for _ in range(count)]
    collate = _collator(loaded, flattens, length)
    marks = [0.0]
    with temporary_folder("estimate") as folder:
        options = arguments(
            recipe, folder, steps=case.steps, eval_steps=None, save_steps=count, device="cpu", dtype=dtype
        )
        job = Job(
            model=loaded.model,
            rows=rows,
            batches=Batches(SingletonBatches(count), case.rows, case.gradient_accumulation),
            collate=collate,
            arguments=options | {"save_strategy": "no", "logging_steps": 1},
        )
        callback = MetricsCallback(folder / "metrics.jsonl", lambda step: marks.append(time.perf_counter()))
        trainer = SummedLossTrainer(job, callback)
        marks[0] = time.perf_counter()
        trainer.train()
    taken = [after - before for before, after in itertools.pairwise(marks)]
    return {"step": min(taken[1:] or taken)}


def _recipe(case: StepCase) -> FinetuneRecipe:
    """Return the recipe of a training case; pretraining trains the whole model."""
    from llmkit.training.finetuning.recipe import FinetuneRecipe

    lora = case.lora_rank is not None and case.task == "finetune"
    return FinetuneRecipe(
        lora=lora,
        lora_rank=case.lora_rank or FinetuneRecipe.lora_rank,
        target_modules=case.target_modules,
        batch_size=case.rows,
        gradient_accumulation=case.gradient_accumulation,
        gradient_checkpointing=case.gradient_checkpointing,
        max_length=case.prompt_tokens,
        dtype=case.dtype,
        lr=1e-5,
    )


def _collator(loaded: LoadedModel, flattens: bool, length: int) -> Any:
    """Return the collator that finetuning would take for rows of `length` tokens."""
    from llmkit.training.batches import Flattened, Padded, Pairs
    from llmkit.training.finetuning.model_setup import decoder_inputs

    if loaded.is_encoder_decoder:
        return Pairs(0, decoder_inputs(loaded), length)
    return Flattened(few_shapes=True) if flattens else Padded(0, length)


def _loaded(case: StepCase, task: str) -> LoadedModel:
    from dataclasses import replace

    from llmkit.runtime.load import load

    return load(replace(case.spec, task=task))


def _ids(draw: random.Random, count: int, vocabulary: int) -> list[int]:
    """Return random ids, no two rows alike, so that nothing is shared between them."""
    return [draw.randrange(min(16, vocabulary - 1), vocabulary) for _ in range(count)]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        _main(sys.argv[1])
    except (InputError, LLMKitError) as error:
        sys.exit(str(error))
