"""The protocol between text tasks and engines that generate text.

A task makes `Request`s and gets `Completion`s back. An `Engine` is anything that turns one into the other, in
a batch or as a stream. Neither knows the other's library: this module imports no torch and no transformers.

No engine has to do everything. `Engine.abilities` names what it can do, and `check_request` refuses the rest
with an `OptionError` that names the option. Every engine calls it before it computes.
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
"""Takes token ids as they are written; returning False ends the answer there."""
OnPiece = Callable[[str], None]
"""Takes pieces of text as they are written, from an engine whose tokenizer is elsewhere."""


@dataclass(frozen=True)
class Sampling:
    """Settings that choose tokens, as plain numbers.

    Every field but `max_new_tokens` and `temperature` is an ability: an engine that does not list the name of
    the field refuses any value but the default.

    Attributes:
        max_new_tokens: limit on the tokens of an answer.
        min_new_tokens: an answer does not end before it has this many tokens.
        temperature: divides the logits; 0.0 is greedy decoding.
        top_k: draw from the k most likely tokens; 0 is all.
        top_p: draw from the most likely tokens that together have this probability.
        min_p: drop tokens less likely than this share of the most likely one.
        repetition_penalty: above 1, tokens of the prompt and the answer become less likely (Keskar et al.
            2019, https://arxiv.org/abs/1909.05858).
        presence_penalty: subtracted from the logit of each token that the answer holds.
        frequency_penalty: subtracted from the logit of a token once for each time that the answer holds it.
        num_beams: beams of beam search; 1 is none.
        num_return_sequences: completions of one request.
        length_penalty: beam search divides a beam's score by its length to this power.
        early_stopping: beam search ends once it has `num_beams` complete beams. "never" waits until no better
            beam can come.
        no_repeat_ngram_size: an answer holds no n-gram of this size twice; 0 allows it.
        logit_bias: (token id, number added to its logit).
        stop: strings that end an answer. A completion's `ids` may run past one; its `text` does not.
        eos_token_ids: tokens that end an answer; None takes the model's own.
        first_token: token that an answer begins with; None takes the model's own, if it has one.
        decoder_start_token: token that an encoder-decoder's decoder starts from; None takes the model's own.
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
    """Tokens that may follow in one sequence. Each sequence has a separate mask."""

    def allowed(self) -> np.ndarray:
        """Return a bool array [vocabulary]: True for the tokens that may come next."""

    def accept(self, token: int) -> None:
        """Move on by the token that was chosen."""


class Constraint(Protocol):
    """A constraint on answers, such as a JSON schema. Needs the ability ``constraint``."""

    def new_mask(self) -> TokenMask:
        """Return the mask of a new sequence, before its first token."""

    def identity(self) -> dict[str, Any]:
        """Return the form as JSON, for a journal."""


@dataclass(frozen=True)
class Request:
    """One prompt with its settings.

    Exactly one of `ids`, `messages` and `text` is given. An engine with a tokenizer takes `ids`; one without
    takes the other two, and tokenizes them elsewhere.

    Attributes:
        sampling: settings.
        ids: token ids of the prompt, special tokens included.
        messages: conversation, as dicts with ``role`` and ``content``.
        text: prompt to continue.
        key: (seed, row, sample), which choose the random numbers. With the ability ``row_seeds`` an answer
            depends on its request alone, and not on the batch around it. Of `num_return_sequences` answers,
            the n-th, counted from 0, draws what a request with ``sample + n`` would draw.
        logprobs: number of most likely tokens to report at each position; 0 reports the chosen token alone,
            None nothing. Needs the ability ``logprobs``.
        constraint: form that the answer must have.
        answer_prefix: token ids that the answer begins with, before the model continues freely; they count as
            part of it. Needs the ability ``answer_prefix``.
        scope: requests of the same scope may share what was computed for the beginnings of their prompts.
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
        top: the most likely tokens at its position with theirs, most likely first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """One answer to a request.

    Attributes:
        ids: token ids that the model wrote, the end token included; no padding. An engine without a tokenizer
            may use any numbers, one for each token.
        finish_reason: ``stop`` if an end token or a stop string ended it, ``length`` if a limit did,
            ``interrupted`` if `OnTokens` did.
        prompt_tokens: tokens of the prompt.
        text: the answer without the stop string; None: decode `ids` with the engine's tokenizer and cut the
            text at the first stop string. An engine whose `tokenizer` is None always gives it.
        logprobs: one for each of `ids`, if requested.
    """

    ids: list[int]
    finish_reason: FinishReason
    prompt_tokens: int
    text: str | None = None
    logprobs: list[TokenLogprob] | None = None


class Session(Protocol):
    """State that an engine keeps from one streamed request to the next, such as a key-value cache.

    Attributes:
        ids: tokens whose state it holds. A prompt that shares their beginning does not compute it again.
    """

    ids: list[int]


class LiveAnswer(Protocol):
    """An answer of a `LiveBatch` on its way.

    Attributes:
        cancelled: set it, from any thread, to end the answer at the next step.
    """

    cancelled: bool

    @property
    def reused(self) -> int:
        """Tokens of the prompt that were not read, because an earlier prompt began with them."""

    @property
    def finished(self) -> FinishReason | None:
        """Why it ended; None before that."""

    @property
    def logprobs(self) -> Sequence[TokenLogprob]:
        """Log-probabilities of the tokens so far, if the request asks for them."""

    def completion(self) -> Completion:
        """Return the whole answer, once it is finished."""


class LiveBatch(Protocol):
    """Answers that requests join and leave between steps. One thread at a time may use it.

    After an exception in `step` the batch is not to be used again.

    Attributes:
        rows: answers that run together at most.
        capacity: tokens, of prompt and answer together, that one request may have at most.
    """

    rows: int
    capacity: int

    def takes(self, request: Request) -> bool:
        """Tell if the request can join; one that cannot is answered by `Engine.stream`."""

    def add(self, request: Request, on_tokens: OnTokens) -> LiveAnswer:
        """Let a request join at the next step.

        Raises:
            OptionError: it asks for something that the engine cannot do.
        """

    def step(self) -> list[LiveAnswer]:
        """Write the next token, or the next few, of each answer; return those that ended."""


class Engine(Protocol):
    """Anything that generates text. One thread at a time may use it.

    Attributes:
        name: name of the model, for messages.
        tokenizer: the model's tokenizer; None if it is elsewhere.
        context_length: positions that the model has; None if nothing limits them, or the limit is not known.
        is_encoder_decoder: True if the prompt goes to an encoder, so that only the answer fills the context.
        has_chat_template: True if the model answers conversations.
        config: the checkpoint's config (`model_type`, `task_specific_params`, ...); None if it is elsewhere.
        abilities: fields of `Sampling` that may differ from their default, and ``row_seeds``, ``session``,
            ``constraint``, ``logprobs``, ``answer_prefix``, ``alignment`` (see `AligningEngine`), ``score``
            (see `ScoringEngine`).
        defaults: the model's own settings. Its `temperature` is the one for sampling, whether or not the
            model samples by default, and its `max_new_tokens` a length that the model declares for answers.
        samples_by_default: True if the model's own settings draw tokens at random.
        batch_rows: number of requests that one call of `generate` best has; None: any that fit into memory.
        notes: choices that were made for the user when the model was opened, a sentence each.
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
            OptionError: a request asks for something that the engine cannot do.
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
        """Answer one request and hand over its tokens as they are written.

        Beam search knows its answer only at the end, and hands all tokens over at once.

        Args:
            request: with `num_return_sequences` 1.
            on_tokens: takes the new token ids; returning False ends the answer there.
            session: from `session`, used again by this request.
            on_piece: takes the text of the new tokens before `on_tokens` takes their ids, if the engine's
                tokenizer is elsewhere; other engines do not call it.

        Raises:
            OptionError, OutOfMemory: as `generate`.
        """

    def session(self) -> Session | None:
        """Return a new session; None if the engine has none."""

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        """Return a new batch that requests may join at any time; None if the engine has none.

        Args:
            prompt_cache: bytes for the beginnings of earlier prompts, which later ones may share.

        Raises:
            OutOfMemory: its cache does not fit into memory.
        """

    def token_budget(self) -> int | None:
        """Return the token budget of one call, with padding and new tokens; None: no limit."""

    def identity(self) -> dict[str, Any]:
        """Return all that the answers depend on besides the requests, as JSON, for a journal."""


class AligningEngine(Protocol):
    """An engine with the ability ``alignment``."""

    def align(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], start: int | None = None
    ) -> list[np.ndarray]:
        """Say from which tokens of its prompt each token of an answer came.

        Args:
            prompts: token ids, special tokens included.
            answers: token ids, special tokens included, as the decoder would write them.
            start: token that the decoder starts from; None takes the model's own.

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
            texts: token ids. A decoder does not predict the first, and has no number for it; an
                encoder-decoder predicts all, after the token that its decoder starts from.
            sources: token ids that an encoder-decoder's encoder reads, special tokens included.

        Raises:
            OutOfMemory: they do not fit into memory together.
        """


def check_request(request: Request, engine: Engine) -> None:
    """Refuse a request that an engine cannot answer.

    Raises:
        OptionError: it names the option.
    """
    for name, neutral in _NEUTRAL.items():
        wanted = getattr(request.sampling, name) != neutral
        if wanted and name not in ("max_new_tokens", "temperature", *engine.abilities):
            raise OptionError(name, f"is not available with {program_of(engine)}; leave it out")
    for name in ("constraint", "logprobs", "answer_prefix"):
        if getattr(request, name) is not None and name not in engine.abilities:
            raise OptionError(name, f"is not available with {program_of(engine)}; leave it out")


def program_of(engine: Engine) -> str:
    """Return the name that the user chose: of a program, or of a model where the program is no choice."""
    program = str(engine.identity()["engine"])
    return engine.name if program in ("transformers", "http") else f"the engine {program}"
