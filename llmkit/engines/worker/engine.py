"""The engine for llama.cpp and OpenVINO: a process of another Python reads a GGUF file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from llmkit.engines.own_settings import own_settings
from llmkit.engines.streaming import check_streamed
from llmkit.errors import LLMKitError, NoticeWarning, OutOfMemory
from llmkit.runtime.generation_config import end_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from llmkit.engines.base import LiveBatch, Session
    from llmkit.engines.worker.process import WorkerProcess
    from llmkit.runtime.load import LoadedModel

_ABILITIES = frozenset({"top_k", "top_p", "min_p", "num_return_sequences", "stop", "eos_token_ids"})
_ROWS = 16  # rows of a batch: they are answered one at a time, and the output grows by whole batches


@dataclass(frozen=True)
class RowLibrary:
    """A library that processes rows in a separate process.

    Attributes:
        engine: name of the engine.
        name: name of the library, for messages.
        module: Python module.
        program: file name of the program that uses it.
        install: sentence with the installation command.
        kinds: types of GGUF files that it reads and llmkit writes; None is all. The first is the default.
        row_seeds: a sampled row depends only on its seed.
    """

    engine: str
    name: str
    module: str
    program: str
    install: str
    kinds: tuple[str, ...] | None
    row_seeds: bool


LLAMACPP = RowLibrary(
    engine="llamacpp",
    name="llama.cpp",
    module="llama_cpp",
    program="llamacpp_rows.py",
    install="pip install 'llmkit[llamacpp]' there, or give another with `engine_python`",
    kinds=None,
    row_seeds=True,
)
OPENVINO = RowLibrary(
    engine="openvino",
    name="OpenVINO",
    module="openvino_genai",
    program="openvino_rows.py",
    install="pip install 'llmkit[openvino]' there, or give another with `engine_python`",
    kinds=("F16", "Q8_0", "Q4_0", "Q4_1"),
    row_seeds=False,
)


class ProgramEngine:
    """A GGUF file in another program, as an `Engine`; see there for the attributes.

    Rows of a batch are answered one at a time.

    Args:
        outline: the model without its weights, from `load_outline`.
        library: the program's library.
        process: the program, with the model as its job.
        kind: type of the file's weights.
        context: positions requested.
        device: ``cpu`` or ``gpu``.
        notes: sentences on the file.

    Raises:
        LLMKitError: the program does not load the model.
    """

    is_encoder_decoder = False

    def __init__(
        self,
        outline: LoadedModel,
        library: RowLibrary,
        process: WorkerProcess,
        *,
        kind: str,
        context: int,
        device: str,
        notes: Sequence[str],
    ) -> None:
        self._outline, self._library, self._process = outline, library, process
        self._kind, self._device = kind, device
        self._version = str(process.receive()["version"])
        self.name: str = outline.spec.name
        self.tokenizer: PreTrainedTokenizerBase | None = outline.tokenizer
        self.context_length: int | None = context
        self.has_chat_template = outline.has_chat_template
        self.config: Any = outline.model.config
        self.abilities = _ABILITIES | {"row_seeds"} if library.row_seeds else _ABILITIES
        own: Any = outline.model.generation_config
        self._ends = tuple(end_ids(own, self.tokenizer))
        self.defaults: Sampling = own_settings(outline, self.abilities, library.engine)
        self.samples_by_default: bool = bool(own.do_sample)
        self.batch_rows: int | None = _ROWS
        self.notes: Sequence[str] = (
            *outline.notes,
            f"{library.name} {self._version} runs {kind} on the {device}, a context of {context} tokens",
            *notes,
        )
        self._warned = library.row_seeds

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests one at a time."""
        rows = []
        for one in requests:
            self._check(one)
            seed, row, sample = one.key
            rows += [
                replace(one, key=(seed, row, sample + n)) for n in range(one.sampling.num_return_sequences)
            ]
        found = self._run(rows)
        answers = []
        for one in requests:
            count = one.sampling.num_return_sequences
            answers.append(found[:count])
            del found[:count]
        return answers

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
        return self._run([request], on_tokens)[0]

    def session(self) -> Session | None:
        """Return None: no state is kept between requests."""
        return None

    def live_batch(self, prompt_cache: int = 0) -> LiveBatch | None:
        """Return None: requests cannot join a running batch."""
        return None

    def token_budget(self) -> int | None:
        """Return None: rows do not share memory."""
        return None

    def identity(self) -> dict[str, Any]:
        """Return the engine, the model, and the versions of the libraries that run it."""
        found = self._outline.identity()
        del found["attention"], found["linear"], found["torch"]
        found |= {"device": self._device, "dtype": self._kind}
        return {"engine": self._library.engine, self._library.module: self._version, **found}

    def close(self) -> None:
        """End the program."""
        self._process.close()

    def _check(self, request: Request) -> None:
        check_request(request, self)
        if not request.sampling.greedy and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._library.name} does not guarantee the same sampled text for the same seed",
                NoticeWarning,
                stacklevel=3,
            )

    def _run(self, rows: Sequence[Request], on_tokens: OnTokens | None = None) -> list[Completion]:
        if not rows:
            return []
        self._process.send({"rows": [self._job(row) for row in rows]})
        written: list[list[int]] = [[] for _ in rows]
        ended: set[int] = set()
        done = False
        try:
            while True:
                line = self._process.receive()
                if "memory" in line:
                    done = True
                    raise OutOfMemory(f"a prompt does not fit into the memory of {self._library.name}")
                if "finished" in line:
                    done = True
                    break
                if "id" not in line or line["row"] in ended:
                    continue
                number, token = line["row"], line["id"]
                written[number].append(token)
                stopped = on_tokens is not None and on_tokens([token]) is False
                if stopped or self._holds_stop(written[number], rows[number].sampling.stop):
                    ended.add(number)
                    self._process.send({"end": number})
                    if stopped:
                        self._skip()
                        done = True
                        return [Completion(written[number], "interrupted", len(rows[number].ids or ()))]
        except LLMKitError:
            done = True
            raise
        finally:
            if not done:
                self._interrupt(len(rows))
        return [self._completion(ids, row) for ids, row in zip(written, rows, strict=True)]

    def _interrupt(self, rows: int) -> None:
        """End all rows after another exception, such as Ctrl-C, and read the remaining lines."""
        for number in range(rows):
            self._process.send({"end": number})
        self._skip()

    def _skip(self) -> None:
        """Read lines up to the end of a job."""
        while not {"finished", "memory"} & self._process.receive().keys():
            pass

    def _job(self, row: Request) -> dict[str, Any]:
        sampling = row.sampling
        digest = hashlib.sha256(" ".join(map(str, row.key)).encode()).digest()
        return {
            "ids": list(row.ids or ()),
            "most": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "seed": int.from_bytes(digest[:4], "big") >> 1,
            "ends": list(self._ends if sampling.eos_token_ids is None else sampling.eos_token_ids),
        }

    def _completion(self, ids: list[int], row: Request) -> Completion:
        ends = self._ends if row.sampling.eos_token_ids is None else row.sampling.eos_token_ids
        stopped = ids[-1:] and ids[-1] in ends
        reason: FinishReason = "stop"
        if not stopped and len(ids) >= row.sampling.max_new_tokens:
            reason = "stop" if self._holds_stop(ids, row.sampling.stop) else "length"
        return Completion(ids, reason, prompt_tokens=len(row.ids or ()))

    def _holds_stop(self, ids: list[int], stops: Sequence[str]) -> bool:
        if not stops:
            return False
        tail = max(len(stop.encode()) for stop in stops) + 16
        tokenizer: Any = self.tokenizer
        text = tokenizer.decode(ids[-tail:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in stops)
