"""A model made ready to be taught: loaded, its kernel chosen and proven, its adapter put on.

Public: `check_attention`, `load_for_training`, `trained`, `base_name`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.training.finetuning.columns import Columns

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.finetuning.recipe import FinetuneRecipe


def check_attention(spec: ModelSpec, device: str) -> None:
    """Refuse, before anything is read or loaded, a kernel that `--attn` names and that cannot train.

    Raises:
        InputError: there is none of that name, or it has no backward pass or does not run on the device.
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
    """The model that a recipe is about, its adapter on it where it wants one.

    What is frozen is kept in the precision it computes in; what is trained is kept in float32.

    Args:
        spec: whose dtype is not used.
        recipe: says what is trained.
        dtype: that the model computes in while training.
        columns: what the rows are for: an encoder is loaded to answer questions.
        notice: called with a sentence that the user should read.

    Returns:
        The model, and whether it keeps apart the examples of a flattened row.

    Raises:
        InputError: it cannot be trained.
    """
    from transformers import set_seed

    from llmkit.runtime.load import is_extractive_qa, is_masked_lm, load

    spans = columns.objective == "answers" and (
        is_masked_lm(spec) or _is_extractive_qa(is_extractive_qa, spec)
    )
    spec = replace(spec, task="question-answering" if spans else "text-generation")
    set_seed(recipe.seed)  # a new head's weights are drawn while it loads
    loaded = load(
        replace(spec, dtype=dtype if recipe.lora else "float32", new_head=spans, four_bits=recipe.qlora)
    )
    if loaded.adapter is not None:
        raise InputError(
            f"{spec.adapter or spec.name} is an adapter; `llmkit merge` it first, and finetune the result"
        )
    causal = not spans and not loaded.is_encoder_decoder
    flattens = causal and _flattens(loaded, spec.attn, recipe.packing, notice)
    if flattens:
        # Given a cache, transformers takes a row for one text, wherever its positions begin anew.
        loaded.model.config.use_cache = False
    loaded.tokenizer.padding_side = "right"
    if recipe.mark_shared_words:
        _mark_shared_words(loaded, spans, recipe.lora)
    if recipe.lora:
        loaded.model = _with_adapter(loaded, recipe, spans)
    return loaded, flattens


def _mark_shared_words(loaded: LoadedModel, spans: bool, lora: bool) -> None:
    """Give the model a token type for the words that question and context share; it begins as the context's.

    Raises:
        InputError: it reads no answers off a context, or has no token types.
    """
    import torch

    model: Any = loaded.model
    if getattr(model.config, "shared_words_type", None) is not None:
        return
    embeddings = getattr(getattr(model.base_model, "embeddings", None), "token_type_embeddings", None)
    if not spans or embeddings is None or "token_type_ids" not in loaded.tokenizer.model_input_names:
        raise InputError(
            f"--mark-shared-words: {type(model).__name__} reads no answers off a context with token types; it"
            " is for an encoder such as BERT, and rows of questions, contexts and answers"
        )
    if lora:
        raise InputError("--mark-shared-words adds a token type to the model; use --full")
    with torch.no_grad():
        rows = embeddings.weight
        embeddings.weight = torch.nn.Parameter(torch.cat([rows, rows[-1:]]))
    model.config.shared_words_type = embeddings.num_embeddings
    embeddings.num_embeddings += 1
    model.config.type_vocab_size = embeddings.num_embeddings


def base_name(loaded: LoadedModel) -> tuple[str, str | None]:
    """Name and revision of what an adapter goes on, as a user names it, not by where it lies in a cache."""
    if loaded.revision == "local":
        return str(Path(loaded.spec.name).resolve()), None
    return loaded.spec.name, None if loaded.revision == "embedded" else loaded.revision


def trained(model: Any) -> tuple[int, int]:
    """Number of parameters, and of those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)


def _is_extractive_qa(finds: Callable[[Any], bool], spec: ModelSpec) -> bool:
    from llmkit.runtime.load import saved_architecture

    return bool(saved_architecture(spec)) and finds(spec)


def _flattens(loaded: LoadedModel, asked: str | None, packing: bool, notice: Callable[[str], None]) -> bool:
    """Give the model a kernel that keeps a row's examples apart, and look whether they are.

    Not told from the architecture's name: a family that ignores its position ids, or the kernel, would let
    examples see each other in silence.
    """
    from llmkit.attention.interface import register
    from llmkit.attention.registry import find

    model: Any = loaded.model
    before = model.config._attn_implementation
    if asked is not None:
        apart = _keeps_apart(model)
    else:
        model.set_attn_implementation(register(find("documents")))
        apart = _keeps_apart(model)
        if not apart:
            model.set_attn_implementation(before)
            # A mask for the whole row costs more than padding does, so only who asks for full rows gets one.
            apart = packing and _keeps_apart(model)
    if not apart:
        notice(f"{type(model).__name__} with {asked or before} attention: rows are padded, not joined")
    return apart


def _keeps_apart(model: Any) -> bool:
    """Whether two texts in one row give the logits that each gives alone."""
    try:
        off, leak = _strays(model)
    except (InputError, RuntimeError, ValueError, TypeError, IndexError):
        return False
    return off < 0.1 * leak


def _strays(model: Any) -> tuple[float, float]:
    """How far two texts in one row are from what they are alone, and how far as a single text."""
    import torch

    device = next(model.parameters()).device
    size = model.config.get_text_config().vocab_size
    texts = [torch.arange(3, 3 + n, device=device) % size for n in (5, 9)]
    with torch.no_grad():
        alone = torch.cat([model(input_ids=ids[None], use_cache=False).logits[0] for ids in texts])
        joined = model(
            input_ids=torch.cat(texts)[None],
            position_ids=torch.cat([torch.arange(len(ids), device=device) for ids in texts])[None],
            use_cache=False,
        ).logits[0]
        # What a leak looks like: the same texts as one.
        leaked = model(input_ids=torch.cat(texts)[None], use_cache=False).logits[0]
    off, leak = (float((x.float() - alone.float()).abs().max()) for x in (joined, leaked))
    return off, leak


def _with_adapter(loaded: LoadedModel, recipe: FinetuneRecipe, spans: bool) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

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
        target_modules=_targets(model, recipe.target_modules),
        use_dora=recipe.dora,
        use_rslora=recipe.rslora,
        fan_in_fan_out=_has_conv1d(model),
    )
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise InputError(
            f"--target-modules {recipe.target_modules}: {' '.join(str(error).split())}"
        ) from None
    for one in wrapped.peft_config.values():
        # While it lasts: peft looks there whether the vocabulary grew, and for a name it would ask the Hub.
        one.base_model_name_or_path = str(loaded.folder)
    if recipe.gradient_checkpointing:
        wrapped.enable_input_require_grads()
    return wrapped


def _targets(model: Any, asked: str | None) -> list[str]:
    """The last parts of the names of the layers that get an adapter."""
    if asked is not None:
        return [name.strip() for name in asked.split(",") if name.strip()]
    head = model.get_output_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if _is_linear(module) and module is not head and not name.startswith(("qa_outputs", "cls."))
    }
    if not found:
        raise InputError(f"{type(model).__name__} has no linear layers that LoRA knows; use --full")
    return sorted(found)


def _is_linear(module: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def _has_conv1d(model: Any) -> bool:
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())
