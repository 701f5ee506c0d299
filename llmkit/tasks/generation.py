"""Text generation: prompts in, continuations or answers out, for causal and encoder-decoder models.

One path serves the single streamed prompt and the million-row file. It calls the model's own `generate`;
transformers' text-generation pipeline does not fit here, because it refuses encoder-decoder models, draws
all rows of a batch from one random stream, and pads whatever list it is given as one batch.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import OutOfMemory, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row
from llmkit.runtime.memory import is_out_of_memory
from llmkit.tasks.decoding import (
    Decoding,
    GenerationOptions,
    no_end_before,
    plan_decoding,
    random_stream,
    row_processors,
)
from llmkit.tasks.prompts import Prompt, PromptMaker
from llmkit.tasks.streaming import AnswerStreamer, decode
from llmkit.text.reasoning import split_reasoning
from llmkit.text.stops import cut_at_stop

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

    from llmkit.engines.transformers.prefix_cache import PrefixCache
    from llmkit.runtime.load import LoadedModel

__all__ = ["Generation", "GenerationOptions", "GenerationResult", "generate"]

# Tokens (prompt and answer, all rows of a batch) that keep a CPU busy; more only costs memory.
_CPU_TOKENS = 16_384
_GPU_TOKENS = 262_144


@dataclass(frozen=True)
class GenerationResult:
    """The answer to one prompt.

    Attributes:
        text: what the model wrote, without its thoughts and without the stop string.
        reasoning: a reasoning model's thoughts, else empty.
        tokens: how many tokens were written.
        finish_reason: ``stop`` where the model or a stop string ended it, ``length`` where a limit did.
    """

    text: str
    reasoning: str
    tokens: int
    finish_reason: str


def generate(
    model: LoadedModel | str, prompts: str | Sequence[str], options: GenerationOptions | None = None
) -> list[list[GenerationResult]]:
    """Answer prompts with a model.

    Args:
        model: a loaded model, or a name to load.
        prompts: one or several.
        options: see `GenerationOptions`.

    Returns:
        For each prompt, in order, its `num_return_sequences` results.

    Raises:
        InputError: unknown model, options that exclude each other, or a prompt longer than the context.
    """
    from llmkit.records.output import StreamOutput
    from llmkit.records.process import process
    from llmkit.records.read import rows_of

    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    generation = Generation(_loaded(model), options or GenerationOptions())

    def work(batch: Sequence[PreparedRow]) -> list[dict[str, Any] | RowError]:
        return [{"results": [asdict(one) for one in results]} for results in generation.run(batch)]

    lines = io.StringIO()
    process(
        rows_of(texts),
        prepare=generation.prepare,
        work=work,
        output=StreamOutput(lines),
        budget=generation.budget(None),
    )
    rows = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [[GenerationResult(**one) for one in row["results"]] for row in rows]


def _loaded(model: LoadedModel | str) -> LoadedModel:
    if not isinstance(model, str):
        return model
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    return load(ModelSpec(model))


class Generation:
    """A loaded model with decoding options: the functions that `records.process` and the verbs call.

    Args:
        loaded: from `runtime.load`.
        options: see `GenerationOptions`.
        field: the column that holds the prompt; None takes `prompt`, `text` or the only one.
        template: a prompt over several columns, such as ``Q: {question}``.

    Raises:
        InputError: options that exclude each other, or chat options without a chat template.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        options: GenerationOptions,
        *,
        field: str | None = None,
        template: str | None = None,
    ) -> None:
        self.loaded = loaded
        self.options = options
        self.decoding: Decoding = plan_decoding(loaded, options)
        self.prompts = PromptMaker(loaded, options, field=field, template=template)
        self.seed_given = options.seed is not None
        self.seed = draw_seed() if options.seed is None else options.seed
        self.tokens_written = 0

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow | RowError]:
        """Tokenize rows; one that cannot be a prompt becomes its RowError."""
        return self.prompts.prepare(rows)

    def work(self, batch: Sequence[PreparedRow]) -> list[dict[str, Any] | RowError]:
        """Run a batch and return the fields that each row gains.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        fields: list[dict[str, Any] | RowError] = []
        for one, results in zip(batch, self.run(batch), strict=True):
            self.tokens_written += sum(result.tokens for result in results)
            fields.append(self._fields(one.payload, results))
        return fields

    def run(self, batch: Sequence[PreparedRow]) -> list[list[GenerationResult]]:
        """Run a batch and return each row's results.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        if self.decoding.beam_sampling and len(batch) > 1:
            # Beam search draws from torch's global generator: alone, a row's draw is its own.
            return [self.run([one])[0] for one in batch]
        prompts: list[Prompt] = [one.payload for one in batch]
        copies = 1 if self.decoding.config.num_beams not in (None, 1) else self.options.num_return_sequences
        keys = [(one.row.index, sample) for one in batch for sample in range(copies)]
        sequences = self._generate([p for p in prompts for _ in range(copies)], keys)
        per_row = len(sequences) // len(prompts)
        return [
            [self._result(prompt, ids) for ids in sequences[i * per_row : (i + 1) * per_row]]
            for i, prompt in enumerate(prompts)
        ]

    def stream(
        self,
        prompt: PreparedRow,
        on_text: Callable[[str, bool], None],
        *,
        sample: int = 0,
        cache: PrefixCache | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> GenerationResult:
        """Run one prompt and hand each piece of text to `on_text(text, is_reasoning)` as it is made.

        Beam search knows its answer only at the end; it comes as one piece, without `cache` and `stopped`.

        Args:
            prompt: from `prepare`.
            on_text: takes the pieces.
            sample: which of the prompt's random streams to draw from.
            cache: keys and values of an earlier prompt, of which this one may share the beginning.
            stopped: asked after each token whether to end the answer there.
        """
        payload: Prompt = prompt.payload
        if self.decoding.sequences > 1:
            result = self.run([prompt])[0][0]
            on_text(result.text, False)
            return result
        streamer = AnswerStreamer(
            self.loaded.tokenizer,
            on_text,
            stops=self.decoding.config.stop_strings or (),
            thinking=payload.thinking if self.prompts.chat else None,
        )
        key = (prompt.row.index, sample)
        ids = self._generate([payload], [key], streamer=streamer, cache=cache, stopped=stopped)
        return self._result(payload, ids[0])

    def header(self) -> dict[str, Any]:
        """All that the results depend on, besides the rows and the seed, as JSON: for the journal."""
        options = asdict(self.options)
        del options["seed"]
        return {
            **self.loaded.identity(),
            "options": options,
            "field": self.prompts.field,
            "template": self.prompts.template,
        }

    def budget(self, batch_size: int | None) -> Budget:
        """How much one batch may hold: `batch_size` rows, or as many tokens as the device has room for."""
        new_tokens = self.options.max_new_tokens
        if batch_size is not None:
            return Budget(tokens=None, rows=batch_size, new_tokens=new_tokens)
        tokens = _token_budget(self.loaded) // self.decoding.sequences
        return Budget(tokens=tokens, rows=None, new_tokens=new_tokens)

    def _generate(
        self,
        prompts: list[Prompt],
        keys: list[tuple[int, int]],
        *,
        streamer: AnswerStreamer | None = None,
        cache: PrefixCache | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> list[list[int]]:
        """New token ids for each prompt; `keys` are their (row, sample), which choose the random numbers."""
        import torch

        from llmkit.engines.transformers.key_value_cache import preallocated_cache

        if self.decoding.beam_sampling:
            torch.manual_seed(int(random_stream(self.seed, *keys[0], length=1)[0] * 2**32))
        input_ids, mask = self._pad([prompt.ids for prompt in prompts])
        start = 1 if self.loaded.is_encoder_decoder else input_ids.shape[1]
        limits = [prompt.new_tokens for prompt in prompts]
        model: Any = self.loaded.model
        criteria = [_stop_at(limits, start)] if min(limits) < max(limits) else []
        if stopped is not None:
            criteria.append(_stop_when(stopped))
        past: Any
        past = (
            cache.take(prompts[0].ids) if cache is not None else preallocated_cache(self.loaded, max(limits))
        )
        try:
            with torch.inference_mode():
                output = model.generate(
                    input_ids=input_ids,
                    attention_mask=mask,
                    generation_config=self._config(max(limits)),
                    logits_processor=self._goes_on(prompts, start)
                    + self._processors(keys, mask, start, max(limits)),
                    stopping_criteria=criteria or None,
                    tokenizer=self.loaded.tokenizer,
                    streamer=streamer,
                    **({} if past is None else {"past_key_values": past}),
                )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"a batch of {len(prompts)} prompts does not fit into memory") from error
        if cache is not None:
            cache.keep(past, output[0].tolist())
        return output[:, start:].tolist()

    def _config(self, new_tokens: int) -> GenerationConfig:
        """The decoding config, for a batch that may write no more than `new_tokens` a row."""
        config = copy.copy(self.decoding.config)
        config.max_new_tokens = new_tokens
        return config

    def _pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask, both [rows, longest], padded on the tokenizer's side."""
        import torch

        longest = max(map(len, rows))
        pad = self.loaded.tokenizer.pad_token_id
        left = self.loaded.tokenizer.padding_side == "left"
        ids = torch.full((len(rows), longest), pad, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for i, row in enumerate(rows):
            place = slice(longest - len(row), longest) if left else slice(0, len(row))
            ids[i, place] = torch.tensor(row, dtype=torch.int64)
            mask[i, place] = 1
        return ids.to(self.loaded.device), mask.to(self.loaded.device)

    def _goes_on(self, prompts: list[Prompt], start: int) -> list[Any]:
        leasts = [prompt.least_tokens for prompt in prompts]
        return [no_end_before(leasts, self.decoding.config, prompt_length=start)] if any(leasts) else []

    def _processors(
        self, keys: list[tuple[int, int]], mask: torch.Tensor, start: int, steps: int
    ) -> list[Any]:
        import numpy as np
        import torch

        streams = None
        if self.decoding.sampling and not self.decoding.beam_sampling:
            numbers = np.stack([random_stream(self.seed, *key, length=steps) for key in keys])
            streams = torch.from_numpy(numbers).to(self.loaded.device)
        if self.loaded.is_encoder_decoder:
            mask = torch.ones((len(keys), start), dtype=torch.int64, device=mask.device)
        return row_processors(self.decoding, streams, mask, prompt_length=start)

    def _result(self, prompt: Prompt, ids: list[int]) -> GenerationResult:
        whole = decode(self.loaded.tokenizer, ids)
        text = cut_at_stop(whole, self.decoding.config.stop_strings or ())
        tokens, ended = self._written(prompt, ids)
        cut = tokens == prompt.new_tokens and not ended and text == whole
        reasoning = ""
        if self.prompts.chat:
            reasoning, text = split_reasoning(text, opened=prompt.thinking)
        return GenerationResult(
            text=text, reasoning=reasoning, tokens=tokens, finish_reason="length" if cut else "stop"
        )

    def _written(self, prompt: Prompt, ids: list[int]) -> tuple[int, bool]:
        """How many of `ids` the model wrote before padding filled the row up, and whether it ended them."""
        end, pad = self.decoding.config.eos_token_id, self.decoding.config.pad_token_id
        ends = set(end if isinstance(end, list) else [end])
        kept = ids[: prompt.new_tokens]
        ended = next((i + 1 for i, token in enumerate(kept) if token in ends), None)
        if ended is not None:
            return ended, True
        while kept and kept[-1] == pad:  # the row ended at a stop string or at its limit
            kept.pop()
        return len(kept), False

    def _fields(self, prompt: Prompt, results: list[GenerationResult]) -> dict[str, Any]:
        texts = [self.shown(prompt, result) for result in results]
        many = self.options.num_return_sequences > 1
        fields: dict[str, Any] = {"generated_text": texts if many else texts[0]}
        if any(result.reasoning for result in results):
            thoughts = [result.reasoning for result in results]
            fields["reasoning"] = thoughts if many else thoughts[0]
        if prompt.dropped:
            fields["dropped_messages"] = prompt.dropped
        return fields

    def shown(self, prompt: Prompt, result: GenerationResult) -> str:
        """The text the user gets: with the prompt in front under `full_text`, except in a chat."""
        whole = self.options.full_text and prompt.text is not None and not self.prompts.chat
        return f"{prompt.text}{result.text}" if whole else result.text


def draw_seed() -> int:
    """A seed for a run that was given none; it is told, so that the run can be repeated."""
    import secrets

    return secrets.randbits(32)


def _stop_at(limits: list[int], start: int) -> Callable[..., torch.Tensor]:
    """End each row at its own limit: what the context leaves it, whatever its neighbours need."""
    import torch

    most = torch.tensor(limits)

    def criterion(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        rows = most.repeat_interleave(input_ids.shape[0] // len(limits)).to(input_ids.device)
        return input_ids.shape[1] - start >= rows

    return criterion


def _stop_when(stopped: Callable[[], bool]) -> Callable[..., torch.Tensor]:
    """End all rows as soon as `stopped` says so."""
    import torch

    def criterion(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), stopped(), dtype=torch.bool, device=input_ids.device)

    return criterion


def _token_budget(loaded: LoadedModel) -> int:
    """How many tokens, padding and new ones included, one batch may hold on this device."""
    import torch

    if loaded.device.type != "cuda":
        return _CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(loaded.device)
    # A third of what is free goes to the cache; the rest to activations, logits and fragments.
    return max(1024, min(_GPU_TOKENS, int(free / 3) // _cache_bytes(loaded)))


def _cache_bytes(loaded: LoadedModel) -> int:
    """Bytes that the key-value cache takes for one token."""
    config = loaded.model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head_dim * loaded.dtype.itemsize)
