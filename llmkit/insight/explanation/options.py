"""`ExplainOptions`: the choices of `llmkit.explain`, checked."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.errors import OptionError, check_seed, did_you_mean, one_line

METHODS = ("occlusion", "ig", "attnlrp", "lens", "components")
UNITS = ("token", "word", "sentence")
TASKS = ("generate", "qa", "translate", "summarize")
RULES = ("gauss-legendre", "midpoint")
_REFUSED = {
    "attention": "is not an explanation: in tests, it ranked the important words no better than chance",
    "rollout": "is not an explanation: in tests, it ranked the important words no better than chance",
    "gradient": "is not an explanation: gradient x input is 0 before an RMSNorm, which ignores the scale of"
    " its input",
    "saliency": "is not an explanation: gradient x input is 0 before an RMSNorm, which ignores the scale of"
    " its input",
}
_INSTEAD = "; use occlusion or ig"


@dataclass(frozen=True)
class ExplainOptions:
    """Options of `explain`.

    Attributes:
        method: ``occlusion`` (removes each unit in turn), ``ig`` (integrated gradients), ``attnlrp``
            (relevance propagation), ``lens`` (logit lens) or ``components`` (parts of the logit by head and
            MLP). None takes occlusion up to 64 units, and integrated gradients above.
        unit: ``token``, ``word`` or ``sentence``; None takes sentences for summaries, and words otherwise.
        target: text whose prediction is explained; None takes what the model itself says.
        instead_of: text that the target is compared with.
        target_tokens: tokens of the model's own continuation that are explained; for the task `generate`.
        task: ``generate``, ``qa``, ``translate`` or ``summarize``.
        question: the question about the text, for `qa`.
        source, target_language: languages of `translate`.
        baseline: token that replaces removed pieces; None takes the pad, end or unknown token.
        steps: first number of steps of integrated gradients; doubled where the path needs it until the
            completeness error is below 1 %.
        rule: quadrature of integrated gradients: ``gauss-legendre`` or ``midpoint``.
        check: measure comprehensiveness and sufficiency.
        orders: random orders that these are compared with.
        chat: put the text into the model's chat template; None does so if it has one.
        system: system message of the chat.
        seed: seed of the random orders.

    Raises:
        OptionError: a value is unknown or out of range.
    """

    method: str | None = None
    unit: str | None = None
    target: str | None = None
    instead_of: str | None = None
    target_tokens: int = 1
    task: str = "generate"
    question: str | None = None
    source: str | None = None
    target_language: str | None = None
    baseline: str | None = None
    steps: int = 32
    rule: str = "gauss-legendre"
    check: bool = True
    orders: int = 5
    chat: bool | None = None
    system: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, reason in _REFUSED.items():
            if self.method is not None and self.method.lower().startswith(name):
                raise OptionError("method", f"{one_line(self.method, 40)} {reason}{_INSTEAD}")
        _check_choice("method", self.method, METHODS)
        _check_choice("unit", self.unit, UNITS)
        _check_choice("task", self.task, TASKS)
        _check_choice("rule", self.rule, RULES)
        for option, low, high in (("steps", 2, 4096), ("orders", 1, 1000), ("target_tokens", 1, 1024)):
            if not low <= getattr(self, option) <= high:
                raise OptionError(option, f"must be between {low} and {high:,}")
        check_seed(self.seed)
        if self.baseline is not None and self.baseline.lower() in {"zero", "0", "mean"}:
            raise OptionError(
                "baseline",
                "must be a token: the zero vector and the mean of all embeddings are no input that the model"
                " knows, and integrated gradients from them do not add up",
            )
        for option in ("target", "instead_of"):
            if getattr(self, option) is not None and not getattr(self, option):
                raise OptionError(option, "is empty")
        if self.instead_of is not None and self.target == self.instead_of:
            raise OptionError("instead_of", "is the target itself; give another text")
        if self.target is not None and self.target_tokens != 1:
            raise OptionError("target_tokens", "is for the model's own continuation; omit it with a target")
        self._check_task()

    def _check_task(self) -> None:
        if self.question is not None and self.task != "qa":
            raise OptionError("question", "is for the task qa")
        for option in ("source", "target_language"):
            if getattr(self, option) is not None and self.task != "translate":
                raise OptionError(option, "is for the task translate")
        if self.task != "generate":
            for option in ("chat", "system"):
                if getattr(self, option) is not None:
                    raise OptionError(option, "is for the task generate")
            if self.target_tokens != 1:
                raise OptionError("target_tokens", "is for the task generate")


def _check_choice(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        hint = did_you_mean(value, known)
        raise OptionError(option, f"must be {', '.join(known[:-1])} or {known[-1]}{hint}")
