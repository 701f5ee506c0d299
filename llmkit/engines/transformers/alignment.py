"""Word alignment from the cross-attention of encoder-decoder models.

The decoder reads a finished answer once. Its cross-attention in one layer shows the prompt tokens from which
each answer token came. In deep decoders the second-to-last layer is the best one (Garg et al. 2019, Jointly
Learning to Align and Translate, https://aclanthology.org/D19-1453), in shallow ones the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmkit.errors import OutOfMemory
from llmkit.runtime.memory import is_out_of_memory
from llmkit.runtime.padding import pad

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

_DEEP = 5  # number of layers from which the second-to-last is used


def cross_attention(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], start: int | None
) -> list[np.ndarray]:
    """Return for each pair the weights [answer tokens, prompt tokens], averaged over the heads of a layer.

    Args:
        loaded: an encoder-decoder model.
        prompts: token ids, special tokens included.
        answers: token ids in the form of the decoder's output, special tokens included.
        start: first token of the decoder; None uses the model's own.

    Raises:
        OutOfMemory: they do not fit into memory together.
    """
    model: Any = loaded.model
    config = model.generation_config
    begin = start if start is not None else config.decoder_start_token_id
    if begin is None:
        begin = model.config.decoder_start_token_id
    filler: Any = loaded.tokenizer.pad_token_id
    ids, mask = (t.to(loaded.device) for t in pad([list(one) for one in prompts], filler, "right"))
    # Row i of the decoder's input predicts token i of the answer.
    shifted = [[begin, *answer[:-1]] for answer in answers]
    decoder_ids, decoder_mask = (t.to(loaded.device) for t in pad(shifted, filler, "right"))
    before = model.config._attn_implementation
    # Other kernels do not return attention weights.
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            layers = model(
                input_ids=ids,
                attention_mask=mask,
                decoder_input_ids=decoder_ids,
                decoder_attention_mask=decoder_mask,
                output_attentions=True,
                use_cache=False,
            ).cross_attentions
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"a batch of {len(prompts)} alignments does not fit into memory") from error
    finally:
        model.set_attn_implementation(before)
    layer = layers[-2 if len(layers) >= _DEEP else -1].float().mean(1).cpu().numpy()
    return [
        layer[i, : len(answer), : len(prompt)]
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
