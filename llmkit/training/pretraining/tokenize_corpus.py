"""Turn a corpus into a folder of token ids, in one pass with little memory.

Public: `open_corpus`, `OpenedCorpus`, `write`, `Counts`, `counts_in`, `identities`, and names of the files.

The folder has the tokenizer, the ids of both sides, and `corpus.json`, which is written last: with it the
folder is complete, and a resumed run does not read the corpus again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.records.disk import writing
from llmkit.records.read import has_rows, identity_of
from llmkit.training.pretraining.corpus import Corpus, Skipped
from llmkit.training.pretraining.fit import vocabulary
from llmkit.training.pretraining.split import Split, choose_split
from llmkit.training.pretraining.token_file import TokenWriter, batches, id_dtype

if TYPE_CHECKING:
    from llmkit.training.pretraining.recipe import PretrainRecipe

TOKENIZER, TRAIN, HELD_OUT, LENGTHS = "tokenizer", "train.bin", "held_out.bin", "held_out.lengths"
_INFO = "corpus.json"
# Number of characters to encode at a time: `tokenizers` needs about 200 bytes per token.
_BATCH = 1 << 20

OnRead = Callable[[int, int], None]


@dataclass(frozen=True)
class Counts:
    """Counts of a corpus.

    Attributes:
        documents, tokens: size of the training side, boundaries included.
        held_out_documents, held_out_tokens, held_out_bytes: size of the held-out side.
        skipped: bad rows and documents of both sides.
        digest: SHA-256 of the documents; a resumed run compares it to recognize its corpus.
        tails: the held-out documents are the ends of the training documents.
    """

    documents: int
    tokens: int
    held_out_documents: int
    held_out_tokens: int
    held_out_bytes: int
    skipped: int
    digest: str
    tails: bool


@dataclass(frozen=True)
class OpenedCorpus:
    """A corpus with the choices made from its beginning.

    Attributes:
        corpus: the corpus, not read yet.
        held_out: separate corpus of held-out documents, or None.
        split: rule that holds documents out of `corpus`; with `held_out` it holds out no document.
        tokenizer: tokenizer, trained on the training side of the beginning or loaded.
    """

    corpus: Corpus
    held_out: Corpus | None
    split: Split
    tokenizer: Any

    @property
    def skipped(self) -> list[Skipped]:
        """Rows and documents left out so far, for each corpus."""
        return [one.skipped for one in (self.corpus, self.held_out) if one is not None]

    def documents(self) -> Iterator[tuple[str, bool]]:
        """Yield all documents, or their beginnings and ends, each with True if it is held out."""
        for text in self.corpus:
            yield from self.split.parts(text)
        for text in self.held_out or ():
            yield text, True


def open_corpus(
    corpus: Sequence[str | Path], recipe: PretrainRecipe, kind: str, eval_data: str | Path | None
) -> OpenedCorpus:
    """Read the beginning of a corpus: choose the documents to hold out, and train the tokenizer.

    Args:
        corpus: files or datasets (see `corpus.Corpus`).
        recipe: options of the run.
        kind: kind of the architecture.
        eval_data: held-out documents, in place of a share of the corpus.

    Raises:
        InputError: an option is bad, or the sources cannot be read or are too small.
    """
    from llmkit.training.pretraining.tokenizer import load_tokenizer, train_tokenizer

    def opened(sources: Sequence[str | Path], limit: int | None = None) -> Corpus:
        return Corpus(
            sources,
            separator=recipe.separator,
            whole=recipe.whole,
            field=recipe.field if any(map(has_rows, sources)) or sources is corpus else None,
            on_error=recipe.on_error,
            limit=limit,
            encoding=recipe.encoding,
        )

    read, held_out = opened(corpus, recipe.limit), opened([eval_data]) if eval_data else None
    head, complete = read.head(recipe.tokenizer_text * 10**6)
    split = choose_split(head, 0 if held_out else recipe.eval_split, recipe.seed, complete=complete)
    if recipe.tokenizer == "train":
        kept = list(split.training(head))
        tokenizer = train_tokenizer(kept, vocabulary(recipe, kept), recipe.max_length, kind)
    else:
        tokenizer = load_tokenizer(recipe.tokenizer, kind)
    return OpenedCorpus(read, held_out, split, tokenizer)


def write(
    opened: OpenedCorpus, sources: list[Any], boundary: int, folder: Path | None, on_read: OnRead
) -> Counts:
    """Read the whole corpus as token ids into an empty folder, or only count them.

    Args:
        opened: result of `open_corpus`; its corpus is exhausted afterwards.
        sources: result of `identities`.
        boundary: id between documents.
        folder: folder, made if it does not exist; None only counts.
        on_read: called now and then with documents and characters read.

    Raises:
        InputError: a source cannot be read.
        LLMKitError: the disk is full; the folder is removed.
    """
    if folder is None:
        return _encode(opened, boundary, None, on_read)
    try:
        with writing(folder, folder, "the corpus's token ids need 2 to 4 bytes each there"):
            folder.mkdir(parents=True, exist_ok=True)
            counts = _encode(opened, boundary, folder, on_read)
            opened.tokenizer.save_pretrained(folder / TOKENIZER)
            info = {**dataclasses.asdict(counts), "sources": sources, "files": _files(folder)}
            text = json.dumps(info | {"sha256": _digest(info)}, indent=2)
            (folder / _INFO).write_text(text + "\n", encoding="utf-8")
        return counts
    finally:
        if not (folder / _INFO).exists():
            shutil.rmtree(folder, ignore_errors=True)


def counts_in(folder: Path, sources: list[Any] | None = None) -> Counts | None:
    """Return the counts in a folder of `write`; None if it is incomplete, or was made from other sources."""
    try:
        info = json.loads((folder / _INFO).read_text(encoding="utf-8"))
        if info.pop("sha256") != _digest(info):
            return None
        if sources not in (None, info.pop("sources")) or info.pop("files") != _files(folder):
            return None
        return Counts(**info)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def identities(corpus: Sequence[str | Path], eval_data: str | Path | None) -> list[Any]:
    """Return the identities of the sources, as JSON.

    Raises:
        InputError: a source does not exist.
    """
    return [identity_of(source) for source in (*corpus, *([eval_data] if eval_data else []))]


def _encode(opened: OpenedCorpus, boundary: int, folder: Path | None, on_read: OnRead) -> Counts:
    from llmkit.training.pretraining.tokenizer import encode

    def path(name: str) -> Path | None:
        return folder / name if folder else None

    dtype = id_dtype(len(opened.tokenizer))
    sides = (
        TokenWriter(path(TRAIN), dtype, boundary),
        TokenWriter(path(HELD_OUT), dtype, boundary, path(LENGTHS)),
    )
    documents, size, characters, digest = [0, 0], 0, 0, hashlib.sha256()
    for batch in batches(opened.documents(), _BATCH):
        ids = encode(opened.tokenizer, [text for text, _ in batch])
        for held in (False, True):
            part = [row for row, (_, side) in zip(ids, batch, strict=True) if side == held]
            sides[held].add(part)
            documents[held] += len(part)
        for text, held in batch:
            raw = text.encode()
            digest.update(b"%d %d\n" % (held, len(raw)) + raw)
            size += len(raw) if held else 0
            characters += len(text)
        on_read(sum(documents), characters)
    for side in sides:
        side.close()
    return Counts(
        *(documents[0], sides[0].count, documents[1], sides[1].count, size),
        skipped=sum(skipped.count for skipped in opened.skipped),
        digest=digest.hexdigest(),
        tails=bool(opened.split.tail),
    )


def _digest(info: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, because a disk can damage any byte."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.name != _INFO and file.is_file():
            with file.open("rb") as stream:
                found[str(file.relative_to(folder))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
