"""Loading: what comes out, and what a folder that cannot be loaded says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit import InputError, LLMKitError, ModelSpec, load
from llmkit.errors import OptionError
from llmkit.runtime.loaded_model import fingerprints
from tests.conftest import TinyModel
from tests.tiny import make_model, make_tokenizer


@pytest.fixture
def folder(tmp_path: Path, tiny_model: TinyModel) -> Path:
    """A tiny Llama's folder to spoil."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(ModelSpec(str(folder), **options))
    return str(caught.value)


def test_what_comes_out(tiny_model: TinyModel) -> None:
    loaded = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    assert not loaded.model.training
    assert loaded.device == torch.device("cpu")
    assert loaded.dtype == torch.float32
    assert loaded.context_length == 128
    assert loaded.tokenizer.padding_side == "left"
    assert loaded.revision == "local"
    assert [note.split()[0] for note in loaded.notes] == ["device", "dtype", "attention"]


@pytest.mark.parametrize(
    ("family", "context"), [("gpt2", 128), ("opt", 128), ("bart", 128), ("bloom", None), ("t5", None)]
)
def test_context_length(tiny_model: TinyModel, family: str, context: int | None) -> None:
    assert load(ModelSpec(str(tiny_model(family)))).context_length == context


def test_a_half_precision_checkpoint_runs_in_float32_on_a_cpu(folder: Path) -> None:
    model = load(ModelSpec(str(folder))).model
    model.half().save_pretrained(folder)
    loaded = load(ModelSpec(str(folder), device="cpu"))
    assert loaded.dtype == torch.float32
    assert loaded.model.dtype == torch.float32
    assert any("stored as float16" in note for note in loaded.notes)


def test_a_tokenizer_without_a_pad_token_gets_one(tiny_model: TinyModel) -> None:
    loaded = load(ModelSpec(str(tiny_model("gpt2", pad=False))))
    assert loaded.tokenizer.pad_token == loaded.tokenizer.eos_token
    assert any("has no pad token" in note for note in loaded.notes)


def test_attention_is_taken_or_refused(tiny_model: TinyModel) -> None:
    loaded = load(ModelSpec(str(tiny_model("llama")), attn="eager"))
    assert loaded.model.config._attn_implementation == "eager"
    assert "no such kernel; use reference, cpu, flash, packed, eager" in refused(
        tiny_model("llama"), attn="nonsense"
    )
    assert "`attn` sdpa: " in refused(tiny_model("bloom"), attn="sdpa")


def test_a_model_larger_than_memory_runs_from_disk(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerate.utils.modeling

    whole = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    monkeypatch.setattr("llmkit.runtime.device._free_ram", lambda: 1000)
    room = {"cpu": 60_000, "disk": 10**12}
    monkeypatch.setattr(accelerate.utils.modeling, "get_max_memory", lambda *a, **k: dict(room))
    monkeypatch.setattr("transformers.integrations.accelerate.get_max_memory", lambda *a, **k: dict(room))
    loaded = load(ModelSpec(str(tiny_model("llama")), device="cpu"))
    assert "disk" in loaded.model.hf_device_map.values()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, whole.model(ids).logits)


