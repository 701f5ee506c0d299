"""Stands for llama-cpp-python: tokens follow from the prompt and the seed by arithmetic."""

import random

__version__ = "0.0.stand-in"


class Llama:
    """Writes tokens below 100; the model's name decides how it fails."""

    def __init__(self, model_path, **options):
        print("a library may print", options)
        if "missing" in model_path:
            raise ValueError(f"no file at {model_path}")
        self._path = model_path
        self._seed = 0

    def reset(self):
        """Forget the prompt."""

    def set_seed(self, seed):
        """Take a seed."""
        self._seed = seed

    def generate(self, ids, *, temp, **settings):
        """Yield tokens for ever."""
        if 99 in ids:
            raise MemoryError
        if 98 in ids:
            raise RuntimeError("decode failed")
        draw = random.Random(self._seed).randrange if temp else None
        state = sum(ids) + len(ids)
        while True:
            state = (state * 31 + 7) % 9973
            yield draw(97) if draw else state % 97
