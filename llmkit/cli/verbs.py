"""The verbs: modules of `llmkit.cli`, each imported only when the verb is called."""

from __future__ import annotations

import importlib
from types import ModuleType

from llmkit.cli.common import help

ABOUT = "Load, use, train and evaluate the language models that you run yourself."
SECTIONS = {
    "Use a model": {
        "generate": "Continue a prompt, or a file of prompts, with a language model.",
        "translate": "Translate a text of any length, documents, or a file of texts, and keep the layout.",
        "chat": "Chat with a model in the terminal, or answer a message or a file of conversations.",
        "qa": "Answer questions about texts and documents, with an extractive or a chat model.",
        "summarize": "Summarize texts and documents, with a model or by selecting sentences.",
        "embed": "Compute the embedding of a text, or of each row of a file, with an encoder.",
    },
    "Serve a model": {
        "serve": "Serve models over HTTP, with OpenAI's and ollama's APIs.",
    },
    "Train a model": {
        "pretrain": "Train a language model from scratch on a text corpus.",
        "finetune": "Finetune a model on rows of examples: a LoRA adapter, or the whole model.",
        "merge": "Merge a LoRA adapter into its base model, and measure the change.",
        "quantize": "Quantize the weights of a model to 8 or 4 bits, and measure the change.",
        "convert": "Convert a model to another format, and compare its outputs with the source.",
    },
    "Evaluate": {
        "eval": "Score predictions or a model, with confidence intervals.",
        "bias": "Measure the bias of a model on published sets, swapped terms or prompts about groups.",
    },
    "Inspect": {
        "explain": "Compute the contribution of each word of a text to a model's prediction.",
        "estimate": "Estimate the memory, time and price of a model before download and loading.",
        "bench": "Measure speed and memory of a model, and compare with limits and other programs.",
        "kernels": "List, verify or benchmark attention kernels.",
        "models": "List, describe, download, remove and check models.",
        "doctor": "Show versions, devices, and missing packages with their install commands.",
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
    """Return the help page if a command line asks only for help.

    `llmkit help` and `llmkit help VERB` ask for help too. Such a line needs no parser: importing Typer and
    pydantic would take most of the time.
    """
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    *verb, last = arguments or [""]
    if last not in {"-h", "--help"} or len(verb) > 1 or (verb and verb[0] not in VERBS):
        return None
    return page(verb[0] if verb else None)