def test_an_adapter_goes_on_its_base_by_flag_and_by_name(tiny_model: TinyModel, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = tiny_model("llama")
    plain = load(ModelSpec(str(base)))
    torch.manual_seed(0)
    tuned = get_peft_model(plain.model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    tuned.peft_config["default"].base_model_name_or_path = str(base)
    tuned.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        wanted = tuned(ids).logits
        by_flag = load(ModelSpec(str(base), adapter=str(tmp_path / "adapter")))
        by_name = load(ModelSpec(str(tmp_path / "adapter")))
        assert torch.equal(by_flag.model(ids).logits, wanted)
        assert torch.equal(by_name.model(ids).logits, wanted)
        assert not torch.equal(load(ModelSpec(str(base))).model(ids).logits, wanted)
    assert by_flag.identity()["adapter"] is not None


def test_an_adapter_brings_its_own_way_of_generating(tiny_model: TinyModel, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    base = tiny_model("llama")
    tuned = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(target_modules=["q_proj"])
    )
    tuned.save_pretrained(tmp_path)
    spec = ModelSpec(str(base), adapter=str(tmp_path))
    assert load(spec).model.generation_config.temperature != 0.5
    (tmp_path / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.5}')
    assert load(spec).model.generation_config.temperature == 0.5
    (tmp_path / "generation_config.json").write_text("{")
    assert "generation_config.json" in refused(base, adapter=str(tmp_path))


def test_an_adapter_folder_without_an_adapter_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    assert "no adapter_config.json" in refused(tiny_model("llama"), adapter=str(tmp_path))


@pytest.mark.parametrize("by_name", [True, False])
def test_a_pickled_adapter_needs_a_flag(tiny_model: TinyModel, tmp_path: Path, by_name: bool) -> None:
    base = str(tiny_model("llama"))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    said = refused(tmp_path) if by_name else refused(Path(base), adapter=str(tmp_path))
    assert "adapter_model.bin needs allow_bin=True" in said
    assert ("`adapter` " in said) != by_name


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "is not a model's folder: no config.json in it (it is empty)" in refused(tmp_path)


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "(it contains notes.txt)" in refused(tmp_path)


def test_a_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "config.json: not readable as JSON" in refused(folder)


def test_an_unknown_architecture(folder: Path) -> None:
    edit_config(folder, model_type="martian", architectures=["MartianForCausalLM"])
    assert "does not know: model_type 'martian'" in refused(folder)


def test_code_of_the_model_does_not_run_unless_trusted(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "modeling_martian.py").write_text(f"open({str(marker)!r}, 'w')\nraise RuntimeError('ran')\n")
    (folder / "configuration_martian.py").write_text(f"open({str(marker)!r}, 'w')\n")
    edit_config(
        folder,
        model_type="martian",
        auto_map={
            "AutoConfig": "configuration_martian.MartianConfig",
            "AutoModelForCausalLM": "modeling_martian.MartianForCausalLM",
        },
    )
    assert "trust_remote_code=True" in refused(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tf_model.h5", "a TensorFlow checkpoint; convert it to safetensors"),
        ("flax_model.msgpack", "a Flax checkpoint; convert it to safetensors"),
        ("model.gguf", "not a GGUF file"),
        ("notes.txt", "has no weights: no model.safetensors in it"),
    ],
)
def test_weights_of_another_kind(folder: Path, file: str, said: str) -> None:
    (folder / "model.safetensors").rename(folder / file)
    assert said in refused(folder)


def test_pickled_weights_need_a_flag_and_then_load(folder: Path) -> None:
    model = load(ModelSpec(str(folder))).model
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert "allow_bin=True" in refused(folder)
    loaded = load(ModelSpec(str(folder), allow_bin=True))
    assert torch.equal(loaded.model.lm_head.weight, model.lm_head.weight)


def test_a_pickle_that_would_run_code_does_not(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Trap()}, folder / "pytorch_model.bin")
    assert "contains more than weights, which could run code; not read" in refused(folder, allow_bin=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 4, 100, -1000])
def test_a_cut_off_weight_file(folder: Path, keep: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "model.safetensors is" in refused(folder)
    assert "cut off" in refused(folder)


_UP = "model.layers.1.mlp.up_proj.weight"
_HUGE: dict[str, Any] = {"dtype": "F32", "shape": [1 << 62, 1 << 62, 0], "data_offsets": [0, 0]}
DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], bytes, str]] = {
    "gap": (lambda head: _move(head, 8), b"\0" * 8, "overlap or leave gaps"),
    "overlap": (lambda head: head.update({_UP: head[_UP.replace("1", "0")]}), b"", "overlap or leave gaps"),
    "huge": (lambda head: head.update(x=_HUGE), b"", "is not a safetensors file"),
    "dimensions": (
        lambda head: head.update(x={**_HUGE, "shape": [0] * 65}),
        b"",
        "is not a safetensors file",
    ),
    "metadata": (lambda head: head.update(__metadata__={"format": 1}), b"", "is damaged: Error while"),
}


