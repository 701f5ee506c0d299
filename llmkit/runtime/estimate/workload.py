"""Workload of an estimate: a task, its lengths and its options.

Public: `TASKS`, `Training`, `Workload`.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.errors import OptionError, did_you_mean

TASKS = ("generate", "serve", "eval", "finetune", "pretrain")
_TRAINING = ("finetune", "pretrain")
_PROMPT = {"generate": 512, "serve": 512, "eval": 512, "finetune": 1024, "pretrain": 512}
_ROWS = {"finetune": 8, "pretrain": 16, "serve": 32}
_NEW = 256


@dataclass(frozen=True)
class Training:
    """Options of a training run that its memory depends on.

    Attributes:
        lora_rank: rank of an adapter's matrices; None trains the whole model.
        qlora: the frozen model is kept in 4 bits.
        target_modules: layers that get an adapter; None is every linear layer except the head.
        gradient_checkpointing: activations are recomputed, not kept.
        gradient_accumulation: forward passes in a step.

    Raises:
        OptionError: a number is below 1, or 4 bits without an adapter.
    """

    lora_rank: int | None = 16
    qlora: bool = False
    target_modules: str | None = None
    gradient_checkpointing: bool = False
    gradient_accumulation: int = 1

    def __post_init__(self) -> None:
        for name in ("lora_rank", "gradient_accumulation"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(name, f"must be 1 or more, not {value}")
        if self.qlora and self.lora_rank is None:
            raise OptionError("qlora", "needs an adapter; lora=False trains the whole model")


@dataclass(frozen=True)
class Workload:
    """Lengths and number of the rows.

    Attributes:
        prompt_tokens: tokens of each prompt; of each row in training and eval; of each source if an encoder
            reads it.
        new_tokens: tokens that each answer gets; 0 if nothing is written.
        batch_size: rows at the same time.
        rows: all rows; None for one batch.

    Raises:
        OptionError: a number is too small.
    """

    prompt_tokens: int = 512
    new_tokens: int = _NEW
    batch_size: int = 1
    rows: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name == "new_tokens" else 1
            if value is not None and value < least:
                raise OptionError(name, f"must be {least} or more, not {value}")

    @classmethod
    def within(
        cls,
        positions: int,
        prompt_tokens: int | None = None,
        new_tokens: int | None = None,
        batch_size: int | None = None,
        rows: int | None = None,
        *,
        task: str = "generate",
        together: bool = True,
    ) -> Workload:
        """Return a workload that fits the context; None takes the verb's default, or less in a short context.

        Args:
            positions: tokens of the context.
            prompt_tokens, new_tokens, batch_size, rows: as the attributes.
            task: one of `TASKS`.
            together: prompt and answer share the context, as without an encoder.

        Raises:
            OptionError: the task is unknown, or what was given is longer than the context.
        """
        if task not in TASKS:
            raise OptionError(
                "task", f"{task} is not known{did_you_mean(task, TASKS)}; use {', '.join(TASKS)}"
            )
        batch = _ROWS.get(task, 1) if batch_size is None else batch_size
        for name, value in (("prompt_tokens", prompt_tokens), ("new_tokens", new_tokens)):
            if value is not None and value < 1:
                raise OptionError(name, f"must be 1 or more, not {value}")
        if task not in ("generate", "serve"):
            if new_tokens is not None:
                raise OptionError(
                    "new_tokens", f"cannot be combined with the task {task}, which generates no text"
                )
            new = 0
        prompt = min(_PROMPT[task], positions) if prompt_tokens is None else prompt_tokens
        if task in ("generate", "serve"):
            if prompt_tokens is None and together:
                prompt = min(_PROMPT[task], max(1, positions * 2 // 3 - (new_tokens or 0)))
            room = positions - prompt if together else positions
            new = max(1, min(_NEW, room)) if new_tokens is None else new_tokens
        needed = prompt + new if together else max(prompt, new)
        if needed > positions:
            both = " and `new_tokens` make" if together and new else ":"
            raise OptionError(
                "prompt_tokens", f"{both} {needed:,}, and the context has {positions:,}".strip()
            )
        return cls(prompt, new, batch, rows)

    @property
    def tokens(self) -> int:
        """Return the tokens of a row at its end."""
        return self.prompt_tokens + self.new_tokens

    @property
    def batches(self) -> int:
        """Return the number of batches."""
        return 1 if self.rows is None else -(-self.rows // self.batch_size)


def trains(task: str) -> bool:
    """Return True for a task that changes weights."""
    return task in _TRAINING
