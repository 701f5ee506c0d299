"""The settings of sampling in the configuration of a new model."""

from types import SimpleNamespace
from typing import Any

import torch

from llmkit.training.pretraining.sampling import USUAL, SamplingSettings, choose_sampling

# 20 words in a fixed order, again and again.
TEXT = [number % 20 for number in range(4000)]


def decode(ids: list[int]) -> str:
    return " ".join(f"word{number}" for number in ids)


class Writer(torch.nn.Module):
    """Writes so many different words in turn, and leaves out every third where it does not know the text."""

    def __init__(self, written: dict[tuple[float, float], tuple[int, bool]], context: int = 512) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_position_embeddings=context)
        self.device = torch.device("cpu")
        self.written = written

    def generate(self, input_ids: torch.Tensor, generation_config: Any, **_: Any) -> torch.Tensor:
        torch.rand(3)
        rows, length = len(input_ids), generation_config.max_new_tokens
        variety, known = self.written.get((generation_config.temperature, generation_config.top_p), (1, True))
        numbers = torch.arange(length)
        ids = (numbers if known else numbers * 3) % variety
        return torch.cat([input_ids, ids.expand(rows, length)], 1)


def test_samples_are_varied_and_have_the_text_s_pairs() -> None:
    state = torch.get_rng_state()
    # 15 of 20 different tokens are enough.
    written = {
        (0.5, 0.8): (14, True),
        (0.6, 0.95): (16, False),
        (0.7, 0.9): (16, True),
        (0.9, 0.9): (19, False),
    }
    assert choose_sampling(Writer(written), TEXT, decode, 0, 1) == SamplingSettings(0.7, 0.9)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_most_varied_are_chosen_if_none_is_varied_enough() -> None:
    written = {(0.5, 0.8): (4, True), (0.9, 0.8): (7, False), (0.9, 0.9): (6, True)}
    assert choose_sampling(Writer(written), TEXT, decode, 0, 1) == SamplingSettings(0.9, 0.8)


def test_with_too_little_text_they_are_the_usual_ones() -> None:
    assert choose_sampling(Writer({}), TEXT[:1000], decode, 0, 1) == USUAL
    assert choose_sampling(Writer({(0.6, 0.8): (20, True)}, context=16), TEXT[:150], decode, 0, 1) != USUAL
