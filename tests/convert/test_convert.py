"""Conversions end to end: the result, its record, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file

from llmkit.convert import proof
from llmkit.convert.conversion import convert
from llmkit.convert.output import unfinished
from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.formats.gguf import write
from llmkit.models.bundled import embedded_folder
from llmkit.records.unfinished.folder import UnfinishedFolder
from llmkit.runtime.spec import ModelSpec
from tests.conftest import TinyModel
from tests.tiny import make_tokenizer


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_weights_return_bit_for_bit_through_gguf(family: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    source = tiny_model(family)
    there = convert(ModelSpec(str(source)), "gguf", tmp_path / "m.gguf", gguf_type="F32")
    back = convert(ModelSpec(str(tmp_path / "m.gguf")), "safetensors", tmp_path / "back")
    assert (there.stored, back.stored) == ("F32", "float32")
    first, last = load_file(source / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    assert first.keys() == last.keys()
    for name, value in first.items():
        assert torch.equal(last[name], value), name
    for result in (there, back):
        assert result.checks[0].texts == 20
        assert result.checks[0].logit_difference == 0
        assert result.checks[0].top_token_agreement == 1


@pytest.mark.parametrize("model", ["stories", "translator", "reader"])
def test_embedded_models_return_through_gguf_or_are_refused(model: str, tmp_path: Path) -> None:
    if model != "stories":
        with pytest.raises(InputError, match="models cannot be converted to GGUF"):
            convert(ModelSpec(model), "gguf", tmp_path / "m.gguf")
        return
    convert(ModelSpec(model), "gguf", tmp_path / "m.gguf", gguf_type="F32")
    convert(ModelSpec(str(tmp_path / "m.gguf")), "safetensors", tmp_path / "back")
    folder = embedded_folder(model)
    assert folder is not None
    first, last = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "back"))
    assert first.keys() == last.keys()
    assert all(torch.equal(last[name], value.float()) for name, value in first.items())


def test_the_record_beside_the_result_is_what_was_measured(tiny_model: TinyModel, tmp_path: Path) -> None:
    result = convert(
        ModelSpec(str(tiny_model("llama"))), "gguf", tmp_path / "m.gguf", gguf_type="q8_0", bound=1.0
    )
    record = json.loads((tmp_path / "m.gguf.proof.json").read_text())
    assert record["stored"] == result.stored == "Q8_0"
    assert record["checks"][0]["logit_difference"] == result.checks[0].logit_difference > 0
    assert record["nbytes"] == (tmp_path / "m.gguf").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.gguf", "m.gguf.proof.json"]


def test_over_the_bound_nothing_is_written(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(LLMKitError, match="bound"):
        convert(
            ModelSpec(str(tiny_model("llama"))), "gguf", tmp_path / "m.gguf", gguf_type="Q4_0", bound=1e-6
        )
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_layout_is_caught_by_the_default_bounds(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "permute", lambda tensor, heads: tensor)
    with pytest.raises(LLMKitError, match="gives other results"):
        convert(ModelSpec(str(tiny_model("llama"))), "gguf", tmp_path / "m.gguf", gguf_type="Q4_0")


def test_overwriting_is_asked_for(tiny_model: TinyModel, tmp_path: Path) -> None:
    spec = ModelSpec(str(tiny_model("gpt2")))
    (tmp_path / "m.gguf").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    for to, name in (("gguf", "m.gguf"), ("safetensors", "full")):
        with pytest.raises(OptionError) as refusal:
            convert(spec, to, tmp_path / name)
        assert refusal.value.option == "output"
    assert (tmp_path / "m.gguf").read_text() == "mine"
    convert(spec, "gguf", tmp_path / "m.gguf", overwrite=True)
    with pytest.raises(OptionError, match=r"a\.txt"):
        convert(spec, "safetensors", tmp_path / "full", overwrite=True)
    assert (tmp_path / "full" / "a.txt").read_text() == "mine"
    (tmp_path / "full" / "a.txt").unlink()
    convert(spec, "safetensors", tmp_path / "full")
    (tmp_path / "full" / "merges.txt").write_text("of an older model")
    convert(spec, "safetensors", tmp_path / "full", overwrite=True)
    assert not (tmp_path / "full" / "merges.txt").exists()


def test_dtype_card_and_tokenizer_are_carried(tiny_model: TinyModel, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_model("llama", chat=True), tmp_path / "source")
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    convert(ModelSpec(str(source)), "safetensors", tmp_path / "half", dtype="bfloat16")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"
    assert (tmp_path / "half" / "README.md").read_text().endswith("# Tiny\n")
    assert (tmp_path / "half" / "tokenizer.json").is_file()
    convert(ModelSpec(str(tmp_path / "half")), "gguf", tmp_path / "m.gguf")
    from llmkit.formats.gguf.checkpoint import as_checkpoint

    checkpoint = as_checkpoint(tmp_path / "m.gguf")
    assert checkpoint.kind == "BF16"
    assert checkpoint.header.metadata["general.license"] == "apache-2.0"
    assert checkpoint.tokenizer().chat_template


@pytest.mark.parametrize(
    ("to", "options", "option"),
    [
        ("onnxx", {}, "to"),
        ("gguf", {"gguf_type": "Q4_K"}, "gguf_type"),
        ("gguf", {"dtype": "float16"}, "dtype"),
        ("safetensors", {"gguf_type": "F16"}, "gguf_type"),
        ("safetensors", {"dtype": "int8"}, "dtype"),
        ("gguf", {"reader_python": "/nowhere/python"}, "reader_python"),
    ],
)
def test_bad_options_are_named(
    to: str, options: dict[str, str], option: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as refusal:
        convert(ModelSpec(str(tiny_model("gpt2"))), to, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert refusal.value.option == option
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification", "MultipleChoice"])
def test_a_head_is_kept_or_its_loss_is_told(head: str, tmp_path: Path) -> None:
    import transformers

    config = transformers.BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    getattr(transformers, f"BertFor{head}")(config).save_pretrained(tmp_path / "source")
    make_tokenizer().save_pretrained(tmp_path / "source")
    result = convert(ModelSpec(str(tmp_path / "source")), "safetensors", tmp_path / "out")
    kept = "classifier.weight" in load_file(tmp_path / "out" / "model.safetensors")
    assert kept == (head != "MultipleChoice")
    assert any("MultipleChoice is not converted" in note for note in result.notes) != kept


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        tmp_path / "source"
    )
    make_tokenizer().save_pretrained(tmp_path / "source")
    with pytest.raises(InputError, match="vocabulary of 50"):
        convert(ModelSpec(str(tmp_path / "source")), "safetensors", tmp_path / "out")


def test_families_that_gguf_does_not_have_are_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    for family in ("bart", "opt", "bert"):
        with pytest.raises(InputError, match=family):
            convert(ModelSpec(str(tiny_model(family))), "gguf", tmp_path / "m.gguf")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match="gguf"):
        convert(ModelSpec(str(tmp_path / "model.onnx")), "safetensors", tmp_path / "out")


SHARDS = {"max_shard_size": "40KB"}


def killed_after(shards: int, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert in a process that is gone when it has written some of the weight files."""
    written = count_files(monkeypatch)
    if os.fork() == 0:
        monkeypatch.setattr(
            UnfinishedFolder,
            "add",
            lambda self, name, add=UnfinishedFolder.add: (
                add(self, name),
                len(written) == shards and os._exit(9),
            ),
        )
        convert(ModelSpec(str(source)), "safetensors", output, **SHARDS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9


def count_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each weight file that is written."""
    written: list[str] = []
    save = safetensors.torch.save_file

    def counted(tensors: dict[str, torch.Tensor], path: Path, **options: object) -> None:
        written.append(Path(path).name)
        save(tensors, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(safetensors.torch, "save_file", counted)
    return written


def test_a_killed_conversion_goes_on_with_the_next_file(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(tiny_model("llama"), tmp_path / "source")
    convert(ModelSpec(str(source)), "safetensors", tmp_path / "whole", **SHARDS)
    names = sorted(path.name for path in (tmp_path / "whole").glob("*.safetensors"))
    assert len(names) > 3
    for changed in ("", "options", "source"):
        with monkeypatch.context() as killing:
            killed_after(2, source, tmp_path / "out", killing)
        assert not (tmp_path / "out").exists()
        if changed == "source":
            weights = load_file(source / "model.safetensors")
            weights["model.norm.weight"][0] += 1
            save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
        with monkeypatch.context() as counting:
            written = count_files(counting)
            dtype = "bfloat16" if changed == "options" else "auto"
            convert(ModelSpec(str(source)), "safetensors", tmp_path / "out", dtype=dtype, **SHARDS)
        if changed:
            assert len(written) == len(list((tmp_path / "out").glob("*.safetensors")))
        else:
            assert written == names[2:]
            for path in (tmp_path / "whole").glob("*.safetensors*"):
                assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
        shutil.rmtree(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "whole"]


def test_a_user_s_own_file_with_the_name_of_a_proof_stays(tiny_model: TinyModel, tmp_path: Path) -> None:
    spec, proof_file = ModelSpec(str(tiny_model("gpt2"))), tmp_path / "m.gguf.proof.json"
    for content in ("my notes", '{"mine": 1}', "[]"):
        proof_file.write_text(content)
        for overwrite in (False, True):
            with pytest.raises(OptionError, match=r"m\.gguf\.proof\.json") as refusal:
                convert(spec, "gguf", tmp_path / "m.gguf", overwrite=overwrite)
            assert refusal.value.option == "output"
        assert proof_file.read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == [proof_file.name]
    proof_file.unlink()
    convert(spec, "gguf", tmp_path / "m.gguf", gguf_type="F32")
    convert(spec, "gguf", tmp_path / "m.gguf", gguf_type="F16", overwrite=True)
    assert json.loads(proof_file.read_text())["stored"] == "F16"


def test_what_was_not_accepted_leaves_nothing(tmp_path: Path) -> None:
    with unfinished(tmp_path / "m", {}, as_file=False) as work:
        (work.path / "part").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_the_measures_are_the_textbook_ones() -> None:
    expected = [torch.tensor([[0.0, 2.0], [1.0, 0.0]])]
    found = [torch.tensor([[0.0, 3.0], [1.0, 4.0]])]
    check = proof.compare("x", expected, found, logits=True)
    assert check.logit_difference == 4
    assert check.top_token_agreement == 0.5
    p, q = [torch.softmax(one[0].double(), -1) for one in (expected, found)]
    assert check.mean_kl == pytest.approx(float((p * (p / q).log()).sum(-1).mean()), abs=1e-12)
    # Squares 0, 1, 0, 16 give mean squares 0.5 and 8; the variances within a token are 1 and 0.25.
    assert check.relative_difference == pytest.approx((8.5 / 1.25) ** 0.5)
    broken = proof.compare("x", expected, [torch.full((2, 2), float("nan"))], logits=True)
    assert broken.relative_difference == float("inf")


@pytest.mark.skipif("LLMKIT_LLAMA_PYTHON" not in os.environ, reason="LLMKIT_LLAMA_PYTHON is not set")
def test_llama_cpp_answers_alike(tiny_model: TinyModel, tmp_path: Path) -> None:
    python = os.environ["LLMKIT_LLAMA_PYTHON"]
    spec = ModelSpec(str(tiny_model("llama")))
    result = convert(spec, "gguf", tmp_path / "m.gguf", gguf_type="F32", reader_python=python)
    assert [check.reader for check in result.checks] == ["llmkit", "llama.cpp"]
    assert result.checks[1].logit_difference < 1e-3
    assert result.checks[1].same_tokens
