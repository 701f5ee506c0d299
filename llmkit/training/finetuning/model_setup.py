"""Load a model for training: choose and prove its attention kernel, and add its adapter.

Public: `check_attention`, `load_for_training`, `count_parameters`, `base_name`, `decoder_inputs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, one_line
from llmkit.runtime.peft import base_model, has_conv1d, lora_targets
from llmkit.training.finetuning.columns import Columns

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.finetuning.recipe import FinetuneRecipe


def check_attention(spec: ModelSpec, device: str) -> None:
    """Refuse an attention kernel that cannot train, before anything is read or loaded.

    Raises:
        InputError: there is no such kernel, it has no backward pass, or it does not run on the device.
    """
    if spec.attn is None:
        return
    from llmkit.attention.registry import find, require_backward, require_device

    kernel = find(spec.attn, trust_remote_code=spec.trust_remote_code)
    require_backward(kernel)
    require_device(kernel, device)


def load_for_training(
    spec: ModelSpec, recipe: FinetuneRecipe, dtype: str, columns: Columns, notice: Callable[[str], None]
) -> tuple[LoadedModel, bool]:
    """Load the model of a recipe, with a new adapter if the recipe trains one; an adapter is trained further.

    Frozen weights are kept in the precision that they compute in, trained weights in float32.

    Args:
        spec: the model; its dtype is not used.
        recipe: options of the training.
        dtype: dtype that the model computes in.
        columns: columns of the rows; an encoder is loaded for extractive QA.
        notice: called with a sentence that the user should read.

    Returns:
        The model, and True if it separates the examples of a flattened row.

    Raises:
        InputError: the model cannot be trained.
    """
    from transformers import set_seed

    from llmkit.runtime.load import is_extractive_qa, is_masked_lm, load

    if spec.quantize is not None:
        raise OptionError("quantize", "is for inference; qlora=True trains an adapter on a model in 4 bits")
    spans = columns.objective == "answers" and (
        is_masked_lm(spec) or _is_extractive_qa(is_extractive_qa, spec)
    )
    spec = replace(spec, task="question-answering" if spans else "text-generation")
    set_seed(recipe.seed)  # loading may initialize the weights of a new head
    loaded = load(
        replace(spec, dtype=dtype if recipe.lora else "float32", new_head=spans, four_bits=recipe.qlora)
    )
    if spans and not loaded.tokenizer.is_fast:
        raise InputError(
            f"{spec.name}: {type(loaded.tokenizer).__name__} does not give the characters of a token, which"
            " show where an answer is; use a model with a tokenizer.json"
        )
    causal = not spans and not loaded.is_encoder_decoder
    flattens = causal and _flattens(base_model(loaded.model), spec.attn, recipe.packing, notice)
    if flattens:
        # With a cache, transformers treats a row as one text, even if its positions restart.
        loaded.model.config.use_cache = False
    loaded.tokenizer.padding_side = "right"
    if recipe.mark_shared_words:
        _mark_shared_words(loaded, spans, recipe.lora)
    if loaded.adapter is not None:
        _unfreeze_adapter(loaded, recipe)
    elif recipe.lora:
        loaded.model = _with_adapter(loaded, recipe, spans)
    return loaded, flattens


def with_adapter_options(recipe: FinetuneRecipe, loaded: LoadedModel) -> FinetuneRecipe:
    """Return the recipe with the settings of the adapter that is trained further.

    Raises:
        OptionError: the recipe has other settings.
    """
    if loaded.adapter is None:
        return recipe
    model: Any = loaded.model
    (config,) = model.peft_config.values()
    targets = config.target_modules
    found = {
        "lora_rank": config.r,
        "lora_alpha": config.lora_alpha,
        "dora": config.use_dora,
        "rslora": config.use_rslora,
        "target_modules": targets if isinstance(targets, str) else ",".join(sorted(targets)),
    }
    for one in fields(recipe):
        wanted = getattr(recipe, one.name)
        if one.name in found and wanted not in (one.default, found[one.name]):
            raise OptionError(one.name, f"is {found[one.name]} in the adapter, and training keeps it")
    return replace(recipe, **found)


def _unfreeze_adapter(loaded: LoadedModel, recipe: FinetuneRecipe) -> None:
    """Let the weights of a loaded adapter be trained further, and name its base as the model.

    Raises:
        OptionError: the recipe trains a whole model, or keeps the frozen one in 4 bits.
        InputError: the adapter is not a LoRA adapter.
    """
    model: Any = loaded.model
    name = loaded.spec.adapter or loaded.spec.name
    for option, bad in (("lora", not recipe.lora), ("qlora", recipe.qlora)):
        if bad:
            raise OptionError(option, f"cannot be combined with the adapter {name}; merge it first")
    (config,) = model.peft_config.values()
    if config.peft_type.value != "LORA":
        raise InputError(f"{name} is not a LoRA adapter ({config.peft_type.value})")
    config.inference_mode = False
    for parameter_name, parameter in model.named_parameters():
        trained = "lora_" in parameter_name or "modules_to_save" in parameter_name
        parameter.requires_grad_(trained)
        if trained:
            parameter.data = parameter.data.float()
    # The base of the new adapter is that of the old one; a local base is named by its folder.
    base = str(loaded.folder) if loaded.revision == "local" else config.base_model_name_or_path
    loaded.spec = replace(
        loaded.spec, name=base if loaded.spec.adapter is None else loaded.spec.name, adapter=None
    )
    config.base_model_name_or_path = str(loaded.folder)
    if recipe.gradient_checkpointing:
        model.enable_input_require_grads()


def _mark_shared_words(loaded: LoadedModel, spans: bool, lora: bool) -> None:
    """Add a token type for the words that question and context share, initialized as the context's type.

    Raises:
        OptionError: the model is not extractive, has no token types, or is trained by an adapter.
    """
    import torch

    model: Any = loaded.model
    if getattr(model.config, "shared_words_type", None) is not None:
        return
    embeddings = getattr(getattr(model.base_model, "embeddings", None), "token_type_embeddings", None)
    if not spans or embeddings is None or "token_type_ids" not in loaded.tokenizer.model_input_names:
        raise OptionError(
            "mark_shared_words",
            "needs an encoder with token types, such as BERT, and rows of questions, contexts and answers;"
            f" {type(model).__name__} with these rows is not",
        )
    if lora:
        raise OptionError("mark_shared_words", "adds a token type to the model; use lora=False")
    with torch.no_grad():
        rows = embeddings.weight
        embeddings.weight = torch.nn.Parameter(torch.cat([rows, rows[-1:]]))
    model.config.shared_words_type = embeddings.num_embeddings
    embeddings.num_embeddings += 1
    model.config.type_vocab_size = embeddings.num_embeddings


def base_name(loaded: LoadedModel) -> tuple[str, str | None]:
    """Return name and revision of an adapter's base: the name that a user gives, not a path in the cache."""
    if loaded.revision == "local":
        return str(Path(loaded.spec.name).resolve()), None
    return loaded.spec.name, None if loaded.revision == "embedded" else loaded.revision


