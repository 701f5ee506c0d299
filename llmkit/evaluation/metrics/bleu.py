"""BLEU, chrF and TER. sacrebleu does the counting and the arithmetic.

Nothing here tokenizes: what is added to sacrebleu is that a corpus is scored row by row, and that the
tokenizer follows from the target language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.evaluation.metric import Example, Metric, choose, texts
from llmkit.evaluation.metrics.tokens import main_script

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix

TOKENIZERS = ("none", "zh", "13a", "char", "intl", "ja-mecab", "ko-mecab", "spm", "flores101", "flores200")
SMOOTHING = ("none", "floor", "add-k", "exp")

# By ISO 639-3; languages without spaces for which sacrebleu has no words are compared by character.
_TOKENIZER_OF = {
    "zho": "zh",
    "yue": "zh",
    "jpn": "ja-mecab",
    "kor": "ko-mecab",
    "tha": "char",
    "lao": "char",
    "khm": "char",
    "mya": "char",
    "bod": "char",
}
_TOKENIZER_OF_SCRIPT = {"han": "zh", "kana": "ja-mecab", "unspaced": "char"}
_PACKAGES = {"ja-mecab": ("MeCab", "llmkit[ja]"), "ko-mecab": ("mecab_ko", "sacrebleu[ko]")}


def bleu(
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    smooth: str = "exp",
    smooth_value: float | None = None,
    max_ngram_order: int = 4,
    effective_order: bool = False,
) -> Metric:
    """BLEU (Papineni et al. 2002), 0 to 100, with its n-gram precisions and brevity penalty as details.

    Args:
        tokenize: one of `TOKENIZERS`; `tokenizer_for` chooses by language.
        lowercase: compare without case.
        smooth: what is done about n-gram orders without a match, one of `SMOOTHING`.
        smooth_value: of `floor` and `add-k`; sacrebleu's default where None.
        max_ngram_order: the longest n-grams counted.
        effective_order: leave out orders for which there are no n-grams. A single row's score always
            does, or most short rows would score 0.

    Raises:
        InputError: an option's value is not one of those allowed, or the tokenizer's package is missing.
    """
    choose("--tokenize", tokenize, TOKENIZERS)
    choose("--smooth", smooth, SMOOTHING)
    from sacrebleu.metrics.bleu import BLEU

    options: dict[str, Any] = {
        "lowercase": lowercase,
        "smooth_method": smooth,
        "smooth_value": smooth_value,
        "max_ngram_order": max_ngram_order,
        "effective_order": effective_order,
        "force": True,  # without it sacrebleu writes to stderr when many rows end in " ."
    }
    scorer = _load_tokenizer(tokenize, lambda: BLEU(tokenize=tokenize, **options))
    alone = BLEU(tokenize="none", **{**options, "effective_order": True})

    def details(sums: Sequence[float]) -> dict[str, dict[str, float]]:
        score = scorer._compute_score_from_stats(list(sums))
        numbers = {f"precision_{n}": p for n, p in enumerate(score.precisions, 1)}
        lengths = {"system_length": score.sys_len, "reference_length": score.ref_len}
        return {"bleu": {**numbers, "brevity_penalty": score.bp, **lengths}}

    return Metric(
        name="bleu",
        scores=("bleu",),
        signature=_signature(scorer),
        statistics=_counts(scorer),
        corpus=_scores(scorer),
        record=_scores(alone),
        details=details,
        scale=100,
    )


def chrf(
    *,
    char_order: int = 6,
    word_order: int = 0,
    beta: int = 2,
    lowercase: bool = False,
    whitespace: bool = False,
    eps_smoothing: bool = False,
) -> Metric:
    """chrF (Popović 2015), 0 to 100; with `word_order` 2 it is chrF++ and called so.

    Args:
        char_order: the longest character n-grams.
        word_order: the longest word n-grams.
        beta: how many times recall weighs as much as precision.
        lowercase: compare without case.
        whitespace: count spaces as characters.
        eps_smoothing: smooth as chrF++.py, NLTK and Moses do.
    """
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF(
        char_order=char_order,
        word_order=word_order,
        beta=beta,
        lowercase=lowercase,
        whitespace=whitespace,
        eps_smoothing=eps_smoothing,
    )
    name = "chrf" + "+" * min(word_order, 2)
    return Metric(
        name=name,
        scores=(name,),
        signature=_signature(scorer),
        statistics=_counts(scorer),
        corpus=_scores(scorer),
        scale=100,
    )


def ter(
    *,
    normalized: bool = False,
    no_punct: bool = False,
    asian_support: bool = False,
    case_sensitive: bool = False,
) -> Metric:
    """Translation edit rate (Snover et al. 2006): edits per 100 reference words, so that less is better.

    Args:
        normalized: split punctuation off words, as Tercom does on request.
        no_punct: leave punctuation out.
        asian_support: with `normalized`, each Chinese or Japanese character is a word.
        case_sensitive: compare with case.
    """
    from sacrebleu.metrics.ter import TER

    scorer = TER(
        normalized=normalized, no_punct=no_punct, asian_support=asian_support, case_sensitive=case_sensitive
    )

    def details(sums: Sequence[float]) -> dict[str, dict[str, float]]:
        return {"ter": {"edits": sums[0], "reference_length": sums[1]}}

    return Metric(
        name="ter",
        scores=("ter",),
        signature=_signature(scorer),
        statistics=_counts(scorer),
        corpus=_scores(scorer),
        details=details,
        scale=100,
    )


def tokenizer_for(language: str | None, references: Iterable[str] = ()) -> tuple[str, str]:
    """The BLEU tokenizer for a target language, and the reason in words.

    Args:
        language: a code or an English name, as `text.languages` reads them; None judges by the references.
        references: a sample of them, read only where `language` is None.

    Returns:
        One of `TOKENIZERS`, and why, for a notice.

    Raises:
        InputError: there is no such language.
    """
    if language is not None:
        from llmkit.text.languages import find_language

        tokenizer = _TOKENIZER_OF.get(find_language(language, "--to").code, "13a")
        reason = f"the target language is {language}"
    else:
        script = main_script(references)
        tokenizer = _TOKENIZER_OF_SCRIPT.get(script, "13a")
        reason = f"the references are mostly {script}"
    if tokenizer in _PACKAGES:
        module, package = _PACKAGES[tokenizer]
        if not _importable(module):
            # Korean has spaces, which 13a can go by.
            fallback = "13a" if tokenizer == "ko-mecab" else "char"
            return fallback, f"{reason}, and {tokenizer} needs: pip install '{package}'"
    return tokenizer, reason


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _load_tokenizer(tokenize: str, build: Callable[[], Any]) -> Any:
    """Build a scorer whose tokenizer may want a package or a download, and say which."""
    if tokenize in _PACKAGES and not _importable(_PACKAGES[tokenize][0]):
        raise InputError(f"--tokenize {tokenize} needs a package: pip install '{_PACKAGES[tokenize][1]}'")
    try:
        return build()
    except (OSError, ImportError) as error:
        raise InputError(
            f"--tokenize {tokenize} downloads a SentencePiece model once, and that failed ({error}); "
            f"without a network use one of 13a, intl, zh, char"
        ) from error


def _counts(scorer: Any) -> Callable[[Example], Sequence[float]]:
    """A row's sufficient statistics.

    sacrebleu's public functions take a whole corpus; its significance tests use the same method as we.
    """

    def statistics(example: Example) -> Sequence[float]:
        prediction, references = texts(example)
        counts: list[list[float]] = scorer._extract_corpus_statistics([prediction], [[r] for r in references])
        return counts[0]

    return statistics


def _scores(scorer: Any) -> Callable[[Matrix], Matrix]:
    def corpus(sums: Matrix) -> Matrix:
        import numpy as np

        return np.array([[scorer._compute_score_from_stats(row).score] for row in sums.tolist()])

    return corpus


def _signature(scorer: Any) -> str:
    """sacrebleu's own, less the number of references, which is known only when all rows were read."""
    scorer.num_refs = 1
    signature: str = scorer.get_signature().format()
    return signature.removeprefix("nrefs:1|")
