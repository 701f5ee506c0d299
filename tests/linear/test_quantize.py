"""Models quantized in place, saved, loaded, and read by others."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from llmkit.errors import InputError, OptionError
from llmkit.linear.gptq import calibrate, gptq
from llmkit.linear.modules import QuantizedEmbedding, QuantizedLinear
from llmkit.linear.quality import divergence
from llmkit.linear.quantize import quantize_model
from llmkit.linear.registry import LinearKernel, find
from llmkit.linear.storage import SCALES, load_quantized_into, save_quantized

DECODERS = ("gpt2", "llama", "gemma3", "opt", "bloom")
SEQ2SEQ = ("t5", "bart")


def read_tensors(folder):
    return {name: x for path in folder.glob("*.safetensors") for name, x in load_file(path).items()}


@pytest.fixture
def load(tiny_model):
    """A tiny model by family, in float32, and the inputs that it is run on."""
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    def get(family):
        task = {"bert": "fill-mask"}.get(
            family, "text2text-generation" if family in SEQ2SEQ else "text-generation"
        )
        spec = ModelSpec(str(tiny_model(family)), dtype="float32", device="cpu", task=task)
        ids = torch.randint(10, 200, (2, 12), generator=torch.Generator().manual_seed(0))
        more = {"decoder_input_ids": ids[:, :5]} if family in SEQ2SEQ else {}
        return load(spec).model, {"input_ids": ids, **more}

    return get


def logits(model, inputs):
    with torch.inference_mode():
        return model(**inputs).logits


def dequantized(model, quantized):
    """A copy of the float model with the numbers of the quantized one's weights: what it must compute."""
    twin = copy.deepcopy(model)
    modules = dict(twin.named_modules())
    for name, module in quantized.named_modules():
        if isinstance(module, QuantizedLinear | QuantizedEmbedding):
            numbers = module.quantized().dequantize()
            own = modules[name].weight
            own.data.copy_(numbers.T if type(modules[name]).__name__ == "Conv1D" else numbers)
    return twin


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("family", [*DECODERS, *SEQ2SEQ, "bert"])
def test_families(family, bits, load):
    """The reference kernel is exact beside the float model with the same numbers, the native one near."""
    model, inputs = load(family)
    exact, fast = copy.deepcopy(model), copy.deepcopy(model)
    found = quantize_model(exact, bits, 32, kernel="reference")
    expected = logits(dequantized(model, exact), inputs)
    assert torch.allclose(logits(exact, inputs), expected, atol=1e-4, rtol=1e-4)
    quantize_model(fast, bits, 32)
    assert (logits(fast, inputs) - expected).square().mean().sqrt() < 0.05 * expected.std()
    assert {size for size, _ in found.layers.values()} == ({8} if bits == 8 else {8, 4})
    assert found.bytes_after < 0.55 * found.bytes_before
    assert not torch.equal(logits(model, inputs), expected)


def test_ties_stay_one_tensor(load):
    model, _ = load("gemma3")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    found = quantize_model(model, 8)
    head, table = model.lm_head, model.model.embed_tokens
    assert isinstance(table, QuantizedEmbedding)
    assert [one.data_ptr() for one in head.packed().tensors.values()] == [
        one.data_ptr() for one in table.packed().tensors.values()
    ]
    model.tie_weights(recompute_mapping=False)  # what transformers may do at any time
    assert model.lm_head is head
    assert found.kept == {}
    assert set(found.layers) >= {"lm_head", "model.embed_tokens", "model.layers.0.self_attn.q_proj"}


def test_what_is_kept(load):
    model, _ = load("llama")
    found = quantize_model(model, 4, embeddings=False, skip=["*.mlp.*"])
    assert type(model.lm_head) is torch.nn.Linear
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear
    assert isinstance(model.model.layers[0].self_attn.q_proj, QuantizedLinear)
    assert found.kept["lm_head"] == "embeddings are kept"
    assert found.kept["model.layers.1.mlp.up_proj"] == "skipped as asked"


