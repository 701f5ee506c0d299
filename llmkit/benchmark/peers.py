"""Other programs that generate text, on the same weights and prompts as llmkit.

One that is not installed, or cannot run the model, is skipped with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.benchmark.results import BenchmarkOptions, SystemResult
from llmkit.benchmark.systems import BatchRun, BenchmarkPrompt, SingleRun, System, TokenTimer
from llmkit.errors import LLMKitError, one_line

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

_ROWS = 8
"""Prompts that a pipeline of transformers takes at a time."""
_ACCEPTED = 1.0
"""Relative difference of a converted model's answers: its speed is measured, and few bits change answers."""
_GGUF_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "Q8_0", "int4": "Q4_0"}

_FILE_TYPES = {2: "int4", 3: "int4", 7: "int8"}
"""Precision by `general.file_type` of a GGUF file: mostly Q4_0, Q4_1 and Q8_0."""


@dataclass
class PeerContext:
    """Arguments to open a peer.

    Attributes:
        spec: the model as llmkit runs it.
        dtype: precision that it computes in, such as ``bfloat16``.
        is_encoder_decoder: True if it is no causal model.
        options: of the benchmark.
        threads: threads of the processor.
        folder: folder for converted models.
    """

    spec: ModelSpec
    dtype: str
    is_encoder_decoder: bool
    options: BenchmarkOptions
    threads: int
    folder: Path

    def __post_init__(self) -> None:
        self._plain: LoadedModel | None = None

    @property
    def source(self) -> ModelSpec:
        """The model as it is stored."""
        return replace(self.spec, quantize=None, linear=None, attn=None)

    def plain(self) -> LoadedModel:
        """Return the model as transformers runs it, in the same dtype and without quantization."""
        from llmkit.runtime.load import load

        if self._plain is None:
            self._plain = load(replace(self.source, dtype=self.dtype))
        return self._plain

    def plain_notes(self) -> list[str]:
        """Return a note on the model of `plain`."""
        import transformers

        quantized = f"; runs in {self.dtype}, not in {self.spec.quantize}" if self.spec.quantize else ""
        return [f"transformers {transformers.__version__}{quantized}"]


def open_peers(context: PeerContext) -> tuple[list[System], list[SystemResult]]:
    """Open the programs that the options name.

    Returns:
        Those that run, and results that say why for those that do not.
    """
    opened: list[System] = []
    skipped = []
    for name in context.options.compare:
        try:
            opened.append(_OPENERS[name](context))
        except Exception as error:
            # Whatever its library raises, the others are still measured.
            reason = str(error) if isinstance(error, LLMKitError) else f"{type(error).__name__}: {error}"
            skipped.append(SystemResult(name, skipped=one_line(reason)))
    return opened, skipped


class PipelineSystem:
    """transformers' `pipeline("text-generation")`, 8 prompts at a time.

    Args:
        context: see `PeerContext`.
    """

    def __init__(self, context: PeerContext) -> None:
        from transformers import pipeline

        if context.is_encoder_decoder:
            raise LLMKitError("transformers 5 has no pipeline for encoder-decoder models")
        loaded = context.plain()
        self.name = "pipeline"
        self.notes = [*context.plain_notes(), f"batch_size={_ROWS}"]
        make: Any = pipeline  # its overloads know no tokenizer of tokenizers' own
        self._pipe: Any = make("text-generation", model=loaded.model, tokenizer=loaded.tokenizer)

    def single(self, prompt: BenchmarkPrompt) -> SingleRun:
        timer = TokenTimer()
        self._run([prompt], streamer=_TokenCounter(timer.add))
        return timer.run(prompt)

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun:
        started = time.perf_counter()
        self._run(prompts, batch_size=_ROWS)
        return BatchRun(_wanted(prompts), time.perf_counter() - started)

    def close(self) -> None:
        """Drop the model."""
        self._pipe = None

    def _run(self, prompts: Sequence[BenchmarkPrompt], **more: Any) -> None:
        import torch

        most = max(prompt.new_tokens for prompt in prompts)
        limits = {"max_new_tokens": most, "min_new_tokens": most, "do_sample": False}
        with torch.inference_mode():
            self._pipe([prompt.text for prompt in prompts], add_special_tokens=False, **limits, **more)


