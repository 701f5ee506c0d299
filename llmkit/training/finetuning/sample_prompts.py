"""Prompts of the samples that a model writes while it is finetuned, in the layout of its training rows.

Public: `sample_writer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.text.chat.templates import Renderer
from llmkit.training.encoded import IGNORED
from llmkit.training.finetuning.columns import BadRowError
from llmkit.training.finetuning.encode_rows import prompt_options
from llmkit.training.finetuning.encoding import prompter
from llmkit.training.samples import SampleWriter

if TYPE_CHECKING:
    from llmkit.training.encoded import Encoded
    from llmkit.training.finetuning.examples import Examples
    from llmkit.training.finetuning.plan import FinetuneInputs
    from llmkit.training.run import RunOptions


def sample_writer(inputs: FinetuneInputs, options: RunOptions) -> SampleWriter | None:
    """Return the writer of a run's samples; None if the options ask for none.

    Without a prompt, the sample continues the prompt of the first held-out row, or of the first training row.

    Args:
        inputs: the run.
        options: its `sample_every` and `prompt`.

    Raises:
        OptionError: the model writes no text.
    """
    if not options.samples:
        return None
    if inputs.kind == "spans":
        raise OptionError("sample_every", "needs a model that writes text; an extractive model does not")
    tokenizer = inputs.loaded.tokenizer
    encode = _prompt_encoder(inputs)
    examples = inputs.held_out if len(inputs.held_out) else inputs.train
    given = [(text, encode(text)) for text in options.prompt]
    return SampleWriter(
        every=options.sample_every or inputs.plan.eval_steps,
        prompts=given or [_first_prompt(examples, inputs.kind, tokenizer)],
        decode=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
        seed=inputs.recipe.seed,
        context=inputs.loaded.context_length,
    )


def _prompt_encoder(inputs: FinetuneInputs) -> Callable[[str], list[int]]:
    """Make the function that returns the ids of a text as a prompt of the run's rows.

    A text plays the role of the prompt or source; in a chat model it is the user's turn.
    """
    columns, kind, tokenizer = inputs.columns, inputs.kind, inputs.loaded.tokenizer
    names, languages = columns.names, inputs.recipe.languages
    role = next((one for one in ("prompt", "source") if one in names), None)
    options = prompt_options(inputs.recipe)

    def laid_out(text: str) -> str:
        if role is None:
            return text
        row: dict[str, Any] = {name: "x" for one, name in names.items() if one != "input"}
        row[names[role]] = dict.fromkeys(languages or (), text) if columns.by_language else text
        try:
            found = prompter(columns, kind, tokenizer, **options)(row)
        except BadRowError:  # an empty text
            return text
        return found if isinstance(found, str) else text

    def encoded(text: str) -> list[int]:
        if kind == "seq2seq" or tokenizer.chat_template is None or columns.objective == "text":
            return list(tokenizer(laid_out(text))["input_ids"]) or [tokenizer.eos_token_id]
        turns = [{"role": "user", "content": laid_out(text)}]
        shown = Renderer(tokenizer, turns, add_generation_prompt=True).text
        return list(tokenizer(shown, add_special_tokens=False)["input_ids"])

    return encoded


def _first_prompt(examples: Examples, kind: str, tokenizer: Any) -> tuple[str, Sequence[int]]:
    """Return the prompt of the first example."""
    example: Encoded = examples.items[0]
    ids, targets = list(example.ids), list(example.targets)
    if kind != "seq2seq":
        begin = next(at for at, target in enumerate(targets) if target != IGNORED)
        ids = ids[: begin + 1]
    return str(tokenizer.decode(ids, skip_special_tokens=True)), ids