def test_a_width_that_no_group_divides():
    model = torch.nn.Sequential(torch.nn.Linear(100, 64), torch.nn.Linear(64, 48), torch.nn.Linear(48, 3))
    found = quantize_model(model, 4, 64)
    assert found.layers == {"0": (8, 100), "1": (4, 64)}
    assert found.kept == {"2": "too small"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 5}, "`bits` must be 8 or 4"),
        ({"bits": 4, "group": 48}, "`group` must be one of"),
        (
            {"bits": 4, "kernel": LinearKernel("x", lambda x, w: x, bits=(8,))},
            "does not support weights of 4 bits",
        ),
        ({"bits": 8, "kernel": LinearKernel("x", lambda x, w: x, devices=("cuda",))}, "runs on cuda"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        quantize_model(torch.nn.Linear(32, 32), **options)


def test_models_that_are_refused():
    with pytest.raises(InputError, match="no linear layer"):
        quantize_model(torch.nn.LayerNorm(32), 8)
    once = torch.nn.Sequential(torch.nn.Linear(32, 32))
    quantize_model(once, 8)
    with pytest.raises(InputError, match="quantized already"):
        quantize_model(once, 4)
    bad = torch.nn.Sequential(torch.nn.Linear(32, 32))
    bad[0].weight.data[0, 0] = torch.inf
    with pytest.raises(InputError, match="0: the model has weights that are not finite"):
        quantize_model(bad, 8)


def fresh(model):
    """A model of the same config whose weights hold anything."""
    from transformers.initialization import no_init_weights

    config = copy.deepcopy(model.config)
    with no_init_weights():
        return type(model)(config).to(model.dtype).eval()


@pytest.mark.parametrize("embeddings", ["float", "int8"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3", "t5", "bart"])
def test_saved_and_loaded(family, embeddings, load, tmp_path):
    """The same bits, and the same bytes when saved again."""
    model, inputs = load(family)
    empty = fresh(model)
    quantize_model(model, 4, 32)
    save_quantized(model, tmp_path / "one", embeddings=embeddings)
    settings = json.loads((tmp_path / "one/config.json").read_text())["quantization_config"]
    found = load_quantized_into(empty, read_tensors(tmp_path / "one"), settings)
    assert torch.equal(logits(empty, inputs), logits(model, inputs))
    assert found.bytes_after < 0.5 * found.bytes_before
    save_quantized(empty, tmp_path / "two", embeddings=embeddings)
    for file in sorted(path.name for path in (tmp_path / "one").iterdir()):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    assert (tmp_path / "one" / SCALES).exists() == (embeddings == "float")
    (tmp_path / "new").touch()  # as the umask wants it; safetensors alone makes files for their owner only
    assert {path.stat().st_mode for path in (tmp_path / "one").iterdir()} == {
        (tmp_path / "new").stat().st_mode
    }


def test_loaded_with_another_kernel(load, tmp_path):
    model, inputs = load("llama")
    empty = fresh(model)
    quantize_model(model, 8, kernel="reference")
    save_quantized(model, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    load_quantized_into(empty, read_tensors(tmp_path), settings, kernel="torch")
    assert empty.lm_head.kernel.name == "torch"
    assert torch.allclose(logits(empty, inputs), logits(model, inputs), atol=1e-4)


def broken(settings, tensors, change):
    settings, tensors = copy.deepcopy(settings), dict(tensors)
    change(settings, tensors)
    return settings, tensors


NAME = "model.layers.0.self_attn.q_proj"
BROKEN = {
    "format": (lambda s, t: s.update(format="int-quantized"), "compressed-tensors pack-quantized"),
    "groups": (lambda s, t: s.update(config_groups=[]), "config_groups"),
    "no weights": (lambda s, t: s["config_groups"].update(group_0=3), "has no weights"),
    "bits": (lambda s, t: s["config_groups"]["group_0"]["weights"].update(num_bits=3), "weights of 3 bits"),
    "asymmetric": (
        lambda s, t: s["config_groups"]["group_0"]["weights"].update(symmetric=False),
        "symmetric",
    ),
    "activations": (
        lambda s, t: s["config_groups"]["group_0"].update(input_activations={"num_bits": 8}),
        "activations",
    ),
    "slow pattern": (lambda s, t: s["config_groups"]["group_0"].update(targets=["re:(a*)*b"]), "too complex"),
    "no target": (lambda s, t: s["config_groups"]["group_0"].update(targets=["x"]), "names this layer"),
    "no scale": (lambda s, t: t.pop(f"{NAME}.weight_scale"), "no weight_scale"),
    "no norm": (lambda s, t: t.pop("model.norm.weight"), "no model.norm.weight"),
    "other layer": (lambda s, t: t.update({"x.weight_packed": t[f"{NAME}.weight_packed"]}), "no such layer"),
    "width": (
        lambda s, t: t.update({f"{NAME}.weight_packed": t[f"{NAME}.weight_packed"][:, :-1]}),
        "inputs of 4 bits need",
    ),
    "shape": (lambda s, t: t.update({f"{NAME}.weight_shape": torch.tensor([32, 1 << 40])}), "weight_shape"),
    "scale": (
        lambda s, t: t.update({f"{NAME}.weight_scale": t[f"{NAME}.weight_scale"] * torch.nan}),
        "finite",
    ),
    "embedding": (
        lambda s, t: t.update({"model.embed_tokens.weight": torch.zeros(3, 32)}),
        "embed_tokens.weight or its scale does not fit",
    ),
}


def test_files_that_are_wrong(load, tmp_path):
    model, _ = load("llama")
    empty = fresh(model)
    quantize_model(model, 4, 32)
    save_quantized(model, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    tensors = read_tensors(tmp_path)
    for change, message in BROKEN.values():
        with pytest.raises(InputError, match=message):
            load_quantized_into(copy.deepcopy(empty), *reversed(broken(settings, tensors, change)))
    with pytest.raises(InputError, match="not quantized"):
        save_quantized(empty, tmp_path / "none")
    with pytest.raises(OptionError, match="`embeddings`"):
        save_quantized(model, tmp_path, embeddings="int4")


READER = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
ids = torch.load(sys.argv[2])
with torch.inference_mode():
    torch.save(model(ids).logits, sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_transformers_reads_it_to_the_bit(family, bits, load, tmp_path):
    """With compressed-tensors, in the Python of LLMKIT_COMPRESSED_TENSORS or in this one."""
    import os

    python = os.environ.get("LLMKIT_COMPRESSED_TENSORS") or sys.executable
    if python == sys.executable and not importlib.util.find_spec("compressed_tensors"):
        pytest.skip("there is no compressed-tensors package here")
    model, inputs = load(family)
    quantized = copy.deepcopy(model)
    quantize_model(quantized, bits, 32)
    save_quantized(quantized, tmp_path / "model")
    torch.save(inputs["input_ids"], tmp_path / "ids.pt")
    script = tmp_path / "read.py"
    script.write_text(READER)
    arguments = [python, script, tmp_path / "model", tmp_path / "ids.pt", tmp_path / "out.pt"]
    subprocess.run(arguments, check=True, capture_output=True)
    assert torch.equal(torch.load(tmp_path / "out.pt"), logits(dequantized(model, quantized), inputs))


def test_gptq_lowers_the_error_of_outputs():
    made = torch.Generator().manual_seed(0)
    mix = torch.randn(64, 64, generator=made)
    x = torch.randn(2000, 64, generator=made) @ mix  # inputs that depend on each other
    weight = torch.randn(48, 64, generator=made)
    from llmkit.linear.formats import quantize

    def error(found):
        return (x @ (found.dequantize() - weight).T).square().mean()

    assert error(gptq(weight, x.T @ x, 32)) < 0.7 * error(quantize(weight, 4, 32))


def test_calibration_lowers_the_divergence(load):
    model, _ = load("llama")
    made = torch.Generator().manual_seed(1)
    batches = [torch.randint(10, 200, (4, 64), generator=made) for _ in range(4)]
    plain, better = copy.deepcopy(model), copy.deepcopy(model)
    quantize_model(plain, 4, 32)
    calibrate(better, batches, 32)
    held = [torch.randint(10, 200, (4, 64), generator=made)]
    before, after = (
        divergence(lambda ids: model(ids).logits, lambda ids, one=one: one(ids).logits, held)
        for one in (plain, better)
    )
    assert after.mean < 0.9 * before.mean
    assert after.tokens == 256
    with pytest.raises(InputError, match="at least one text"):
        calibrate(copy.deepcopy(model), [])


def test_divergence_by_hand():
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]).log()
    found = divergence(lambda ids: p.expand(1, 2, 2), lambda ids: q.expand(1, 2, 2), [torch.zeros(1, 2)])
    assert found.mean == pytest.approx(0.510825624, abs=1e-6)  # 0.5 ln(0.5/0.9) + 0.5 ln(0.5/0.1)
    assert (found.tokens, found.same_top) == (2, 1.0)
    with pytest.raises(ValueError, match="no texts"):
        divergence(lambda ids: ids, lambda ids: ids, [])


@pytest.mark.slow
def test_how_far_the_embedded_model_moves():
    """On text that it was not made for: the limits that quantization keeps."""
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    loaded = load(ModelSpec("stories", dtype="float32", device="cpu"))
    text = (
        "The committee met on Tuesday to discuss the budget. After three hours of debate, members agreed"
        " to raise spending on roads and schools while cutting the cost of administration by four per cent. "
    )
    ids = loaded.tokenizer(text * 6, return_tensors="pt").input_ids[:, :384].view(2, -1)
    held = [loaded.tokenizer(" ".join(reversed(text.split(". "))), return_tensors="pt").input_ids]
    model = loaded.model
    limits = {}
    for name, run in {
        "int8": lambda one: quantize_model(one, 8),
        "int4": lambda one: quantize_model(one, 4, 32),
        "int4 calibrated": lambda one: calibrate(one, [ids], 32),
    }.items():
        changed = copy.deepcopy(model)
        run(changed)
        limits[name] = divergence(
            lambda ids: model(ids).logits, lambda ids, one=changed: one(ids).logits, held
        ).mean
    assert limits["int8"] < 1.5e-3
    assert limits["int4"] < 0.06
    assert limits["int4 calibrated"] < limits["int4"]


def test_kernel_names_are_found():
    with pytest.raises(InputError, match="no such kernel"):
        quantize_model(torch.nn.Linear(32, 32), 8, kernel="gpu")
    assert find("cpu").row_independent
