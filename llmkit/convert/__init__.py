"""Convert a model to another format and check it: `convert` returns a `ConvertResult`."""

from llmkit.convert.conversion import convert
from llmkit.convert.result import ConvertResult

__all__ = ["ConvertResult", "convert"]
