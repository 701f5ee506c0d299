"""Train the two tiny checkpoints of folders.py that are not random, and write their weights beside this file.

Rerun, from the repository's root, which takes about two minutes, and run make_fixtures.py after it:

    python -m tests.parity.train

The first translates toy English to German, where subordinate clauses move the verb; the second finds who,
when and where in a few toy facts, or that they do not say. Weights are kept in float16, half the size.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path
from typing import Any

from tests.parity.folders import FAMILIES, HERE, learned_parameters, make_folder

NOUNS = [  # English; German as subject, as object and after "mit" or "hinter"
    ("Anna", "Anna", "Anna", "Anna"),
    ("the sea", "das Meer", "das Meer", "dem Meer"),
    ("the little boat", "das kleine Boot", "das kleine Boot", "dem kleinen Boot"),
    ("the old sailor", "der alte Seemann", "den alten Seemann", "dem alten Seemann"),
    ("the fog", "der Nebel", "den Nebel", "dem Nebel"),
    ("the day", "der Tag", "den Tag", "dem Tag"),
    ("the morning light", "das Morgenlicht", "das Morgenlicht", "dem Morgenlicht"),
]
PLACES = ["behind the fog", "in the harbour", "in the north", "behind the long wall", "a day away"]
PEOPLE = ["Anna", "The sailor", "The workers", "The town"]
THINGS = ["boat", "wall", "harbour", "light"]
TALK = ["The sea was calm.", "It has 40 lamps and 3 towers.", "They don't see the islands now."]
STEPS = 1200


def pairs() -> list[tuple[str, str]]:
    """All sentences of the toy English with their translations."""
    clauses = [(f"{en} was calm", f"{nom} war ruhig", f"{nom} ruhig war") for en, nom, _, _ in NOUNS]
    for (en, nom, _, _), (other, _, acc, dat) in itertools.permutations(NOUNS, 2):
        clauses += [
            (f"{en} was behind {other}", f"{nom} war hinter {dat}", f"{nom} hinter {dat} war"),
            (f"{en} asked {other}", f"{nom} fragte {acc}", f"{nom} {acc} fragte"),
            (f"{en} went out with {other}", f"{nom} fuhr mit {dat} hinaus", f"{nom} mit {dat} hinausfuhr"),
        ]
    found = [(en, de) for en, de, _ in clauses]
    for (noun, nom, _, _), (en, _, de) in itertools.product(NOUNS, clauses):
        found.append((f"{noun} said that {en}", f"{nom} sagte, dass {de}"))
    return [(f"{en[0].upper()}{en[1:]}.", f"{de[0].upper()}{de[1:]}.") for en, de in found]


def question(chance: random.Random) -> tuple[str, str, str]:
    """A question, a context, and the answer in it; an empty one where the context has none."""
    facts = {
        "who asked the sailor?": (chance.choice(PEOPLE), "{} asked the sailor."),
        "when was it built?": ("".join(chance.choices("123490", k=4)), "It was built in {} by workers."),
        "where is it?": (chance.choice(PLACES), f"The {chance.choice(THINGS)} is {{}}."),
    }
    asked = chance.choice(list(facts))
    told = [sentence.format(answer) for answer, sentence in facts.values()]
    kept = chance.sample(told, chance.randint(1, 3)) + chance.sample(TALK, chance.randint(0, 2))
    chance.shuffle(kept)
    answer, sentence = facts[asked]
    return asked, " ".join(kept), answer if sentence.format(answer) in kept else ""


def main() -> None:
    """Write trained-marian.safetensors and trained-bert.safetensors."""
    import torch

    torch.set_num_threads(1)
    for family, loss in (("trained-marian", translation_loss), ("trained-bert", answer_loss)):
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            train(family, make_folder(family, Path(folder), random=True), loss)


def train(family: str, folder: Path, loss_of: Any) -> None:
    """Train the random checkpoint in `folder` and write its weights as `family`.safetensors."""
    import torch
    import transformers
    from safetensors.torch import save_file

    model = getattr(transformers, FAMILIES[family][0]).from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    learned = learned_parameters(model)
    for _, parameter in learned:
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    model.train()
    chance = random.Random(0)
    optimizer = torch.optim.AdamW([parameter for _, parameter in learned])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=STEPS)
    for step in range(STEPS):
        loss = loss_of(model, tokenizer, chance)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([parameter for _, parameter in learned], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            print(f"{family}: step {step + 1}, loss {loss.item():.4f}", flush=True)
    save_file(
        {name: parameter.detach().half() for name, parameter in learned}, HERE / f"{family}.safetensors"
    )


def translation_loss(model: Any, tokenizer: Any, chance: random.Random) -> Any:
    """The loss of 48 sentences; every eighth sentence of the toy language is never seen."""
    seen = [pair for i, pair in enumerate(pairs()) if i % 8]
    english, german = zip(*chance.sample(seen, 48), strict=True)
    batch = tokenizer(list(english), text_target=list(german), padding=True, return_tensors="pt")
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
    return model(**batch).loss


def answer_loss(model: Any, tokenizer: Any, chance: random.Random) -> Any:
    """The loss of 48 questions; [CLS] is the span of those without an answer."""
    import torch

    rows = [question(chance) for _ in range(48)]
    batch = tokenizer([row[0] for row in rows], [row[1] for row in rows], padding=True, return_tensors="pt")
    spans = []
    for i, (_, context, answer) in enumerate(rows):
        first = context.index(answer)
        ends = (batch.char_to_token(i, at, 1) for at in (first, first + len(answer) - 1))
        spans.append([token or 0 for token in ends] if answer else [0, 0])
    starts, stops = torch.tensor(spans).T
    return model(**batch, start_positions=starts, end_positions=stops).loss


if __name__ == "__main__":
    main()
