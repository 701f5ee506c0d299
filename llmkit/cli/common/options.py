"""Flags that several verbs share, each group a dataclass: same flag, same meaning, everywhere.

A verb names a group as one parameter and gets it filled in::

    @options.expand
    def run(*, model: options.ModelFlags, messages: options.MessageFlags) -> None: ...

`expand` writes the group's fields into the signature that Typer reads.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import console
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec


def expand(run: Callable[..., None]) -> Callable[..., None]:
    """Give `run` a signature in which every parameter typed with a flag group is that group's flags."""
    hints = typing.get_type_hints(run, include_extras=True)
    groups: dict[str, type] = {}
    context = inspect.Parameter("_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context]
    for name, parameter in inspect.signature(run).parameters.items():
        kind = hints[name]
        if dataclasses.is_dataclass(kind):
            groups[name] = typing.cast(type, kind)
            fields = typing.get_type_hints(kind, include_extras=True)
            for field in dataclasses.fields(kind):
                parameters.append(
                    inspect.Parameter(
                        field.name,
                        inspect.Parameter.KEYWORD_ONLY,
                        default=field.default,
                        annotation=fields[field.name],
                    )
                )
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @functools.wraps(run)
    def flat(_context: typer.Context, **values: Any) -> None:
        _typed.clear()
        _typed.update(name for name in values if _on_command_line(_context, name))
        arguments = {}
        for name, group in groups.items():
            arguments[name] = group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
        try:
            run(**arguments, **values)
        except BrokenPipeError:
            # Typer would make it exit code 1; who closes a pipe has what they want.
            raise console.ClosedPipe from None

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {p.name: p.annotation for p in parameters}
    del flat.__wrapped__  # Typer would read the signature of what is wrapped
    return flat


_typed: set[str] = set()


def typed() -> frozenset[str]:
    """The parameters whose flags stand on the command line, be it with the value that they have anyway."""
    return frozenset(_typed)


def _on_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def flag(*names: str, help: str, **more: Any) -> Any:
    """A Typer option whose default stands in its help text, where a reader can understand it."""
    return typer.Option(*names, help=help, show_default=more.pop("show_default", False), **more)


def given(*groups: Any, but: Collection[str] = ()) -> list[str]:
    """The flags of `groups` that were given another value than their default, as a user writes them.

    Args:
        groups: flag groups, filled in.
        but: names of fields to leave out.
    """
    return [
        _spelling(type(group), one.name)
        for group in groups
        for one in dataclasses.fields(group)
        if one.name not in but and getattr(group, one.name) != one.default
    ]


def _spelling(group: type, name: str) -> str:
    """The long form of a field's flag."""
    (option,) = typing.get_type_hints(group, include_extras=True)[name].__metadata__
    names = [option.default, *option.param_decls]
    return next(str(n).split("/")[0] for n in names if str(n).startswith("--"))


@dataclass
class MessageFlags:
    """`-q`, `-v`, `--debug`. They take effect as soon as the group is filled in."""

    quiet: Annotated[bool, flag("-q", "--quiet", help="No notices and no progress.")] = False
    verbose: Annotated[
        bool, flag("-v", "--verbose", help="Say which choices were made, and let libraries talk.")
    ] = False
    debug: Annotated[bool, flag("--debug", help="Show the traceback of an error.")] = False

    def __post_init__(self) -> None:
        console.setup(quiet=self.quiet, verbose=self.verbose, debug=self.debug)


@dataclass
class ModelFlags:
    """Which model, from where, on what, in which precision."""

    model: Annotated[
        str | None,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="Hub id, local folder, or an embedded model (see `llmkit models`).",
        ),
    ] = None
    revision: Annotated[str | None, flag("--revision", help="Branch, tag or commit on the Hub.")] = None
    device: Annotated[str, flag("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    dtype: Annotated[str, flag("--dtype", help="auto, float32, bfloat16 or float16.")] = "auto"
    attn: Annotated[
        str | None,
        flag("--attn", metavar="NAME", help="Attention kernel (`llmkit kernels`), or FILE.py:FUNCTION."),
    ] = None
    no_verify: Annotated[
        bool, flag("--no-verify", help="Run a kernel from a file without proving it first.")
    ] = False
    adapter: Annotated[str | None, flag("--adapter", help="A LoRA adapter's folder or Hub id.")] = None
    trust_remote_code: Annotated[
        bool, flag("--trust-remote-code", help="Run code that comes with the model.")
    ] = False
    allow_bin: Annotated[
        bool, flag("--allow-bin", help="Read pytorch_model.bin where there is no safetensors file.")
    ] = False
    offline: Annotated[bool, flag("--offline", help="Use only what is on this machine.")] = False
    cache_dir: Annotated[Path | None, flag("--cache-dir", help="Where downloaded models are kept.")] = None
    seed: Annotated[int | None, flag("--seed", help="Seed of everything random.")] = None

    def spec(self, *, task: str, verb: str | None = None) -> ModelSpec:
        """The request that `runtime.load` takes.

        Args:
            task: the model's.
            verb: whose embedded model is taken where none is named; None where there is none for it.

        Raises:
            InputError: no model was named and there is no embedded one.
        """
        from llmkit.models.bundled import DEFAULTS
        from llmkit.runtime.spec import ModelSpec

        name = DEFAULTS.get(verb or "") if self.model is None else self.model
        if name is None:
            raise InputError("name a model with -m/--model; `llmkit models` lists those that are here")
        return ModelSpec(
            name=name,
            task=task,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            attn=self.attn,
            verify_attn=not self.no_verify,
            adapter=self.adapter,
            trust_remote_code=self.trust_remote_code,
            allow_bin=self.allow_bin,
            offline=self.offline,
            cache_dir=self.cache_dir,
            bundled=self.model is None,
        )


@dataclass
class InputFlags:
    """Rows from a file or stdin, in place of a single argument."""

    input: Annotated[
        str | None,
        flag(
            "--input",
            metavar="FILE",
            help="Rows: .jsonl .json .csv .tsv .parquet .txt (and .gz), - for JSONL on stdin, or"
            " hf:dataset[:config][:split].",
        ),
    ] = None
    field: Annotated[str | None, flag("--field", metavar="NAME", help="The column that holds the text.")] = (
        None
    )
    template: Annotated[
        str | None,
        flag("--template", metavar="TEXT", help="A text over several columns, such as 'Q: {question}'."),
    ] = None
    lines: Annotated[bool, flag("--lines", help="Each line on stdin is an input of its own.")] = False
    whole: Annotated[bool, flag("--whole", help="A .txt file is one input, not one a line.")] = False


@dataclass
class OutputFlags:
    """Where results go, and what happens to a run that is killed or a row that fails."""

    output: Annotated[
        Path | None,
        flag("-o", "--output", metavar="FILE", help="Write JSONL to this file; a killed run can be resumed."),
    ] = None
    json: Annotated[bool, flag("--json", help="JSONL on stdout instead of plain text.")] = False
    resume: Annotated[bool, flag("--resume", help="Go on with an unfinished --output.")] = False
    overwrite: Annotated[bool, flag("--overwrite", help="Replace an --output that is there.")] = False
    on_error: Annotated[
        str,
        flag(
            "--on-error",
            metavar="fail|skip",
            help="fail stops at a bad row; skip gives it an `error` field and goes on.",
        ),
    ] = "fail"
    batch_size: Annotated[
        str,
        flag(
            "--batch-size",
            metavar="auto|N",
            help="Rows per batch, or auto: as many as the device has room for.",
        ),
    ] = "auto"

    def rows_per_batch(self) -> int | None:
        """`--batch-size` as a number; None for auto."""
        if self.batch_size == "auto":
            return None
        if not self.batch_size.isdigit() or int(self.batch_size) < 1:
            raise InputError(f"--batch-size {self.batch_size}: give a number of rows, or auto")
        return int(self.batch_size)

    def check(self) -> None:
        """Refuse what does not go together, before anything slow is begun."""
        if self.on_error not in {"fail", "skip"}:
            raise InputError(f"--on-error {self.on_error}: use fail or skip")
        self.rows_per_batch()
        if self.output is None:
            for flag in ("resume", "overwrite"):
                if getattr(self, flag):
                    raise InputError(f"--{flag} is about a file: name it with -o/--output")
        elif self.json:
            raise InputError("--output writes JSONL to a file and --json to stdout: give one of them")


Truncate = Annotated[
    str | None,
    flag(
        "--truncate",
        help="What is longer than the context: left keeps a prompt's end, right its start, turns drops a"
        " conversation's oldest turns.",
    ),
]


@dataclass
class DecodingFlags:
    """How tokens are chosen. None is what the model's generation_config says."""

    max_new_tokens: Annotated[int, flag("--max-new-tokens", help="Most tokens to write (256).")] = 256
    temperature: Annotated[float | None, flag("--temperature", help="Above 0 turns sampling on.")] = None
    top_p: Annotated[float | None, flag("--top-p", help="Sample from this share of probability.")] = None
    top_k: Annotated[int | None, flag("--top-k", help="Sample from the k likeliest tokens; 0 is all.")] = None
    min_p: Annotated[
        float | None, flag("--min-p", help="Drop tokens less likely than this share of the likeliest.")
    ] = None
    repetition_penalty: Annotated[
        float | None, flag("--repetition-penalty", help="Above 1 makes repetition less likely.")
    ] = None
    num_beams: Annotated[int | None, flag("--num-beams", help="Beams of beam search.")] = None
    num_return_sequences: Annotated[int, flag("--num-return-sequences", help="Answers per prompt (1).")] = 1
    stop: Annotated[
        list[str] | None,
        flag("--stop", metavar="STRING", help="A string that ends the text; may be repeated."),
    ] = None
    greedy: Annotated[bool, flag("--greedy", help="Always the likeliest token; no sampling.")] = False

    def values(self) -> dict[str, Any]:
        """As keyword arguments of `tasks.decoding.GenerationOptions`."""
        return {**dataclasses.asdict(self), "stop": tuple(self.stop or ())}
