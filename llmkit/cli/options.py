"""Flags that several verbs share, each group a dataclass: same flag, same meaning, everywhere.

A verb names a group as one parameter and gets it filled in::

    @options.expand
    def run(model: options.ModelFlags, messages: options.MessageFlags) -> None: ...

`expand` writes the group's fields into the signature that Typer reads.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import console
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec


def expand(run: Callable[..., None]) -> Callable[..., None]:
    """Give `run` a signature in which every parameter typed with a flag group is that group's flags."""
    hints = typing.get_type_hints(run, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
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
    def flat(**values: Any) -> None:
        arguments = {}
        for name, group in groups.items():
            arguments[name] = group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
        run(**arguments, **values)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {p.name: p.annotation for p in parameters}
    del flat.__wrapped__  # Typer would read the signature of what is wrapped
    return flat


def _flag(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=more.pop("show_default", False), **more)


@dataclass
class MessageFlags:
    """`-q`, `-v`, `--debug`. They take effect as soon as the group is filled in."""

    quiet: Annotated[bool, _flag("-q", "--quiet", help="No notices and no progress.")] = False
    verbose: Annotated[
        bool, _flag("-v", "--verbose", help="Say which choices were made, and let libraries talk.")
    ] = False
    debug: Annotated[bool, _flag("--debug", help="Show the traceback of an error.")] = False

    def __post_init__(self) -> None:
        console.setup(quiet=self.quiet, verbose=self.verbose, debug=self.debug)


@dataclass
class ModelFlags:
    """Which model, from where, on what, in which precision."""

    model: Annotated[
        str | None,
        _flag("-m", "--model", help="Hub id, local folder, or an embedded model (see `llmkit models`)."),
    ] = None
    revision: Annotated[str | None, _flag("--revision", help="Branch, tag or commit on the Hub.")] = None
    device: Annotated[str, _flag("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    dtype: Annotated[str, _flag("--dtype", help="auto, float32, bfloat16 or float16.")] = "auto"
    attn: Annotated[str | None, _flag("--attn", help="Attention implementation, such as sdpa or eager.")] = (
        None
    )
    adapter: Annotated[str | None, _flag("--adapter", help="A LoRA adapter's folder or Hub id.")] = None
    trust_remote_code: Annotated[
        bool, _flag("--trust-remote-code", help="Run code that comes with the model.")
    ] = False
    allow_bin: Annotated[
        bool, _flag("--allow-bin", help="Read pytorch_model.bin where there is no safetensors file.")
    ] = False
    offline: Annotated[bool, _flag("--offline", help="Use only what is on this machine.")] = False
    cache_dir: Annotated[Path | None, _flag("--cache-dir", help="Where downloaded models are kept.")] = None
    seed: Annotated[int | None, _flag("--seed", help="Seed of everything random.")] = None

    def spec(self, *, task: str, default_model: str | None = None) -> ModelSpec:
        """The request that `runtime.load` takes.

        Raises:
            InputError: no model was named and the verb has no embedded one.
        """
        from llmkit.runtime.spec import ModelSpec

        name = self.model or default_model
        if name is None:
            raise InputError("name a model with -m/--model")
        return ModelSpec(
            name=name,
            task=task,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            attn=self.attn,
            adapter=self.adapter,
            trust_remote_code=self.trust_remote_code,
            allow_bin=self.allow_bin,
            offline=self.offline,
            cache_dir=self.cache_dir,
        )