class _TokenCounter:
    """Counts the tokens of `generate`, without the prompt that comes first."""

    def __init__(self, add: Callable[[int], None]) -> None:
        self._add = add
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        """Take the prompt at first, then a token at a time."""
        if self._prompt_seen:
            self._add(value.numel())
        self._prompt_seen = True

    def end(self) -> None:
        """Do nothing."""


class GenerateBatchSystem:
    """transformers' continuous batching, `model.generate_batch`, with a cache as large as the batch.

    Args:
        context: see `PeerContext`.
    """

    PAGE = 256

    def __init__(self, context: PeerContext) -> None:
        if context.is_encoder_decoder:
            raise LLMKitError("generate_batch does not support encoder-decoder models")
        self.name = "generate_batch"
        self.notes = context.plain_notes()
        self._model: Any = context.plain().model

    def single(self, prompt: BenchmarkPrompt) -> SingleRun | None:
        """Return None: the program returns only complete answers."""

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        most = max(prompt.new_tokens for prompt in prompts)
        pages = sum(-(-(prompt.length + most) // self.PAGE) for prompt in prompts)
        cache = ContinuousBatchingConfig(num_blocks=min(max(pages, 8), 256), max_batch_tokens=1024)
        own = self._model.config._attn_implementation
        started = time.perf_counter()
        found = self._model.generate_batch(
            inputs=[list(prompt.ids) for prompt in prompts],
            generation_config=GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=-1),
            continuous_batching_config=cache,
        )
        seconds = time.perf_counter() - started
        self._model.set_attn_implementation(own)
        if len(found) != len(prompts):
            raise LLMKitError(f"it answered {len(found)} of {len(prompts)} prompts")
        return BatchRun(_wanted(prompts), seconds)

    def close(self) -> None:
        """Drop the model."""
        self._model = None


class CTranslate2System:
    """CTranslate2, on a conversion of the same weights.

    Args:
        context: see `PeerContext`.
    """

    def __init__(self, context: PeerContext) -> None:
        if find_spec("ctranslate2") is None:
            raise LLMKitError("not installed; pip install ctranslate2")
        import ctranslate2

        from llmkit.convert.conversion import convert

        kind = context.spec.quantize or context.dtype
        if kind == "int4":
            raise LLMKitError("it does not support 4-bit weights on a CPU")
        if kind not in ctranslate2.get_supported_compute_types("cpu"):
            raise LLMKitError(f"it does not compute in {kind} on this processor")
        folder = context.folder / "ctranslate2"
        convert(context.source, "ctranslate2", folder, dtype=kind, bound=_ACCEPTED)
        self.name = "ctranslate2"
        self.notes = [f"ctranslate2 {ctranslate2.__version__}, {kind}"]
        self._encodes = context.is_encoder_decoder
        opener = ctranslate2.Translator if self._encodes else ctranslate2.Generator
        self._model: Any = opener(
            str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=context.threads
        )
        self._tokenizer: Any = _tokenizer_of(context)

    def single(self, prompt: BenchmarkPrompt) -> SingleRun:
        timer = TokenTimer()
        self._run([prompt], callback=lambda step: timer.add(1))
        return timer.run(prompt)

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun:
        started = time.perf_counter()
        self._run(prompts)
        return BatchRun(_wanted(prompts), time.perf_counter() - started)

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def _run(self, prompts: Sequence[BenchmarkPrompt], **more: Any) -> None:
        tokens = [self._tokenizer.convert_ids_to_tokens(list(prompt.ids)) for prompt in prompts]
        most = max(prompt.new_tokens for prompt in prompts)
        if self._encodes:
            self._model.translate_batch(
                tokens, beam_size=1, max_decoding_length=most, min_decoding_length=most, **more
            )
        else:
            self._model.generate_batch(
                tokens,
                beam_size=1,
                sampling_topk=1,
                max_length=most,
                min_length=most,
                include_prompt_in_result=False,
                **more,
            )


def _tokenizer_of(context: PeerContext) -> Any:
    from llmkit.runtime.locate import locate
    from llmkit.runtime.tokenizer import load_tokenizer

    location = locate(context.spec.name, context.spec)
    if location.is_gguf:
        return context.plain().tokenizer
    return load_tokenizer(location.folder, context.spec)


class GGUFSystem:
    """A program in a separate Python process, on a GGUF file of the same weights.

    Args:
        name: of the program.
        module: Python module that it needs.
        package: package that has the module.
        script: file beside this one that runs it.
        context: see `PeerContext`.
    """

    def __init__(self, name: str, module: str, package: str, script: str, context: PeerContext) -> None:
        if context.is_encoder_decoder:
            raise LLMKitError("its Python package does not support encoder-decoder models from GGUF files")
        options = context.options
        python = python_with(module, options.peer_python)
        if python is None:
            raise LLMKitError(f"not installed; `peer_python` names a Python that has {package}")
        file = _gguf_file(context)
        job = {"model": str(file), "threads": context.threads}
        job["context"] = options.prompt_tokens + options.new_tokens + 8
        program = Path(__file__).with_name(script)
        self.name = name
        # llmkit's command line makes waiting OpenMP threads sleep, which llama.cpp is not made for.
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        self._process = subprocess.Popen(
            [python, str(program), json.dumps(job)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        version = self._answer()["version"]
        self.notes = [f"{package} {version}, {file.name}", "a batch runs one prompt after the other"]

    def single(self, prompt: BenchmarkPrompt) -> SingleRun:
        found = self._ask([prompt])
        return SingleRun(prompt.length, found["first"], prompt.new_tokens - 1, found["later"])

    def many(self, prompts: Sequence[BenchmarkPrompt]) -> BatchRun:
        return BatchRun(_wanted(prompts), self._ask(prompts)["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, prompts: Sequence[BenchmarkPrompt]) -> dict[str, Any]:
        job = {"prompts": [list(prompt.ids) for prompt in prompts]}
        line = json.dumps({**job, "new_tokens": [prompt.new_tokens for prompt in prompts]})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and `_answer` says so
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise LLMKitError(f"it ended with exit code {self._process.returncode}")
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            self.close()
            raise LLMKitError(f"its answer is not JSON: {one_line(line, 80)}") from None
        return found


def python_with(module: str, named: Sequence[str]) -> str | None:
    """Return the first of the named Pythons that has a module, or else this one; None if none has it."""
    from llmkit.convert.reader_process import reader_with

    return next((one for one in named if reader_with(module, one) == one), reader_with(module, None))


def _gguf_file(context: PeerContext) -> Path:
    """Return the model's own GGUF file, or write one in the precision that llmkit runs in."""
    from llmkit.convert.conversion import convert
    from llmkit.formats.gguf.header import read_header
    from llmkit.runtime.locate import locate

    location, wanted = locate(context.spec.name, context.spec), context.spec.quantize
    if location.is_gguf:
        stored = read_header(location.folder).metadata.get("general.file_type")
        if wanted is None or (isinstance(stored, int) and wanted == _FILE_TYPES.get(stored)):
            return location.folder
    kind = _GGUF_TYPES[wanted or context.dtype]
    file = context.folder / f"{kind}.gguf"
    if file.exists():  # another program has it already
        return file
    return convert(context.source, "gguf", file, gguf_type=kind, bound=_ACCEPTED).output


def _wanted(prompts: Sequence[BenchmarkPrompt]) -> int:
    return sum(prompt.new_tokens for prompt in prompts)


_OPENERS: dict[str, Callable[[PeerContext], System]] = {
    "pipeline": PipelineSystem,
    "generate_batch": GenerateBatchSystem,
    "ctranslate2": CTranslate2System,
    "llama.cpp": partial(GGUFSystem, "llama.cpp", "llama_cpp", "llama-cpp-python", "llama_cpp_speed.py"),
    "openvino": partial(GGUFSystem, "openvino", "openvino_genai", "openvino-genai", "openvino_speed.py"),
}
