"""The engine for models in transformers; on a CPU it runs common families in native steps.

It does not use transformers' text-generation pipeline, which refuses encoder-decoder models, samples all rows
of a batch from one random stream, and pads any list as one batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from llmkit.engines.base import Completion, FinishReason, OnPiece, OnTokens, Request, Sampling, check_request
from llmkit.engines.streaming import check_streamed, stream_at_end
from llmkit.engines.transformers import row_choices, step_runner
from llmkit.engines.transformers.draft_model import draft_for
from llmkit.engines.transformers.prefix_cache import PrefixCache
from llmkit.engines.transformers.row_choices import RowChoices
from llmkit.engines.transformers.sampling import (
    Settings,
    begin_with,
    make_settings,
    model_defaults,
    no_end_before,
    random_stream,
    row_processors,
    stop_at,
    stop_when,
)
from llmkit.engines.transformers.seq2seq import runner as seq2seq
from llmkit.engines.transformers.seq2seq.beams import native_model
from llmkit.engines.transformers.step_batch import StepBatch
from llmkit.engines.transformers.step_runner import StepRunner, StepSession
from llmkit.engines.transformers.token_logprobs import LogprobRecorder, with_logprobs
from llmkit.errors import OptionError, OutOfMemory
from llmkit.runtime.estimate.cache import batch_tokens, token_bytes
from llmkit.runtime.memory import is_out_of_memory
from llmkit.runtime.padding import pad

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from llmkit.engines.base import LiveBatch, Session
    from llmkit.runtime.load import LoadedModel

# Tokens (prompt and answer, all rows of a batch) that use a CPU fully; more tokens only need more memory.
_CPU_TOKENS = 16_384
_GPU_TOKENS = 262_144
# Tokens of a batch in native steps, whose rows wait for space in the cache. More tokens keep steps full for
# longer, but a kill loses more work.
_STEP_TOKENS = 32_768
_LIVE_TOKENS = 8192  # tokens of one answer with its prompt, if the model has no limit
_ABILITIES = frozenset(
    {
        *("min_new_tokens", "top_k", "top_p", "min_p", "repetition_penalty", "no_repeat_ngram_size"),
        *("num_beams", "num_return_sequences", "length_penalty", "early_stopping"),
        *("stop", "eos_token_ids", "first_token", "decoder_start_token"),
        *("row_seeds", "session"),
    }
)


class TransformersEngine:
    """A loaded model as an `Engine`; see there for the attributes.

    Args:
        loaded: from `runtime.load`, for the task ``text-generation`` or ``text2text-generation``.
        draft: draft model, for models that run in native steps; or None.

    Attributes:
        loaded: the model.

    Raises:
        OptionError: the draft model does not fit.
    """

    def __init__(self, loaded: LoadedModel, draft: LoadedModel | None = None) -> None:
        self.loaded = loaded
        self.name: str = loaded.spec.name
        self.tokenizer: PreTrainedTokenizerBase | None = loaded.tokenizer
        self.context_length: int | None = loaded.context_length
        self.is_encoder_decoder: bool = loaded.is_encoder_decoder
        self.has_chat_template: bool = loaded.has_chat_template
        self.config: Any = loaded.model.config
        # `RowSampler` does not support a repetition penalty on an encoder-decoder's answer alone.
        alone = ("alignment", "answer_prefix", "logprobs")
        by_row = alone if loaded.is_encoder_decoder else row_choices.ABILITIES
        self.abilities: frozenset[str] = _ABILITIES.union(by_row)
        self.notes: Sequence[str] = loaded.notes
        self.defaults: Sampling = model_defaults(loaded)
        causal = step_runner.reason_against(loaded)
        reason = seq2seq.reason_against(loaded) if loaded.is_encoder_decoder else causal
        self._steps: StepRunner | seq2seq.TranslatorRunner | None = None
        self._draft = None if draft is None else draft_for(draft, loaded, causal)
        if causal is None:
            self._steps = StepRunner(loaded.model, loaded.tokenizer, _CPU_TOKENS, self._draft)
        elif reason is None:
            self._steps = seq2seq.TranslatorRunner(loaded.model, loaded.tokenizer, _CPU_TOKENS)
        loaded.notes.append(
            "decoding in native steps" if reason is None else f"decoding by generate: {reason}"
        )
        own = copy.deepcopy(loaded.model.generation_config)
        self.samples_by_default: bool = bool(own.do_sample)
        self.batch_rows: int | None = None
        self._make_settings: Callable[[Sampling], Settings] = lru_cache(maxsize=16)(
            lambda sampling: make_settings(
                sampling, own, loaded.tokenizer, is_encoder_decoder=loaded.is_encoder_decoder
            )
        )

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests; those with equal settings, except limits, run as one batch."""
        groups: dict[tuple[Sampling, bool], list[int]] = {}
        for i, request in enumerate(requests):
            check_request(request, self)
            by_row = self._wanted(request) is not None
            groups.setdefault((_without_limits(request.sampling), by_row), []).append(i)
        answers: dict[int, list[Completion]] = {}
        for (sampling, _), members in groups.items():
            settings = self._make_settings(sampling)
            batch = [requests[i] for i in members]
            for request in batch:
                self._check(request, settings)
            if (steps := self._steps_for(settings)) is not None:
                copies = sampling.num_return_sequences
                rows = [_sample(request, n) for request in batch for n in range(copies)]
                flat = steps.generate(rows, settings)
                found = [flat[i : i + copies] for i in range(0, len(flat), copies)]
            elif settings.beam_sampling:
                # Sampled beams use torch's global generator, so each row runs alone.
                found = [self._run([request], settings)[0] for request in batch]
            else:
                found = [one for part in self._parts(batch) for one in self._run(part, settings)]
            answers |= dict(zip(members, found, strict=True))
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
        check_request(request, self)
        check_streamed(request)
        settings = self._make_settings(_without_limits(request.sampling))
        self._check(request, settings)
        if request.sampling.num_beams > 1:
            return stream_at_end(self, request, on_tokens)
        if (steps := self._steps_for(settings)) is not None:
            return steps.stream(request, settings, on_tokens, cast("StepSession | None", session))
        streamer = _Streamer(on_tokens)
        choices = self._choices([request], settings)
        cache = None if isinstance(self._steps, seq2seq.TranslatorRunner) else cast("PrefixCache", session)
        with self._recorder([request]) as recorder:
            (row,) = self._forward([request], settings, choices, streamer=streamer, cache=cache)
        completion = self._completion(row, request, settings)
        completion = with_logprobs(completion, choices, recorder, 0)
        return replace(completion, finish_reason="interrupted") if streamer.stopped else completion

    def session(self) -> Session | None:
        """Return an empty key-value cache for a conversation."""
        steps = self._steps
        return steps.session() if isinstance(steps, StepRunner) else PrefixCache(self.loaded)

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        """Return a batch in native steps that requests may join at any time; None without native steps."""
        if not isinstance(self._steps, StepRunner):
            return None

        def prepare(request: Request) -> Settings | None:
            check_request(request, self)
            settings = self._make_settings(_without_limits(request.sampling))
            return settings if self._steps_for(settings) is not None else None

        most = self.context_length or _LIVE_TOKENS
        each = token_bytes(self.loaded.model.config, self.loaded.dtype)
        return StepBatch(
            self.loaded.model, self.loaded.tokenizer, prepare, most, each, prompt_cache, self._draft
        )

    def align(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], start: int | None = None
    ) -> list[np.ndarray]:
        """Return the weights between the tokens of answers and prompts; see `AligningEngine.align`."""
        from llmkit.engines.transformers.alignment import cross_attention

        return cross_attention(self.loaded, prompts, answers, start)

    def token_budget(self) -> int | None:
        """Return the maximum number of tokens in a batch on this device, padding and new tokens included."""
        if self.loaded.device.type != "cuda":
            return _STEP_TOKENS if isinstance(self._steps, StepRunner) else _CPU_TOKENS
        free, _ = torch.cuda.mem_get_info(self.loaded.device)
        return batch_tokens(free, token_bytes(self.loaded.model.config, self.loaded.dtype), _GPU_TOKENS)

    def identity(self) -> dict[str, Any]:
        """Return the engine, the model, and the versions of the libraries that run it."""
        decoder = {"decoder": "generate"} if self._steps is None else self._steps.identity()
        return {"engine": "transformers", **decoder, **self.loaded.identity()}

    def _steps_for(self, settings: Settings) -> StepRunner | seq2seq.TranslatorRunner | None:
        """Return the native steps if they support all of the settings.

        Raises:
            OptionError: they do not support them, and a draft model needs them.
        """
        if (steps := self._steps) is None:
            return None
        unknown = steps.reason_against_settings(settings)
        if unknown is not None and self._draft is not None:
            raise OptionError("draft", f"cannot be combined with `{unknown}`; omit one of them")
        return None if unknown is not None else steps

    def _parts(self, batch: Sequence[Request]) -> list[Sequence[Request]]:
        """Split requests that `generate` pads although `token_budget` assumes native steps."""
        longest = max(len(one.ids or ()) + one.sampling.max_new_tokens for one in batch)
        most = len(batch) if self._steps is None else max(_CPU_TOKENS // longest, 1)
        return [batch[i : i + most] for i in range(0, len(batch), most)]

    def _run(self, batch: Sequence[Request], settings: Settings) -> list[list[Completion]]:
        """Answer requests that share their settings in one call of the model."""
        beams = settings.config.num_beams > 1
        copies = 1 if beams else batch[0].sampling.num_return_sequences
        rows = [_sample(request, n) for request in batch for n in range(copies)]
        choices = self._choices(rows, settings)
        with self._recorder(rows) as recorder:
            output = self._forward(rows, settings, choices)
        each = len(output) // len(batch)
        flat = [
            with_logprobs(self._completion(ids, batch[i // each], settings), choices, recorder, i)
            for i, ids in enumerate(output)
        ]
        return [flat[i : i + each] for i in range(0, len(flat), each)]

    def _wanted(self, request: Request) -> str | None:
        """Return the first option of a request that only a `RowSampler` supports, or None."""
        return None if self.is_encoder_decoder else row_choices.wanted(request)

    def _check(self, request: Request, settings: Settings) -> None:
        """Refuse options of one row that cannot be combined with its settings."""
        if not self.is_encoder_decoder:
            row_choices.check(request, settings)
        elif request.logprobs is not None and settings.config.num_beams > 1:
            raise OptionError("logprobs", "cannot be combined with `num_beams`; omit one of them")

    def _recorder(self, rows: Sequence[Request]) -> Any:
        """Return a recorder of log-probabilities that no `RowSampler` keeps, or a context with None."""
        wanted = self.is_encoder_decoder and any(row.logprobs is not None for row in rows)
        model = self.loaded.model
        return LogprobRecorder(model, [row.logprobs for row in rows]) if wanted else nullcontext()

    def _choices(self, rows: Sequence[Request], settings: Settings) -> RowChoices | None:
        """Return the logits processor for rows with settings that `generate` does not support."""
        return RowChoices(rows, settings) if any(map(self._wanted, rows)) else None

    def _forward(
        self,
        rows: Sequence[Request],
        settings: Settings,
        choices: RowChoices | None,
        *,
        streamer: _Streamer | None = None,
        cache: PrefixCache | None = None,
    ) -> list[list[int]]:
        """Return the new token ids of each row, padded at the end; with beams, of each returned beam."""
        # 1. Prompts: ids and mask, [rows, longest]. `start` tokens precede the first new one in the decoder.
        prompts = [list(row.ids or ()) for row in rows]
        tokenizer, device = self.loaded.tokenizer, self.loaded.device
        side: Any = tokenizer.padding_side
        ids, mask = (t.to(device) for t in pad(prompts, cast("int", tokenizer.pad_token_id), side))
        start = 1 if self.is_encoder_decoder else ids.shape[1]
        # 2. Limits, row by row: the tokens that the context leaves for a row do not depend on other rows.
        limits = [row.sampling.max_new_tokens for row in rows]
        config = copy.copy(settings.config)
        config.max_new_tokens = max(limits)
        if choices is not None:
            config.no_repeat_ngram_size = 0  # `choices` forbids them, and needs the model's own logits
            processors: list[Any] = [choices]
        else:
            processors = self._processors(rows, settings, mask, start, max(limits))
        criteria = [stop_at(limits, start)] if min(limits) < max(limits) else []
        if streamer is not None:
            criteria.append(stop_when(lambda: streamer.stopped))
        # 3. The model, [rows * returned beams, start + new] with the prompt in front.
        if settings.beam_sampling:
            torch.manual_seed(int(random_stream(*rows[0].key, length=1)[0] * 2**32))
        model: Any
        try:
            with torch.inference_mode(), self._model_for(prompts, config, cache) as (model, arguments):
                output = model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    generation_config=config,
                    logits_processor=processors,
                    stopping_criteria=criteria or None,
                    tokenizer=tokenizer,
                    streamer=streamer,
                    **arguments,
                )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"a batch of {len(rows)} prompts does not fit into memory") from error
        if cache is not None:
            cache.keep(arguments.get("past_key_values"), output[0].tolist())
        new: list[list[int]] = output[:, start:].tolist()
        return new

    def _model_for(self, prompts: Sequence[Sequence[int]], config: Any, cache: PrefixCache | None) -> Any:
        """Return the model to call, and arguments with its key-value cache: a session's, or a new one."""
        from llmkit.engines.transformers.key_value_cache import preallocated_cache

        if isinstance(self._steps, seq2seq.TranslatorRunner):
            return native_model(self._steps, prompts, config.num_beams)
        new = config.max_new_tokens
        past: Any = preallocated_cache(self.loaded, new) if cache is None else cache.take(prompts[0])
        return nullcontext((self.loaded.model, {} if past is None else {"past_key_values": past}))

    def _processors(
        self, rows: Sequence[Request], settings: Settings, mask: torch.Tensor, start: int, steps: int
    ) -> list[Any]:
        leasts = [row.sampling.min_new_tokens for row in rows]
        if settings.config.forced_eos_token_id is not None:
            # The model forces an end token at the limit; if it were forbidden, no token would be possible.
            leasts = [
                min(least, row.sampling.max_new_tokens - 1) for least, row in zip(leasts, rows, strict=True)
            ]
        found: list[Any] = []
        if any(leasts) and settings.end_ids:
            found.append(no_end_before(leasts, settings.end_ids, prompt_length=start))
        streams = None
        if settings.drawing:
            numbers = np.stack([random_stream(*row.key, length=steps) for row in rows])
            streams = torch.from_numpy(numbers).to(self.loaded.device)
        prefixes = [row.answer_prefix for row in rows]
        if any(prefixes):
            found.append(begin_with(prefixes, prompt_length=start))
        if self.is_encoder_decoder:
            mask = torch.ones((len(rows), start), dtype=torch.int64, device=mask.device)
        return found + row_processors(settings, streams, mask, prompt_length=start)

    def _completion(self, ids: list[int], request: Request, settings: Settings) -> Completion:
        """Remove the padding of a row, and find the reason of its end."""
        limit = request.sampling.max_new_tokens
        kept = ids[:limit]
        ended = next((i + 1 for i, token in enumerate(kept) if token in settings.end_ids), None)
        reason: FinishReason = "stop"
        if ended is not None:
            kept = kept[:ended]
        else:
            while kept and kept[-1] == settings.config.pad_token_id:  # ended at a stop string or at its limit
                kept.pop()
            if len(kept) == limit and not self._holds_stop(kept, settings.stop):
                reason = "length"
        return Completion(kept, reason, prompt_tokens=len(request.ids or ()))

    def _holds_stop(self, ids: list[int], stops: Sequence[str]) -> bool:
        if not stops:
            return False
        text: Any = self.loaded.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return any(stop in text for stop in stops)


class _Streamer:
    """Passes the tokens of `generate` to a function, without the prompt that comes first."""

    def __init__(self, on_tokens: OnTokens) -> None:
        self.stopped = False
        self._on_tokens = on_tokens
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Receive tokens from `generate`: first the prompt, then one token at a time."""
        if self._prompt_seen:
            self.stopped = self._on_tokens(value.reshape(-1).tolist()) is False
        self._prompt_seen = True

    def end(self) -> None:
        """Receive the end of `generate`."""


def _without_limits(sampling: Sampling) -> Sampling:
    """Return the settings that requests must share to run as one batch."""
    return replace(sampling, max_new_tokens=1, min_new_tokens=0)


def _sample(request: Request, n: int) -> Request:
    seed, row, sample = request.key
    return replace(request, key=(seed, row, sample + n)) if n else request
