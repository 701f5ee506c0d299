"""The protocol between text tasks and engines that generate text.

A task makes `Request`s and gets `Completion`s back. An `Engine` turns one into the other, in a batch or as a
stream. Tasks do not depend on the engine's library: this module imports neither torch nor transformers.

An engine need not support everything. `Engine.abilities` lists its features, and `check_request` refuses all
others with an `OptionError` that names the option. Every engine calls it before it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llmkit.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

FinishReason = Literal["stop", "length", "interrupted"]
OnTokens = Callable[[Sequence[int]], bool | None]
"""Function that receives token ids as they are generated; if it returns False, the answer ends."""
OnPiece = Callable[[str], None]
"""Function that receives pieces of text as they are generated, for an engine without a local tokenizer."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings, as plain numbers.

    Every field except `max_new_tokens` and `temperature` is an ability: an engine that does not list its name
    accepts only the default value.

    Attributes:
        max_new_tokens: limit on the tokens of an answer.
        min_new_tokens: an answer has at least this many tokens.
        temperature: divides the logits; 0.0 is greedy decoding.
        top_k: sample from the k most likely tokens; 0 is all.
        top_p: sample from the most likely tokens that together have this probability.
        min_p: drop tokens whose probability is below this share of the highest one.
        repetition_penalty: above 1, tokens of the prompt and the answer become less likely (Keskar et al.
            2019, https://arxiv.org/abs/1909.05858).
        presence_penalty: subtracted from the logit of each token in the answer.
        frequency_penalty: subtracted from the logit of a token once for each occurrence in the answer.
        num_beams: beams of beam search; 1 is none.
        num_return_sequences: completions of one request.
        length_penalty: beam search divides a beam's score by its length to this power.
        early_stopping: beam search ends once it has `num_beams` complete beams. "never" waits until no better
            beam is possible.
        no_repeat_ngram_size: an answer contains no n-gram of this size twice; 0 allows it.
        logit_bias: (token id, number added to its logit).
        stop: strings that end an answer. A completion's `ids` may extend past it; its `text` does not.
        eos_token_ids: tokens that end an answer; None uses those of the model.
        first_token: token that an answer begins with; None uses the model's own, if it has one.
        decoder_start_token: first token of an encoder-decoder's decoder; None uses the model's own.
    """

    max_new_tokens: int = 256
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    no_repeat_ngram_size: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    eos_token_ids: tuple[int, ...] | None = None
    first_token: int | None = None
    decoder_start_token: int | None = None

    @property
    def greedy(self) -> bool:
        """True if no token is drawn at random."""
        return self.temperature == 0

    @property
    def sequences(self) -> int:
        """Return the number of sequences that one request computes at the same time."""
        return max(self.num_beams, self.num_return_sequences)

    def as_json(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, for a journal."""
        return {name: value for name, value in asdict(self).items() if value != _NEUTRAL[name]}


_NEUTRAL: dict[str, Any] = {one.name: one.default for one in fields(Sampling)}


class TokenMask(Protocol):
    """Allowed next tokens of one sequence. Each sequence has a separate mask."""

    def allowed(self) -> np.ndarray:
        """Return a bool array [vocabulary]: True for the tokens that may come next."""

    def accept(self, token: int) -> None:
        """Advance by the chosen token."""


class Constraint(Protocol):
    """A constraint on answers, such as a JSON schema. Needs the ability ``constraint``."""

    def new_mask(self) -> TokenMask:
        """Return the mask of a new sequence, before its first token."""

    def identity(self) -> dict[str, Any]:
        """Return the form as JSON, for a journal."""


@dataclass(frozen=True)
class Request:
    """One prompt with its settings.

    Exactly one of `ids`, `messages` and `text` is given. An engine with a tokenizer takes `ids`. An engine
    without a tokenizer takes the other two.

    Attributes:
        sampling: settings.
        ids: token ids of the prompt, special tokens included.
        messages: conversation, as dicts with ``role`` and ``content``.
        text: prompt to continue.
        key: (seed, row, sample), which choose the random numbers. With the ability ``row_seeds`` an answer
            depends only on its request, not on the other requests of the batch. Answer n of
            `num_return_sequences`, counted from 0, uses the random numbers of a request with ``sample + n``.
        logprobs: number of most likely tokens to report at each position; 0 reports only the chosen token,
            None nothing. Needs the ability ``logprobs``.
        constraint: required form of the answer.
        answer_prefix: token ids at the beginning of the answer, which the model continues; they are part of
            the answer. Needs the ability ``answer_prefix``.
        scope: requests of the same scope may share keys and values of common prompt prefixes.
    """

    sampling: Sampling
    ids: Sequence[int] | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    text: str | None = None
    key: tuple[int, int, int] = (0, 0, 0)
    logprobs: int | None = None
    constraint: Constraint | None = None
    answer_prefix: tuple[int, ...] | None = None
    scope: str = ""


@dataclass(frozen=True)
class TokenLogprob:
    """Natural log-probability of one token of an answer, by the model and before any sampling setting.

    Attributes:
        token: token id.
        logprob: its log-probability.
        top: the most likely tokens at its position with their log-probabilities, most likely first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """One answer to a request.

    Attributes:
        ids: generated token ids, with the end token and without padding. An engine without a tokenizer
            may use any numbers, one for each token.
        finish_reason: ``stop`` after an end token or a stop string, ``length`` at a limit, ``interrupted`` if
            `OnTokens` ended it.
        prompt_tokens: tokens of the prompt.
        text: the answer without the stop string; None: decode `ids` with the engine's tokenizer and cut the
            text at the first stop string. An engine whose `tokenizer` is None always sets it.
        logprobs: one for each of `ids`, if requested.
    """

    ids: list[int]
    finish_reason: FinishReason
    prompt_tokens: int
    text: str | None = None
    logprobs: list[TokenLogprob] | None = None


class Session(Protocol):
    """State that an engine keeps between streamed requests, such as a key-value cache.

    Attributes:
        ids: tokens whose state is kept. A prompt that begins with some of them does not compute these again.
    """

    ids: list[int]


class LiveAnswer(Protocol):
    """A running answer of a `LiveBatch`.

    Attributes:
        cancelled: set it, from any thread, to end the answer at the next step.
    """

    cancelled: bool

    @property
    def reused(self) -> int:
        """Number of prompt tokens that were not computed, because an earlier prompt began with them."""

    @property
    def finished(self) -> FinishReason | None:
        """Reason of the end; None while the answer runs."""

    @property
    def logprobs(self) -> Sequence[TokenLogprob]:
        """Log-probabilities of the tokens so far, if requested."""

    def completion(self) -> Completion:
        """Return the complete answer, after its end."""


class LiveBatch(Protocol):
    """A batch that requests join and leave between steps. One thread at a time may use it.

    Do not use the batch again after an exception in `step`.

    Attributes:
        rows: maximum number of answers that run together.
        capacity: maximum number of tokens, prompt and answer together, of one request.
    """

    rows: int
    capacity: int

    def takes(self, request: Request) -> bool:
        """Return True if the request can join; otherwise use `Engine.stream`."""

    def add(self, request: Request, on_tokens: OnTokens) -> LiveAnswer:
        """Let a request join at the next step.

        Raises:
            OptionError: the engine does not support an option of the request.
        """

    def step(self) -> list[LiveAnswer]:
        """Generate the next token, or the next few, of each answer; return the answers that ended."""


class Engine(Protocol):
    """Protocol of programs that generate text. One thread at a time may use an engine.

    Attributes:
        name: name of the model, for messages.
        tokenizer: the model's tokenizer; None if a server has it.
        context_length: number of positions of the model; None if it is unlimited or unknown.
        is_encoder_decoder: True if an encoder reads the prompt, so only the answer uses the context.
        has_chat_template: True if the model answers conversations.
        config: the checkpoint's config (`model_type`, `task_specific_params`, ...); None if a server has it.
        abilities: fields of `Sampling` that may differ from their default, and ``row_seeds``, ``session``,
            ``constraint``, ``logprobs``, ``answer_prefix``, ``alignment`` (see `AligningEngine`), ``score``
            (see `ScoringEngine`).
        defaults: the model's own settings. Its `temperature` is the one for sampling, even if the model does
            not sample by default. Its `max_new_tokens` is the answer length that the model declares.
        samples_by_default: True if the model's own settings enable sampling.
        batch_rows: best number of requests for one call of `generate`; None is any number that fits into
            memory.
        notes: automatic choices when the model was opened, one sentence each.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase | None
    context_length: int | None
    is_encoder_decoder: bool
    has_chat_template: bool
    config: Any
    abilities: frozenset[str]
    defaults: Sampling
    samples_by_default: bool
    batch_rows: int | None
    notes: Sequence[str]

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests together; their settings may differ.

        Returns:
            For each request, in order, its `num_return_sequences` completions, best first.

        Raises:
            OptionError: the engine does not support an option of a request.
            OutOfMemory: they do not fit into memory together.
            RequestRefused: a server cannot answer one of them.
        """

    def stream(
        self,
        request: Request,
        on_tokens: OnTokens,
        *,
        session: Session | None = None,
        on_piece: OnPiece | None = None,
    ) -> Completion:
        """Answer one request and pass on its tokens as they are generated.

        Beam search knows its answer only at the end, so it passes on all tokens at once.

        Args:
            request: with `num_return_sequences` 1.
            on_tokens: receives the new token ids; if it returns False, the answer ends.
            session: a session of this engine, to continue.
            on_piece: receives the text of the new tokens before `on_tokens` receives their ids, if a server
                has the tokenizer; other engines do not call it.

        Raises:
            OptionError, OutOfMemory: as `generate`.
        """

    def session(self) -> Session | None:
        """Return a new session; None if the engine does not support sessions."""

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        """Return a new batch that requests may join at any time; None if the engine does not support this.

        Args:
            prompt_cache: bytes for prefixes of earlier prompts, which later prompts can reuse.

        Raises:
            OutOfMemory: its cache does not fit into memory.
        """

    def token_budget(self) -> int | None:
        """Return the token budget of one call, with padding and new tokens; None is no limit."""

    def identity(self) -> dict[str, Any]:
        """Return everything that the answers depend on, except the requests, as JSON for a journal."""


class AligningEngine(Protocol):
    """An engine with the ability ``alignment``."""

    def align(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], start: int | None = None
    ) -> list[np.ndarray]:
        """Align each token of an answer with tokens of its prompt.

        Args:
            prompts: token ids, special tokens included.
            answers: token ids in the form of the decoder's output, special tokens included.
            start: first token of the decoder; None uses the model's own.

        Returns:
            For each pair weights of at least 0, [answer tokens, prompt tokens]; a row sums to 1.

        Raises:
            OutOfMemory: they do not fit into memory together.
        """


class ScoringEngine(Protocol):
    """An engine with the ability ``score``."""

    def score(
        self, texts: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None = None
    ) -> list[list[float]]:
        """Return the natural log-probability of each token of texts, given the tokens before it.

        Args:
            texts: token ids. A decoder-only model does not predict the first token, so it has no value for
                it. An encoder-decoder predicts all tokens, after its decoder's start token.
            sources: token ids that an encoder-decoder's encoder reads, special tokens included.

        Raises:
            OutOfMemory: they do not fit into memory together.
        """


def check_request(request: Request, engine: Engine) -> None:
    """Refuse a request that an engine cannot answer.

    Raises:
        OptionError: with the option's name.
    """
    for name, neutral in _NEUTRAL.items():
        wanted = getattr(request.sampling, name) != neutral
        if wanted and name not in ("max_new_tokens", "temperature", *engine.abilities):
            raise OptionError(name, f"is not available with {program_of(engine)}; omit it")
    for name in ("constraint", "logprobs", "answer_prefix"):
        if getattr(request, name) is not None and name not in engine.abilities:
            raise OptionError(name, f"is not available with {program_of(engine)}; omit it")


def program_of(engine: Engine) -> str:
    """Return the name that the user chose: of the program, or of the model if only one program can run it."""
    program = str(engine.identity()["engine"])
    return engine.name if program in ("transformers", "http") else f"the engine {program}"
