"""Log-probabilities of tokens that transformers' `generate` chooses itself, from the same pass.

`RowSampler` records them if it chooses the tokens. For an encoder-decoder `generate` chooses the tokens. It
gives logits only after its own processors, or all at the end, so this module reads the model's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from llmkit.engines.base import Completion, TokenLogprob

if TYPE_CHECKING:
    from llmkit.engines.transformers.row_choices import RowChoices


class LogprobRecorder:
    """Records log-probabilities while a model generates without beams; use it with ``with``.

    Args:
        model: the model, whose output at each step has logits [rows, 1, vocabulary].
        counts: number of most likely tokens to report for each row; None reports nothing.

    Each step records the most likely tokens. The next step reads the chosen one.
    """

    def __init__(self, model: Any, counts: Sequence[int | None]) -> None:
        self._model, self._counts = model, counts
        self._most = max((count for count in counts if count is not None), default=0)
        self._tops: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._chosen: list[torch.Tensor] = []  # for each step except the last: log-probability [rows]
        self._last: torch.Tensor | None = None
        self._hook: Any = None

    def __enter__(self) -> LogprobRecorder:
        self._hook = self._model.register_forward_hook(self._note, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def _note(self, model: Any, arguments: Any, named: dict[str, Any], output: Any) -> None:
        """Record a step: the most likely tokens, and the log-probability of the token chosen before it."""
        if self._last is not None:
            before = named["decoder_input_ids"][:, -1:].to(self._last.device)
            self._chosen.append(self._last.gather(1, before).squeeze(1).cpu())
        scores = output.logits[:, -1].float().log_softmax(dim=-1)
        values, ids = scores.topk(self._most, dim=-1)
        self._tops.append((ids.cpu(), values.cpu()))
        self._last = scores

    def row(self, row: int, ids: Sequence[int]) -> list[TokenLogprob] | None:
        """Return the log-probabilities of a row's tokens; None if the row does not request them."""
        count = self._counts[row]
        if count is None or self._last is None:
            return None
        found = []
        for step, token in enumerate(ids):
            last = step == len(self._chosen)
            value = self._last[row, token] if last else self._chosen[step][row]
            top_ids, values = (one[row, :count].tolist() for one in self._tops[step])
            found.append(TokenLogprob(token, float(value), tuple(zip(top_ids, values, strict=True))))
        return found


def with_logprobs(
    completion: Completion, choices: RowChoices | None, recorder: LogprobRecorder | None, row: int
) -> Completion:
    """Return an answer with the log-probabilities of its row, if they were kept.

    Args:
        completion: the answer.
        choices: logits processor that chose the tokens, or None.
        recorder: recorder of log-probabilities, or None.
        row: the answer's row in both.
    """
    found = None if choices is None else choices.samplers[row].logprobs
    if recorder is not None:
        found = recorder.row(row, completion.ids)
    return completion if found is None else replace(completion, logprobs=found[: len(completion.ids)])
