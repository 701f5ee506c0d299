"""One protocol for programs that generate text, and their common prompts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.engines.base import Request, Sampling
from llmkit.errors import InputError, OptionError
from llmkit.records.batches import Budget, next_batch

if TYPE_CHECKING:
    from llmkit.benchmark.results import BenchmarkOptions
    from llmkit.engines.base import Engine

Clock = Callable[[], float]
_WORDS = (
    *("the", "a", "little", "old", "red", "house", "dog", "river", "went", "saw", "under", "green", "bird"),
    *("morning", "and", "but", "because", "walked", "found", "letter", "garden", "stone", "window", "slowly"),
    *("children", "night", "over", "bridge", "music", "bread", "winter", "told", "friend", "never", "road"),
)


@dataclass(frozen=True)
class BenchmarkPrompt:
    """A prompt and the length of its answer.

    Attributes:
        ids: token ids.
        text: the same as text.
        new_tokens: tokens to generate.
    """

    ids: tuple[int, ...]
    text: str
    new_tokens: int

    @property
    def length(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class SingleRun:
    """One prompt, answered alone.

    Attributes:
        prompt_tokens: tokens of the prompt.
        first: seconds to the first token.
        later_tokens: tokens after the first group.
        later: seconds for these tokens.
    """

    prompt_tokens: int
    first: float
    later_tokens: int
    later: float


@dataclass(frozen=True)
class BatchRun:
    """Prompts answered together.

    Attributes:
        tokens: new tokens requested.
        seconds: time until all were complete.
    """

    tokens: int
    seconds: float


class System(Protocol):
    """A program that generates text.

    Attributes:
        name: its name in the results.
        notes: notes for the reader.
    """

    name: str
    notes: list[str]

    def single(self, prompt: BenchmarkPrompt) -> SingleRun | None:
        """Answer one prompt; None if the program cannot tell when a token comes."""

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun | None:
        """Answer prompts; None if the program cannot."""

    def close(self) -> None:
        """Stop the started processes."""


class TokenTimer:
    """Note the time of each group of tokens.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._started = clock()
        self._marks: list[tuple[float, int]] = []

    def add(self, count: int) -> None:
        """Record the time of `count` new tokens."""
        if count:
            self._marks.append((self._clock(), count))

    def run(self, prompt: BenchmarkPrompt) -> SingleRun:
        """Return the times of all tokens so far.

        Raises:
            InputError: there were fewer than two groups.
        """
        if len(self._marks) < 2:
            raise InputError("the model ended its answer before the second token; nothing can be measured")
        first = self._marks[0][0]
        later = sum(count for _, count in self._marks[1:])
        return SingleRun(prompt.length, first - self._started, later, self._marks[-1][0] - first)


class EngineSystem:
    """llmkit itself.

    Args:
        engine: an opened engine.
        clock: gives seconds.
    """

    def __init__(self, engine: Engine, clock: Clock = time.perf_counter) -> None:
        self.name = "llmkit"
        self.notes: list[str] = []
        self._engine = engine
        self._clock = clock

    def single(self, prompt: BenchmarkPrompt) -> SingleRun:
        """Stream one answer."""
        timer = TokenTimer(self._clock)
        self._engine.stream(_request(prompt), lambda tokens: timer.add(len(tokens)))
        return timer.run(prompt)

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun:
        """Answer prompts as a file of rows is answered: longest first, in batches that the engine allows."""
        started = self._clock()
        pending = sorted(prompts, key=lambda prompt: -prompt.length)
        new_tokens = max(prompt.new_tokens for prompt in prompts)
        budget = Budget(tokens=self._engine.token_budget(), rows=None, new_tokens=new_tokens)
        tokens = 0
        while pending:
            batch = next_batch(pending, budget)
            answers = self._engine.generate([_request(prompt) for prompt in batch])
            tokens += sum(len(answer.ids) for (answer,) in answers)
            del pending[: len(batch)]
        return BatchRun(tokens, self._clock() - started)

    def close(self) -> None:
        """Do nothing: the engine belongs to the caller."""


def _request(prompt: BenchmarkPrompt) -> Request:
    # Without end tokens all programs write the requested number of tokens.
    return Request(Sampling(max_new_tokens=prompt.new_tokens, eos_token_ids=()), ids=list(prompt.ids))


class PromptSource:
    """A source of prompts of random words, all different, so that no cache helps.

    Args:
        tokenizer: the model's.
        options: lengths and the seed.
    """

    def __init__(self, tokenizer: Any, options: BenchmarkOptions) -> None:
        self._tokenizer = tokenizer
        self._options = options
        self._random = random.Random(options.seed)

    def one(self) -> BenchmarkPrompt:
        """Return a prompt of the full length."""
        return self._prompt(self._options.prompt_tokens, self._options.new_tokens)

    def batch(self) -> list[BenchmarkPrompt]:
        """Return the prompts of a batch."""
        options = self._options
        if not options.mixed:
            return [self.one() for _ in range(options.batch)]
        lengths = [_part(options.prompt_tokens, i, options.batch) for i in range(options.batch)]
        limits = [max(2, _part(options.new_tokens, i, options.batch)) for i in range(options.batch)]
        self._random.shuffle(lengths)
        self._random.shuffle(limits)
        return [self._prompt(length, limit) for length, limit in zip(lengths, limits, strict=True)]

    def _prompt(self, length: int, new_tokens: int) -> BenchmarkPrompt:
        ids: list[int] = []
        count = length
        while len(ids) < length:
            words = " ".join(self._random.choices(_WORDS, k=count))
            ids = self._tokenizer(words, add_special_tokens=False, verbose=False)["input_ids"]
            if not ids:
                raise InputError("the tokenizer makes no tokens of English words; nothing can be measured")
            count *= 2
        ids = ids[:length]
        text = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return BenchmarkPrompt(tuple(ids), text, new_tokens)


def _part(whole: int, i: int, count: int) -> int:
    """Return the i-th of `count` lengths from a quarter of `whole` to `whole`."""
    share = 1.0 if count == 1 else 0.25 + 0.75 * i / (count - 1)
    return max(1, round(whole * share))


def check_context(options: BenchmarkOptions, engine: Engine) -> None:
    """Refuse lengths that the model has no positions for.

    Raises:
        OptionError: the prompt, with the answer unless an encoder reads it, is longer than the context.
    """
    most = engine.context_length
    needed = (
        options.prompt_tokens if engine.is_encoder_decoder else options.prompt_tokens + options.new_tokens
    )
    if most is not None and max(needed, options.new_tokens) > most:
        name = "prompt_tokens" if options.prompt_tokens >= options.new_tokens else "new_tokens"
        together = "" if engine.is_encoder_decoder else " with the new tokens"
        raise OptionError(name, f"must be smaller: {needed} tokens{together}, and {engine.name} has {most}")
