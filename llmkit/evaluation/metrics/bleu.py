"""BLEU, chrF and TER, computed by sacrebleu.

This module adds two things: a corpus is scored row by row, and BLEU's tokenizer follows from the target
language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.evaluation.metric import Declaration, Example, Metric, MetricOption, check_choice, declare, texts
from llmkit.evaluation.metrics.tokens import main_script

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix

TOKENIZERS = ("none", "zh", "13a", "char", "intl", "ja-mecab", "ko-mecab", "spm", "flores101", "flores200")
SMOOTHING = ("none", "floor", "add-k", "exp")

# By ISO 639-3. Languages without spaces that sacrebleu cannot split into words are compared by character.
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
_DOWNLOADED = ("spm", "flores101", "flores200")
_LOWERCASE = MetricOption("lowercase", bool, "Compare without case.")


def _adapt(
    chosen: Mapping[str, Any], sample: Sequence[Example], language: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Choose the tokenizer by the target language or the script of the references."""
    added: dict[str, Any] = {}
    notes = []
    if "tokenize" not in chosen:
        references = [str(reference) for example in sample for reference in example.references]
        added["tokenize"], reason = tokenizer_for(language, references)
        if added["tokenize"] != "13a" or "pip install" in reason:
            notes.append(f"BLEU's tokenizer is {added['tokenize']}: {reason}")
    tokenizer = {**chosen, **added}["tokenize"]
    if tokenizer != "none" and _look_tokenized(sample):
        notes.append("most texts end in ' .', as tokenized text does; BLEU expects plain text")
    if tokenizer in _DOWNLOADED:
        notes.append(f"BLEU's tokenizer {tokenizer} is downloaded once, to ~/.sacrebleu")
    return added, notes


def _look_tokenized(sample: Sequence[Example]) -> bool:
    texts = [str(text) for example in sample for text in (example.prediction, *example.references)]
    return sum(text.rstrip().endswith(" .") for text in texts) > len(texts) / 2


@declare(
    Declaration(
        "word n-grams",
        task="translation",
        options=(
            MetricOption(
                "tokenize",
                str,
                "Tokenizer: 13a, intl, zh, char, ja-mecab, none, ...",
                default="by the target language or the references",
            ),
            MetricOption("smooth", str, "Smoothing: exp, floor, add-k or none.", default="exp"),
            _LOWERCASE,
        ),
        adapt=_adapt,
        uses_language=True,
    )
)
def bleu(
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    smooth: str = "exp",
    smooth_value: float | None = None,
    max_ngram_order: int = 4,
    effective_order: bool = False,
) -> Metric:
    """Build BLEU (Papineni et al. 2002), 0 to 100; details are n-gram precisions and the brevity penalty.

    Args:
        tokenize: one of `TOKENIZERS`; `tokenizer_for` chooses by language.
        lowercase: compare without case.
        smooth: smoothing of n-gram orders without a match, one of `SMOOTHING`.
        smooth_value: value for `floor` and `add-k`; None uses sacrebleu's default.
        max_ngram_order: length of the longest n-grams.
        effective_order: leave out orders without n-grams. The score of a single row always does, because
            most short rows would score 0 otherwise.

    Raises:
        OptionError: the value of an option is not allowed, or the package of the tokenizer is missing.
    """
    check_choice("tokenize", tokenize, TOKENIZERS)
    check_choice("smooth", smooth, SMOOTHING)
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


@declare(
    Declaration(
        "character n-grams",
        task="translation",
        options=(
            _LOWERCASE,
            MetricOption("word_order", int, "Length of the longest word n-grams; 2 is chrF++.", default="0"),
        ),
    )
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
    """Build chrF (Popović 2015), 0 to 100; with ``word_order=2`` it is chrF++ and has that name.

    Args:
        char_order: length of the longest character n-grams.
        word_order: length of the longest word n-grams.
        beta: weight of recall relative to precision.
        lowercase: compare without case.
        whitespace: count spaces as characters.
        eps_smoothing: use the smoothing of chrF++.py, NLTK and Moses.
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


@declare(Declaration("character and word n-grams", task="translation", options=(_LOWERCASE,)))
def chrf_plus_plus(*, word_order: int = 2, **options: Any) -> Metric:
    """Build chrF++ (Popović 2017), which is `chrf` with word n-grams; `options` are those of `chrf`."""
    return chrf(word_order=word_order, **options)


@declare(Declaration("edits per reference word", task="translation", lower_is_better=True))
def ter(
    *,
    normalized: bool = False,
    no_punct: bool = False,
    asian_support: bool = False,
    case_sensitive: bool = False,
) -> Metric:
    """Build translation edit rate (Snover et al. 2006): edits per 100 reference words; lower is better.

    Args:
        normalized: split punctuation off words, like Tercom with its option of this name.
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
    """Choose the BLEU tokenizer for a target language.

    Args:
        language: a code or an English name (see `text.languages`); None uses the script of the references.
        references: a sample of them, used only if `language` is None.

    Returns:
        One of `TOKENIZERS`, and the reason for a notice.

    Raises:
        InputError: there is no such language.
    """
    if language is not None:
        from llmkit.text.languages import find_language

        tokenizer = _TOKENIZER_OF.get(find_language(language, "language").code, "13a")
        reason = f"the target language is {language}"
    else:
        script = main_script(references)
        tokenizer = _TOKENIZER_OF_SCRIPT.get(script, "13a")
        reason = f"the references are mostly {script}"
    if tokenizer in _PACKAGES:
        module, package = _PACKAGES[tokenizer]
        if not _importable(module):
            # Korean has spaces, so 13a can split it.
            fallback = "13a" if tokenizer == "ko-mecab" else "char"
            return fallback, f"{reason}, but {tokenizer} needs: pip install '{package}'"
    return tokenizer, reason


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _load_tokenizer(tokenize: str, build: Callable[[], Any]) -> Any:
    """Build a scorer; raise an OptionError if its tokenizer needs a package or a download that is missing."""
    if tokenize in _PACKAGES and not _importable(_PACKAGES[tokenize][0]):
        raise OptionError("tokenize", f"{tokenize} needs a package: pip install '{_PACKAGES[tokenize][1]}'")
    try:
        return build()
    except (OSError, ImportError) as error:
        raise OptionError(
            "tokenize",
            f"{tokenize} downloads a SentencePiece model once, and that failed ({error}); "
            f"without a network use one of 13a, intl, zh, char",
        ) from error


def _counts(scorer: Any) -> Callable[[Example], Sequence[float]]:
    """Return the function that computes the sufficient statistics of a row.

    It calls private methods of sacrebleu, because the public ones take a whole corpus; sacrebleu's own
    significance tests call the same ones.
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
    """Return sacrebleu's signature without the number of references, which is known after the last row."""
    scorer.num_refs = 1
    signature: str = scorer.get_signature().format()
    return signature.removeprefix("nrefs:1|")
