"""Options of a pretraining run."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.errors import InputError
from llmkit.training.recipe import Schedule


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe(Schedule):
    """The options of a pretraining run; a resumed run must have the same.

    Attributes:
        arch: architecture; see `architecture.ARCHITECTURES`.
        params: number of parameters, such as "3m" (see `architecture.parse_size`).
        tokenizer: "train", or a folder that holds a tokenizer.json.
        vocab_size: ids of a trained tokenizer, at most.
        tokenizer_text: megabytes of text on which it is trained at most, from the beginnings of all files.
            Of a corpus that is no longer, `eval_split` is met to the document; of a longer one about.
        separator, whole, field: how files fall into documents (see `corpus.Corpus`).
    """

    arch: str = "llama"
    params: str = "3m"
    tokenizer: str = "train"
    vocab_size: int = 4096
    tokenizer_text: int = 100
    separator: str | None = None
    whole: bool = False
    field: str | None = None

    def check(self) -> None:
        super().check()
        if self.tokenizer_text < 1:
            raise InputError(f"--tokenizer-text {self.tokenizer_text}: at least 1 MB")
