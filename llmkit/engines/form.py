"""`Form`: required form of answers, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """Required form of answers; `engines.structured` turns it into a constraint.

    Attributes:
        kind: ``json`` (any object), ``schema`` (JSON schema), ``regex``, ``grammar`` (Lark) or ``choice``.
        value: the schema as Python objects, the expression, the grammar, or a list of the choices.
    """

    kind: str
    value: Any = None
