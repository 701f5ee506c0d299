"""The explained number as a function of the input's embeddings, for each kind of model.

A scorer maps embeddings [rows, tokens, hidden] to the score of each part of the target [rows, parts]. It
works on embeddings throughout, so that occlusion and integrated gradients see the same function, and so that
no model derives positions or masks from the ids of the baseline token.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.errors import InputError
from llmkit.runtime.memory import run_halving

if TYPE_CHECKING:
    import numpy as np
    import torch

    from llmkit.insight.explanation.case import Branch, PredictionCase
    from llmkit.runtime.load import LoadedModel

_CPU_TOKENS = 4096
_GPU_TOKENS = 65_536
_SMALL = 1e-3  # of the mean length: an embedding shorter than this is a zero vector that was never trained


class Scorer(Protocol):
    """The explained number of one case.

    Attributes:
        embeddings: of the source, [tokens, hidden], without gradient.
        prefix: of the decoder's input, or of the target's tokens but the last, [tokens, hidden].
        rows: texts of the parts of the target.
    """

    embeddings: torch.Tensor
    prefix: torch.Tensor

    @property
    def rows(self) -> tuple[str, ...]: ...

    def scores(self, source: torch.Tensor, prefix: torch.Tensor | None = None) -> torch.Tensor:
        """Return the score of each part of the target, [rows, parts], with its gradient.

        Args:
            source: [rows, tokens, hidden].
            prefix: [rows, tokens, hidden]; None takes the target's own.
        """


class SequenceScorer:
    """Log-probability, or logit, of the tokens of a target after a source.

    With a foil there is one part: the score of the target less that of the foil. For single tokens that is
    the difference of their logits.

    Args:
        loaded: a decoder-only or encoder-decoder model.
        case: the case.
        logit: score logits in place of log-probabilities.

    Raises:
        InputError: the model takes no embeddings.
    """

    def __init__(self, loaded: LoadedModel, case: PredictionCase, *, logit: bool = False) -> None:
        self.model: Any = loaded.model
        self.logit = logit
        self._seq2seq = loaded.is_encoder_decoder
        self._parameters = _parameters(loaded)
        if "inputs_embeds" not in self._parameters:
            raise InputError(
                f"{loaded.spec.name} does not accept embeddings as input, so its predictions cannot be"
                " explained"
            )
        self._case = case
        self._device = loaded.device
        self.embeddings = embed(self.model.get_input_embeddings(), case.source, loaded.device)
        self._prefixes = [self._embed_prefix([*case.start, *branch.ids[:-1]]) for branch in case.branches]
        self.prefix = self._prefixes[0]
        self._single = all(len(branch.ids) == 1 for branch in case.branches)
        self.rows = case.target.tokens if case.foil is None else (case.target.text,)

    def scores(self, source: torch.Tensor, prefix: torch.Tensor | None = None) -> torch.Tensor:
        """Return the score of each part of the target; see `Scorer`."""
        target, foil = self._case.target, self._case.foil
        first = self._logits(source, self._prefixes[0] if prefix is None else prefix, len(target.ids))
        if foil is None:
            return self._chosen(first, target)
        if self._single:
            # log p(a) - log p(b) is the difference of the logits, without the rounding of the softmax.
            return first[:, :, target.ids[0]] - first[:, :, foil.ids[0]]
        second = self._logits(source, self._prefixes[1], len(foil.ids))
        difference = self._chosen(first, target).sum(1) - self._chosen(second, foil).sum(1)
        return difference[:, None]

    def distribution(self, branch: int = 0) -> torch.Tensor:
        """Return the logits for the text as it is, [parts, vocabulary]; 1 is the foil's branch."""
        import torch

        count = len(self._case.branches[branch].ids)
        with torch.inference_mode():
            return self._logits(self.embeddings[None], self._prefixes[branch], count)[0]

    def _chosen(self, logits: torch.Tensor, branch: Branch) -> torch.Tensor:
        import torch

        values = logits if self.logit else logits.log_softmax(-1)
        wanted = torch.tensor(branch.ids, device=values.device)[None, :, None]
        return values.gather(2, wanted.expand(len(values), -1, -1))[:, :, 0]

    def _logits(self, source: torch.Tensor, prefix: torch.Tensor, count: int) -> torch.Tensor:
        """Return the logits at the last `count` positions, [rows, count, vocabulary] in float32."""
        import torch

        if prefix.dim() == 2:
            prefix = prefix[None].expand(len(source), -1, -1)
        more: dict[str, Any] = {"use_cache": False} if "use_cache" in self._parameters else {}
        if self._seq2seq:
            named = {"inputs_embeds": source, "decoder_inputs_embeds": prefix}
        else:
            named = {"inputs_embeds": torch.cat([source, prefix], dim=1)}
            if "logits_to_keep" in self._parameters:
                more["logits_to_keep"] = count
        length = named["inputs_embeds"].shape[1]
        mask = torch.ones(len(source), length, dtype=torch.long, device=source.device)
        output = self.model(**named, attention_mask=mask, **more)
        return output.logits[:, -count:].float()

    def _embed_prefix(self, ids: Sequence[int]) -> torch.Tensor:
        if not ids:  # a quantized embedding looks up nothing of nothing
            return self.embeddings[:0]
        layer = self.model.get_input_embeddings()
        if self._seq2seq:
            layer = self.model.get_decoder().get_input_embeddings()
        return embed(layer, ids, self._device)


