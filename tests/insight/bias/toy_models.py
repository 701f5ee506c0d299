"""Language models whose probabilities are known in closed form, over whole words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def word_tokenizer(words: Sequence[str]) -> Any:
    """A tokenizer of words at spaces, with `<s>` as its only special token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<s>", *words])}, unk_token="<s>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="<s>", unk_token="<s>")


class BigramModel:
    """A GPT-2 without attention: the next word depends on the last one alone.

    Args:
        folder: folder to write the model to.
        words: the vocabulary.
        likely: for a word, the logits of words after it; all others are 0.
    """

    def __init__(self, folder: Path, words: Sequence[str], likely: Mapping[str, Mapping[str, float]]) -> None:
        import torch
        import transformers

        self.words = ["<s>", *words]
        size = len(self.words)
        config = transformers.GPT2Config(
            vocab_size=size, n_embd=size, n_layer=1, n_head=1, n_positions=64, tie_word_embeddings=False,
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        model = transformers.GPT2LMHeadModel(config)
        self.logits = np.zeros((size, size))
        for word, following in likely.items():
            for other, logit in following.items():
                self.logits[self.words.index(word), self.words.index(other)] = logit
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.transformer.wte.weight.copy_(torch.eye(size))
            # ln_f turns a one-hot vector into one with two values, x for the word and y for the others.
            model.transformer.ln_f.weight.fill_(1.0)
            one = (np.eye(size)[0] - 1 / size) / np.sqrt((1 / size) * (1 - 1 / size) + 1e-5)
            spread, rest = one[0] - one[1], one[1]
            head = self.logits.T / spread
            model.lm_head.weight.copy_(torch.tensor(head))
            # What the other words add to every logit is the same for each last word: taken off in `after`.
            self._added = head.sum(axis=1) * rest
        model.save_pretrained(folder)
        word_tokenizer(words).save_pretrained(folder)

    def after(self, word: str, following: str) -> float:
        """The log-probability of a word after another."""
        logits = self.logits[self.words.index(word)] + self._added
        return float(logits[self.words.index(following)] - np.log(np.exp(logits).sum()))

    def text(self, text: str, first: int = 0) -> float:
        """The log-probability of the words of a text from word `first`, the first after `<s>`."""
        words = ["<s>", *text.split()]
        return sum(self.after(words[i], words[i + 1]) for i in range(first, len(words) - 1))


def gpt2_without_preference(folder: Path, tokenizer: Path) -> Path:
    """A GPT-2 that gives all tokens one probability, with GPT-2's tokenizer from a folder of its two"
    " files."""
    import torch
    import transformers

    made = transformers.GPT2Tokenizer(str(tokenizer / "vocab.json"), str(tokenizer / "merges.txt"))
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=4, n_layer=1, n_head=1, n_positions=256)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
