"""Read a model's generation settings: wrong values, settings that transformers 5 no longer runs, end tokens.

Public: `check_settings_file`, `remove_unsupported`, `complete`, `end_ids`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, NoticeWarning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Since 4.57 transformers runs these only with code from the Hub, or not at all, or not for a batch.
_UNSUPPORTED = (
    *("penalty_alpha", "dola_layers", "num_beam_groups", "diversity_penalty", "constraints"),
    *("force_words_ids", "token_healing", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp"),
    "is_assistant",
    # `generate` is called with a separate cache.
    *("cache_implementation", "cache_config"),
)


def remove_unsupported(model: PreTrainedModel, name: str) -> None:
    """Set the unsupported settings of `model.generation_config` to None, and name them in a notice.

    Args:
        model: a model that can generate; others stay unchanged.
        name: name of the model, for the notice.
    """
    config = getattr(model, "generation_config", None)
    if config is None:
        return
    found = [key for key in _UNSUPPORTED if getattr(config, key, None)]
    if getattr(config, "num_beam_groups", None) == 1:
        found.remove("num_beam_groups")
    for key in found:
        setattr(config, key, None)
    # How a cache is laid out does not change the text.
    shown = [key for key in found if not key.startswith("cache_")]
    if shown:
        warnings.warn(
            f"{name}: generation_config.json sets {', '.join(shown)}, which transformers 5 does not support;"
            " it is ignored",
            NoticeWarning,
            stacklevel=2,
        )


def complete(model: PreTrainedModel, name: str) -> None:
    """Check `model.generation_config`, and take a decoder's first token from config.json if it has none.

    Args:
        model: a model; one that cannot generate stays unchanged.
        name: name of the model, for the error.

    Raises:
        InputError: a setting has a wrong value, or neither file has a first token.
    """
    config = getattr(model, "generation_config", None)
    if config is None:
        return
    weight = getattr(model.get_input_embeddings(), "weight", None)
    rows = None if weight is None else int(weight.shape[0])
    _check(config.to_dict(), f"{name}: its generation settings", rows=rows)
    if not model.config.is_encoder_decoder:
        return
    own = getattr(model.config, "decoder_start_token_id", None)
    first = next(
        (one for one in (config.decoder_start_token_id, config.bos_token_id, own) if one is not None), None
    )
    if first is None:
        raise InputError(f"{name}: neither generation_config.json nor config.json has decoder_start_token_id")
    if rows is not None and not all(0 <= one < rows for one in _listed(first)):
        raise InputError(
            f"{name}: decoder_start_token_id is {first}, and the model has {rows} token embeddings"
        )
    config.decoder_start_token_id = first


def end_ids(config: Any, tokenizer: Any) -> list[int]:
    """Return the ids at which generation stops: those of the configuration, then the tokenizer's end token.

    A model that was trained with a tokenizer's end token may keep a configuration with another one.

    Args:
        config: a generation_config, or None.
        tokenizer: the model's tokenizer, or None.
    """
    listed = getattr(config, "eos_token_id", None)
    ids = list(listed) if isinstance(listed, list | tuple) else [listed]
    ids.append(getattr(tokenizer, "eos_token_id", None))
    return [int(token) for token in dict.fromkeys(ids) if token is not None]


def _check(settings: Mapping[str, Any], where: str, *, rows: int | None = None) -> None:
    """Refuse generation settings that fail in the middle of a run.

    Args:
        settings: setting -> value, as in generation_config.json; None is not set.
        where: the model and the file, for the error.
        rows: number of token embeddings, if it is known.

    Raises:
        InputError: naming the setting and its value.
    """
    for name, value in settings.items():
        holds, needs = _RULES.get(name, (None, ""))
        if value is None or holds is None:
            continue
        if not holds(value):
            raise InputError(f"{where}: {name} is {str(value)[:60]}, but must be {needs}")
        if rows is not None and name in _EMBEDDED:
            missing = [one for one in _listed(value) if one >= rows]
            if missing:
                raise InputError(
                    f"{where}: {name} is {missing[0]}, and the model has {rows} token embeddings"
                )


def check_settings_file(folder: Path, name: str) -> None:
    """Refuse a generation_config.json that is no JSON object, or has a wrong value; a folder may have none.

    Args:
        folder: folder of a model or an adapter.
        name: the user's name for the model.

    Raises:
        InputError: naming the file and the setting.
    """
    from llmkit.runtime.checkpoint import read_json

    path = folder / "generation_config.json"
    if path.is_file():
        _check(read_json(path), f"{name}: {path.name}")


def _listed(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value]


def _is_id(value: Any) -> bool:
    # Some models write -1 for a token that they do not have.
    return isinstance(value, int) and not isinstance(value, bool) and value >= -1


def _is_ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_id, value))


def _number(least: float, most: float = math.inf) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and least <= value <= most

    return holds


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(_is_ids(word) and word for word in value) and bool(value)


def _is_bias(value: Any) -> bool:
    pairs = isinstance(value, list) and bool(value)
    return pairs and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and _is_ids(pair[0])
        and bool(pair[0])
        and _any(pair[1])
        for pair in value
    )


def _is_decay(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and _whole(0)(value[0]) and _any(value[1])


def _is_stops(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


_any = _number(-math.inf)
_POSITIVE = (_number(1e-9), "a number above 0")
_SHARE = (_number(0, 1), "a number between 0 and 1")
_COUNT = (_whole(0), "a whole number, 0 or more")
_ONE = (_whole(1), "a whole number, 1 or more")
_ID = (_is_id, "the id of a token")
_IDS = (lambda value: _is_id(value) or _is_ids(value), "the id of a token, or a list of ids")
_LIST = (_is_ids, "a list of token ids")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "top_k": (_whole(-1), "a whole number, 0 or more"),  # -1 turns it off in other programs
    "temperature": (_number(0), "a number, 0 or more"),
    **dict.fromkeys(("top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"), _SHARE),
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty", "max_time"), _POSITIVE),
    **dict.fromkeys(("length_penalty", "guidance_scale"), (_any, "a number")),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), _COUNT),
    **dict.fromkeys(("min_length", "min_new_tokens"), _COUNT),
    **dict.fromkeys(("num_beams", "num_return_sequences", "max_length", "max_new_tokens"), _ONE),
    **dict.fromkeys(("bos_token_id", "pad_token_id", "forced_bos_token_id"), _ID),
    **dict.fromkeys(("eos_token_id", "forced_eos_token_id", "decoder_start_token_id"), _IDS),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), _LIST),
    "bad_words_ids": (_is_words, "a list of lists of token ids"),
    "sequence_bias": (_is_bias, "a list of pairs: a list of token ids, and a number"),
    "exponential_decay_length_penalty": (_is_decay, "a pair: a number of tokens, and a factor"),
    "stop_strings": (_is_stops, "a text, or a list of texts"),
    "do_sample": (lambda value: isinstance(value, bool), "true or false"),
}
# Tokens that a run puts in by itself.
_EMBEDDED = ("forced_bos_token_id", "forced_eos_token_id")
