"""Generation options, merged with the model's generation_config."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import program_of
from llmkit.errors import OptionError, RowError, one_line

if TYPE_CHECKING:
    from llmkit.engines.base import Constraint, Engine, Sampling
    from llmkit.engines.form import Form
    from llmkit.records.rows import Row


_SCHEMAS = 256  # of rows, compiled and kept for rows with the same one
_GREEDY = 1e-4  # below this temperature float32 has no number for the scores, and the most likely token wins


@dataclass(frozen=True)
class GenerationOptions:
    """Options for decoding and prompts. None uses the value of the model's generation_config.

    Attributes:
        max_new_tokens: limit on the tokens of one answer.
        temperature, top_p, top_k, min_p: setting one enables sampling (temperature 0 disables it).
        repetition_penalty: above 1, tokens of the prompt and the answer become less likely.
        num_beams: beams of beam search.
        num_return_sequences: answers to one prompt.
        stop: strings that end an answer, or one; they are left out of it.
        greedy: take the most likely token, whatever the other options say.
        seed: seed of sampling; None draws one.
        truncate: how a prompt longer than the context is cut: ``left`` keeps its end, ``right`` its start,
            and ``turns`` drops a conversation's oldest turns. None refuses it.
        chat: use the model's chat template; None uses it if there is one.
        system: system message of the chat.
        full_text: answers begin with their prompt.
        form: form that answers must have, such as a JSON schema; the thoughts of a reasoning model are free.
        schema_field: column with each row's own JSON schema, as an object or as JSON text.
        details: rows gain `finish_reason`, `prompt_tokens`, `tokens` and `seed`.
        logprobs: rows gain `logprobs`: the log-probability of each token that was written, and this many
            alternatives to it; None leaves them out.
        continue_final_message: a conversation's last message, the assistant's, continues.

    Raises:
        OptionError: a value is out of range.
    """

    max_new_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    num_beams: int | None = None
    num_return_sequences: int = 1
    stop: tuple[str, ...] = ()
    greedy: bool = False
    seed: int | None = None
    truncate: str | None = None
    chat: bool | None = None
    system: str | None = None
    full_text: bool = False
    form: Form | None = None
    schema_field: str | None = None
    details: bool = False
    logprobs: int | None = None
    continue_final_message: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        # A string is also a sequence of strings: of its characters.
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        checks = [
            ("max_new_tokens", self.max_new_tokens >= 1, "must be 1 or more"),
            ("temperature", self.temperature is None or self.temperature >= 0, "must be 0 or more"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "must be above 0 and at most 1"),
            ("top_k", self.top_k is None or self.top_k >= 0, "must be 0 (off) or more"),
            ("min_p", self.min_p is None or 0 <= self.min_p <= 1, "must be between 0 and 1"),
            (
                "repetition_penalty",
                self.repetition_penalty is None or self.repetition_penalty > 0,
                "must be above 0",
            ),
            ("num_beams", self.num_beams is None or self.num_beams >= 1, "must be 1 or more"),
            ("num_return_sequences", self.num_return_sequences >= 1, "must be 1 or more"),
            ("stop", all(self.stop), "must not be empty"),
            ("truncate", self.truncate in {None, "left", "right", "turns"}, "must be left, right or turns"),
            ("logprobs", self.logprobs is None or 0 <= self.logprobs <= 100, "must be between 0 and 100"),
            (
                "schema_field",
                self.form is None or self.schema_field is None,
                "cannot be combined with another form",
            ),
        ]
        for option, holds, reason in checks:
            if not holds:
                raise OptionError(option, reason)

    def _check_types(self) -> None:
        """Refuse numbers of another type, which would fail much later.

        Raises:
            OptionError: one is not a number, or is not whole.
        """
        for option in ("max_new_tokens", "top_k", "num_beams", "num_return_sequences", "seed", "logprobs"):
            value = getattr(self, option)
            if value is not None and not isinstance(value, Integral):
                raise OptionError(option, f"must be a whole number, not {value!r}")
        for option in ("temperature", "top_p", "min_p", "repetition_penalty"):
            value = getattr(self, option)
            if value is not None and not isinstance(value, Real):
                raise OptionError(option, f"must be a number, not {value!r}")

    @property
    def formed(self) -> str | None:
        """Name of the option that constrains answers; None if there is none."""
        if self.schema_field is not None:
            return "schema_field"
        return None if self.form is None else self.form.kind

    @property
    def whole_answers(self) -> str | None:
        """Name of the option that is about answers as the model writes them; None if there is none."""
        if self.continue_final_message:
            return "continue_final_message"
        return self.formed or ("logprobs" if self.logprobs is not None else None)


def refuse_row_options(options: GenerationOptions | None) -> None:
    """Refuse options about columns, for texts that come without rows.

    Raises:
        OptionError: one is given.
    """
    if options is not None and options.schema_field is not None:
        raise OptionError("schema_field", "names a column of rows, and there are none; give `form`")


def resolve(options: GenerationOptions, engine: Engine) -> Sampling:
    """Merge the user's options with the model's own settings.

    Raises:
        OptionError: options exclude each other.
    """
    own = engine.defaults
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("temperature", "top_p", "top_k", "min_p", "num_beams", "repetition_penalty")
        if getattr(options, name) is not None
    }
    sampling = replace(
        own,
        max_new_tokens=options.max_new_tokens,
        num_return_sequences=options.num_return_sequences,
        stop=tuple(dict.fromkeys([*own.stop, *options.stop])),
        **given,
    )
    drawing = engine.samples_by_default or bool(given.keys() & {"temperature", "top_p", "top_k", "min_p"})
    if options.greedy or not drawing or sampling.temperature < _GREEDY:
        sampling = replace(sampling, temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
    _check_sequences(sampling)
    asked = {"constraint": options.formed, "logprobs": None if options.logprobs is None else "logprobs"}
    for ability, option in asked.items():
        if option is not None and ability not in engine.abilities:
            raise OptionError(option, f"is not available with {program_of(engine)}; omit it")
    if options.formed is not None:
        if sampling.num_beams > 1:
            raise OptionError(
                "num_beams", f"must be 1 with `{options.formed}`: constraints do not work with beam search"
            )
        if options.stop:
            raise OptionError(
                "stop", f"cannot be combined with `{options.formed}`: it would cut the structured answer"
            )
        sampling = replace(sampling, stop=())
    if options.logprobs is not None and sampling.num_beams > 1:
        raise OptionError("num_beams", "must be 1 with `logprobs`: beams have none")
    return sampling


class Formed:
    """Constraints of answers: one for all rows, or one per row with its own schema.

    Args:
        form: the form; None for free answers.
        engine: the model that will write.

    Raises:
        InputError: the form is malformed, cannot be enforced, or llguidance is not installed.
    """

    def __init__(self, form: Form | None, engine: Engine) -> None:
        self._engine = engine
        self._constraint: Constraint | None = None
        self._by_schema: dict[str, Constraint] = {}
        if form is not None:
            from llmkit.engines.structured import constraint_for

            self._constraint = constraint_for(form, engine)

    def after(
        self, *, thinking: bool, may_think: bool = False, own: Constraint | None = None
    ) -> Constraint | None:
        """Return the constraint of an answer, which begins after its thoughts.

        Args:
            thinking: the prompt ends inside thoughts.
            may_think: the answer may begin with thoughts.
            own: constraint of this answer alone, in place of the one for all.
        """
        constraint = own or self._constraint
        if constraint is None or not (thinking or may_think):
            return constraint
        from llmkit.engines.structured import AfterThoughts

        return AfterThoughts(constraint, self._engine, begun=thinking)

    def of_row(self, row: Row, field: str) -> Constraint:
        """Return the constraint of the JSON schema in a row's column.

        Raises:
            RowError: the row has none, or it cannot be enforced.
            InputError: llguidance is not installed.
        """
        from llmkit.engines.structured import json_schema

        if row.data.get(field) is None:
            raise RowError(row.where, f"has no schema: column `{field}` is missing or null")
        try:
            schema = row.data[field]
            schema = json.loads(schema) if isinstance(schema, str) else schema
            text = json.dumps(schema)
            if text not in self._by_schema:
                if len(self._by_schema) == _SCHEMAS:
                    del self._by_schema[next(iter(self._by_schema))]
                self._by_schema[text] = json_schema(schema, self._engine)
        except (ValueError, RecursionError) as error:
            raise RowError(row.where, f"column `{field}` is not JSON: {one_line(error)}") from error
        except OptionError as error:
            raise RowError(row.where, f"the schema in column `{field}` {error.reason}") from error
        return self._by_schema[text]


def _check_sequences(sampling: Sampling) -> None:
    """Refuse more answers than there are different ones."""
    wanted, beams = sampling.num_return_sequences, sampling.num_beams
    if wanted > beams and beams > 1:
        raise OptionError(
            "num_return_sequences",
            f"is {wanted}, and beam search has {beams} beams; set num_beams={wanted}",
        )
    if wanted > 1 and beams == 1 and sampling.greedy:
        raise OptionError(
            "num_return_sequences",
            "gives the same text each time under greedy decoding; add `temperature`, or set"
            f" num_beams={wanted}",
        )
