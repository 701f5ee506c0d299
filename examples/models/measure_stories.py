"""What the story model's card tells besides its scores: a 5-gram model beside it, and how much it copies.

Public: `measured`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ngram import KneserNey
from prepare_stories import ngrams

OPENINGS = [
    "Once upon a time",
    "One day, a little girl named Lily",
    "Tom and Sam were playing in the garden",
    "There was a big red balloon",
    "The sun was shining and",
    "In a small house by the sea",
    "The little dog was lost.",
    '"Look, Mom!" said Ben.',
    "It was raining, so",
    "The old tree had a secret.",
    "Deep in the forest",
]
SAMPLES_AN_OPENING = 8


def measured(work: Path, folder: Path) -> dict[str, float]:
    """Judge a model on the held-out stories, beside a 5-gram model over the same tokens.

    Args:
        work: has stories.txt and stories_heldout.txt.
        folder: the model's.

    Returns:
        The card's numbers, by the names that its template has for them.
    """
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.heldout import measure as held_out_loss
    from llmkit.training.pretraining.corpus import Corpus
    from llmkit.training.pretraining.tokenizer import encode

    train, held_out = (list(Corpus([work / name])) for name in ("stories.txt", "stories_heldout.txt"))
    loaded = load(ModelSpec(name=str(folder), task="text-generation", device="cpu", dtype="float32"))
    model, tokenizer = loaded.model, loaded.tokenizer
    boundary, size = tokenizer.eos_token_id, sum(len(story.encode()) for story in held_out)
    ids, held_out_ids = encode(tokenizer, train), encode(tokenizer, held_out)
    scored = held_out_loss(
        model, held_out_ids, boundary=boundary, context=loaded.context_length or 512, utf8_bytes=size
    )
    ngram = KneserNey(ids, vocabulary=len(tokenizer), boundary=boundary)
    ngram_nats = sum(map(ngram.nats, held_out_ids))
    known = set().union(*map(ngrams, train))
    loss, ngram_loss = scored.loss, ngram_nats / scored.tokens
    return {
        "parameters": model.num_parameters(),
        "documents": len(train),
        "held_out_documents": len(held_out),
        "tokens": sum(map(len, ids)),
        "loss": loss,
        "perplexity": math.exp(loss),
        "bits_per_byte": scored.bits_per_byte,
        "ngram_loss": ngram_loss,
        "ngram_perplexity": math.exp(ngram_loss),
        "ngram_bits_per_byte": ngram_nats / math.log(2) / size,
        "samples": SAMPLES_AN_OPENING * len(OPENINGS),
        "copied": share_known(sampled(model, tokenizer), known),
        "copied_by_held_out": share_known(held_out, known),
    }


def sampled(model: Any, tokenizer: Any) -> list[str]:
    """Stories from every opening, decoded as the model's generation_config says."""
    import torch

    torch.manual_seed(0)
    stories = []
    for opening in OPENINGS:
        inputs = tokenizer(opening, return_tensors="pt")
        made = model.generate(**inputs, max_new_tokens=256, num_return_sequences=SAMPLES_AN_OPENING)
        stories += tokenizer.batch_decode(made, skip_special_tokens=True)
    return stories


def share_known(stories: list[str], known: set[str]) -> float:
    """The share of the stories' 8-word sequences that stand in `known`."""
    found = [gram in known for story in stories for gram in ngrams(story)]
    return sum(found) / len(found)
