"""Options of a finetuning run."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.errors import OptionError
from llmkit.training.recipe import Schedule, check_share, option


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(Schedule):
    """The options of a finetuning run; a resumed run must have the same.

    Attributes:
        lora: train an adapter (Hu et al. 2021, arXiv 2106.09685) and leave the model unchanged; False trains
            the whole model.
        lora_rank: rank of the adapter's matrices.
        lora_alpha: scale of the adapter; None is twice the rank.
        lora_dropout: dropout on the adapter's input, in training.
        target_modules: names of the layers that get an adapter, separated by commas; None is every linear
            layer except the head.
        dora: train direction and magnitude separately (Liu et al. 2024, arXiv 2402.09353).
        rslora: scale by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732).
        qlora: keep the frozen model in 4 bits (Dettmers et al. 2023, arXiv 2305.14314); needs bitsandbytes.
        lr: None is 2e-4 for an adapter and 2e-5 for the whole model; for preferences a quarter of it.
        batch_size: rows in a forward pass; None finds the largest that fits and keeps `AUTO_ROWS` in a step.
        packing: fill rows of `max_length` with several examples each, which do not see each other.
        label_smoothing: share of each target's probability that is spread over the vocabulary.
        dpo_beta: for preferences, the penalty for departing from the original model; None is 0.1.
        objective: objective to train, if the columns allow several (see `columns.ROLES`).
        mapping: (role, column) pairs.
        source_language, target_language: languages of the texts, for a `translation` column or a model of
            many languages.
        source_prefix: text before each source.
        mark_shared_words: for extractive QA, mark the words of the context that occur in the question.
    """

    lora: bool = option(True, "Train an adapter, or the whole model.", default_text="an adapter")
    lora_rank: int = option(16, "Rank of the adapter's matrices.")
    lora_alpha: int | None = option(None, "Scale of the adapter.", default_text="twice the rank")
    lora_dropout: float = option(0.0, "Dropout on the adapter's input.")
    target_modules: str | None = option(
        None, "Layers that get an adapter.", default_text="all linear layers", metavar="A,B"
    )
    dora: bool = option(False, "Use DoRA: train direction and magnitude separately.")
    rslora: bool = option(False, "Use rsLoRA: scale by the root of the rank.")
    qlora: bool = option(False, "Keep the frozen model in 4 bits (needs bitsandbytes).")
    epochs: float = option(3.0, "Passes over the rows.")
    lr: float | None = option(
        None,
        "Peak learning rate.",
        default_text="2e-4; 2e-5 for a whole model; for preferences a quarter of it",
    )
    warmup: float = option(0.03, "Warmup in steps, or below 1 as a share of all steps.")
    weight_decay: float | None = option(0.0, "Weight decay of matrices.")
    batch_size: int | None = option(
        8, "Rows in a forward pass; auto takes the most that fit.", metavar="auto|N"
    )
    max_length: int = option(1024, "Maximum number of tokens in a row.")
    packing: bool = option(False, "Pack several examples into one row; they do not attend to each other.")
    label_smoothing: float = option(0.0, "Share of probability spread over all tokens.")
    dpo_beta: float | None = option(
        None, "Preferences: penalty for departing from the original model.", default_text="0.1"
    )
    objective: str | None = option(
        None,
        "Objective to train, if the columns allow several.",
        default_text="by the columns",
        metavar="NAME",
    )
    mapping: tuple[tuple[str, str], ...] = ()
    source_language: str | None = option(
        None,
        "Language of the source, for a `translation` column.",
        default_text="none",
        metavar="LANG",
    )
    target_language: str | None = option(None, "Language of the target.", default_text="none", metavar="LANG")
    source_prefix: str = option("", "Text before each source.", default_text="none", metavar="TEXT")
    mark_shared_words: bool = option(
        False, "Mark context words that occur in the question (extractive QA only)."
    )

    @property
    def languages(self) -> tuple[str, str] | None:
        """Source and target language; None if they are not given."""
        if self.source_language is None or self.target_language is None:
            return None
        return self.source_language, self.target_language

    def check(self) -> None:
        super().check()
        if self.lora_rank < 1:
            raise OptionError("lora_rank", f"must be 1 or more, not {self.lora_rank}")
        if self.lora_alpha is not None and self.lora_alpha < 1:
            raise OptionError("lora_alpha", f"must be 1 or more, not {self.lora_alpha}")
        check_share("lora_dropout", self.lora_dropout)
        check_share("label_smoothing", self.label_smoothing)
        if self.dpo_beta is not None and not self.dpo_beta > 0:
            raise OptionError("dpo_beta", f"must be above 0, not {self.dpo_beta}")
        if (self.source_language is None) != (self.target_language is None):
            raise OptionError("source_language", "and `target_language` must be given together")
        for name in ("dora", "rslora", "qlora", "target_modules"):
            if getattr(self, name) and not self.lora:
                raise OptionError(name, "needs an adapter; lora=False trains the whole model")
