"""Make the embedded story model: corpus, training, measurements, card. This is what `make models` runs.

    LLMKIT_DATA=/path/to/data python examples/models/make_stories.py [WORK_FOLDER]

Everything is made in WORK_FOLDER (build/stories) and the finished model is copied into the package. A run
that was stopped goes on where it was. About 35 minutes on two cores.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ngram import KneserNey
from prepare_stories import data_folder, ngrams, prepare

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ROOT / "llmkit" / "models" / "stories"
RECIPE = [
    *("--arch", "llama", "--params", "4.9m", "--vocab-size", "2048", "--max-length", "512"),
    *("--batch-size", "8", "--epochs", "8", "--lr", "3e-3", "--weight-decay", "1.0", "--warmup", "0.05"),
    *("--early-stopping", "4", "--seed", "42", "--save-dtype", "float16"),
]
DECODING = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "repetition_penalty": 1.05}
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
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class Measured:
    """What the card says of the model (see there for units)."""

    parameters: int
    documents: int
    held_out_documents: int
    tokens: int
    loss: float
    bits_per_byte: float
    ngram_loss: float
    ngram_bits_per_byte: float
    copied: float
    copied_by_held_out: float


def train(work: Path) -> Path:
    """Run `llmkit pretrain`, or go on with a run that stands there; the model's folder."""
    model = work / "model"
    if not (model / "config.json").is_file():
        corpus = [str(work / "stories.txt"), "--eval-data", str(work / "stories_heldout.txt")]
        resume = ["--resume"] if (model / "checkpoints" / "run.json").is_file() else []
        command = [
            sys.executable,
            "-m",
            "llmkit",
            "pretrain",
            *corpus,
            "-o",
            str(model),
            *RECIPE,
            *resume,
            "-v",
        ]
        subprocess.run(command, check=True)
    return model


def measure(work: Path, folder: Path) -> Measured:
    """Judge the model on the held-out stories, beside a 5-gram model over the same tokens."""
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.corpus import Corpus
    from llmkit.training.heldout import measure as held_out_loss
    from llmkit.training.tokenizer import encode

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
    return Measured(
        parameters=model.num_parameters(),
        documents=len(train),
        held_out_documents=len(held_out),
        tokens=sum(map(len, ids)),
        loss=scored.loss,
        bits_per_byte=scored.bits_per_byte,
        ngram_loss=ngram_nats / scored.tokens,
        ngram_bits_per_byte=ngram_nats / math.log(2) / size,
        copied=share_known(sampled(model, tokenizer), known),
        copied_by_held_out=share_known(held_out, known),
    )


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


def write_card(work: Path, measured: Measured) -> str:
    """Fill the card's template (card.md beside this file) with what was measured."""
    values = {
        **vars(measured),
        "perplexity": math.exp(measured.loss),
        "ngram_perplexity": math.exp(measured.ngram_loss),
        "samples": SAMPLES_AN_OPENING * len(OPENINGS),
        "recipe": " ".join(RECIPE),
        "decoding": json.dumps(DECODING),
        **json.loads((work / "counts.json").read_text(encoding="utf-8")),
    }
    template = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    return re.sub(r"\{(\w+)(:[^}]+)?\}", lambda m: format(values[m[1]], (m[2] or ":")[1:]), template)


def main(work: Path) -> None:
    counts = prepare(data_folder(), work)
    (work / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    folder = train(work)
    decoding = folder / "generation_config.json"
    config = json.loads(decoding.read_text(encoding="utf-8"))
    decoding.write_text(json.dumps({**config, **DECODING}, indent=2) + "\n", encoding="utf-8")
    measured = measure(work, folder)
    (folder / "README.md").write_text(write_card(work, measured), encoding="utf-8")
    PACKAGED.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, "README.md"):
        shutil.copyfile(folder / name, PACKAGED / name)
    print(json.dumps(vars(measured), indent=2))


if __name__ == "__main__":
    data_folder()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "stories")
