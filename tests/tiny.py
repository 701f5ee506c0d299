"""Tiny random models of many families, with a byte-level tokenizer, written in Hugging Face layout.

Weights are filled by a generator of our own, large enough that logits differ clearly between tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SENTENCES = [
    "Once upon a time there was a little dog who lived in a big house by the sea.",
    "The cat sat on the mat and looked at the moon, and the moon looked back.",
    "One day, Tom and Lily went to the park to play with a red ball.",
    "“Where are you going?” asked the old man. “To the market,” said the girl.",
    "春天来了，花都开了。猫在椅子上睡觉。",
    "Schöne Grüße aus Köln! 🙂🎈",
]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
# family -> (config class, its arguments). Vocabulary and special tokens are added below.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "llama": (
        "LlamaConfig",
        {**_SMALL, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 128},
    ),
    "qwen3": (
        "Qwen3Config",
        {
            **_SMALL,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
        },
    ),
    "gemma3": (
        "Gemma3TextConfig",
        {
            **_SMALL,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "opt": (
        "OPTConfig",
        {**_SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 128},
    ),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "t5": ("T5Config", {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}),
    "bart": (
        "BartConfig",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 128,
        },
    ),
    "bert": ("BertConfig", {**_SMALL, "intermediate_size": 64, "max_position_embeddings": 128}),
    "bert-qa": ("BertConfig", {**_SMALL, "intermediate_size": 64, "max_position_embeddings": 128}),
}


def make_tokenizer(*, bos: bool = True, chat: bool = False, pad: bool = True) -> Any:
    """A byte-level BPE tokenizer: any text comes back as it went in."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator(SENTENCES, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>" if pad else None
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _dress_for_masking(tokenizer: Any) -> None:
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names


def make_model(family: str, folder: Path, *, seed: int = 0, **tokenizer_options: Any) -> Path:
    """Write a tiny random model of `family` with its tokenizer into `folder`."""
    import torch
    import transformers

    tokenizer = make_tokenizer(**tokenizer_options)
    if family == "bert":
        _dress_for_masking(tokenizer)
    config_class, options = FAMILIES[family]
    config = getattr(transformers, config_class)(
        vocab_size=len(tokenizer),
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        decoder_start_token_id=2,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
        **options,
    )
    kinds = {"t5": "Seq2SeqLM", "bart": "Seq2SeqLM", "bert": "MaskedLM", "bert-qa": "QuestionAnswering"}
    kind = kinds.get(family, "CausalLM")
    model = getattr(transformers, f"AutoModelFor{kind}").from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.25, generator=generator)
            elif "norm" not in name and "ln_" not in name:
                weight.normal_(0, 0.02, generator=generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(folder: Path, base: str = "stories") -> Path:
    """Write a random LoRA adapter on an embedded model, with the model's tokenizer, into `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmkit.models.bundled import embedded_folder

    source = embedded_folder(base)
    torch.manual_seed(0)
    options = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32), options)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder, save_embedding_layers=False)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder
