"""Outputs of onnxruntime for some texts. A standalone program: it needs onnxruntime and numpy, not llmkit.

    python onnxruntime_run.py JOB.json

The job names the kind of model (decoder, encoder-decoder, encoder), the files of its graphs, a folder for
results, the rows of token ids, and the ids for padding and for the start of a decoder. For row i it writes
``i.npz`` with `whole` (the outputs for the row alone, in one call) and, for models that generate, `stepped`
(those from the middle of the row on, token by token with the cache) and `following`: the next `greedy` ids by
greedy decoding, in batches of rows of different length. For an encoder `stepped` is its outputs in such a
batch, with the token types of the job.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

BATCH = 4
Arrays = dict[str, Any]


class RunGraph:
    """A graph; it ignores values for inputs that it does not have."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name: one for one in self.session.get_inputs()}
        self.outputs = [one.name for one in self.session.get_outputs()]

    def run(self, given: Arrays) -> Arrays:
        """Return the outputs by name."""
        feed = {name: value for name, value in given.items() if name in self.inputs}
        return dict(zip(self.outputs, self.session.run(None, feed), strict=True))

    def empty_cache(self, rows: int) -> Arrays:
        """Return a cache without positions."""
        found = {}
        for name, one in self.inputs.items():
            if name.startswith("past_key_values."):
                kind = np.float16 if "float16" in one.type else np.float32
                found[name] = np.zeros((rows, one.shape[1], 0, one.shape[3]), dtype=kind)
        return found


def cache_of(outputs: Arrays, before: Arrays) -> Arrays:
    """Return the cache for the next step. Keep the encoder's part of the first step, like other programs."""
    found = {
        name.replace("present", "past_key_values"): value
        for name, value in outputs.items()
        if name.startswith("present.")
    }
    kept = {name: value for name, value in before.items() if ".encoder." in name and value.shape[2]}
    return found | kept


def padded(rows: list[list[int]], pad: int, *, left: bool) -> tuple[Any, Any]:
    """Return ids and mask of rows of different length."""
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place], mask[i, place] = row, 1
    return ids, mask


class CausalRun:
    """A decoder that runs a batch, with its mask and KV cache."""

    def __init__(self, graph: RunGraph, rows: int) -> None:
        self.graph = graph
        self.mask = np.zeros((rows, 0), dtype=np.int64)
        self.cache = graph.empty_cache(rows)

    def step(self, ids: Any, mask: Any) -> Any:
        """Logits (rows, tokens, vocabulary) of more tokens."""
        self.mask = np.concatenate([self.mask, mask], axis=1)
        positions = np.maximum(self.mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
        given = {"input_ids": ids, "attention_mask": self.mask, "position_ids": positions}
        outputs = self.graph.run(given | self.cache)
        self.cache = cache_of(outputs, self.cache)
        return outputs["logits"]


class CrossRun:
    """The decoder of an encoder-decoder, for a batch of encoded texts."""

    def __init__(self, graph: RunGraph, states: Any, mask: Any) -> None:
        self.graph = graph
        self.given = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        self.cache = graph.empty_cache(len(states))

    def step(self, ids: Any, mask: Any) -> Any:
        """Logits (rows, tokens, vocabulary) of more tokens."""
        outputs = self.graph.run(self.given | {"input_ids": ids} | self.cache)
        self.cache = cache_of(outputs, self.cache)
        return outputs["logits"]


def start(job: dict[str, Any], graphs: dict[str, RunGraph], rows: list[list[int]]) -> tuple[Any, Any, Any]:
    """Return a decoder for a batch of texts, with its first ids and mask."""
    if job["kind"] == "decoder":
        ids, mask = padded(rows, job["pad"], left=True)
        return CausalRun(graphs["decoder"], len(rows)), ids, mask
    ids, mask = padded(rows, job["pad"], left=False)
    states = graphs["encoder"].run({"input_ids": ids, "attention_mask": mask})["last_hidden_state"]
    begin = np.full((len(rows), 1), job["start"], dtype=np.int64)
    return CrossRun(graphs["decoder"], states, mask), begin, np.ones_like(begin)


def logits_of(job: dict[str, Any], graphs: dict[str, RunGraph], row: list[int]) -> Arrays:
    """Return the logits of one row: in one call, and from its middle on token by token."""
    ids = np.array([row], dtype=np.int64)
    ones = np.ones_like(ids)
    whole = start(job, graphs, [row])[0].step(ids, ones)[0]
    decoder, half = start(job, graphs, [row])[0], max(1, len(row) // 2)
    found = [decoder.step(ids[:, :half], ones[:, :half])[0, -1:]]
    for i in range(half, len(row)):
        found.append(decoder.step(ids[:, i : i + 1], ones[:, :1])[0])
    return {"whole": whole.astype(np.float32), "stepped": np.concatenate(found).astype(np.float32)}


def follow(job: dict[str, Any], graphs: dict[str, RunGraph], rows: list[list[int]]) -> Any:
    """Return the next ids by greedy decoding: (rows, steps)."""
    decoder, ids, mask = start(job, graphs, rows)
    found: list[Any] = []
    while len(found) < job["greedy"]:
        ids = decoder.step(ids, mask)[:, -1].argmax(-1)[:, None].astype(np.int64)
        mask = np.ones_like(ids)
        found.append(ids)
    return np.concatenate(found, axis=1)


def encode(graph: RunGraph, ids: Any, mask: Any, types: Any) -> Any:
    """Return the outputs of an encoder: (rows, tokens, values), or (rows, 1, classes) for whole texts."""
    outputs = graph.run({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    if "start_logits" in outputs:
        return np.stack([outputs["start_logits"], outputs["end_logits"]], axis=-1)
    found = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
    return found if found.ndim == 3 else found[:, None]


def generating(job: dict[str, Any], graphs: dict[str, RunGraph]) -> list[Arrays]:
    """Return the results of a model that generates."""
    answers = [logits_of(job, graphs, row) for row in job["rows"]]
    for i in range(0, len(answers) if job["greedy"] else 0, BATCH):
        for answer, ids in zip(answers[i:], follow(job, graphs, job["prompts"][i : i + BATCH]), strict=False):
            answer["following"] = ids
    return answers


def encoding(job: dict[str, Any], graph: RunGraph) -> list[Arrays]:
    """Return the results of an encoder."""
    answers: list[Arrays] = []
    for i in range(0, len(job["rows"]), BATCH):
        rows = job["rows"][i : i + BATCH]
        ids, mask = padded(rows, job["pad"], left=False)
        types = padded(job["types"][i : i + BATCH], 0, left=False)[0] if job["types"] else np.zeros_like(ids)
        together = encode(graph, ids, mask, types)
        for row, batched in zip(rows, together, strict=True):
            ids = np.array([row], dtype=np.int64)
            alone = encode(graph, ids, np.ones_like(ids), np.zeros_like(ids))[0].astype(np.float32)
            answers.append({"whole": alone, "stepped": batched[: len(alone)].astype(np.float32)})
    return answers


def main(job: dict[str, Any]) -> None:
    """Run one job."""
    graphs = {name: RunGraph(path) for name, path in job["graphs"].items()}
    encoder = job["kind"] == "encoder"
    answers = encoding(job, graphs["encoder"]) if encoder else generating(job, graphs)
    for i, answer in enumerate(answers):
        np.savez(Path(job["folder"]) / f"{i}.npz", **answer)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
