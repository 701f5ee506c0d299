"""Quantized matrix products: weights of 8 and 4 bits, and kernels that multiply by them, with their proof.

What the rest of llmkit calls, and what each promises:

``quantize.quantize_model(model, bits, group, kernel=..., embeddings=..., skip=...)``
    swaps the linear layers of a loaded model for `modules.QuantizedLinear`, and its token embeddings and
    output layer for 8-bit ones, in place, one at a time: at no moment do a layer's float and quantized
    weights of more than one layer exist together. It returns a `quantize.Quantization`, which says what got
    which bits, what stayed as it is and why, and the bytes before and after. The model's forward needs no
    change; its dtype and device are read from what stays in floating point. Training through it gives
    gradients of inputs (so of adapters), never of weights.

``gptq.calibrate(model, batches, group)``
    is `quantize_model` to 4 bits by GPTQ, with token ids of some texts.

``storage.save_quantized(model, folder)``
    writes config.json and safetensors files in compressed-tensors' ``pack-quantized`` layout, which
    transformers with the compressed-tensors package reads bit-exactly; the same model gives the same bytes.

``storage.load_quantized_into(model, tensors, settings)``
    puts the tensors of such files into a model that was built from the config alone, under
    ``transformers.initialization.no_init_weights``; ``settings`` is the config's ``quantization_config``,
    which must be taken off the config before the model is built. Anything malformed raises
    `llmkit.errors.InputError`. What was saved computes the same bits when loaded.

``registry.find(name)``, ``registry.default(device)``, ``@llmkit.linear.kernel(...)``
    give a kernel: ``cpu`` (native; each row's result has the same bits alone and in any batch),
    ``torch`` (without a compiler, and on other devices), ``reference``, or a user's ``FILE.py:FUNCTION``.

``verify.verify(kernel)``, ``benchmark.compare(kernels)``
    prove a kernel against float64 and time it beside torch's products.

``quality.divergence(original, changed, batches)``
    is the Kullback-Leibler divergence by which a quantization is judged.

Nothing here imports torch until it is needed.
"""

from __future__ import annotations

from llmkit.linear.registry import LinearKernel, kernel

__all__ = ["LinearKernel", "kernel"]
