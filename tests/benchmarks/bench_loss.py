"""What it saves never to have the logits whole: a step of a small Llama with Llama 3's vocabulary of 128,256.

Each way runs in a process of its own, by turns: our loss in chunks, and transformers' own on whole
logits. The peak is that process's; what the model and its gradients take is in both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

ROUNDS = int(os.environ.get("LLMKIT_BENCH_ROUNDS", "3"))
TOKENS = (1024, 4096)

STEP = """
import json, resource, sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from llmkit.training.loss import patch_forward_with_summed_loss
tokens, chunked = int(sys.argv[1]), sys.argv[2] == "chunks"
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=128_256, hidden_size=256, intermediate_size=768,
    num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True))
ids = torch.randint(0, 128_256, (tokens // 512, 512))
labels = ids
if chunked:
    assert patch_forward_with_summed_loss(model)
    labels = torch.cat([ids[:, 1:], torch.full((len(ids), 1), -100)], dim=1)
def step():
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(input_ids=ids, labels=labels, use_cache=False)["loss"]
    found.backward()
    return float(found.detach()) / ((labels != -100).sum().item() if chunked else 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
loss = step()
began = time.perf_counter()
step()
print(json.dumps({"seconds": time.perf_counter() - began, "loss": loss, "before": before,
                  "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def main() -> None:
    """Print peak memory and time of both ways, and how far their losses are apart."""
    for tokens in TOKENS:
        found: dict[str, list[dict[str, float]]] = {"whole": [], "chunks": []}
        for _ in range(ROUNDS):
            for way, runs in found.items():
                done = subprocess.run(
                    [sys.executable, "-c", STEP, str(tokens), way], capture_output=True, text=True, check=True
                )
                runs.append(json.loads(done.stdout.splitlines()[-1]))
        medians = {
            way: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            for way, runs in found.items()
        }
        whole, chunks = medians["whole"], medians["chunks"]
        print(f"\nLoss: a step over {tokens:,} tokens, vocabulary 128,256, medians of {ROUNDS}")
        for way, one in (("whole logits, transformers", whole), ("in chunks, ours", chunks)):
            print(
                f"  {way:<28}{one['memory']:>8.0f} MB  x{one['memory'] / whole['memory']:.2f}"
                f"  (above the model {one['memory'] - one['before']:>6.0f} MB)"
                f"{one['seconds']:>8.2f} s  x{one['seconds'] / whole['seconds']:.2f}"
            )
        print(f"  losses apart by {abs(whole['loss'] - chunks['loss']):.1e} nats a token")


if __name__ == "__main__":
    main()
