"""Flags that several verbs share: each group is a dataclass, so that a flag has one meaning in all verbs.

A verb takes a group as one parameter, with its values filled in::

    @options.expand
    def run(*, model: options.ModelFlags, messages: options.MessageFlags) -> None: ...

A group's `GROUP` is the section of its flags on the help page.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from llmkit.cli.common import console
from llmkit.cli.common.flags import argument, flag, given, groups
from llmkit.cli.common.row_flags import Encoding, InputFlags, Limit, OutputFlags
from llmkit.errors import InputError, check_seed

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

_typed: set[str] = set()
__all__ = ["DecodingFlags", "Encoding", "InputFlags", "Limit", "MessageFlags", "ModelFlags", "OutputFlags"]
__all__ += ["System", "Truncate", "argument", "expand", "flag", "given", "typed"]


def expand(run: Callable[..., None]) -> Callable[..., None]:
    """Let `run`, which takes groups of flags, be called with the flags themselves.

    The result takes Typer's context and the value of each flag; its `__wrapped__` is `run`.
    """

    @functools.wraps(run)
    def flat(_context: Any, **values: Any) -> None:
        _typed.clear()
        _typed.update(name for name in values if _on_command_line(_context, name))
        arguments = {}
        for name, group in groups(run).items():
            fields = [field.name for field in dataclasses.fields(group)]
            arguments[name] = group(**{field: values.pop(field) for field in fields if field in values})
        try:
            run(**arguments, **values)
        except BrokenPipeError:
            # Typer would return exit code 1, but a reader who closes a pipe has read enough: it is not an
            # error.
            raise console.ClosedPipe from None

    return flat


def typed() -> frozenset[str]:
    """Return the parameters whose flags are on the command line, also with the value of the default."""
    return frozenset(_typed)


def _on_command_line(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@dataclass
class MessageFlags:
    """Flags `-q`, `-v` and `--debug`; they take effect when the group is filled in."""

    GROUP = "Messages"

    quiet: Annotated[bool, flag("-q", "--quiet", help="Show no notices and no progress.")] = False
    verbose: Annotated[
        bool, flag("-v", "--verbose", help="Show the selected settings, and messages of libraries.")
    ] = False
    debug: Annotated[bool, flag("--debug", help="Show the traceback of an error.")] = False

    def __post_init__(self) -> None:
        console.setup(quiet=self.quiet, verbose=self.verbose, debug=self.debug)


Revision = Annotated[
    str | None,
    flag(
        "--revision", metavar="NAME", help="Branch, tag or commit on the Hub.", default="main", group="Model"
    ),
]
Adapter = Annotated[
    str | None,
    flag(
        "--adapter",
        metavar="PATH",
        help="Folder or Hub id of a LoRA adapter.",
        default="none",
        group="Model",
    ),
]
TrustRemoteCode = Annotated[
    bool, flag("--trust-remote-code", help="Run Python code that comes with the model.", group="Model")
]
AllowBin = Annotated[
    bool,
    flag("--allow-bin", help="Read pytorch_model.bin if there is no safetensors file.", group="Model"),
]
Offline = Annotated[
    bool, flag("--offline", help="Download nothing; use only files on this machine.", group="Model")
]
Draft = Annotated[
    str | None,
    flag(
        "--draft",
        metavar="NAME|PATH",
        help="Draft model with the vocabulary of -m: it guesses tokens, and -m verifies several at once.",
        default="none",
    ),
]
CacheDir = Annotated[
    Path | None,
    flag(
        "--cache-dir",
        metavar="FOLDER",
        help="Folder of downloaded models.",
        default="the folder of huggingface_hub",
        group="Model",
    ),
]


@dataclass
class ModelFlags:
    """The model, the device, the precision, and permissions for downloads and code."""

    GROUP = "Model"

    model: Annotated[
        str | None,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="Hub id, folder, embedded model (see `llmkit models`), or GGUF file: FILE, MODEL:FILE or"
            " MODEL:Q8_0.",
            default="the embedded model of the verb",
        ),
    ] = None
    revision: Revision = None
    device: Annotated[
        str,
        flag(
            "--device",
            metavar="NAME",
            help="auto, cpu, cuda, cuda:N or mps; auto uses a GPU if there is one.",
        ),
    ] = "auto"
    dtype: Annotated[
        str,
        flag(
            "--dtype",
            metavar="NAME",
            help="auto, float32, bfloat16 or float16; auto is the fastest accurate type on the device.",
        ),
    ] = "auto"
    attn: Annotated[
        str | None,
        flag(
            "--attn",
            metavar="NAME",
            help="Attention kernel from `llmkit kernels`, or FILE.py:FUNCTION, or a repository of the Hub.",
            default="sdpa, if the model supports it",
        ),
    ] = None
    no_verify: Annotated[
        bool, flag("--no-verify", help="Do not check a kernel from a file before its first use.")
    ] = False
    quantize: Annotated[
        str | None,
        flag(
            "--quantize",
            metavar="int8|int4",
            help="Quantize weights to 8 or 4 bits: less memory, and faster on a CPU.",
            default="as stored",
        ),
    ] = None
    linear: Annotated[
        str | None,
        flag(
            "--linear",
            metavar="NAME",
            help="Kernel for quantized matrix products: cpu, torch, reference, or FILE.py:FUNCTION.",
            default="the fastest",
        ),
    ] = None
    adapter: Adapter = None
    trust_remote_code: TrustRemoteCode = False
    allow_bin: AllowBin = False
    offline: Offline = False
    cache_dir: CacheDir = None
    seed: Annotated[
        int | None,
        flag("--seed", metavar="N", help="Random seed.", default="a new seed each time"),
    ] = None

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def spec(self, *, task: str, verb: str | None = None) -> ModelSpec:
        """Return the request that `runtime.load` takes.

        Args:
            task: the model's task, such as ``text-generation``.
            verb: the verb whose embedded model is used when none is named; None if it has none.

        Raises:
            InputError: no model is named, and the verb has no embedded model.
        """
        from llmkit.models.bundled import DEFAULTS
        from llmkit.runtime.spec import ModelSpec

        name = DEFAULTS.get(verb or "") if self.model is None else self.model
        if name is None:
            raise InputError("give a model with -m/--model; `llmkit models` lists the available models")
        return ModelSpec(
            name=name,
            task=task,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            attn=self.attn,
            verify_attn=not self.no_verify,
            quantize=self.quantize,
            linear=self.linear,
            adapter=self.adapter,
            trust_remote_code=self.trust_remote_code,
            allow_bin=self.allow_bin,
            offline=self.offline,
            cache_dir=self.cache_dir,
            bundled=self.model is None,
        )


FixedSeed = Annotated[int | None, flag("--seed", metavar="N", help="Random seed.", default="0")]


@dataclass
class MeasuredModelFlags(ModelFlags):
    """The model to measure; its seed is 0 if none is given, so that a second run gives the same numbers."""

    seed: FixedSeed = None


System = Annotated[
    str | None,
    flag(
        "--system",
        metavar="TEXT",
        help="System message, for models with a chat template.",
        default="the template's own",
        group="Chat",
    ),
]

Continue = Annotated[
    bool,
    flag(
        "--continue",
        help="Continue the assistant's last message in each conversation, instead of a new answer.",
        group="Chat",
    ),
]

Truncate = Annotated[
    str | None,
    flag(
        "--truncate",
        metavar="SIDE",
        help="Shorten a prompt that is longer than the context: left keeps its end, right its start, turns"
        " drops the oldest turns of a conversation.",
        default="none: a longer prompt is an error",
        group="Input",
    ),
]


@dataclass
class DecodingFlags:
    """Decoding options. None uses the value of the model's generation_config."""

    GROUP = "Decoding"

    max_new_tokens: Annotated[
        int, flag("--max-new-tokens", metavar="N", help="Maximum number of new tokens.")
    ] = 256
    temperature: Annotated[
        float | None,
        flag(
            "--temperature",
            metavar="T",
            help="Sample at temperature T: the logits are divided by T; lower is less random.",
            default="the model's; greedy if it has none",
        ),
    ] = None
    top_p: Annotated[
        float | None,
        flag(
            "--top-p",
            metavar="P",
            help="Sample from the most likely tokens with total probability P.",
            default="the model's, or 1",
        ),
    ] = None
    top_k: Annotated[
        int | None,
        flag(
            "--top-k",
            metavar="K",
            help="Sample from the K most likely tokens; 0 means all.",
            default="the model's, or 50",
        ),
    ] = None
    min_p: Annotated[
        float | None,
        flag(
            "--min-p",
            metavar="P",
            help="Drop tokens with less than P times the highest probability.",
            default="the model's, or 0",
        ),
    ] = None
    repetition_penalty: Annotated[
        float | None,
        flag(
            "--repetition-penalty",
            metavar="X",
            help="Above 1 makes tokens of the earlier text less likely.",
            default="the model's, or 1",
        ),
    ] = None
    num_beams: Annotated[
        int | None,
        flag("--num-beams", metavar="N", help="Beam search with N beams.", default="the model's, or 1"),
    ] = None
    num_return_sequences: Annotated[
        int, flag("--num-return-sequences", metavar="N", help="Number of results per prompt.")
    ] = 1
    stop: Annotated[
        list[str] | None,
        flag(
            "--stop",
            metavar="TEXT",
            help="Stop string: end the answer at this text; may be repeated.",
            default="none",
        ),
    ] = None
    greedy: Annotated[bool, flag("--greedy", help="Always select the most likely token; do not sample.")] = (
        False
    )

    def values(self) -> dict[str, Any]:
        """Return keyword arguments of `tasks.decoding.GenerationOptions`."""
        return {**dataclasses.asdict(self), "stop": tuple(self.stop or ())}
