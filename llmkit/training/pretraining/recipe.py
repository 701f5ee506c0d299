"""Options of a pretraining run."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.errors import OptionError
from llmkit.training.recipe import Schedule, option


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe(Schedule):
    """The options of a pretraining run; a resumed run must have the same.

    Attributes:
        arch: architecture (see `architecture.ARCHITECTURES`).
        params: number of parameters, such as "3m" (see `architecture.parse_size`); None follows the corpus,
            here and for the four other options that may be None (see `fit.fit`).
        tokenizer: "train", or a folder with a tokenizer.json.
        vocab_size: maximum number of ids of a trained tokenizer.
        tokenizer_text: maximum amount of text in megabytes to train the tokenizer on, from the beginnings of
            all files. If the corpus is not longer, `eval_split` is met exactly, otherwise approximately.
        epochs: passes over the corpus.
        batch_size: blocks in a forward pass.
        max_length: tokens in a block.
        separator, whole, field: rules that divide files into documents (see `corpus.Corpus`).
    """

    arch: str = option(
        "llama", "Architecture: llama, qwen3, gpt2, bert, roformer, t5 or bart.", metavar="NAME"
    )
    params: str | None = option(
        None,
        "Number of parameters, such as 260k, 3m or 1.2b.",
        default_text="from the corpus, at most 3m",
        metavar="SIZE",
    )
    tokenizer: str = option("train", "`train`, or a folder with a tokenizer.", metavar="FOLDER")
    vocab_size: int | None = option(
        None, "Vocabulary of a trained tokenizer.", default_text="from the corpus, 512 to 8192"
    )
    tokenizer_text: int = option(100, "Maximum amount of text to train the tokenizer on.", metavar="MB")
    epochs: float | None = option(None, "Passes over the corpus.", default_text="from the corpus, 1 to 8")
    lr: float | None = option(3e-3, "Peak learning rate.")
    optimizer: str = option("muon", "Optimizer: adamw or muon.", metavar="NAME")
    warmup: float = option(0.05, "Warmup in steps, or below 1 as a share of all steps.")
    weight_decay: float | None = option(
        None, "Weight decay of matrices.", default_text="from the corpus, 0.1 to 1"
    )
    batch_size: int | None = option(
        None, "Blocks in a forward pass.", default_text="from the corpus, 1 to 16"
    )
    max_length: int = option(512, "Tokens in a block, which is also the model's context.")
    eval_split: float = option(0.05, "Share of the documents to hold out; of a single document, its end.")
    separator: str | None = option(
        None,
        "Text between documents; \\n is a line break, \\t a tab and \\\\ a backslash.",
        default_text="<|endoftext|> if the file has it, otherwise none; above 16 MiB a blank line",
    )
    whole: bool = option(False, "Read each text file as one document.")
    field: str | None = option(None, "Column with the text.", default_text="`text`", metavar="NAME")
    on_error: str = option(
        "fail", "At a bad row or a document that is not UTF-8, stop or skip it.", metavar="fail|skip"
    )

    def check(self) -> None:
        super().check()
        if self.tokenizer_text < 1:
            raise OptionError("tokenizer_text", f"must be 1 MB or more, not {self.tokenizer_text}")
