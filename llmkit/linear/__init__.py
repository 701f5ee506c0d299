"""Quantized matrix products: weights of 8 and 4 bits, and kernels that multiply by them, with their proof.

Functions for other packages:

``quantize.quantize_model(model, bits, group, kernel=..., embeddings=..., skip=...)``
    swaps the linear layers of a loaded model for `modules.QuantizedLinear`, and its token embeddings and
    output layer for 8-bit ones, in place, one at a time, so the float and the quantized weights of only one
    layer are in memory at the same time. It returns a `quantize.Quantization`: the bits of each layer, the
    layers that are not quantized with the reasons, and the bytes before and after. The model's forward pass
    stays the same; its dtype and device are those of the weights that stay in floating point. The backward
    pass gives gradients of inputs (and so of adapters), not of weights.

``gptq.calibrate(model, batches, group)``
    is `quantize_model` to 4 bits by GPTQ, with token ids of some texts.

``storage.save_quantized(model, folder)``
    writes config.json and safetensors files in compressed-tensors' ``pack-quantized`` layout, which
    transformers with the compressed-tensors package reads bit-exactly; the same model gives the same bytes.

``storage.load_quantized_into(model, tensors, settings)``
    puts the tensors of such files into a model that was built from the config alone, under
    ``transformers.initialization.no_init_weights``; ``settings`` is the config's ``quantization_config``,
    which must be removed from the config before the model is built. Malformed files raise
    `llmkit.errors.InputError`. What was saved computes the same bits when loaded.

``registry.find(name)``, ``registry.default(device)``, ``@llmkit.linear.kernel(...)``
    give a kernel: ``cpu`` (native; each row's result has the same bits alone and in any batch), ``torch``
    (without a compiler, and on other devices), ``reference``, or a user's ``FILE.py:FUNCTION``.

``verify.verify(kernel)``, ``benchmark.compare(kernels)``
    compare a kernel with float64, and its time with torch's products.

``quality.divergence(original, changed, batches)``
    is the Kullback-Leibler divergence, which measures the loss by quantization.

These modules import torch only when they need it.
"""

from __future__ import annotations

from llmkit.linear.registry import LinearKernel, kernel

__all__ = ["LinearKernel", "kernel"]
