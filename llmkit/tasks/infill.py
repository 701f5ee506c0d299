"""Fill in the middle: generate the text between a prefix and a suffix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.open import as_engine
from llmkit.errors import OptionError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.rows import Row, check_text
from llmkit.records.task import Fields
from llmkit.tasks.decoding import GenerationOptions, refuse_row_options
from llmkit.tasks.generation import Generation, GenerationResult
from llmkit.tasks.prompts import Prompt
from llmkit.text.fill_in_middle import gap_prompt, gap_tokens

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.engines.open import AnyModel


def fill_in_middle(
    model: AnyModel,
    prefix: str,
    suffix: str,
    options: GenerationOptions | None = None,
) -> GenerationResult:
    """Generate the text between a prefix and a suffix.

    Args:
        model: a loaded model, an engine, or a name, path or `ModelSpec` to load.
        prefix, suffix: text before and after the gap; one of them may be empty.
        options: see `GenerationOptions`.

    Raises:
        OptionError: the model has no tokens for texts with a gap, or an option cannot be combined with them.
        RowError: the texts are longer than the context.
        OutOfMemory: they do not fit into memory.
    """
    refuse_row_options(options)
    infilling = Infilling(as_engine(model), options or GenerationOptions())
    return infilling.generation.run([infilling.prompt(prefix, suffix)])[0]


class Infilling:
    """Texts with a gap as a `Task`: rows with the columns `prefix` and `suffix`.

    Args:
        engine: a model whose tokenizer has tokens for texts with a gap.
        options: see `GenerationOptions`. With `full_text` the result is the whole text.

    Attributes:
        options: as given.
        generation: answers the prompts.
        run_state: seed and counters.

    Raises:
        OptionError: see `fill_in_middle`.
    """

    def __init__(self, engine: Engine, options: GenerationOptions) -> None:
        unfit = {"chat": options.chat, "system": options.system, "truncate": options.truncate}
        unfit["continue_final_message"] = options.continue_final_message or None
        for option in (name for name, value in unfit.items() if value is not None):
            raise OptionError(option, "cannot be combined with `prefix` and `suffix`; omit it")
        if engine.tokenizer is None:
            raise OptionError("suffix", f"needs a local tokenizer of {engine.name}")
        tokens = gap_tokens(engine.tokenizer)
        if tokens is None:
            raise OptionError(
                "prefix",
                f"and `suffix` are not supported: {engine.name} has no tokens for texts with a gap, such as"
                " those of code models",
            )
        self.engine, self.options, self._tokens = engine, options, tokens
        self.generation = Generation(engine, replace(options, chat=False, full_text=False))
        self.run_state = self.generation.run_state

    def prompt(self, prefix: str, suffix: str, *, key: int = 0, where: str = "prompt") -> Prompt:
        """Return the prompt of a text with a gap.

        Raises:
            RowError: both are empty, or they are longer than the context.
        """
        prefix, suffix = check_text(prefix, where), check_text(suffix, where)
        if not prefix and not suffix:
            raise RowError(where, "prefix and suffix are both empty")
        ids = gap_prompt(self.engine.tokenizer, self._tokens, prefix, suffix)
        context = self.engine.context_length
        if context is not None and len(ids) >= context:
            raise RowError(
                where,
                f"the texts have {len(ids)} tokens, but {self.engine.name} has a context of {context};"
                " shorten them",
            )
        return self.generation.prompts.from_ids(ids, where, key)

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[Prompt] | RowError]:
        """Make the prompts of rows."""
        return [self._prepare(row) for row in rows]

    def fields(self, batch: Sequence[PreparedRow[Prompt]], budget: Budget) -> list[Fields | RowError]:
        """Fill a batch of gaps: the `generated_text` of each row.

        Raises:
            OutOfMemory: the batch did not fit.
        """
        found = self.generation.fields(batch, budget)
        return [
            {**fields, "generated_text": self._shown(one.row, fields["generated_text"])}
            if isinstance(fields, dict)
            else fields
            for one, fields in zip(batch, found, strict=True)
        ]

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of one batch."""
        return self.generation.budget(batch_size)

    def header(self) -> dict[str, Any]:
        """Return all that the results depend on, besides the rows and the seed, as JSON, for the journal."""
        return {**self.generation.header(), "fill_in_middle": True, "full_text": self.options.full_text}

    def _prepare(self, row: Row) -> PreparedRow[Prompt] | RowError:
        try:
            texts = [row.data.get(name, "") for name in ("prefix", "suffix")]
            prompt = self.prompt(*texts, key=row.index, where=row.where)
            prompt = replace(prompt, constraint=self.generation.schema_of(row))
        except RowError as error:
            return error
        return PreparedRow(row, prompt.length, prompt)

    def _shown(self, row: Row, middle: str | list[str]) -> str | list[str]:
        if not self.options.full_text:
            return middle
        before, after = row.data.get("prefix", ""), row.data.get("suffix", "")
        many = [f"{before}{one}{after}" for one in ([middle] if isinstance(middle, str) else middle)]
        return many[0] if isinstance(middle, str) else many
