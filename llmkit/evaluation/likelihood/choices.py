"""Choices between texts by their likelihood: multiple choice, and minimal pairs.

A model chooses the text with the highest likelihood. Long texts have a lower likelihood than short ones, so
multiple choice is also scored per token and per byte of the choice (Gao 2021, Multiple Choice Normalization
in LM Evaluation, https://blog.eleuther.ai/multiple-choice-normalization/). Minimal pairs are two sentences of
which one is correct (Warstadt et al. 2020, BLiMP, arXiv:1912.00582).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import RowError
from llmkit.evaluation.likelihood.perplexity import signature
from llmkit.evaluation.metric import Declaration, Example, Metric, declare, means
from llmkit.records.rows import Row, text_of

if TYPE_CHECKING:  # and in functions: `llmkit eval --help` imports this module for its declarations
    from llmkit.evaluation.likelihood.loss import Loss
    from llmkit.evaluation.likelihood.windowing import Windowing
    from llmkit.runtime.load import LoadedModel

# Column names of public data sets.
QUESTIONS = ("question", "question_stem", "ctx", "goal", "context", "prompt", "query", "premise")
CHOICES = ("choices", "endings", "options")
NUMBERED = (("sol1", "sol2"), ("choice1", "choice2"), ("option1", "option2"), ("ending0", "ending1"))
ANSWERS = ("answer", "label", "answerKey", "gold", "correct")
GOOD = ("sentence_good", "good")
BAD = ("sentence_bad", "bad")


@declare(
    Declaration(
        "of a model, by likelihood",
        needs_references=False,
        reads=frozenset({"field", "given", "reference_field"}),
    )
)
def multiple_choice(loaded: LoadedModel, how: Windowing) -> Metric:
    """Build multiple choice for examples from `measure_choices`.

    Its scores are shares of correctly answered questions: `accuracy` chooses by the likelihood of the whole
    choice, `accuracy_per_token` and `accuracy_per_byte` by the likelihood divided by its length.

    Args:
        loaded: the model.
        how: windows of the model, from `windowing.windowing`.
    """

    def statistics(example: Example) -> list[float]:
        losses: Sequence[Loss] = example.prediction
        (right,) = example.references
        found = (_best(losses, _total), _best(losses, _per_token), _best(losses, _per_byte))
        return [*(float(choice == right) for choice in found), 1.0]

    return Metric(
        name="multiple_choice",
        scores=("accuracy", "accuracy_per_token", "accuracy_per_byte"),
        signature=signature(loaded, how.signature),
        statistics=statistics,
        corpus=means,
        shares={"accuracy": 3, "accuracy_per_token": 3, "accuracy_per_byte": 3},
    )


@declare(
    Declaration("of a model, correct and wrong sentences", needs_references=False, reads=frozenset({"given"}))
)
def minimal_pairs(loaded: LoadedModel, how: Windowing) -> Metric:
    """Build minimal pairs for examples from `measure_pairs`.

    Its scores are shares of pairs whose correct sentence has the higher likelihood: `accuracy` as a whole,
    `accuracy_per_token` divided by its length in tokens. Equal likelihoods count as wrong.

    Args:
        loaded: the model.
        how: windows of the model, from `windowing.windowing`.
    """

    def statistics(example: Example) -> list[float]:
        good, bad = example.prediction
        return [float(_total(good) < _total(bad)), float(_per_token(good) < _per_token(bad)), 1.0]

    return Metric(
        name="minimal_pairs",
        scores=("accuracy", "accuracy_per_token"),
        signature=signature(loaded, how.signature),
        statistics=statistics,
        corpus=means,
        shares={"accuracy": 2, "accuracy_per_token": 2},
    )


def measure_choices(
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    *,
    given: Callable[[Row], str] | None = None,
    field: str | None = None,
    answer_field: str | None = None,
    **options: Any,
) -> Iterator[Example]:
    """Run a model over the choices of each question.

    Args:
        loaded: the model.
        rows: questions with their choices: a list, the object `{"text": [...], "label": [...]}` of ARC, or
            columns such as `sol1` and `sol2`.
        how: windows of the model, from `windowing.windowing` with `given`.
        given: returns the text that the choices continue; None uses the column of the question.
        field: column with the choices; None uses the first of `CHOICES` or `NUMBERED`.
        answer_field: column with the correct choice: its index from 0, its label or letter, or the choice
            itself; None uses the first of `ANSWERS`.
        options: keyword arguments of `windowing.run`.

    Yields:
        Examples whose prediction is a `Loss` for each choice and whose reference is the index of the correct
        one. Their data gains `losses` and `prediction`, the choice with the highest likelihood.

    Raises:
        RowError: a row lacks a column, or its answer is not one of its choices.
        OutOfMemory: a single choice does not fit into memory.
    """
    from llmkit.evaluation.likelihood.baseline import as_data
    from llmkit.evaluation.likelihood.windowing import PassBuilder, run

    builder = PassBuilder(loaded, how)
    context = given or _question
    answers: list[int] = []

    def groups() -> Iterator[list[Any]]:
        for row in rows:
            if row.error is not None:
                raise RowError(row.where, row.error)
            choices, labels = _choices(row, field)
            answers.append(_answer(row, answer_field, choices, labels))
            before = context(row)
            yield [builder.document(row, choice, before) for choice in choices]

    for number, group in enumerate(run(loaded, how, groups(), **options)):
        losses = [document.loss() for document in group]
        texts = [document.text for document in group]
        data = {
            **group[0].row.data,
            "losses": [as_data(loss) for loss in losses],
            "prediction": texts[_best(losses, _total)],
        }
        yield Example(losses, [answers[number]], data, group[0].row.where)


def measure_pairs(
    loaded: LoadedModel,
    rows: Iterable[Row],
    how: Windowing,
    *,
    given: Callable[[Row], str] | None = None,
    **options: Any,
) -> Iterator[Example]:
    """Run a model over pairs of sentences.

    Args:
        loaded: the model.
        rows: with `sentence_good` and `sentence_bad`, or `good` and `bad`.
        how: windows of the model, from `windowing.windowing`.
        given: returns the context of both sentences; None gives them none.
        options: keyword arguments of `windowing.run`.

    Yields:
        Examples whose prediction is the `Loss` of the correct sentence and that of the wrong one.

    Raises:
        RowError: a row lacks a sentence.
        OutOfMemory: a single sentence does not fit into memory.
    """
    from llmkit.evaluation.likelihood.baseline import as_data
    from llmkit.evaluation.likelihood.windowing import PassBuilder, run

    builder = PassBuilder(loaded, how)

    def groups() -> Iterator[list[Any]]:
        for row in rows:
            if row.error is not None:
                raise RowError(row.where, row.error)
            pair = [_sentence(row, names) for names in (GOOD, BAD)]
            before = None if given is None else given(row)
            yield [builder.document(row, sentence, before) for sentence in pair]

    for group in run(loaded, how, groups(), **options):
        losses = [document.loss() for document in group]
        data = {**group[0].row.data, "losses": [as_data(loss) for loss in losses]}
        yield Example(losses, (), data, group[0].row.where)


def _total(loss: Loss) -> float:
    return loss.nll


def _per_token(loss: Loss) -> float:
    return loss.nll / max(loss.tokens, 1)


def _per_byte(loss: Loss) -> float:
    return loss.nll / max(loss.bytes, 1)


def _best(losses: Sequence[Loss], cost: Callable[[Loss], float]) -> int:
    """Return the index of the lowest cost; for equal costs, the first."""
    return min(range(len(losses)), key=lambda i: cost(losses[i]))


def _question(row: Row) -> str:
    return text_of(row, field=_first(row, QUESTIONS, "given"), template=None, defaults=())


def _sentence(row: Row, names: Sequence[str]) -> str:
    return text_of(row, field=_first(row, names, None), template=None, defaults=())


def _first(row: Row, names: Sequence[str], option: str | None) -> str:
    """Return the first of the columns `names` that a row has; `option` names the column otherwise."""
    for name in names:
        if name in row.data:
            return name
    advice = f"; give one with `{option}`" if option is not None else ""
    raise RowError(
        row.where, f"no column {' or '.join(names[:2])}; its columns are {', '.join(row.data)}{advice}"
    )


def _choices(row: Row, field: str | None) -> tuple[list[str], list[str]]:
    """Return the choices and their labels."""
    if field is None and not any(name in row.data for name in CHOICES):
        for names in NUMBERED:
            if all(name in row.data for name in names):
                # There may be more than two: sol1, sol2, sol3.
                stem, number = names[0][:-1], int(names[0][-1])
                texts = []
                while f"{stem}{number}" in row.data:
                    texts.append(row.data[f"{stem}{number}"])
                    number += 1
                return _texts(row, stem, texts), [str(i) for i in range(int(names[0][-1]), number)]
    name = field or _first(row, CHOICES, "field")
    value: Any = row.data.get(name)
    labels: Any = None
    if isinstance(value, Mapping):
        value, labels = value.get("text"), value.get("label")
    if not isinstance(value, list) or len(value) < 2:
        raise RowError(row.where, f"column {name!r} is not a list of two or more choices")
    if not isinstance(labels, list) or len(labels) != len(value):
        labels = [chr(ord("A") + i) for i in range(len(value))]
    return _texts(row, name, value), [str(label) for label in labels]


def _texts(row: Row, name: str, values: Sequence[Any]) -> list[str]:
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise RowError(row.where, f"a choice of {name!r} is not a text, or is empty")
    return list(values)


def _answer(row: Row, field: str | None, choices: Sequence[str], labels: Sequence[str]) -> int:
    name = field or _first(row, ANSWERS, "reference_field")
    value = row.data.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    text = str(value).strip()
    for names in (labels, choices):
        if text in names and isinstance(value, str):
            return list(names).index(text)
    if isinstance(value, str) and text.isdecimal() and len(text) < 10 and int(text) < len(choices):
        return int(text)
    raise RowError(row.where, f"the answer {value!r} in column {name!r} is not one of the choices")
