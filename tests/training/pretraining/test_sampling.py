"""The settings of sampling in the configuration of a new model."""

from types import SimpleNamespace
from typing import Any

import torch

from llmkit.training.pretraining.sampling import USUAL, SamplingSettings, choose_sampling

# 20 words in a fixed order, again and again.
TEXT = [number % 20 for number in range(8000)]


def decode(ids: list[int]) -> str:
    return " ".join(f"word{number}" for number in ids)


class Writer(torch.nn.Module):
    """Writes more different words at a higher temperature, in the text's order or not.

    Args:
        written: for each top-p and repetition penalty, the number of different words at temperature 1, and
            True for the text's order.
        context: number of positions.
    """

    def __init__(self, written: dict[tuple[float, float], tuple[int, bool]], context: int = 512) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_position_embeddings=context)
        self.device = torch.device("cpu")
        self.written = written
        self.calls = 0

    def generate(self, input_ids: torch.Tensor, generation_config: Any, **_: Any) -> torch.Tensor:
        torch.rand(3)
        self.calls += 1
        rows, length = len(input_ids), generation_config.max_new_tokens
        most, known = self.written.get(
            (generation_config.top_p, generation_config.repetition_penalty), (1, True)
        )
        numbers = torch.arange(length)
        ids = (numbers if known else numbers * 3) % max(round(most * generation_config.temperature), 1)
        return torch.cat([input_ids, ids.expand(rows, length)], 1)


def test_each_combination_gets_the_lowest_varied_temperature_and_the_known_text_is_chosen() -> None:
    state = torch.get_rng_state()
    # 15 of 20 different words are enough: at temperature 0.75, 0.6 and 0.55.
    writer = Writer({(0.8, 1.0): (20, False), (0.9, 1.1): (26, True), (0.9, 1.2): (28, False)})
    assert choose_sampling(writer, TEXT, decode, 0, 1) == SamplingSettings(0.6, 0.9, 1.1)
    assert writer.calls <= 12
    assert torch.equal(torch.get_rng_state(), state)


def test_the_most_varied_are_chosen_if_none_is_varied_enough() -> None:
    writer = Writer({(0.8, 1.0): (4, True), (0.9, 1.1): (7, False), (0.9, 1.2): (6, True)})
    assert choose_sampling(writer, TEXT, decode, 0, 1) == SamplingSettings(1.0, 0.9, 1.1)


def test_with_too_little_text_they_are_the_usual_ones() -> None:
    assert choose_sampling(Writer({}), TEXT[:1000], decode, 0, 1) == USUAL
    assert choose_sampling(Writer({(0.8, 1.0): (20, True)}, context=16), TEXT[:300], decode, 0, 1) != USUAL
