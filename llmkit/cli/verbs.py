"""The verbs, each a module of `llmkit.cli` that is imported when the verb is called, and not before."""

from __future__ import annotations

import importlib
from types import ModuleType

from llmkit.cli.common import help

ABOUT = "Load, use, train and evaluate the language models that you run yourself."
SECTIONS = {
    "Use a model": {
        "generate": "Continue a prompt, or a file of prompts, with a language model.",
        "translate": "Translate a text of any length, documents, or a file of texts, and keep their layout.",
        "chat": "Talk with a chat model in the terminal, or answer a message or a file of conversations.",
        "qa": "Answer questions from texts and documents, with an extractive or a chat model.",
        "summarize": "Summarize texts and documents, with a model or by their own sentences.",
        "embed": "Make a vector of a text, or of each row of a file, with an encoder.",
    },
    "Serve a model": {
        "serve": "Serve models over HTTP, to programs that speak OpenAI's or ollama's API.",
    },
    "Train a model": {
        "pretrain": "Train a language model from scratch on a text corpus.",
        "finetune": "Train a model further on rows of examples: a LoRA adapter, or the whole model.",
        "merge": "Merge a LoRA adapter into its base model, and measure what that changes.",
        "quantize": "Save a model with its weights in 8 or 4 bits, and measure what that changes.",
        "convert": "Convert a model to another format, and prove that the result answers alike.",
    },
    "Evaluate": {
        "eval": "Score predictions or a model, with confidence intervals.",
        "bias": "Measure the bias of a model on published sets, swapped terms or prompts about groups.",
    },
    "Inspect": {
        "explain": "Score the words of a text by their part in a model's prediction.",
        "estimate": "Estimate the memory, time and price of a model, before it is downloaded or loaded.",
        "bench": "Measure the speed and memory of a model, beside the machine's limits and other programs.",
        "kernels": "List, verify or time attention kernels.",
        "models": "List, describe, download, remove and check models.",
        "doctor": "Show versions, devices, and anything missing with the command that installs it.",
    },
}
VERBS = {verb: about for section in SECTIONS.values() for verb, about in section.items()}


def module(verb: str) -> ModuleType:
    """Import and return the module of a verb: its function `run`, and its list `EXAMPLES`."""
    return importlib.import_module(f"llmkit.cli.{verb}")


def page(verb: str | None) -> str:
    """Return the help page of a verb, or with None that of llmkit itself, as wide as the terminal."""
    width = help.width_of_terminal()
    if verb is None:
        return help.root_page(ABOUT, SECTIONS, width)
    found = module(verb)
    return help.verb_page(verb, found.run, found.EXAMPLES, width)


def asked_page(arguments: list[str]) -> str | None:
    """Return the help page if a command line asks for one and nothing else.

    `llmkit help` and `llmkit help VERB` ask for one too. Such a line needs no parser: Typer, and pydantic
    under it, take most of the time of a help page.
    """
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    *verb, last = arguments or [""]
    if last not in {"-h", "--help"} or len(verb) > 1 or (verb and verb[0] not in VERBS):
        return None
    return page(verb[0] if verb else None)
