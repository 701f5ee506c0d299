"""An engine without a model: its answers are hashes of its requests, and it can sleep or end its process."""

import hashlib
import os
import time

from llmkit.engines.base import Completion, Sampling, check_request
from llmkit.errors import OptionError


class FakeEngine:
    """An `Engine`. A prompt with `die` ends the process, one with `refuse` raises an OptionError.

    Args:
        seconds: time that each row takes.
        name: name of the model.
    """

    tokenizer = None
    context_length = None
    is_encoder_decoder = False
    has_chat_template = False
    config = None
    abilities = frozenset({"row_seeds", "top_k", "top_p", "min_p", "num_return_sequences", "stop"})
    defaults = Sampling()
    samples_by_default = False
    batch_rows = 32
    notes = ()

    def __init__(self, seconds=0.0, name="fake"):
        self.seconds, self.name = seconds, name

    def generate(self, requests):
        time.sleep(self.seconds * len(requests))
        for one in requests:
            check_request(one, self)
            if one.text and "die" in one.text:
                os._exit(1)
            if one.text and "refuse" in one.text:
                raise OptionError("temperature", "is refused here")
        return [[self._answer(one, n) for n in range(one.sampling.num_return_sequences)] for one in requests]

    def _answer(self, request, sample):
        seed, row, first = request.key
        drawn = () if request.sampling.greedy else (seed, row, first + sample)
        text = hashlib.sha256(repr((request.text, request.sampling, drawn)).encode()).hexdigest()[:16]
        return Completion(list(text.encode()), "stop", len(request.text), text=text)

    def token_budget(self):
        return None

    def session(self):
        return None

    def live_batch(self, prompt_cache=0):
        return None

    def identity(self):
        return {"engine": "fake", "model": self.name}
