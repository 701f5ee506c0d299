"""A tiny BERT for question answering whose weights are set by hand, so that its answers are known.

A span that begins with the word `zara` and ends with `quill` is the answer, or the single word `lisbon`.
Its layers add nothing to the embeddings, so each token's logits are those below, wherever it stands.
"""

from __future__ import annotations

import string
from pathlib import Path

# word -> its (start, end) logits; all other tokens have (0, 0).
LOGITS = {"zara": (10.0, 0.0), "quill": (0.0, 10.0), "lisbon": (50**0.5, 50**0.5), "[CLS]": (2.0, 2.0)}
WORDS = ["the", "in", "and", "who", "where", "wrote", "it", "lives", "was", "born", "cafe"]


def make_span_model(folder: Path, *, positions: int = 64) -> Path:
    """Write the model, which sees `positions` tokens at a time, with a lower-casing WordPiece tokenizer."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    tokenizer = _tokenizer(positions)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=positions,
    )
    model = BertForQuestionAnswering(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        # After the layer norm a pattern of two has +2 and -2, one of four +sqrt 2 and -sqrt 2.
        embeddings = model.bert.embeddings.word_embeddings.weight
        embeddings[:, 0], embeddings[:, 1] = 1, -1
        for word, columns in {"zara": [2], "quill": [4], "lisbon": [2, 4], "[CLS]": [6]}.items():
            row = embeddings[tokenizer.convert_tokens_to_ids(word)]
            row.fill_(0)
            for column in columns:
                row[column], row[column + 1] = 1, -1
        head = model.qa_outputs.weight  # [start, end] x hidden
        for i, column in ((0, 2), (1, 4)):
            head[i, column], head[i, column + 1] = 2.5, -2.5
            head[i, 6], head[i, 7] = 0.5, -0.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(positions: int):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = list(string.ascii_lowercase + string.digits + string.punctuation)
    marked = [word for word in LOGITS if word.isalpha()]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *marked, *WORDS, *pieces, *(f"##{p}" for p in pieces)]
    ids = {token: i for i, token in enumerate(vocabulary)}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=positions,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
