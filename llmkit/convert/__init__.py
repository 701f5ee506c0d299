"""Convert a model to another format, with a proof: `convert` gives a `ConvertResult`."""

from llmkit.convert.conversion import convert
from llmkit.convert.result import ConvertResult

__all__ = ["ConvertResult", "convert"]
