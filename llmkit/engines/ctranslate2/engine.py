"""The engine that runs a model with CTranslate2, on a conversion that llmkit makes once and keeps."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import (
    Completion,
    FinishReason,
    OnPiece,
    OnTokens,
    Request,
    Sampling,
    check_request,
)
from llmkit.engines.ctranslate2.program import Call, CTranslate2Program, OnToken
from llmkit.engines.own_settings import own_settings
from llmkit.engines.streaming import check_streamed, stream_at_end
from llmkit.errors import NoticeWarning, OptionError
from llmkit.runtime.generation_config import end_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from llmkit.engines.base import LiveBatch, Session
    from llmkit.engines.converted.cache import ConvertedModel
    from llmkit.runtime.load import LoadedModel

_TOKENS = {"cpu": 16_384, "cuda": 65_536}
"""Tokens of a batch, prompt and answer, by device."""
_BOTH = frozenset(
    {
        *("min_new_tokens", "top_k", "top_p", "num_beams", "num_return_sequences", "length_penalty"),
        *("early_stopping", "stop", "eos_token_ids", "answer_prefix", "score"),
    }
)
# Its repetition penalty is not listed: it applies only to the answer, but transformers' also to the prompt.
_ENCODER_DECODER = frozenset({"first_token"})
_APPLIED = ("bad_words_ids", "suppress_tokens")


class CTranslate2Engine:
    """A converted model as an `Engine`; see there for the attributes.

    Beam search ends once it has `num_beams` complete beams. Sampled tokens come from one random stream of the
    process, so sampled answers are not reproducible.

    Args:
        outline: the model without its weights, from `load_outline`.
        converted: the conversion.
        program: the conversion, loaded.
        device: ``cpu`` or ``cuda``.

    Attributes:
        outline: as given.
    """

    batch_rows: int | None = None

    def __init__(
        self, outline: LoadedModel, converted: ConvertedModel, program: CTranslate2Program, device: str
    ) -> None:
        import ctranslate2

        self.outline, self._converted, self._program, self._device = outline, converted, program, device
        self._version = str(ctranslate2.__version__)
        self.name: str = outline.spec.name
        self.tokenizer: PreTrainedTokenizerBase | None = outline.tokenizer
        self.context_length = outline.context_length
        self.is_encoder_decoder = outline.is_encoder_decoder
        self.has_chat_template = outline.has_chat_template
        self.config: Any = outline.model.config
        self.abilities = _BOTH | _ENCODER_DECODER if self.is_encoder_decoder else _BOTH
        own: Any = outline.model.generation_config
        self._own = own
        self._ends = tuple(end_ids(own, self.tokenizer))
        self._forbidden = _forbidden(own)
        self.defaults: Sampling = own_settings(outline, self.abilities, "ctranslate2", applied=_APPLIED)
        self.samples_by_default: bool = bool(own.do_sample)
        self.notes: Sequence[str] = (
            *outline.notes,
            f"ctranslate2 {self._version} computes in {converted.kind} on {device}",
            *converted.notes,
        )
        self._warned = False

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests; those with equal settings and prompts of similar length run as one batch."""
        for one in requests:
            self._check(one)
        answers: dict[int, list[Completion]] = {}
        for members in self._batches(requests):
            batch = [requests[i] for i in members]
            answers |= dict(zip(members, self._run(batch), strict=True))
        return [answers[i] for i in range(len(requests))]

    def stream(
        self,
        request: Request,
        on_tokens: OnTokens,
        *,
        session: Session | None = None,
        on_piece: OnPiece | None = None,
    ) -> Completion:
        """Answer one request and pass on its tokens as they are generated; see `Engine.stream`."""
        self._check(request)
        check_streamed(request)
        if request.sampling.num_beams > 1:
            return stream_at_end(self, request, on_tokens)
        return _Streaming(on_tokens).run(lambda on_token: self._run([request], on_token)[0][0], request)

    def session(self) -> Session | None:
        """Return None: no state is kept between requests."""
        return None

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        """Return None: requests cannot join a running batch."""
        return None

    def score(
        self, texts: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None = None
    ) -> list[list[float]]:
        """Return the log-probability of each token of texts; see `ScoringEngine.score`."""
        return self._program.score(texts, sources)

    def token_budget(self) -> int | None:
        """Return the token budget of one batch, with padding and new tokens."""
        return _TOKENS[self._device]

    def identity(self) -> dict[str, Any]:
        """Return the engine, the model, and the versions of the libraries that run it."""
        found = self.outline.identity()
        del found["attention"], found["linear"], found["torch"]
        found |= {"device": self._device, "dtype": self._converted.kind}
        return {"engine": "ctranslate2", "ctranslate2": self._version, **found}

    def _check(self, request: Request) -> None:
        check_request(request, self)
        sampling = request.sampling
        if sampling.early_stopping == "never":
            raise OptionError("early_stopping", "must not be never: ctranslate2 ends at complete beams")
        if sampling.num_beams > 1:
            for option, given in (("temperature", not sampling.greedy), ("stop", bool(sampling.stop))):
                if given:
                    raise OptionError(option, "cannot be combined with `num_beams` in ctranslate2; omit one")
        if not sampling.greedy and not self._warned:
            self._warned = True
            warnings.warn(
                "ctranslate2 has a single random generator: sampled text is not reproducible, even with the"
                " same seed",
                NoticeWarning,
                stacklevel=3,
            )

    def _batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return the indices of the requests that run together."""
        groups: dict[Any, list[int]] = {}
        for i, one in enumerate(requests):
            exact = one.sampling.num_beams > 1 or one.sampling.min_new_tokens > 0
            limit = one.sampling.max_new_tokens if exact else 0
            lengths = (len(one.ids or ()), len(one.answer_prefix or ())) if exact else None
            key = (replace(one.sampling, max_new_tokens=1), limit, lengths)
            groups.setdefault(key, []).append(i)
        if self.is_encoder_decoder:
            return list(groups.values())
        return [part for members in groups.values() for part in _alike(members, requests)]

    def _run(self, batch: Sequence[Request], on_token: OnToken | None = None) -> list[list[Completion]]:
        """Answer requests that share their settings in one call."""
        sampling = batch[0].sampling
        beams = sampling.num_beams > 1
        copies = 1 if beams else sampling.num_return_sequences
        rows = [one for one in batch for _ in range(copies)]
        prompts = [list(one.ids or ()) for one in rows]
        prefixes = [self._prefix(one) for one in rows]
        watch = self._watch(rows, prefixes, on_token)
        found = self._program.generate(prompts, prefixes, self._call(rows), watch)
        flat = [
            self._completion(self._continued(ids, one, on_token), one)
            for one, answers in zip(rows, found, strict=True)
            for ids in answers
        ]
        each = len(flat) // len(batch)
        return [flat[i : i + each] for i in range(0, len(flat), each)]

    def _continued(self, ids: list[int], request: Request, on_token: OnToken | None) -> list[int]:
        """Continue an answer after a token that should not end it: CTranslate2 always needs an end token."""
        sampling = request.sampling
        endless = sampling.eos_token_ids == () and sampling.num_beams == 1
        if not endless or len(ids) >= sampling.max_new_tokens or self._holds_stop(ids, sampling.stop):
            return ids
        one_answer = replace(sampling, num_return_sequences=1)
        ((completion,),) = self._run(
            [replace(request, answer_prefix=tuple(ids), sampling=one_answer)], on_token
        )
        return completion.ids

    def _call(self, rows: Sequence[Request]) -> Call:
        sampling = rows[0].sampling
        beams = sampling.num_beams > 1
        ends = self._ends if sampling.eos_token_ids is None else sampling.eos_token_ids
        least = min(sampling.min_new_tokens, sampling.max_new_tokens) if ends else 0
        if beams and not ends:
            least = sampling.max_new_tokens
        return Call(
            most=max(one.sampling.max_new_tokens for one in rows),
            least=least,
            ends=ends,
            beams=sampling.num_beams,
            answers=sampling.num_return_sequences if beams else 1,
            length_penalty=sampling.length_penalty,
            repetition_penalty=sampling.repetition_penalty,
            no_repeat_ngram_size=sampling.no_repeat_ngram_size,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            forbidden=self._forbidden,
        )

    def _prefix(self, request: Request) -> list[int]:
        """Return the ids at the beginning of an answer."""
        prefix = list(request.answer_prefix or ())
        if not self.is_encoder_decoder:
            return prefix
        first = request.sampling.first_token
        first = self._own.forced_bos_token_id if first is None else first
        return prefix if first is None or prefix[:1] == [first] else [int(first), *prefix]

    def _watch(
        self, rows: Sequence[Request], prefixes: Sequence[Sequence[int]], on_token: OnToken | None
    ) -> OnToken | None:
        """Return a function that ends rows at stop strings and their own limits; None if it is not needed."""
        stops = rows[0].sampling.stop
        limits = [one.sampling.max_new_tokens for one in rows]
        if on_token is None and not stops and min(limits) == max(limits):
            return None
        written = [[] if self.is_encoder_decoder else list(prefix) for prefix in prefixes]
        # Each token may be a part of a character, and special tokens are not in the text.
        tail = max((len(stop.encode()) for stop in stops), default=0) + 16
        tokenizer: Any = self.tokenizer

        def watch(row: int, token: int) -> bool:
            ids = written[row]
            ids.append(token)
            ended = on_token is not None and on_token(row, token)
            if stops and not ended:
                text = tokenizer.decode(
                    ids[-tail:], skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                ended = any(stop in text for stop in stops)
            return ended or len(ids) >= limits[row]

        return watch

    def _completion(self, ids: list[int], request: Request) -> Completion:
        """Cut an answer at its own limit, and find the reason of its end."""
        sampling = request.sampling
        ends = self._ends if sampling.eos_token_ids is None else sampling.eos_token_ids
        limit, forced = sampling.max_new_tokens, self._own.forced_eos_token_id
        kept = ids[:limit]
        begun = len(self._prefix(request))
        last = next((i + 1 for i, token in enumerate(kept) if i >= begun and token in ends), None)
        reason: FinishReason = "stop"
        if last is not None:
            kept = kept[:last]
        elif len(kept) == limit and forced is not None:
            kept[-1] = forced[0] if isinstance(forced, list) else forced  # as transformers does
        elif len(kept) == limit and not self._holds_stop(kept, sampling.stop):
            reason = "length"
        return Completion(kept, reason, prompt_tokens=len(request.ids or ()))

    def _holds_stop(self, ids: list[int], stops: Sequence[str]) -> bool:
        tokenizer: Any = self.tokenizer
        if not stops:
            return False
        text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in stops)


class _Streaming:
    """Passes the tokens of a call to the calling thread, while the call runs in another thread.

    It keeps no reference to the call: CTranslate2's own thread may be the last to release a callback, and a
    model that is freed there causes a deadlock.

    Args:
        on_tokens: receives the tokens; if it returns False, the answer ends.
    """

    def __init__(self, on_tokens: OnTokens) -> None:
        self._on_tokens = on_tokens
        self._new: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def run(self, call: Callable[[OnToken], Completion], request: Request) -> Completion:
        """Answer a request.

        Args:
            call: answers it; its argument is a function that receives each token.
            request: the request.
        """
        result: list[Completion] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                result.append(call(self._take))
            except BaseException as error:
                failures.append(error)
            finally:
                self._new.put(None)

        threading.Thread(target=work, name="llmkit-stream", daemon=True).start()
        shown: list[int] = []
        try:
            while (token := self._new.get()) is not None:
                shown.append(token)
                if self._on_tokens([token]) is False:
                    return Completion(shown, "interrupted", prompt_tokens=len(request.ids or ()))
        finally:
            self._stopped.set()
        if failures:
            raise failures[0]
        rest = result[0].ids[len(shown) :]
        if rest:
            self._on_tokens(rest)
        return result[0]

    def _take(self, row: int, token: int) -> bool:
        if not self._stopped.is_set():
            self._new.put(token)
        return self._stopped.is_set()


def _alike(members: Sequence[int], requests: Sequence[Request]) -> list[list[int]]:
    """Group requests by prompt length: the longer part of a prompt in a batch is read token by token."""

    def length(i: int) -> int:
        return len(requests[i].ids or ()) + len(requests[i].answer_prefix or ())

    found: list[list[int]] = []
    for i in sorted(members, key=length):
        first = length(found[-1][0]) if found else 0
        # Prompts of one token are a group of their own: see `CTranslate2Program.generate`.
        spread = 0 if first == 1 else max(2, requests[i].sampling.max_new_tokens // 8)
        if found and length(i) - first <= spread:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def _forbidden(own: Any) -> tuple[tuple[int, ...], ...]:
    """Return the sequences of ids that a generation_config forbids."""
    words = [tuple(map(int, word)) for word in own.bad_words_ids or ()]
    return (*words, *((int(token),) for token in own.suppress_tokens or ()))
