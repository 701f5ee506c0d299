"""`llmkit bench`: measure speed and memory of a model; compare with limits and other programs."""

from __future__ import annotations

import json as json_module
import sys
from typing import Annotated

from llmkit.cli.common import console, options, progress
from llmkit.cli.common.options import flag
from llmkit.errors import OptionError
from llmkit.records.strict_json import finite
from llmkit.runtime.spec import ModelSpec

EXAMPLES = [
    "llmkit bench -m stories",
    "llmkit bench -m my-model --compare llama.cpp --peer-python llama/bin/python",
]


@options.expand
def run(
    *,
    prompt_tokens: Annotated[
        int, flag("--prompt-tokens", metavar="N", help="Length of a prompt, in tokens.")
    ] = 256,
    new_tokens: Annotated[int, flag("--new-tokens", metavar="N", help="Number of generated tokens.")] = 64,
    batch: Annotated[int, flag("--batch", metavar="N", help="Prompts per batch.")] = 8,
    mixed: Annotated[
        bool, flag("--mixed", help="Vary lengths in a batch, from a quarter to the full length.")
    ] = False,
    guesses: Annotated[bool, flag("--guesses", help="Use speculative decoding, as `generate` does.")] = False,
    start: Annotated[bool, flag("--start", help="Also measure the start of new processes.")] = False,
    repeats: Annotated[int, flag("--repeats", metavar="N", help="Number of measured rounds.")] = 5,
    threads: Annotated[
        int | None,
        flag(
            "--threads", metavar="N", help="Number of CPU threads.", default="the number that torch selects"
        ),
    ] = None,
    compare: Annotated[
        str,
        flag(
            "--compare",
            metavar="NAME,...",
            help="Programs to compare with: pipeline, generate_batch, ctranslate2, llama.cpp, openvino.",
            default="none",
        ),
    ] = "",
    peer_python: Annotated[
        str,
        flag(
            "--peer-python",
            metavar="PATH,...",
            help="Pythons with llama-cpp-python or openvino-genai.",
            default="this Python",
        ),
    ] = "",
    json: Annotated[bool, flag("--json", help="Print the result as one line of JSON.")] = False,
    markdown: Annotated[bool, flag("--markdown", help="Print a Markdown table.")] = False,
    model: options.MeasuredModelFlags,
    messages: options.MessageFlags,
) -> None:
    """Measure speed and memory of a model, and compare with limits and other programs."""
    from llmkit.benchmark.results import BenchmarkOptions

    if json and markdown:
        raise OptionError("markdown", "cannot be combined with `json`; give one of them")
    spec = model.spec(task="text-generation", verb="generate")
    wanted = BenchmarkOptions(
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        batch=batch,
        repeats=repeats,
        threads=threads,
        mixed=mixed,
        guesses=guesses,
        compare=_names(compare),
        peer_python=_names(peer_python),
        start=_commands(spec) if start else (),
        seed=model.seed or 0,
    )
    wanted.check()
    from llmkit.benchmark.measure import benchmark
    from llmkit.benchmark.table import lines

    with progress.Progress("bench", total=1.0) as bar:
        result = benchmark(
            spec, wanted, progress=lambda done, total: bar.update(done / total, f"{done} of {total} rounds")
        )
    if result.busy:
        console.notice(f"the machine is busy, so the times are not reliable: {'; '.join(result.reasons)}")
    print(
        json_module.dumps(finite(result.as_json())) if json else "\n".join(lines(result, markdown=markdown))
    )


def _commands(spec: ModelSpec) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the commands whose start is timed."""
    llmkit = (sys.executable, "-m", "llmkit")
    flags = ["-m", spec.name, "--device", spec.device, "--dtype", spec.dtype]
    for name in ("revision", "quantize", "linear", "attn", "adapter"):
        if (value := getattr(spec, name)) is not None:
            flags += [f"--{name}", value]
    switches = {
        "offline": "--offline",
        "allow_bin": "--allow-bin",
        "trust_remote_code": "--trust-remote-code",
    }
    flags += [switch for name, switch in switches.items() if getattr(spec, name)]
    first = (*llmkit, "generate", *flags, "Once upon a time")
    return ("help page", (*llmkit, "--help")), ("first token of a process", first)


def _names(text: str) -> tuple[str, ...]:
    """Split a value at its commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
