"""One interface for CTranslate2's generator and translator: token ids in, token ids out.

Both take and return tokens as text; the vocabulary of the converted model maps them to ids.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from llmkit.errors import InputError, LLMKitError, OutOfMemory, one_line
from llmkit.runtime.memory import is_out_of_memory

T = TypeVar("T")
# If garbage collection in a callback frees a model in the model's own thread, the thread waits for itself and
# aborts the process. So models are kept until the end of the process.
_kept: list[Any] = []
OnToken = Callable[[int, int], bool]
"""Function that receives a row and its next token id; if it returns True, the row ends."""


@dataclass(frozen=True)
class Call:
    """Settings of one call: all its rows share them.

    Attributes:
        most: maximum number of new tokens of a row.
        least: minimum number of new tokens of a row.
        ends: ids that end a row. CTranslate2 needs at least one: without any it uses the last id of the
            vocabulary.
        beams, answers: number of beams, and number of them to return.
        length_penalty, repetition_penalty, no_repeat_ngram_size, temperature, top_k, top_p: see `Sampling`.
        forbidden: sequences of ids that no answer may contain.
    """

    most: int
    least: int = 0
    ends: tuple[int, ...] = ()
    beams: int = 1
    answers: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    forbidden: tuple[tuple[int, ...], ...] = ()


class CTranslate2Program:
    """A converted model.

    Args:
        folder: of the converted model.
        encodes: True for an encoder-decoder.
        device: ``cpu`` or ``cuda``.
        index: number of the GPU.
        compute_type: CTranslate2's name of the type that it computes in.
        threads: threads of the processor.

    Raises:
        LLMKitError: it does not load.
    """

    def __init__(
        self, folder: Path, *, encodes: bool, device: str, index: int, compute_type: str, threads: int
    ) -> None:
        import ctranslate2

        self.encodes = encodes
        opener = ctranslate2.Translator if encodes else ctranslate2.Generator
        try:
            self._names = _vocabulary(folder, ("shared_vocabulary", "vocabulary", "source_vocabulary"))
            self._own = _vocabulary(folder, ("shared_vocabulary", "vocabulary", "target_vocabulary"))
            self._model: Any = opener(
                str(folder),
                device=device,
                device_index=index,
                compute_type=compute_type,
                inter_threads=1,
                intra_threads=threads,
            )
        except (RuntimeError, ValueError, OSError) as error:
            if is_out_of_memory(error):
                raise OutOfMemory(f"the model does not fit into the memory of {device}") from error
            raise LLMKitError(
                f"CTranslate2 does not load {folder}: {one_line(error)}; remove that folder, and the model is"
                " converted again"
            ) from error
        _kept.append(self._model)
        self._ids = {name: i for i, name in enumerate(self._own)}

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        call: Call,
        on_token: OnToken | None = None,
    ) -> list[list[list[int]]]:
        """Answer prompts in one call.

        Args:
            prompts: token ids, special tokens included. CTranslate2 4.8 gives wrong answers if some prompts
                of a decoder batch have one token and others more.
            prefixes: first ids of each answer; they must have one length with `Call.least` or beams.
            call: settings.
            on_token: called in another thread for each new token.

        Returns:
            For each prompt its answers, best first: the prefix, the new ids, and the end token.

        Raises:
            OutOfMemory: they do not fit into memory together.
            LLMKitError: CTranslate2 fails.
        """
        if self.encodes:
            return self._translate(prompts, prefixes, call, on_token)
        rows = [[*prompt, *prefix] for prompt, prefix in zip(prompts, prefixes, strict=True)]
        options = self._options(call, on_token)
        results = _waiting(
            lambda: self._model.generate_batch(
                [[self._names[token] for token in row] for row in rows],
                include_prompt_in_result=False,
                max_length=max(call.most - len(prefix) for prefix in prefixes),
                min_length=max(0, call.least - len(prefixes[0])),
                **options,
            )
        )
        return [
            [[*prefix, *ids] for ids in result.sequences_ids]
            for result, prefix in zip(results, prefixes, strict=True)
        ]

    def _translate(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        call: Call,
        on_token: OnToken | None,
    ) -> list[list[list[int]]]:
        options = self._options(call, on_token)
        results = _waiting(
            lambda: self._model.translate_batch(
                [[self._names[token] for token in row] for row in prompts],
                [[self._own[token] for token in row] for row in prefixes] if any(prefixes) else None,
                max_input_length=0,
                max_decoding_length=call.most,
                min_decoding_length=call.least,
                **options,
            )
        )
        return [[[self._ids[name] for name in row] for row in result.hypotheses] for result in results]

    def _options(self, call: Call, on_token: OnToken | None) -> dict[str, Any]:
        drawing = call.temperature > 0
        options: dict[str, Any] = {
            "beam_size": call.beams,
            "num_hypotheses": call.answers,
            "length_penalty": call.length_penalty,
            "repetition_penalty": call.repetition_penalty,
            "no_repeat_ngram_size": call.no_repeat_ngram_size,
            # An empty list would mean the model's own end tokens, and an id outside the vocabulary causes a
            # crash.
            "end_token": list(call.ends) or [len(self._own) - 1],
            "return_end_token": True,
            "sampling_topk": call.top_k if drawing else 1,
        }
        if drawing:
            options |= {"sampling_topp": call.top_p, "sampling_temperature": call.temperature}
        if call.forbidden:
            options["suppress_sequences"] = [[self._own[token] for token in row] for row in call.forbidden]
        if on_token is not None:
            options["callback"] = lambda step: on_token(int(step.batch_id), int(step.token_id))
        return options

    def score(
        self, texts: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None
    ) -> list[list[float]]:
        """Return log-probabilities; see `ScoringEngine.score`."""
        rows = [[self._own[token] for token in row] for row in texts]
        if self.encodes:
            given = [[self._names[token] for token in row] for row in sources or ()]
            found = _waiting(lambda: self._model.score_batch(given, rows, max_input_length=0))
        else:
            found = _waiting(lambda: self._model.score_batch(rows, max_input_length=0))
        return [list(map(float, one.log_probs)) for one in found]


def _vocabulary(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the tokens of a converted model by their ids."""
    file = next((folder / f"{name}.json" for name in names if (folder / f"{name}.json").is_file()), None)
    if file is None:
        raise ValueError("it has no vocabulary")
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{file.name} is not a list of tokens")
    return found


