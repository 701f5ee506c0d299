"""Make translations use the terms of a glossary.

A passage whose translation lacks a term is changed in five ways until one holds it. A term that the
translation keeps as it is, as it does with names, is replaced there. Where the model aligns words, the draft
is kept up to the words that came from the term, then comes the term, and the model writes the rest again; or
the term takes the place of those words. Else the passage is translated with the term's translation in place
of the term, and at last piece by piece between the terms.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmkit.errors import RowError
from llmkit.records.batches import Budget
from llmkit.tasks.alignment import AlignedPassage, WordAligner, WordPairs
from llmkit.tasks.sub_batches import run_prompts
from llmkit.text.layout import TextLayout
from llmkit.text.words import count_words, word_border

if TYPE_CHECKING:
    from llmkit.tasks.prompts import Prompt
    from llmkit.tasks.translation import Translation
    from llmkit.tasks.translation_types import TranslationInput, TranslationResult
    from llmkit.text.documents.terms import Glossary

_ROUNDS = 4  # terms of a passage that are put in one at a time


@dataclass
class _Draft:
    """A passage whose translation lacks terms.

    Attributes:
        passage: its text, prompt and present translation.
        missing: terms that the translation lacks, each with the number of missing places.
        where: its place, for errors.
    """

    passage: AlignedPassage
    missing: Counter[str]
    where: str


@dataclass(frozen=True)
class _Place:
    """The words from `start` to `end` of a draft that came from a term, and the expected words."""

    start: int
    end: int
    wanted: str


def replace_kept(text: str, kept: Sequence[tuple[str, str]]) -> str:
    """Replace words of a text, each as often as it is given; a word inside its own translation stays.

    Args:
        text: the text.
        kept: a word and its translation, for each place to replace.
    """
    translations, left = dict(kept), Counter(word for word, _ in kept)
    if not translations:
        return text
    # Of those that begin at one place, the longest is found.
    known = sorted({*translations, *translations.values()}, key=len, reverse=True)

    def put(found: re.Match[str]) -> str:
        word = found[0]
        if not left[word]:
            return word
        left[word] -= 1
        return translations[word]

    return re.sub(f"{word_border()}(?:{'|'.join(map(re.escape, known))}){word_border()}", put, text)


def has_word(text: str, word: str) -> bool:
    """Return True if a text has a word, in any case, without letters that a model wrote after it."""
    return re.search(re.escape(word) + word_border(), text, re.IGNORECASE) is not None


def repeats(text: str, draft: str, put_in: Sequence[str]) -> bool:
    """Return True if a text has more words than its draft with others in place of words: it repeats itself.

    Args:
        text: the text.
        draft: the text before.
        put_in: the words that were put in; each takes the place of at least one word of the draft.
    """
    return count_words(text) >= count_words(draft) + sum(map(count_words, put_in))


class GlossaryEnforcer:
    """Translate passages again until they contain the terms of a glossary.

    Args:
        translation: translates texts.
        glossary: the terms.
    """

    def __init__(self, translation: Translation, glossary: Glossary) -> None:
        self.translation = translation
        self.glossary = glossary
        engine, direction = translation.generation.engine, translation.direction
        possible = WordAligner.possible(engine, direction) and "answer_prefix" in engine.abilities
        self.aligner = WordAligner(engine, direction) if possible else None
        if direction.message is not None:
            translation.hint = self._hint

    def _hint(self, passage: str) -> str:
        """Return the sentence that asks a chat model for the terms of a passage."""
        used = self.glossary.used(passage)
        pairs = ", ".join(f'"{term}" as "{self.glossary.entries[term]}"' for term in used)
        return f"Translate {pairs}.\n\n" if pairs else ""

    def enforce(
        self, documents: Sequence[TranslationInput], results: Sequence[TranslationResult], budget: Budget
    ) -> list[TranslationResult]:
        """Return the results with the terms in them where a way was found.

        Args:
            documents: from `Translation.document`.
            results: their translations.
            budget: how much one call of the model may hold.
        """
        texts = [
            [result.text[start:end] for start, end in result.passages] for result in results
        ]  # [document][passage]
        for way in (
            self._where_kept,
            self._after_the_draft,
            self._in_the_draft,
            self._in_the_source,
            self._around,
        ):
            drafts = list(self._drafts(documents, texts))
            if not drafts:
                break
            for (i, j, draft), new in zip(drafts, way([one for _, _, one in drafts], budget), strict=True):
                if self.glossary.missing(draft.passage.source, new).total() < draft.missing.total():
                    texts[i][j] = new
        return [
            self._filled(document, result, mine)
            for document, result, mine in zip(documents, results, texts, strict=True)
        ]

    def _drafts(
        self, documents: Sequence[TranslationInput], texts: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, int, _Draft]]:
        for i, document in enumerate(documents):
            for j, (source, prompt) in enumerate(
                zip(document.layout.passages, document.prompts, strict=True)
            ):
                missing = self.glossary.missing(source, texts[i][j])
                if missing:
                    yield i, j, _Draft(AlignedPassage(source, prompt, texts[i][j]), missing, document.where)

    def _where_kept(self, drafts: Sequence[_Draft], budget: Budget) -> list[str]:
        """Replace terms that stand untranslated in the drafts."""
        texts = []
        for draft in drafts:
            source = draft.passage.source
            kept = [
                (source[start:end], self.glossary.entries[term])
                for start, end, term in self.glossary.places(source)
                if term in draft.missing
            ]
            texts.append(replace_kept(draft.passage.target, kept))
        return texts

    def _after_the_draft(self, drafts: Sequence[_Draft], budget: Budget) -> list[str]:
        """Force the terms into the drafts, one in each round, from the first on."""
        texts = [draft.passage.target for draft in drafts]
        if self.aligner is None:
            return texts
        open_ = list(range(len(drafts)))
        for _ in range(_ROUNDS):
            open_ = [i for i in open_ if self.glossary.unmet(drafts[i].passage.source, texts[i])]
            now = [replace(drafts[i].passage, target=texts[i]) for i in open_]
            prompts: dict[int, Prompt] = {}
            for i, passage, pairs in zip(open_, now, self.aligner.align(now), strict=True):
                place = self._place(passage, pairs)
                if place is not None:
                    begun = passage.target[: place.start] + place.wanted
                    ids = self.aligner.target_ids(begun)[:-1]  # without the end token
                    prompts[i] = replace(passage.prompt, answer_prefix=tuple(ids))
            if not prompts:
                break
            results = run_prompts(self.translation.generation.run, [*prompts.values()], budget)
            open_ = []  # a draft that stays the same would get the same text again
            for i, result in zip(prompts, results, strict=True):
                new, source = " ".join(result.text.split()), drafts[i].passage.source
                before, after = self.glossary.missing(source, texts[i]), self.glossary.missing(source, new)
                put_in = [self.glossary.entries[term] for term in (before - after).elements()]
                written = after.total() < before.total() and all(has_word(new, one) for one in put_in)
                if written and not repeats(new, texts[i], put_in):
                    texts[i] = new
                    open_.append(i)
        return texts

    def _in_the_draft(self, drafts: Sequence[_Draft], budget: Budget) -> list[str]:
        """Put the terms in the place of the words that came from them."""
        texts = [draft.passage.target for draft in drafts]
        if self.aligner is None:
            return texts
        for i, draft in enumerate(drafts):
            for _ in range(_ROUNDS):
                passage = replace(draft.passage, target=texts[i])
                (pairs,) = self.aligner.align([passage])
                place = self._place(passage, pairs)
                if place is None:
                    break
                texts[i] = texts[i][: place.start] + place.wanted + texts[i][place.end :]
        return texts

    def _place(self, passage: AlignedPassage, pairs: WordPairs) -> _Place | None:
        """Return the first place in a draft where a term that it lacks belongs."""
        missing = self.glossary.missing(passage.source, passage.target)
        places = []
        for start, end, term in self.glossary.places(passage.source):
            there = sorted(to for of, to in pairs if start < of[1] and of[0] < end)
            if term not in missing or not there:
                continue
            at, stop = there[0]
            for a, b in there[1:]:
                if not passage.target[stop:a].strip():  # the next word
                    stop = b
            wanted = self.glossary.entries[term]
            if passage.target[at:].casefold().startswith(wanted.casefold()):
                continue  # another place of the term lacks it
            places.append(_Place(at, stop, wanted[0].upper() + wanted[1:] if at == 0 else wanted))
        return min(places, key=lambda place: place.start, default=None)

    def _in_the_source(self, drafts: Sequence[_Draft], budget: Budget) -> list[str]:
        """Translate the passages with the terms' translations in them already."""
        return self._translated([self._replaced(draft.passage.source) for draft in drafts], drafts, budget)

    def _replaced(self, text: str) -> str:
        parts, last = [], 0
        for start, end, term in self.glossary.places(text):
            parts += [text[last:start], self.glossary.entries[term]]
            last = end
        return "".join([*parts, text[last:]])

    def _around(self, drafts: Sequence[_Draft], budget: Budget) -> list[str]:
        """Translate the pieces between the terms."""
        layouts = []
        for draft in drafts:
            source = draft.passage.source
            spans = [(start, end) for start, end, _ in self.glossary.places(source)]
            layouts.append(TextLayout(source, ((0, len(source)),)).without(spans))
        owners = [draft for draft, layout in zip(drafts, layouts, strict=True) for _ in layout.spans]
        pieces = [piece for layout in layouts for piece in layout.passages]
        translated = iter(self._translated(pieces, owners, budget))
        texts = []
        for layout in layouts:
            new = [next(translated).rstrip(".") or piece for piece in layout.passages]
            text, places = layout.filled_spans(new)
            # What is left between the pieces are the terms and the marks around them.
            borders = [0, *(border for place in places for border in place), len(text)]
            between = [self._replaced(text[a:b]) for a, b in zip(borders[::2], borders[1::2], strict=True)]
            inside = [text[a:b] for a, b in places]
            texts.append("".join(part for pair in zip(between, [*inside, ""], strict=True) for part in pair))
        return texts

    def _translated(self, texts: Sequence[str], owners: Sequence[_Draft], budget: Budget) -> list[str]:
        """Translate short texts; one that cannot be a prompt stays as it is."""
        prompts: dict[int, Prompt] = {}
        for i, (text, owner) in enumerate(zip(texts, owners, strict=True)):
            try:
                (prompts[i],) = self.translation.prompts_of([text], owner.passage.prompt.key, owner.where)
            except RowError:
                continue
        found = run_prompts(self.translation.generation.run, [*prompts.values()], budget) if prompts else []
        results = dict(zip(prompts, found, strict=True))
        return [" ".join(results[i].text.split()) if i in results else text for i, text in enumerate(texts)]

    def _filled(
        self, document: TranslationInput, result: TranslationResult, texts: Sequence[str]
    ) -> TranslationResult:
        if all(result.text[a:b] == text for (a, b), text in zip(result.passages, texts, strict=True)):
            return result
        text, passages = result.text, []
        parts, last, size = [], 0, 0
        for (start, end), new in zip(result.passages, texts, strict=True):
            parts += [text[last:start], new]
            size += start - last
            passages.append((size, size + len(new)))
            size += len(new)
            last = end
        return replace(result, texts=["".join([*parts, text[last:]]), *result.texts[1:]], passages=passages)
