"""The temperature in the configuration of a new model."""

from types import SimpleNamespace
from typing import Any

import torch

from llmkit.training.pretraining.temperature import LONGEST, choose_temperature


class Writer(torch.nn.Module):
    """Writes `variety[temperature]` different tokens in turn."""

    def __init__(self, variety: dict[float, int], context: int = 512) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_position_embeddings=context)
        self.device = torch.device("cpu")
        self.variety = variety

    def generate(self, input_ids: torch.Tensor, generation_config: Any, **_: Any) -> torch.Tensor:
        torch.rand(3)
        rows, length = len(input_ids), generation_config.max_new_tokens
        written = torch.arange(rows * length).view(rows, length) % self.variety[generation_config.temperature]
        return torch.cat([input_ids, written], 1)


TEXT = [number % 200 for number in range(LONGEST)]


def test_it_is_the_lowest_at_which_the_text_is_varied() -> None:
    """Nearly as many different tokens as in the text are 160 of its 200."""
    state = torch.get_rng_state()
    assert choose_temperature(Writer({0.5: 170}), TEXT, 0, 1) == 0.5
    assert choose_temperature(Writer({0.5: 100, 0.6: 150, 0.7: 165}), TEXT, 0, 1) == 0.7
    assert choose_temperature(Writer({0.5: 1, 0.6: 2, 0.7: 3, 0.8: 4}), TEXT, 0, 1) == 0.9
    assert torch.equal(torch.get_rng_state(), state)


def test_with_too_little_text_it_is_the_usual_one() -> None:
    assert choose_temperature(Writer({}), TEXT[:-1], 0, 1) == 0.8
    assert choose_temperature(Writer({0.5: 200}, context=16), TEXT[:120], 0, 1) == 0.5