class _OtherThread:
    """A thread that runs pieces of work one by one, so that Ctrl-C can end the wait for them.

    CTranslate2 itself runs no signal handlers. One thread does all work, because starting a thread takes a
    tenth of the time of a short translation.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
        self._start = threading.Lock()
        self._process = 0

    def run(self, work: Callable[[], T]) -> T:
        """Run work in that thread, and return its result or raise its exception in the caller."""
        with self._start:
            if self._process != os.getpid():  # a forked process does not have its parent's threads
                self._work, self._process = queue.SimpleQueue(), os.getpid()
                threading.Thread(target=self._serve, name="llmkit-ctranslate2", daemon=True).start()
        answer: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        self._work.put((work, answer))
        result, failure = answer.get()
        if failure is not None:
            raise failure
        return cast(T, result)

    def _serve(self) -> None:
        while True:
            work, answer = self._work.get()
            found: tuple[Any, BaseException | None]
            try:
                found = work(), None
            except BaseException as error:
                found = None, error
            answer.put(found)
            del work, answer, found  # keep no reference while waiting for the next work


_other_thread = _OtherThread()


def _waiting(work: Callable[[], T]) -> T:
    """Run work in another thread and wait for it.

    Raises:
        OutOfMemory: there was not enough memory.
        LLMKitError: CTranslate2 failed.
    """
    try:
        return _other_thread.run(work)
    except (MemoryError, RuntimeError, ValueError, KeyError, IndexError) as error:
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            raise OutOfMemory("a batch does not fit into memory") from error
        raise LLMKitError(f"CTranslate2 failed: {one_line(error)}") from error


def compute_types(device: str) -> set[str]:
    """Return the types that CTranslate2 computes in on a device.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ctranslate2
    except ImportError:
        raise InputError(
            "the engine ctranslate2 needs its package: pip install 'llmkit[ctranslate2]'"
        ) from None
    found: set[str] = ctranslate2.get_supported_compute_types(device)
    return found