def count_parameters(model: Any) -> tuple[int, int]:
    """Return the number of all parameters, and of the trained ones."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def _is_extractive_qa(finds: Callable[[Any], bool], spec: ModelSpec) -> bool:
    from llmkit.runtime.load import saved_architecture

    return bool(saved_architecture(spec)) and finds(spec)


def _flattens(model: Any, requested: str | None, packing: bool, notice: Callable[[str], None]) -> bool:
    """Set a kernel that separates the examples of a row, and measure the separation.

    The architecture's name is not enough: a family that ignores position ids or the kernel would let examples
    see each other without an error.
    """
    from llmkit.attention.interface import register
    from llmkit.attention.registry import find

    before = model.config._attn_implementation
    if requested is not None:
        separate = _separates_texts(model)
    else:
        model.set_attn_implementation(register(find("documents")))
        separate = _separates_texts(model)
        if not separate:
            model.set_attn_implementation(before)
            # A mask for the whole row takes more time than padding, so it is used for packing only.
            separate = packing and _separates_texts(model)
    if not separate:
        notice(f"{type(model).__name__} with {requested or before} attention: rows are padded, not joined")
    return separate


def _separates_texts(model: Any) -> bool:
    """Return True if a text in a row has the same logits as alone, with any text before it."""
    try:
        return all(difference < 0.1 * leak for difference, leak in _logit_differences(model))
    except (InputError, RuntimeError, ValueError, TypeError, IndexError):
        return False


def _logit_differences(model: Any) -> list[tuple[float, float]]:
    """Compare the logits of a text after another one in a row with those after a third text, and alone.

    The third text is as long as the first, so both rows take the same steps of arithmetic: a difference is a
    leak, in any dtype. Alone, the text has another shape, so its rounding differs. Below float32, layers can
    enlarge this rounding to the size of a leak: the probabilities of SmolLM2-135M in bfloat16 differ by a
    total variation of up to 0.98. There only the first token is compared: it attends only to itself, and its
    position shows if positions restart.

    Returns:
        The largest difference of each comparison, and that of a row in which texts see each other.
    """
    import torch

    device = next(model.parameters()).device
    size = model.config.get_text_config().vocab_size
    before, other, text = (torch.arange(i, i + n, device=device) % size for i, n in ((3, 5), (8, 5), (3, 9)))
    restarting = torch.cat([torch.arange(len(ids), device=device) for ids in (before, text)])[None]

    def logits(*texts: Any, **options: Any) -> Any:
        found = model(input_ids=torch.cat(texts)[None], use_cache=False, **options).logits[0]
        return found[-len(text) :].float()  # [tokens of the text, vocabulary]

    def largest(one: Any, another: Any) -> float:
        return float((one - another).abs().max())

    with torch.no_grad():
        alone = logits(text)
        joined, swapped = (logits(one, text, position_ids=restarting) for one in (before, other))
        leaked, leaked_swapped = (logits(one, text) for one in (before, other))
    exact = model.dtype in (torch.float32, torch.float64)
    compared = slice(None) if exact else slice(1)
    return [
        (largest(joined, swapped), largest(leaked, leaked_swapped)),
        (largest(joined[compared], alone[compared]), largest(leaked[compared], alone[compared])),
    ]


def _with_adapter(loaded: LoadedModel, recipe: FinetuneRecipe, spans: bool) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    from llmkit.runtime.memory import is_out_of_memory

    model: Any = loaded.model
    if recipe.qlora:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model)
    kind = (
        TaskType.QUESTION_ANS
        if spans
        else TaskType.SEQ_2_SEQ_LM
        if loaded.is_encoder_decoder
        else TaskType.CAUSAL_LM
    )
    config = LoraConfig(
        task_type=kind,
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha or 2 * recipe.lora_rank,
        lora_dropout=recipe.lora_dropout,
        target_modules=lora_targets(model, recipe.target_modules),
        use_dora=recipe.dora,
        use_rslora=recipe.rslora,
        fan_in_fan_out=has_conv1d(model),
    )
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise OptionError("target_modules", f"{recipe.target_modules}: {one_line(error)}") from None
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OptionError("lora_rank", f"{recipe.lora_rank}: the adapter does not fit into memory") from None
    for one in wrapped.peft_config.values():
        # Set during training only: peft reads the vocabulary size from this folder; for a name it would ask
        # the Hub.
        one.base_model_name_or_path = str(loaded.folder)
    if recipe.gradient_checkpointing:
        wrapped.enable_input_require_grads()
    return wrapped


def decoder_inputs(loaded: LoadedModel) -> Callable[[Any], Any]:
    """Return the function from labels to the decoder's input: the model's own, or a shift by one."""
    import torch

    model: Any = base_model(loaded.model)
    own: Callable[[Any], Any] | None = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    start = model.config.decoder_start_token_id
    if own is None and start is None:
        raise InputError(
            f"{type(model).__name__} cannot be trained: its configuration has no decoder_start_token_id"
        )
    return own or (lambda labels: torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1]], dim=1))
