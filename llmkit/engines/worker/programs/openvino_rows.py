"""Answer rows with OpenVINO, on a GGUF file. A standalone program: it needs openvino-genai, not llmkit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lines import answer, ended, say  # a file in this folder


def opened(job: dict[str, Any]) -> tuple[str, Callable[[int, dict[str, Any]], None]]:
    """Load a model; return the version, and the function that answers a row."""
    import numpy as np
    import openvino
    import openvino_genai

    options: dict[str, Any] = {} if job["gpu"] else {"INFERENCE_NUM_THREADS": job["threads"]}
    if job["exact"]:
        options["INFERENCE_PRECISION_HINT"] = "f32"
    pipe = openvino_genai.LLMPipeline(job["model"], "GPU" if job["gpu"] else "CPU", **options)

    class Tokens(openvino_genai.StreamerBase):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def write(self, token: Any) -> Any:
            for one in token if isinstance(token, list) else [token]:
                say({"row": self.number, "id": int(one)})
            status = openvino_genai.StreamingStatus
            return status.STOP if ended(self.number) else status.RUNNING

        def end(self) -> None:
            pass

    def write(number: int, row: dict[str, Any]) -> None:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = row["most"]
        config.apply_chat_template = False
        config.do_sample = row["temperature"] > 0
        if config.do_sample:
            config.temperature, config.rng_seed = row["temperature"], row["seed"]
            config.top_p, config.min_p = row["top_p"], row["min_p"]
            config.top_k = row["top_k"] or 2**31 - 1
        config.stop_token_ids = set(row["ends"])
        config.include_stop_str_in_output = True
        config.ignore_eos = not row["ends"]
        ids = np.array([row["ids"]], dtype=np.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        pipe.generate(inputs, config, Tokens(number))

    return str(openvino_genai.__version__), write


if __name__ == "__main__":
    answer(opened)
