"""`ModelSpec`: the user's request for a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelSpec:
    """A model and how to run it.

    Attributes:
        name: Hub id (``org/name``), local folder, or the name of an embedded model.
        task: ``text-generation`` (causal or encoder-decoder, as the checkpoint is),
            ``text2text-generation``, ``question-answering``, ``fill-mask``, ``text-classification``,
            ``token-classification`` or ``feature-extraction``.
        revision: branch, tag or commit on the Hub.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        attn: attention kernel: one of `llmkit kernels list`, ``FILE.py:FUNCTION``, or a Hub repository; None
            leaves the choice to transformers.
        verify_attn: prove a kernel from a file before its first use.
        quantize: ``int8`` or ``int4``: keep the weights of linear layers and embeddings in few bits; None
            keeps them as they are.
        linear: kernel of quantized products: ``cpu``, ``torch``, ``reference`` or ``FILE.py:FUNCTION``; None
            takes the fastest.
        adapter: folder or Hub id of a LoRA adapter to put on the model.
        trust_remote_code: run Python code that comes with the model.
        allow_bin: read ``pytorch_model.bin`` (with ``weights_only=True``) if there is no safetensors file.
        offline: never use the network.
        cache_dir: folder for downloads; None is the Hub's own cache.
        bundled: the name means the embedded model, even if a folder has the same name.
        new_head: initialize the head of an extractive model at random if the checkpoint has none, because it
            will be trained.
        engine: program that generates text: ``transformers``, ``ctranslate2``, ``llamacpp``, ``openvino`` or
            ``vllm``, or the base URL of a server with OpenAI's API, where `name` is the model's name there.
            None is transformers.
        concurrency: requests to that server at the same time.
        engine_python: path of a Python that has the engine's library, for ``llamacpp``, ``openvino`` and
            ``vllm``; None is this one.
        draft: name of a smaller model with the same vocabulary, which guesses tokens that the model verifies;
            None is none. Only engines take it.
        four_bits: keep the linear layers in 4 bits (NF4; Dettmers et al. 2023, arXiv:2305.14314).
    """

    name: str
    task: str = "text-generation"
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    attn: str | None = None
    verify_attn: bool = True
    quantize: str | None = None
    linear: str | None = None
    adapter: str | None = None
    trust_remote_code: bool = False
    allow_bin: bool = False
    offline: bool = False
    cache_dir: Path | None = None
    bundled: bool = False
    new_head: bool = False
    engine: str | None = None
    concurrency: int = 8
    engine_python: str | None = None
    draft: str | None = None
    four_bits: bool = False
