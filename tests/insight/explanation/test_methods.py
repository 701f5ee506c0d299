"""Methods on models whose answers are known by arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import llmkit
from llmkit import ExplainOptions
from llmkit.insight.explanation.case import Branch, PredictionCase
from llmkit.insight.explanation.gradients import integrate
from llmkit.insight.explanation.occlusion import occlude
from llmkit.insight.explanation.scorer import SequenceScorer, UnitRemoval
from llmkit.insight.explanation.units import UnitSpan
from tests.insight.explanation.toy import ANSWER, LOGIT, PROBABILITY, PROMPT, WORDS

Loaded = Callable[..., llmkit.LoadedModel]
SHORT = "She threw the"
STORY = "Tom had a red ball. He gave the ball to Lily, and she threw the"
ATTENTION = math.exp(4) / (math.exp(4) + 6)  # of the content word among seven tokens
HALF = LOGIT / 2  # relevance that a product of two inputs gives to each
# Through the softmax at a score of 4, then half to each of its inputs.
ROUTED = HALF * 4 * (1 - ATTENTION) / 2
# Scores of the six words, and the tolerance that their rounding asks for.
TOY = [
    ({"method": "occlusion"}, [0, 0, 3.329, 0, 0, 0]),
    ({"method": "ig", "steps": 16, "rule": "midpoint"}, [0, 0, 3.018, 0, 0, 0.314]),
    ({"method": "attnlrp"}, [0, 0, HALF + ROUTED, 0, 0, ROUTED]),
]


@pytest.mark.parametrize(("options", "expected"), TOY, ids=[str(one[0]["method"]) for one in TOY])
def test_the_model_with_a_known_answer(
    toy: llmkit.LoadedModel, options: dict[str, Any], expected: list[float]
) -> None:
    (found,) = llmkit.explain(toy, PROMPT, ExplainOptions(**options))
    assert found.target == ANSWER
    assert found.baseline == "</s>"
    assert [unit.score for unit in found.units] == pytest.approx(expected, abs=6e-4)
    assert found.probability == pytest.approx(PROBABILITY, abs=5e-5)
    log = options["method"] != "attnlrp"
    assert found.explained == ("log-probability" if log else "logit")
    assert found.value == pytest.approx(math.log(PROBABILITY) if log else LOGIT, abs=1e-4)
    if options["method"] == "ig":
        assert sum(unit.score for unit in found.units) == pytest.approx(3.331, abs=6e-4)


def test_gauss_legendre_adds_up(toy: llmkit.LoadedModel) -> None:
    (found,) = llmkit.explain(toy, PROMPT, ExplainOptions(method="ig"))
    assert found.completeness_error is not None
    assert found.completeness_error < 1e-3
    assert sum(unit.score for unit in found.units) == pytest.approx(3.329, rel=1e-3)


def test_steps_are_doubled_until_the_scores_add_up(toy: llmkit.LoadedModel) -> None:
    (found,) = llmkit.explain(toy, PROMPT, ExplainOptions(method="ig", steps=2))
    assert found.steps is not None
    assert found.steps > 2
    assert found.completeness_error is not None
    assert found.completeness_error < 0.01


def test_one_head_writes_the_logit_of_the_toy(toy: llmkit.LoadedModel) -> None:
    (found,) = llmkit.explain(toy, PROMPT, ExplainOptions(method="components"))
    scores = {one.name: one.score for one in found.components}
    expected = {"embedding": 0.0, "layer 0 head 0": LOGIT, "layer 0 mlp": 0.0}
    assert scores == pytest.approx(expected, abs=1e-4)


def test_the_lens_of_the_toy(toy: llmkit.LoadedModel) -> None:
    """The head reads nothing of the embeddings, so that all words are equally likely before the layer."""
    (found,) = llmkit.explain(toy, PROMPT, ExplainOptions(method="lens"))
    assert found.lens is not None
    before, after = (row[-1] for row in found.lens.cells)
    assert before.target == pytest.approx(-math.log(WORDS), abs=1e-5)
    assert (after.token, after.rank) == (ANSWER, 1)
    assert after.probability == pytest.approx(PROBABILITY, abs=5e-5)


class _Linear(torch.nn.Module):
    """Logits that are a linear function of all embeddings."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.table = torch.nn.Embedding(20, 8)
        self.table.weight.data = torch.randn(20, 8, generator=draws)
        self.mixed = torch.randn(tokens, 8, 20, generator=draws)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.table

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        logits = torch.einsum("btd,tdv->bv", inputs_embeds, self.mixed[: inputs_embeds.shape[1]])
        return SimpleNamespace(logits=logits[:, None].expand(-1, inputs_embeds.shape[1], -1))


def test_on_a_linear_model_gradients_and_occlusion_agree() -> None:
    model = _Linear(6)
    loaded: Any = SimpleNamespace(
        model=model, is_encoder_decoder=False, device=torch.device("cpu"), spec=SimpleNamespace(name="linear")
    )

    def branch(token: int) -> Branch:
        return Branch((token,), "x", ("x",), (UnitSpan("x", 0, 1, (0,)),))

    case = PredictionCase("", (3, 4, 5, 6, 7, 8), (), (), branch(9), branch(10), "token")
    scorer = SequenceScorer(loaded, case)
    baseline = model.table.weight[1].detach()
    units = [(0,), (1, 2), (3,), (5,)]
    with torch.no_grad():
        change = model.table.weight[list(case.source)] - baseline
        each = torch.einsum("td,tdv->tv", change.double(), model.mixed.double())
    expected = [float(sum(each[at, 9] - each[at, 10] for at in unit)) for unit in units]
    occluded = occlude(UnitRemoval(scorer, baseline), units)[0]
    path = integrate(scorer, baseline, [0, 1, 2, 3, 5], steps=2, rule="gauss-legendre")
    integrated = [path.scores[0, list(unit)].sum() for unit in units]
    size = max(map(abs, expected))
    assert occluded == pytest.approx(expected, abs=1e-6 * size)
    assert integrated == pytest.approx(expected, abs=1e-6 * size)
    assert path.error < 1e-6


