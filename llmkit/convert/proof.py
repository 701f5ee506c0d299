"""Compare a converted model with its source on the same tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

# Prose, facts, dialogue, code, numbers, lists and other scripts.
TEXTS = (
    "Once upon a time, a little dog found a red ball in the garden.",
    "The committee will publish its report in March 2021, according to two of its members.",
    "Q: What is 17 + 25?\nA: 17 + 25 = 42.",
    "def area(width, height):\n    return width * height\n",
    "Der Zug nach Köln fährt um acht Uhr ab.",
    "春天来了，花都开了。",
    "The capital of France is Paris, and the capital of Italy is Rome.",
    '"Where are you going?" asked the old man. "To the market," said the girl.',
    "Water boils at 100 degrees Celsius at sea level; at 3,000 m it boils at about 90.",
    "El perro duerme en la casa mientras llueve.",
    "1. Wash the rice.\n2. Boil the water.\n3. Cook for 12 minutes.",
    "for i in range(10):\n    if i % 2 == 0:\n        print(i, i ** 2)",
    "Привет, как дела? Сегодня хорошая погода.",
    "The cat sat on the mat and looked at the moon, and the moon looked back.",
    '{"name": "Anna", "age": 31, "city": "Lisbon", "tags": ["a", "b"]}',
    "In 1903, Marie Curie received the Nobel Prize in Physics together with two others.",
    "Dear Sir or Madam, I am writing to ask about the position that you advertised last week.",
    "SELECT name, price FROM products WHERE price > 9.99 ORDER BY price DESC;",
    "L'été dernier, nous avons visité un petit château près de la rivière.",
    "Roses are red, violets are blue, and the wind is cold tonight.",
)
TOKENS = 64


@dataclass(frozen=True)
class Check:
    """Difference between one reader's outputs for the converted file and the source's.

    Attributes:
        reader: the program that read the file, such as ``llama.cpp``.
        texts: number of texts compared.
        tokens: number of tokens in them.
        logit_difference: the largest absolute difference of an output.
        relative_difference: root mean square of the differences, divided by the standard deviation of the
            source's outputs.
        top_token_agreement: share of tokens at which both have the same most likely token (or class); None
            for outputs that are hidden states.
        mean_kl: mean Kullback-Leibler divergence in nats of the reader's next-token probabilities from the
            source's; None for outputs that are not logits.
        same_tokens: True if the reader's own tokenizer gave the source's ids for all texts; None if the
            reader received ids.
        same_greedy: number of texts that both continue with the same greedy tokens; None if the reader
            generated none. Texts may differ if two tokens are nearly equal.
        differs: a sentence about a text that differs although no two tokens are nearly equal; or None.
    """

    reader: str
    texts: int
    tokens: int
    logit_difference: float
    relative_difference: float
    top_token_agreement: float | None
    mean_kl: float | None
    same_tokens: bool | None = None
    same_greedy: int | None = None
    differs: str | None = None


def probe_ids(tokenizer: Any, config: Any) -> list[list[int]]:
    """Return token ids of the texts; without a tokenizer, as many rows of ids over the whole vocabulary.

    Args:
        tokenizer: a transformers tokenizer or None.
        config: the model's, for its vocabulary and the positions that it has.

    Raises:
        InputError: the tokenizer has more tokens than the model.
    """
    config = config.get_text_config()
    vocab_size = config.vocab_size
    positions = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    # Two positions are free for a start and an end token that a reader adds.
    limit = min([TOKENS, *(one - 2 for one in positions if isinstance(one, int) and one > 2)])
    if tokenizer is not None:
        rows = [[int(i) for i in tokenizer(text)["input_ids"][:limit]] for text in TEXTS]
        largest = max(max(row, default=0) for row in rows)
        if largest >= vocab_size:
            raise InputError(
                f"the tokenizer gives token {largest}, and the model has a vocabulary of {vocab_size}"
            )
        return rows
    return [
        [(7 + 131 * row + 17 * i * i) % vocab_size for i in range(min(12, limit))]
        for row in range(len(TEXTS))
    ]


def outputs_of(
    model: Any,
    rows: list[list[int]],
    decoder: list[list[int]] | None = None,
    token_type_ids: list[list[int]] | None = None,
) -> list[torch.Tensor]:
    """Return the output of a model for each row alone: (tokens, classes) in float32.

    Args:
        model: a transformers model. An encoder-decoder also gets the row for its decoder.
        rows: token ids.
        decoder: other rows for the decoder.
        token_type_ids: token types of the rows, for an encoder.
    """
    import torch

    found = []
    for i, row in enumerate(rows):
        ids = torch.tensor([row], device=next(model.parameters()).device)
        inputs = {"input_ids": ids}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids if decoder is None else torch.tensor([decoder[i]])
        if token_type_ids is not None:
            inputs["token_type_ids"] = torch.tensor([token_type_ids[i]])
        with torch.inference_mode():
            outputs = model(**inputs)
        found.append(pick_output(outputs)[0].float().cpu())
    return found


def pick_output(outputs: Any) -> torch.Tensor:
    """Return the output to compare: logits, or start and end logits, or the last hidden states."""
    import torch

    for name in ("logits", "prediction_logits"):
        if getattr(outputs, name, None) is not None:
            value: torch.Tensor = getattr(outputs, name)
            return value if value.dim() == 3 else value.unsqueeze(1)
    if getattr(outputs, "start_logits", None) is not None:
        return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
    hidden: torch.Tensor = outputs.last_hidden_state
    return hidden


def compare(
    reader: str,
    expected: list[torch.Tensor],
    found: list[torch.Tensor],
    *,
    logits: bool,
    same_tokens: bool | None = None,
) -> Check:
    """Measure the difference between `found` and `expected`.

    Args:
        reader: the program that gave `found`.
        expected: the source's outputs, (tokens, classes) for each text.
        found: the reader's outputs.
        logits: True if they are next-token logits.
        same_tokens: see `Check`.
    """
    import torch

    count = difference = squared = spread = agree = kl = 0.0
    for one, other in zip(expected, found, strict=True):
        wanted, got = one.double(), other.double()
        if wanted.shape != got.shape or not torch.isfinite(got).all():
            difference = math.inf
            break
        count += len(wanted)
        difference = max(difference, float((wanted - got).abs().max()))
        squared += float((wanted - got).square().mean(-1).sum())
        spread += float(wanted.var(-1, correction=0).sum())
        agree += float((wanted.argmax(-1) == got.argmax(-1)).sum())
        log_p, log_q = wanted.log_softmax(-1), got.log_softmax(-1)
        kl += float((log_p.exp() * (log_p - log_q)).sum())
    broken = not math.isfinite(difference)
    return Check(
        reader=reader,
        texts=len(expected),
        tokens=sum(len(one) for one in expected),
        logit_difference=difference,
        relative_difference=math.inf
        if broken
        else math.sqrt(squared / spread)
        if spread
        else math.sqrt(squared),
        top_token_agreement=0.0 if broken else agree / count if logits else None,
        mean_kl=math.inf if broken else max(0.0, kl / count) if logits else None,
        same_tokens=same_tokens,
    )
