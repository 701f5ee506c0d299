"""What `--dtype auto` rests on: the three precisions on this machine's CPU, by turns."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.side_by_side import report, seconds_of


def main() -> None:
    """A random Llama of 135M parameters: reading 256 tokens, and writing 8 after them, one row and eight."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    weights = model.state_dict()
    for rows in (1, 8):
        ways: dict[str, Callable[[], object]] = {}
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            copy = LlamaForCausalLM(config).to(dtype).eval()
            copy.load_state_dict(weights)
            ids = torch.randint(0, 49152, (rows, 256))
            for name, new_tokens in (("read", 1), ("read and write 8", 9)):
                ways[f"{name}, {str(dtype).removeprefix('torch.')}"] = _writer(copy, ids, new_tokens)
        report(f"Precision on this CPU, {rows} rows", seconds_of(ways, 3), "read, float32")


def _writer(model: object, ids: object, new_tokens: int) -> Callable[[], object]:
    import torch

    def run() -> object:
        with torch.inference_mode():
            return model.generate(  # type: ignore[attr-defined]
                input_ids=ids,
                attention_mask=torch.ones_like(ids),  # type: ignore[arg-type]
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
            )

    return run
