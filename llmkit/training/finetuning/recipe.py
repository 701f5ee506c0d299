"""Options of a finetuning run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmkit.errors import InputError
from llmkit.training.recipe import Schedule


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(Schedule):
    """The options of a finetuning run; a resumed run must have the same.

    Attributes:
        lr: None is 2e-4 for an adapter and 2e-5 for the whole model; for preferences a quarter of it.
        batch_size: rows a forward pass; 0 finds the most that fit and keeps `AUTO_ROWS` a step.
        lora: train an adapter (Hu et al. 2021) and leave the model as it is; else the whole model.
        lora_rank: of the adapter's matrices.
        lora_alpha: its scale; None is twice the rank.
        lora_dropout: on the adapter's input, while training.
        target_modules: names of layers that get one, separated by commas; None is every linear layer but the
            head.
        dora: learn direction and magnitude apart (Liu et al. 2024).
        rslora: scale by the root of the rank (Kalajdzievski 2023).
        qlora: keep the frozen model in 4 bits (Dettmers et al. 2023); needs bitsandbytes.
        packing: fill rows of `max_length` with several examples each, which do not see each other.
        label_smoothing: share of each target's probability spread over the vocabulary.
        dpo_beta: of preferences: what departing from the model as it was costs; None is 0.1.
        objective: where the columns allow several; see `columns.ROLES`.
        mapping: (role, column) pairs.
        languages: from and to, where a column holds a text in several languages.
        source_prefix: put before each source.
        mark_shared_words: tell a model that reads answers off a context which of its words the question has.
    """

    epochs: float = 3.0
    lr: float | None = None
    warmup: float = 0.03
    weight_decay: float = 0.0
    batch_size: int = 8
    max_length: int = 1024
    lora: bool = True
    lora_rank: int = 16
    lora_alpha: int | None = None
    lora_dropout: float = 0.0
    target_modules: str | None = None
    dora: bool = False
    rslora: bool = False
    qlora: bool = False
    packing: bool = False
    label_smoothing: float = 0.0
    dpo_beta: float | None = None
    objective: str | None = None
    mapping: tuple[tuple[str, str], ...] = ()
    languages: tuple[str, str] | None = None
    source_prefix: str = ""
    mark_shared_words: bool = False

    def check(self) -> None:
        replace(self, batch_size=self.batch_size or 1)._check_schedule()
        if self.lora_rank < 1:
            raise InputError(f"--lora-rank {self.lora_rank}: at least 1")
        for name in ("lora_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)}: a share from 0 up to 1")
        if self.dpo_beta is not None and not self.dpo_beta > 0:
            raise InputError(f"--dpo-beta {self.dpo_beta}: more than 0")
        if not self.lora and (self.dora or self.rslora or self.qlora or self.target_modules):
            raise InputError(
                "--full trains the whole model: --dora, --rslora, --qlora and --target-modules are LoRA's"
            )

    def _check_schedule(self) -> None:
        super().check()
