"""Process rows with llama.cpp. A standalone program: it needs llama-cpp-python, not llmkit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lines import answer, ended, say  # a file in this folder


def opened(job: dict[str, Any]) -> tuple[str, Callable[[int, dict[str, Any]], None]]:
    """Load a model; return the version, and the function that answers a row."""
    import llama_cpp

    model = llama_cpp.Llama(
        model_path=job["model"],
        n_ctx=job["context"],
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        n_gpu_layers=-1 if job["gpu"] else 0,
        verbose=False,
    )

    def write(number: int, row: dict[str, Any]) -> None:
        model.reset()  # tokens of the previous row in the cache would change the last bits
        model.set_seed(row["seed"])
        tokens = model.generate(
            row["ids"],
            temp=row["temperature"],
            top_k=row["top_k"] if row["temperature"] else 1,
            top_p=row["top_p"],
            min_p=row["min_p"],
            repeat_penalty=1.0,
        )
        for count, token in enumerate(tokens, 1):
            say({"row": number, "id": int(token)})
            if token in row["ends"] or count >= row["most"] or ended(number):
                break

    return str(llama_cpp.__version__), write


if __name__ == "__main__":
    answer(opened)
