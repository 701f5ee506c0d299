"""Several texts in one row: where they go, and that each learns as it would alone."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from llmkit.runtime.spec import ModelSpec
from llmkit.training.batches import Flattened, Padded
from llmkit.training.encoded import Encoded
from llmkit.training.finetuning.plan import FinetuneInputs, prepare
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.loss import patch_forward_with_summed_loss
from llmkit.training.packing import pack
from tests.training.helpers import refuses

TinyModel = Callable[..., Path]
WHOLE = FinetuneRecipe(
    lora=False, dtype="float32", packing=True, max_length=100, batch_size=2, eval_split=0.0
)
HALF = replace(WHOLE, lora=True, dtype="bfloat16")


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        ([], []),
        ([10], [[0]]),
        ([10, 10], [[0], [1]]),
        ([4, 6, 5, 5], [[1, 0], [2, 3]]),
        # 3 fits behind 6 and behind 7; it goes where least is left.
        ([6, 7, 3], [[1, 2], [0]]),
        ([7, 8, 2, 3, 1], [[1, 2], [0, 3], [4]]),
        ([1, 1, 1, 1], [[0, 1, 2, 3]]),
    ],
)
def test_each_goes_where_it_leaves_least_room(lengths: list[int], rows: list[list[int]]) -> None:
    assert pack(lengths, 10) == rows


def fewest(lengths: list[int], capacity: int) -> int:
    """The least number of rows, by trying everything."""
    best = len(lengths)

    def place(index: int, rooms: list[int]) -> None:
        nonlocal best
        if len(rooms) >= best:
            return
        if index == len(lengths):
            best = len(rooms)
            return
        for at in {room: i for i, room in enumerate(rooms) if room >= lengths[index]}.values():
            place(index + 1, [room - lengths[index] * (i == at) for i, room in enumerate(rooms)])
        place(index + 1, [*rooms, capacity - lengths[index]])

    place(0, [])
    return best


def test_rows_are_whole_full_enough_and_few() -> None:
    chance = random.Random(3)
    for _ in range(150):
        lengths = [chance.randint(1, 20) for _ in range(chance.randint(1, 9))]
        rows = pack(lengths, 20)
        assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
        assert all(sum(lengths[index] for index in row) <= 20 for row in rows)
        assert len(rows) <= 11 / 9 * fewest(lengths, 20) + 1
    many = [chance.randint(1, 512) for _ in range(3000)]
    assert len(pack(many, 512)) <= 11 / 9 * math.ceil(sum(many) / 512) + 1


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Texts of many lengths; each but the first would be helped or hurt by the one before it."""
    file = tmp_path / "texts.jsonl"
    lines = [f'{{"text": "{"The dog saw the moon. " * (1 + i % 3)}and {i} cats"}}' for i in range(9)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def ready(
    texts: Path, model: Path, attn: str | None = None, notices: list[str] | None = None
) -> FinetuneInputs:
    spec = ModelSpec(str(model), device="cpu", attn=attn)
    return prepare([texts], spec, WHOLE, notice=(notices if notices is not None else []).append)


def alone(folder: Path, rows: list[Encoded]) -> tuple[float, dict[str, torch.Tensor]]:
    """The sum of the rows' losses and its gradients, each row by itself, by transformers and torch alone."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    total = torch.zeros(())
    for row in rows:
        logits = model(input_ids=torch.tensor([list(map(int, row.ids))])).logits[0]
        total = total + F.cross_entropy(logits, torch.tensor(list(map(int, row.targets))), reduction="sum")
    total.backward()  # type: ignore[no-untyped-call]
    return total.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_learns_as_alone(prepared: FinetuneInputs, folder: Path) -> None:
    model: Any = prepared.loaded.model
    patch_forward_with_summed_loss(model)
    model.eval()
    batch = next(iter(prepared.batches))
    assert len(batch) > 2
    inputs = prepared.collate([prepared.train[index] for index in batch])
    loss = model(**inputs)["loss"]
    loss.backward()
    expected, gradients = alone(folder, [prepared.train[index] for index in batch])
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    size = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5 * size, msg=name)


SEPARATED = [
    *(
        (family, attn)
        for family in ("llama", "qwen3", "gpt2")
        for attn in (None, "sdpa", "eager", "reference")
    ),
    ("opt", None),
    ("gemma3", None),
    ("gemma3", "sdpa"),
    ("gemma3", "eager"),
]


@pytest.mark.parametrize(("family", "attn"), SEPARATED)
def test_packed_rows_lose_and_learn_what_each_does_alone(
    tiny_model: TinyModel, texts: Path, family: str, attn: str | None
) -> None:
    notices = list[str]()
    prepared = ready(texts, tiny_model(family), attn, notices)
    assert isinstance(prepared.collate, Flattened)
    assert not any("padded" in notice for notice in notices)
    assert_learns_as_alone(prepared, tiny_model(family))


def drop_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes positions and does not mind them."""
    from transformers.models.llama.modeling_llama import LlamaModel

    plain = LlamaModel.forward

    def forward(self: Any, *args: Any, position_ids: Any = None, **keywords: Any) -> Any:
        return plain(self, *args, **keywords)

    monkeypatch.setattr(LlamaModel, "forward", forward)


def drop_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions begin again, and every text sees those before it."""
    from transformers import masking_utils

    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda *a, **k: None)


def run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts do not see each other, and their positions do not begin again."""
    from transformers.models.gpt2.modeling_gpt2 import GPT2Model

    plain = GPT2Model.forward

    def forward(self: Any, *args: Any, **keywords: Any) -> Any:
        look = torch.nn.Embedding.forward
        self.wpe.forward = lambda ids: look(self.wpe, torch.arange(ids.shape[-1])[None])
        return plain(self, *args, **keywords)

    monkeypatch.setattr(GPT2Model, "forward", forward)


@pytest.mark.parametrize("recipe", [WHOLE, HALF], ids=["float32", "lora-bfloat16"])
@pytest.mark.parametrize(
    ("family", "attn", "leak"),
    [("llama", None, drop_positions), ("llama", "sdpa", drop_blocks), ("gpt2", "sdpa", run_on)],
)
def test_a_model_that_leaks_is_seen_and_its_rows_are_padded(
    tiny_model: TinyModel,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    attn: str | None,
    leak: Callable[[pytest.MonkeyPatch], None],
    recipe: FinetuneRecipe,
) -> None:
    leak(monkeypatch)
    spec, notices = ModelSpec(str(tiny_model(family)), device="cpu", attn=attn), list[str]()
    with refuses("packing", "cannot separate"):
        prepare([texts], spec, recipe, notice=notices.append)
    assert notices[-1].endswith("attention: rows are padded, not joined")
    prepared = prepare([texts], spec, replace(recipe, packing=False, batch_size=4))
    assert isinstance(prepared.collate, Padded)
    if recipe.lora:
        return  # bfloat16 is too coarse for what follows
    monkeypatch.undo()
    assert_learns_as_alone(prepared, tiny_model(family))


def test_rounding_is_no_leak(tiny_model: TinyModel, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16, a real model enlarges the rounding of a shape until it looks like another text."""
    from transformers.models.llama.modeling_llama import LlamaModel

    plain = LlamaModel.forward

    def forward(self: Any, *args: Any, **keywords: Any) -> Any:
        found = plain(self, *args, **keywords)
        hidden = found.last_hidden_state  # [1, tokens, hidden]
        noise = torch.randn(hidden.shape[1:], generator=torch.Generator().manual_seed(hidden.shape[1]))
        positions = keywords.get("position_ids")
        positions = torch.arange(hidden.shape[1])[None] if positions is None else positions
        found.last_hidden_state = hidden + (noise * (positions[..., None] > 0)).to(hidden.dtype)
        return found

    monkeypatch.setattr(LlamaModel, "forward", forward)
    prepared = prepare([texts], ModelSpec(str(tiny_model("llama")), device="cpu"), HALF)
    assert isinstance(prepared.collate, Flattened)


@pytest.mark.parametrize("family", ["bloom"])
def test_a_family_that_cannot_separate_texts_pads_them(
    tiny_model: TinyModel, texts: Path, family: str
) -> None:
    notices = list[str]()
    spec = ModelSpec(str(tiny_model(family)), device="cpu")
    recipe = replace(WHOLE, packing=False, batch_size=4)
    prepared = prepare([texts], spec, recipe, notice=notices.append)
    assert any("rows are padded, not joined" in notice for notice in notices)
    assert_learns_as_alone(prepared, tiny_model(family))