class SpanScorer:
    """Log-probability of an answer's first and last token in an extractive model.

    Each is a softmax over the context's tokens and the token for "no answer", as in `llmkit qa`.

    Args:
        loaded: an extractive question-answering model.
        case: a case with `candidates`; its branches contain positions.
    """

    def __init__(self, loaded: LoadedModel, case: PredictionCase) -> None:
        import torch

        self.model: Any = loaded.model
        self._case = case
        self._parameters = _parameters(loaded)
        self.embeddings = embed(self.model.get_input_embeddings(), case.source, loaded.device)
        self.prefix = self.embeddings[:0]
        self._candidates = torch.tensor(case.candidates, device=loaded.device)
        self.rows = ("start", "end") if case.foil is None else (case.target.text,)

    def scores(self, source: torch.Tensor, prefix: torch.Tensor | None = None) -> torch.Tensor:
        """Return the score of the answer's two ends; see `Scorer`."""
        import torch

        shape = source.shape[:2]
        named: dict[str, Any] = {"inputs_embeds": source}
        named["attention_mask"] = torch.ones(shape, dtype=torch.long, device=source.device)
        if self._case.types is not None and "token_type_ids" in self._parameters:
            types = torch.tensor(self._case.types, device=source.device)
            named["token_type_ids"] = types[None].expand(shape)
        output = self.model(**named)
        ends = [output.start_logits.float(), output.end_logits.float()]
        logs = [one[:, self._candidates].log_softmax(-1) for one in ends]
        places = {position: i for i, position in enumerate(self._case.candidates)}
        found = [
            torch.stack([log[:, places[at]] for log, at in zip(logs, branch.ids, strict=True)], 1)
            for branch in self._case.branches
        ]
        return found[0] if len(found) == 1 else (found[0].sum(1) - found[1].sum(1))[:, None]


class UnitRemoval:
    """Replaces positions of the source by the baseline's embedding, and keeps each result.

    Args:
        scorer: the explained number.
        baseline: [hidden], the embedding of the baseline token.
        tokens_at_once: tokens in one forward pass; None takes as many as suit the device.
    """

    def __init__(self, scorer: Scorer, baseline: torch.Tensor, tokens_at_once: int | None = None) -> None:
        gpu = scorer.embeddings.device.type == "cuda"
        self.scorer = scorer
        self.baseline = baseline
        self._tokens = tokens_at_once or (_GPU_TOKENS if gpu else _CPU_TOKENS)
        self._kept: dict[frozenset[int], np.ndarray] = {}

    def scores(self, removed: Sequence[Collection[int]]) -> np.ndarray:
        """Return the parts' scores with some positions removed: [cases, parts] in float64.

        Raises:
            OutOfMemory: a single case does not fit.
        """
        import numpy as np

        keys = [frozenset(one) for one in removed]
        waiting = [key for key in dict.fromkeys(keys) if key not in self._kept]
        length = len(self.scorer.embeddings) + len(self.scorer.prefix)
        rows = max(self._tokens // max(length, 1), 1)
        for batch, found in run_halving(waiting, rows, self._run):
            self._kept |= dict(zip(batch, found, strict=True))
        return np.stack([self._kept[key] for key in keys])

    def replaced(self, removed: Collection[int]) -> torch.Tensor:
        """Return the source's embeddings with some positions replaced, [tokens, hidden]."""
        changed = self.scorer.embeddings.clone()
        changed[sorted(removed)] = self.baseline
        return changed

    def _run(self, batch: Sequence[frozenset[int]]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            source = torch.stack([self.replaced(one) for one in batch])
            return self.scorer.scores(source).double().cpu().numpy()


def embed(layer: Any, ids: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return the embeddings of ids as the model looks them up, [tokens, hidden], without gradient."""
    import torch

    with torch.no_grad():
        found: torch.Tensor = layer(torch.tensor(list(ids), dtype=torch.long, device=device))
    return found.detach()


def choose_baseline(loaded: LoadedModel, wanted: str | None) -> tuple[int, str]:
    """Return the token that replaces removed pieces: its id and its text.

    The first of the pad, end, unknown, mask, separator and start tokens whose embedding was trained: an
        embedding of zeros is no baseline, because a norm divides by its length.

    Args:
        loaded: the model.
        wanted: a token that the user names; None chooses.

    Raises:
        InputError: `wanted` is no single token.
    """
    tokenizer = loaded.tokenizer
    layer: Any = loaded.model.get_input_embeddings()
    if wanted is not None:
        ids = tokenizer(wanted, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise InputError(
                f"`baseline` must be one token, and {wanted!r} has {len(ids)} of them in {loaded.spec.name}"
            )
        return int(ids[0]), wanted
    rows = int(layer.weight.shape[0])
    # The first rows tell the usual length; a vocabulary may have 256,000.
    usual = float(embed(layer, range(min(rows, 2048)), loaded.device).float().norm(dim=-1).mean())
    for kind in ("pad", "eos", "unk", "mask", "sep", "bos"):
        number = getattr(tokenizer, f"{kind}_token_id", None)
        if not isinstance(number, int) or number >= rows:
            continue
        if float(embed(layer, [number], loaded.device).float().norm()) > _SMALL * usual:
            return number, str(tokenizer.convert_ids_to_tokens(number))
    raise InputError(
        f"the tokenizer of {loaded.spec.name} has no pad, end or unknown token with a trained embedding;"
        " give one with `baseline`"
    )


def _parameters(loaded: LoadedModel) -> Any:
    base: Any = getattr(loaded.model, "get_base_model", lambda: loaded.model)()
    return inspect.signature(base.forward).parameters
