"""A one-layer model with a known answer: it says the one content word of its prompt.

Words 1 to 9 are content and 10 to 29 are fillers; 0 begins a text and 31 ends it. The query is 1 everywhere,
keys and values see content words alone, there is no MLP, and no position (theta is 1e30). So the attention
weight of the content word among n others is e^4 / (e^4 + n), and only that word moves a logit.
"""

from __future__ import annotations

from pathlib import Path

WORDS = 32
PROMPT = "w12 w15 w7 w20 w11 w18"
ANSWER = "w7"
LOGIT, PROBABILITY = 5.3547, 0.8722


def make_toy(folder: Path) -> Path:
    """Write the model and its tokenizer into `folder`."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    head = 64
    config = transformers.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=2 * WORDS,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=head,
        max_position_embeddings=64,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=31,
        rope_parameters={"rope_type": "default", "rope_theta": 1e30},
    )
    model = transformers.LlamaForCausalLM(config)
    layer = model.model.layers[0]
    length = (2 * WORDS) ** 0.5  # an RMSNorm makes a one-hot vector this long
    slowest = head // 2 - 1  # the rotary pair that does not turn
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        for norm in (model.model.norm, layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.fill_(1)
        model.model.embed_tokens.weight[:, :WORDS] = torch.eye(WORDS)
        layer.self_attn.q_proj.weight[slowest, :WORDS] = 1 / length
        layer.self_attn.k_proj.weight[slowest, 1:10] = 4 * head**0.5 / length
        for word in range(1, 10):
            layer.self_attn.v_proj.weight[word, word] = 1 / length
        layer.self_attn.o_proj.weight[WORDS:, :WORDS] = torch.eye(WORDS)
        model.lm_head.weight[:, WORDS:] = torch.eye(WORDS)
    model.save_pretrained(folder)
    names = {"<s>": 0, **{f"w{i}": i for i in range(1, 31)}, "</s>": 31}
    core = Tokenizer(models.WordLevel(names, unk_token="w30"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    return folder
