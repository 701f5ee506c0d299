"""Text-to-text, summarization and translation pipelines, as transformers had them up to 4.57.

Generation parameters have the priority of that version: arguments of a call, then the model's
``task_specific_params`` for the task, then arguments of the constructor, then the pipelines' own 256 new
tokens and 4 beams, then the model's generation config (its ``max_length``, if it has one, replaces the 256
tokens). So a ``max_length`` in a call does not lower ``max_new_tokens``: give ``max_new_tokens``.
"""

from __future__ import annotations

import copy
import enum
import warnings
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from llmkit.errors import InputError
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.direction import T5_FAMILIES, own_pair, own_prefixes
from llmkit.text.language_tokens import language_tokens
from llmkit.text.languages import find_language, find_pair, match_code

# Its hooks have narrower types than transformers' own subclasses use.
_Pipeline: Any = transformers.Pipeline

_MAX_NEW_TOKENS = 256
_NUM_BEAMS = 4
# The max_length of a generation config that sets none, up to transformers 4.
_UNSET_MAX_LENGTH = (None, 20)


class ReturnType(enum.Enum):
    """Return types of a text-to-text pipeline: token ids or text."""

    TENSORS = 0
    TEXT = 1


class Text2TextGenerationPipeline(_Pipeline):
    """Text to text with an encoder-decoder model.

    Args:
        model: an encoder-decoder model.
        tokenizer: its tokenizer.
        task: name of the pipeline in the call; selects an entry of ``config.task_specific_params``.
        framework, modelcard: accepted because 4.57 took them; there is PyTorch only.
        assistant_model: a smaller model, or its name, for assisted decoding.
        assistant_tokenizer: tokenizer of the assistant model, if it differs from the model's.
        options: generation parameters, arguments of a call, or arguments of `transformers.Pipeline`.

    Raises:
        InputError: a model without an encoder and decoder, or another framework.
    """

    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    return_name = "generated"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        task: str = "",
        framework: str | None = "pt",
        modelcard: Any = None,
        assistant_model: str | PreTrainedModel | None = None,
        assistant_tokenizer: Any = None,
        **options: Any,
    ) -> None:
        check_framework(framework)
        if not model.config.is_encoder_decoder:
            raise InputError(
                f"{type(model).__name__} is not an encoder-decoder model, which {task or 'this pipeline'}"
                " needs; use the text-generation pipeline"
            )
        of_generation = vars(GenerationConfig()).keys() & options.keys()
        settings = {name: options.pop(name) for name in of_generation}
        super().__init__(model=model, tokenizer=tokenizer, task=task, **options)
        of_task = dict((getattr(model.config, "task_specific_params", None) or {}).get(task) or {})
        self.prefix = of_task.pop("prefix", getattr(model.config, "prefix", None)) or ""
        self.generation_config = self._prepare_generation_config(settings, of_task)
        self._assistant = self._prepare_assistant(assistant_model, assistant_tokenizer)

    def _prepare_generation_config(
        self, settings: dict[str, Any], of_task: dict[str, Any]
    ) -> GenerationConfig:
        config: GenerationConfig = copy.deepcopy(self.model.generation_config)
        config.update(**{"max_new_tokens": _MAX_NEW_TOKENS, "num_beams": _NUM_BEAMS, **settings})
        if config.max_new_tokens == _MAX_NEW_TOKENS and config.max_length not in _UNSET_MAX_LENGTH:
            config.max_new_tokens = None
        config.update(**of_task)
        if config.pad_token_id is None:
            config.pad_token_id = self.tokenizer.pad_token_id
        return config

    def _prepare_assistant(self, assistant: Any, its_tokenizer: Any) -> dict[str, Any]:
        """Return the arguments of `generate` for assisted decoding."""
        if assistant is None:
            return {}
        if isinstance(assistant, str):
            dtype = str(self.model.dtype).removeprefix("torch.")
            spec = ModelSpec(assistant, "text2text-generation", device=str(self.device), dtype=dtype)
            loaded = load(spec)
            assistant, its_tokenizer = loaded.model, loaded.tokenizer
        # Not transformers' own check, which 5.23 fails on T5: its config has no bos_token_id.
        names = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")
        ours, its = self.model.config, assistant.config
        if all(getattr(ours, name, None) == getattr(its, name, None) for name in names):
            return {"assistant_model": assistant}
        if its_tokenizer is None:
            raise InputError("the assistant model has another vocabulary; give its assistant_tokenizer")
        return {
            "assistant_model": assistant,
            "tokenizer": self.tokenizer,
            "assistant_tokenizer": its_tokenizer,
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Generate from a text, a list of texts, or a dataset or generator of texts.

        Args:
            args: the text or texts.
            kwargs: ``return_tensors`` (token ids instead of text), ``clean_up_tokenization_spaces``,
                ``truncation``, ``stop_sequence``, ``batch_size``, and generation parameters.

        Returns:
            For a text a list of results, one for each sequence: ``{"generated_text": ...}``, or
            ``{"generated_token_ids": tensor}``. For a list of texts their results in order; with one sequence
            for each text a flat list. For a dataset or generator an iterator of such lists.
        """
        texts = args[0] if args else None
        if isinstance(texts, list) and not texts:
            return []
        results = super().__call__(*args, **kwargs)
        if (
            isinstance(texts, list)
            and all(isinstance(text, str) for text in texts)
            and all(len(sequences) == 1 for sequences in results)
        ):
            return [sequences[0] for sequences in results]
        return results

    def _sanitize_parameters(
        self,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: ReturnType | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: Any = None,
        stop_sequence: str | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if return_type is None and return_tensors is not None:
            return_type = ReturnType.TENSORS if return_tensors else ReturnType.TEXT
        if stop_sequence is not None:
            ids = self.tokenizer.encode(stop_sequence, add_special_tokens=False)
            if len(ids) > 1:
                warnings.warn(
                    f"stop_sequence {stop_sequence!r} is {len(ids)} tokens; the first of them stops",
                    stacklevel=3,
                )
            generate_kwargs["eos_token_id"] = ids[0]
        preprocess = {"truncation": truncation}
        postprocess = {
            "return_type": return_type,
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
        }
        return _given(preprocess), generate_kwargs, _given(postprocess)

    def preprocess(self, text: str | list[str], truncation: Any = "do_not_truncate") -> Any:
        if isinstance(text, str):
            inputs = self.tokenizer(self.prefix + text, truncation=truncation, return_tensors="pt")
        elif isinstance(text, list):
            inputs = self.tokenizer(
                [self.prefix + one for one in text], padding=True, truncation=truncation, return_tensors="pt"
            )
        else:
            raise TypeError(f"a text is a str or a list of str, not {type(text).__name__}")
        inputs.pop("token_type_ids", None)
        return inputs

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> dict[str, torch.Tensor]:
        rows = model_inputs["input_ids"].shape[0]
        config = copy.deepcopy(generate_kwargs.pop("generation_config", self.generation_config))
        inputs = config.update(**{**self._assistant, **model_inputs, **generate_kwargs})
        sequences = self.model.generate(generation_config=config, **inputs)
        return {"output_ids": sequences.reshape(rows, -1, sequences.shape[-1])}

    def postprocess(
        self,
        model_outputs: dict[str, torch.Tensor],
        return_type: ReturnType = ReturnType.TEXT,
        clean_up_tokenization_spaces: bool = False,
    ) -> list[dict[str, Any]]:
        sequences = model_outputs["output_ids"][0]
        if return_type is ReturnType.TENSORS:
            return [{f"{self.return_name}_token_ids": ids} for ids in sequences]
        records = []
        for ids in sequences:
            text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            if clean_up_tokenization_spaces:
                # decode() skips this for BPE tokenizers since transformers 5.
                text = self.tokenizer.clean_up_tokenization(text)
            records.append({f"{self.return_name}_text": text})
        return records


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Summaries by an encoder-decoder model: `Text2TextGenerationPipeline` that returns ``summary_text``."""

    return_name = "summary"


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translations by an encoder-decoder model, as ``translation_text``.

    A model of many languages (M2M100, NLLB, mBART) needs ``src_lang`` and ``tgt_lang``, here or in a call, or
    a task ``translation_xx_to_yy`` with both. They are the model's own codes, or any form of `find_language`.
    """

    return_name = "translation"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        task: str = "",
        **options: Any,
    ) -> None:
        self._prefixes = own_prefixes(model.config)
        said = options.get("src_lang"), options.get("tgt_lang")
        if task == "translation" and self._prefixes and any(said):
            task = "translation_{}_to_{}".format(*self._pair(said, model))
        if task == "translation":
            task = _first_pair(model.config) or task
        pair = languages_of(task)
        if pair is not None and self._prefixes and model.config.model_type not in T5_FAMILIES:
            # A T5 finetuned for a new pair may still list the prefixes of its base model.
            task = "translation_{}_to_{}".format(*self._pair(pair, model))
        if pair is not None and not {"src_lang", "tgt_lang"} & options.keys():
            options["src_lang"], options["tgt_lang"] = pair
        super().__init__(model, tokenizer, task=task, **options)
        self._codes = set(language_tokens(tokenizer, model.config.vocab_size))

    def _sanitize_parameters(
        self, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        languages = _given({name: kwargs.pop(name, None) for name in ("src_lang", "tgt_lang")})
        preprocess, forward, postprocess = super()._sanitize_parameters(*args, **kwargs)
        return preprocess | languages, forward, postprocess

    def preprocess(
        self,
        text: str | list[str],
        truncation: Any = "do_not_truncate",
        src_lang: str | None = None,
        tgt_lang: str | None = None,
    ) -> Any:
        # transformers' own hook for translation pipelines, still in its tokenizers of many languages.
        build = getattr(self.tokenizer, "_build_translation_inputs", None)
        if build is None:
            if self._prefixes and (src_lang or tgt_lang) and (src_lang, tgt_lang) != languages_of(self.task):
                self.prefix = self._prefixes[self._pair((src_lang, tgt_lang), self.model)]
            return super().preprocess(text, truncation=truncation)
        return build(
            text,
            return_tensors="pt",
            truncation=truncation,
            src_lang=self._code(src_lang, "src_lang"),
            tgt_lang=self._code(tgt_lang, "tgt_lang"),
        )

    def _pair(self, said: tuple[str | None, str | None], model: Any) -> tuple[str, str]:
        known, wanted = find_pair(*said)
        return own_pair(self._prefixes, known, wanted, model.name_or_path)

    def _code(self, said: str | None, argument: str) -> str | None:
        """Return the model's own code; its tokenizer would turn any other string into `<unk>`."""
        if said is None or not self._codes or said in self._codes:
            return said
        language = find_language(said, argument)
        return match_code(
            language, self._codes, said=f"{argument}={said}", model=self.model.name_or_path
        ).code

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> dict[str, torch.Tensor]:
        if isinstance(model_inputs.get("forced_bos_token_id"), list):
            # A batch of several texts comes with one token id each, all of the same target language.
            model_inputs["forced_bos_token_id"] = model_inputs["forced_bos_token_id"][0]
        return super()._forward(model_inputs, **generate_kwargs)


def check_framework(framework: str | None) -> None:
    """Refuse frameworks that transformers 5 no longer supports.

    Raises:
        InputError: another framework than PyTorch.
    """
    if framework not in (None, "pt"):
        raise InputError(f"framework {framework!r}: only PyTorch is supported; omit framework")


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _first_pair(config: Any) -> str | None:
    """Return the first ``translation_xx_to_yy`` of a T5's config, the meaning of plain ``translation``."""
    for task in getattr(config, "task_specific_params", None) or {}:
        if task.startswith("translation"):
            warnings.warn(f'"translation" names no languages; taking the model\'s "{task}"', stacklevel=4)
            return task
    return None


def languages_of(task: str) -> tuple[str, str] | None:
    """Return the languages of a task ``translation_xx_to_yy``; None for another task."""
    parts = task.split("_")
    if len(parts) == 4 and (parts[0], parts[2]) == ("translation", "to"):
        return parts[1], parts[3]
    return None
