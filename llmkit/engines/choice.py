"""Names of engines, and the options that each supports. Imports no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

ENGINES = ("transformers", "ctranslate2", "llamacpp", "openvino", "vllm")
"""Values of `ModelSpec.engine`, besides a URL; None is ``transformers``."""
_SERVER_DECIDES = ("revision", "device", "dtype", "attn", "quantize", "linear", "adapter", "draft")
# Options of a model that an engine does not support.
_REFUSED = {
    "ctranslate2": ("attn", "linear", "draft", "four_bits"),
    "llamacpp": ("attn", "linear", "draft", "four_bits"),
    "openvino": ("attn", "linear", "draft", "four_bits"),
    "vllm": ("device", "attn", "linear", "draft", "four_bits", "quantize", "adapter"),
}
_OWN_PYTHON = ("llamacpp", "openvino", "vllm")


def is_url(engine: str | None) -> bool:
    """Return True if an engine is the URL of a server."""
    return engine is not None and "://" in engine


def runs_here(engine: str | None) -> bool:
    """Return True if an engine is transformers in this process, which gives the model's logits."""
    return engine in (None, "transformers")


def check_engine(spec: ModelSpec) -> None:
    """Refuse an unknown engine, and options that the engine of `spec` does not support.

    Raises:
        OptionError: with the option's name.
    """
    from llmkit.runtime.spec import ModelSpec

    engine, plain = spec.engine or "transformers", ModelSpec("")
    if not is_url(engine) and engine not in ENGINES:
        known = ", ".join(ENGINES)
        raise OptionError("engine", f"must be {known} or a URL, not {engine}{did_you_mean(engine, ENGINES)}")
    if spec.engine_python is not None and engine not in _OWN_PYTHON:
        raise OptionError("engine_python", f"applies to {', '.join(_OWN_PYTHON)}, not to {engine}")
    if is_url(engine):
        for option in _SERVER_DECIDES:
            if getattr(spec, option) != getattr(plain, option):
                raise OptionError(
                    option,
                    "cannot be combined with a URL as `engine`, because the server sets it; omit one of them",
                )
        if spec.offline:
            raise OptionError("offline", "cannot be combined with a URL as `engine`, which needs the network")
    for option in _REFUSED.get(engine, ()):
        if getattr(spec, option) != getattr(plain, option):
            raise OptionError(option, f"cannot be combined with the engine {engine}; omit one of them")
