"""Quantize a model into a folder, and measure the change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.records.unfinished.shards import MAX_SHARD_SIZE, digest

if TYPE_CHECKING:
    import torch

    from llmkit.linear.quality import Divergence
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec

_TOKENS = 256
"""Maximum number of tokens of a text for calibration and comparison."""
_CALIBRATION = 128
"""Maximum number of texts for calibration."""


@dataclass(frozen=True)
class QuantizeResult:
    """A model that was quantized.

    Attributes:
        folder: the model's folder.
        bits, group: number of bits of a weight, and number of inputs that share a scale (4 bits).
        kernel: the kernel that computed the comparison.
        layers: number of quantized layers.
        kept: reason for each linear layer or embedding that is not quantized.
        nbytes: size of the weights on disk.
        bytes_before, bytes_after: size of all weights in memory.
        divergence: mean Kullback-Leibler divergence in nats of the next-token probabilities from the original
            model's; None for a model that gives no next-token probabilities.
        same_top: share of tokens at which both models have the same most likely token; None as above.
        tokens: number of tokens compared.
    """

    folder: Path
    bits: int
    group: int
    kernel: str
    layers: int
    kept: dict[str, str]
    nbytes: int
    bytes_before: int
    bytes_after: int
    divergence: float | None
    same_top: float | None
    tokens: int


def quantize(
    model: ModelSpec | str | Path,
    output: str | Path,
    *,
    bits: int = 8,
    group: int = 32,
    calibration: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    max_shard_size: str = MAX_SHARD_SIZE,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> QuantizeResult:
    """Save a model with its weights in 8 or 4 bits.

    The folder is in compressed-tensors' ``pack-quantized`` format, which transformers reads with that
    package. The model is loaded twice, because the quantized one is compared with the original.

    Args:
        model: a name, a path, or a request for a model.
        output: folder to make.
        bits: 8 or 4.
        group: inputs that share a scale in 4 bits: 16, 32, 64 or 128.
        calibration: texts of the model's use; 4-bit weights are then rounded so that the outputs for them
            change least (GPTQ; Frantar et al. 2022, https://arxiv.org/abs/2210.17323).
        texts: texts for the comparison; None uses 20 short ones in several languages.
        max_shard_size: maximum size of a weight file. A rerun after a kill computes the layers again, but
            keeps the finished files.
        overwrite: replace an existing model.
        progress: called with the number of layers done and their total.

    Raises:
        OptionError: a value is bad, or the output exists.
        InputError: there is no such model, or it has no layers to quantize.
    """
    from llmkit.convert.output import check_output, unfinished
    from llmkit.convert.proof import TEXTS
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    spec = ModelSpec(str(model)) if isinstance(model, str | Path) else model
    if calibration is not None and bits != 4:
        raise OptionError("calibration", "is for bits=4; 8 bits need none")
    check_output(Path(output), as_file=False, overwrite=overwrite)
    original, loaded = load(spec), load(spec)
    if loaded.adapter is not None:
        raise InputError(f"{spec.name} is an adapter; merge it into its model first")
    header = _header(
        spec, loaded, {"bits": bits, "group": group, "max_shard_size": max_shard_size}, calibration
    )
    done = _quantized(loaded, bits, group, calibration, progress)
    compared = _compared(original, loaded, texts or TEXTS)
    with unfinished(Path(output), header, as_file=False) as work:
        from llmkit.linear.storage import save_quantized

        save_quantized(loaded.model, work.path, max_shard_size=max_shard_size, parts=work.parts)
        loaded.tokenizer.save_pretrained(work.path)
        loaded.model.generation_config.save_pretrained(work.path)
        work.accepted = True
    return QuantizeResult(
        folder=Path(output),
        bits=bits,
        group=group,
        kernel=done.kernel,
        layers=len(done.layers),
        kept=done.kept,
        nbytes=sum(file.stat().st_size for file in Path(output).glob("*.safetensors")),
        bytes_before=done.bytes_before,
        bytes_after=done.bytes_after,
        divergence=None if compared is None else compared.mean,
        same_top=None if compared is None else compared.same_top,
        tokens=0 if compared is None else compared.tokens,
    )


def _header(
    spec: ModelSpec, loaded: LoadedModel, options: dict[str, Any], calibration: Sequence[str] | None
) -> dict[str, Any]:
    """Return all settings that the weights of the quantized model depend on."""
    import torch

    texts = None if calibration is None else "\0".join(calibration[:_CALIBRATION])
    return {
        "verb": "quantize",
        **options,
        "calibration": texts and hashlib.sha256(texts.encode(errors="surrogatepass")).hexdigest(),
        "linear": spec.linear,
        "device": loaded.device.type,
        "dtype": str(loaded.dtype),
        "source": digest(loaded.model.state_dict()),
        "torch": torch.__version__,
    }


def _quantized(
    loaded: LoadedModel,
    bits: int,
    group: int,
    calibration: Sequence[str] | None,
    progress: Callable[[int, int], object] | None,
) -> Any:
    from llmkit.linear.gptq import calibrate
    from llmkit.linear.quantize import quantize_model

    if calibration is None:
        return quantize_model(loaded.model, bits, group, kernel=loaded.spec.linear, progress=progress)
    batches = _batches(loaded, calibration[:_CALIBRATION])
    if not batches:
        raise OptionError("calibration", "contains no text of two tokens or more")
    return calibrate(loaded.model, batches, group, kernel=loaded.spec.linear, progress=progress)


def _compared(original: LoadedModel, changed: LoadedModel, texts: Sequence[str]) -> Divergence | None:
    """Return the divergence of the quantized model on some texts; None for models of another kind."""
    from llmkit.linear.quality import divergence

    if original.is_encoder_decoder or original.spec.task != "text-generation":
        return None
    first: Any = original.model
    second: Any = changed.model
    return divergence(
        lambda ids: first(ids).logits, lambda ids: second(ids).logits, _batches(original, texts)
    )


def _batches(loaded: LoadedModel, texts: Sequence[str]) -> list[torch.Tensor]:
    """Return the token ids of each text, [1, tokens]."""
    import torch

    limit = min(loaded.context_length or _TOKENS, _TOKENS)
    encoded: Any = loaded.tokenizer(list(texts))["input_ids"]
    return [torch.tensor([ids[:limit]], device=loaded.device) for ids in encoded if len(ids) > 1]
