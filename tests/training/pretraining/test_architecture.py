import pytest
import torch
import transformers

from llmkit.training.pretraining.architecture import ARCHITECTURES, Ids, ModelShape, build_config, parse_size
from tests.training.helpers import refuses

IDS = Ids(begin=3, end=1, padding=2)
CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "spans": "AutoModelForSeq2SeqLM",
    "infilling": "AutoModelForSeq2SeqLM",
}


def build(arch: str, config: transformers.PreTrainedConfig) -> transformers.PreTrainedModel:
    """The model without memory behind its weights."""
    with torch.device("meta"):
        return getattr(transformers, CLASSES[ARCHITECTURES[arch].kind]).from_config(config)


@pytest.mark.parametrize(
    ("text", "size"),
    [("3m", 3_000_000), ("260k", 260_000), ("1.2B", 1_200_000_000), ("4877568", 4_877_568), (5000, 5000)],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-3m", "3mm", "0", "three"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with refuses("params"):
        parse_size(text)


@pytest.mark.parametrize(
    ("params", "vocab_size"),
    [
        ("20k", 300),
        ("260k", 300),
        ("260k", 2048),
        ("3m", 300),
        ("3m", 2048),
        ("4.9m", 2048),
        ("15m", 32000),
        ("30m", 2048),
        ("124m", 32000),
        ("1.2b", 32000),
        ("8b", 128256),
    ],
)
def test_a_model_built_has_the_parameters_asked_for(params: str, vocab_size: int) -> None:
    config = build_config("llama", params, vocab_size=vocab_size, context=64, ids=IDS)
    assert build("llama", config).num_parameters() == pytest.approx(parse_size(params), rel=0.05)
    assert config.hidden_size % config.num_attention_heads == 0
    assert config.num_attention_heads % config.num_key_value_heads == 0


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize(("params", "vocab_size"), [("260k", 300), ("4.9m", 2048), ("124m", 32000)])
def test_every_architecture_meets_the_size(arch: str, params: str, vocab_size: int) -> None:
    config = build_config(arch, params, vocab_size=vocab_size, context=128, ids=IDS)
    assert build(arch, config).num_parameters() == pytest.approx(parse_size(params), rel=0.05)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (3, 1, 2)


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize("shape", [ModelShape(3, 64, 160), ModelShape(2, 256, 1024)])
def test_parameters_are_counted_as_transformers_makes_them(arch: str, shape: ModelShape) -> None:
    family = ARCHITECTURES[arch]
    model = build(arch, family.config(shape, 500, 100, IDS))
    assert family.count(shape, 500, 100) == model.num_parameters()


def test_a_size_below_the_vocabulary_is_refused() -> None:
    with refuses("params", "smaller `vocab_size`"):
        build_config("llama", "10k", vocab_size=2048, context=64, ids=IDS)


def test_an_unknown_architecture_names_what_there_is() -> None:
    with refuses("arch", "llama, qwen3, gpt2, bert, roformer, t5, bart"):
        build_config("mamba", "3m", vocab_size=2048, context=64, ids=IDS)