@pytest.mark.parametrize("method", ["occlusion", "ig", "attnlrp", "components"])
def test_swapping_target_and_foil_negates_the_scores(loaded: Loaded, method: str) -> None:
    one, two = (
        _scores(loaded("stories"), ExplainOptions(method=method, target=a, instead_of=b, check=False))
        for a, b in (("ball", "stones"), ("stones", "ball"))
    )
    assert max(map(abs, one)) > 0.1
    assert one == pytest.approx([-score for score in two], abs=1e-5)


def _scores(model: llmkit.LoadedModel, options: ExplainOptions) -> list[float]:
    (found,) = llmkit.explain(model, SHORT, options)
    return [one.score for one in found.units or found.components]


@pytest.mark.parametrize("method", ["occlusion", "ig"])
def test_a_text_does_not_depend_on_its_batch(loaded: Loaded, method: str) -> None:
    from llmkit.insight.explanation.explain import Explainer

    explainer = Explainer(loaded("stories"), ExplainOptions(method=method, check=False))
    together = llmkit.explain(
        loaded("stories"), [SHORT, "Once upon a", "The dog ran to the"], explainer.options
    )
    for text, expected in ((SHORT, together[0]), ("Once upon a", together[1])):
        alone = explainer.explain(explainer.ask(text, "text"), tokens_at_once=1)
        assert [unit.score for unit in alone.units] == pytest.approx(
            [unit.score for unit in expected.units], abs=1e-5
        )


EMBEDDED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("stories", "text-generation", STORY, {}),
    ("storyteller", "text-generation", "Tell me a story about a dog.", {}),
    (
        "translator",
        "text-generation",
        "The dog is in the house.",
        {"task": "translate", "target_language": "de"},
    ),
    ("reader", "question-answering", STORY, {"task": "qa", "question": "Who got the ball?"}),
]


@pytest.mark.parametrize(("name", "task", "text", "options"), EMBEDDED, ids=[one[0] for one in EMBEDDED])
def test_integrated_gradients_add_up(
    loaded: Loaded, name: str, task: str, text: str, options: dict[str, Any]
) -> None:
    (found,) = llmkit.explain(loaded(name, task), text, ExplainOptions(method="ig", **options))
    assert found.completeness_error is not None
    assert found.completeness_error < 0.01
    assert found.baseline_value is not None
    assert sum(unit.score for unit in found.units) == pytest.approx(
        found.value - found.baseline_value, rel=0.01
    )
    if found.matrix is not None:
        columns = np.array(found.matrix.scores).sum(0)
        assert columns == pytest.approx([unit.score for unit in found.units], abs=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_the_parts_of_a_logit_add_up(tiny_model: Any, family: str) -> None:
    model = llmkit.load(llmkit.ModelSpec(str(tiny_model(family))))
    (found,) = llmkit.explain(model, "The cat sat on", ExplainOptions(method="components", target="the moon"))
    assert sum(one.score for one in found.components) == pytest.approx(found.value, rel=1e-4)


def test_the_forward_pass_stays_as_it_was(loaded: Loaded) -> None:
    """Relevance propagation changes gradients only, and leaves no change behind."""
    model = loaded("stories")
    ids = torch.tensor([[0, 5, 9, 40]])
    before = model.model(ids).logits
    kernel = model.model.config._attn_implementation
    (found,) = llmkit.explain(model, STORY, ExplainOptions(method="attnlrp"))
    (plain,) = llmkit.explain(model, STORY, ExplainOptions(method="occlusion"))
    assert torch.equal(model.model(ids).logits, before)
    assert model.model.config._attn_implementation == kernel
    assert found.probability == pytest.approx(plain.probability, rel=1e-6)


# German words whose English source word is known.
PAIRS = [
    ("The dog is in the house.", {"Hund": "dog", "Haus": "house"}),
    ("The cat is under the table.", {"Katze": "cat", "Tisch": "table"}),
    ("I have a red book.", {"Buch": "book"}),
    ("The man drinks water.", {"Mann": "man", "Wasser": "water"}),
    ("The child eats bread.", {"Kind": "child", "Brot": "bread"}),
    ("The woman reads a letter.", {"Frau": "woman", "Brief": "letter"}),
    ("My father has a car.", {"Vater": "father", "Auto": "car"}),
    ("The girl sees the horse.", {"Mädchen": "girl", "Pferd": "horse"}),
    ("My mother is in the garden.", {"Mutter": "mother", "Garten": "garden"}),
    ("The bird is on the tree.", {"Vogel": "bird", "Baum": "tree"}),
    ("The boy likes the school.", {"Junge": "boy", "Schule": "school"}),
]


@pytest.mark.parametrize("method", ["occlusion", pytest.param("ig", marks=pytest.mark.slow)])
def test_translated_words_come_from_their_source_words(loaded: Loaded, method: str) -> None:
    options = ExplainOptions(task="translate", target_language="de", method=method, check=False)
    right = known = 0
    for found, (_, words) in zip(
        llmkit.explain(loaded("translator"), [text for text, _ in PAIRS], options), PAIRS, strict=True
    ):
        assert found.matrix is not None
        for row, scores in zip(found.matrix.rows, found.matrix.scores, strict=True):
            if row in words:
                known += 1
                right += found.matrix.columns[int(np.argmax(scores))] == words[row]
    assert known == 21
    assert right >= 19