def _move(head: dict[str, Any], by: int) -> None:
    for name, one in head.items():
        if name != "__metadata__":
            one["data_offsets"] = [offset + by for offset in one["data_offsets"]]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_header_that_breaks_the_format(folder: Path, damage: str) -> None:
    change, before, said = DAMAGES[damage]
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:end])
    change(head)
    text = json.dumps(head).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text + before + data[end:])
    assert said in refused(folder, dtype="float32")


def test_an_index_cannot_name_files_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {"lm_head.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json names files outside the model's folder" in refused(folder)


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert (
        "lacks weights that text-generation needs (1, such as model.layers.1.mlp.up_proj.weight)"
        in refused(folder)
    )


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    assert "has no tokenizer files" in refused(folder)


def test_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(LLMKitError, match="its tokenizer does not load"):
        load(ModelSpec(str(folder)))


def test_a_model_for_another_task_names_the_verb(tiny_model: TinyModel) -> None:
    assert "is an extractive-QA model; use `llmkit qa`" in refused(tiny_model("bert-qa"))


def test_nothing_is_printed(tiny_model: TinyModel, capfd: pytest.CaptureFixture[str]) -> None:
    load(ModelSpec(str(tiny_model("llama"))))
    assert capfd.readouterr() == ("", "")


def test_identity_changes_with_the_weights(tmp_path: Path) -> None:
    first = make_model("gpt2", tmp_path / "a", seed=0)
    second = make_model("gpt2", tmp_path / "b", seed=1)
    one, other = (load(ModelSpec(str(path))).identity() for path in (first, second))
    assert one["weights"] != other["weights"]


def test_identity_changes_with_each_file_that_results_depend_on(tmp_path: Path) -> None:
    folder = make_model("llama", tmp_path / "model", chat=True)
    (folder / "generation_config.json").write_text('{"do_sample": false}')
    before = load(ModelSpec(str(folder))).identity()
    assert load(ModelSpec(str(folder))).identity() == before
    kept = [
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("chat_template.jinja", "model.safetensors"),
    ]
    new = ["special_tokens_map.json", "added_tokens.json", "additional_chat_templates/rag.jinja"]
    new += ["bpe.codes", "dict.txt", "prophetnet.tokenizer"]  # of slow tokenizers
    for name in (*kept, *new):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        content = path.read_bytes() if name in kept else None
        path.write_bytes((content or b"{}") + b" ")
        assert fingerprints(folder) != before["weights"], name
        path.write_bytes(content) if content is not None else path.unlink()
    for name in ("README.md", "trainer_state.json", "training_args.bin.txt", "eval_results.json"):
        (folder / name).write_text("{}")
    assert fingerprints(folder) == before["weights"]


def test_a_chat_template_is_seen(tmp_path: Path, tiny_model: TinyModel) -> None:
    assert not load(ModelSpec(str(tiny_model("llama")))).has_chat_template
    assert load(ModelSpec(str(tiny_model("llama", chat=True)))).has_chat_template
    assert make_tokenizer(chat=True).chat_template


def test_a_kernel_that_cannot_write_text_on_a_cpu_is_refused_there() -> None:
    """The C++ that torch writes for flex_attention does not compile once a text grows."""
    from llmkit.runtime.attention_kernel import find_kernel

    with pytest.raises(OptionError, match="flex_attention runs on cuda, not on cpu"):
        find_kernel(ModelSpec("stories", attn="flex_attention"), "cpu")
