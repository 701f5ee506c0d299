"""A GGUF file as a model: what `load` makes of it, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from llmkit import GenerationOptions, InputError, ModelSpec, OptionError, generate, load
from llmkit.convert import convert
from llmkit.runtime.load import saved_architecture
from tests.conftest import TinyModel
from tests.formats.gguf import models


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    convert(ModelSpec(str(tiny_model("llama", chat=True))), "gguf", path, gguf_type="F32")
    return path


def test_a_file_answers_as_the_folder_that_it_was_made_of(file: Path, tiny_model: TinyModel) -> None:
    options = GenerationOptions(max_new_tokens=12)
    folder = load(ModelSpec(str(tiny_model("llama", chat=True))))
    loaded = load(ModelSpec(str(file)))
    for prompt in ("The cat", "Once upon a time"):
        (ours,), (theirs,) = generate(loaded, prompt, options), generate(folder, prompt, options)
        assert ours.text == theirs.text
    assert loaded.has_chat_template
    assert loaded.context_length == 128
    assert loaded.tokenizer.padding_side == "left"
    assert loaded.stored_dtype == "float32"
    assert list(loaded.identity()["weights"]) == ["tiny.gguf"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("F16", "float16"), ("Q8_0", "Q8_0 and F32"), ("Q4_0", "Q4_0, Q8_0 and F32")],
)
def test_a_note_names_the_stored_types(tmp_path: Path, kind: str, expected: str) -> None:
    models.write("llama", tmp_path / "m.gguf", kind)
    notes = load(ModelSpec(str(tmp_path / "m.gguf"), device="cpu")).notes
    assert any(f"stored as {expected}, and float32 is" in note for note in notes)


def test_dtype_and_kernel_are_those_asked_for(file: Path) -> None:
    loaded = load(ModelSpec(str(file), dtype="bfloat16", attn="reference"))
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.bfloat16}
    assert loaded.model.config._attn_implementation.startswith("llmkit_")


def test_a_folder_with_one_file_is_that_file(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "a.gguf")
    assert saved_architecture(ModelSpec(str(tmp_path))) == ["LlamaForCausalLM"]
    assert load(ModelSpec(str(tmp_path))).folder == tmp_path / "a.gguf"
    shutil.copy(file, tmp_path / "b.gguf")
    with pytest.raises(InputError, match=r"a\.gguf, b\.gguf"):
        load(ModelSpec(str(tmp_path)))


def test_sliding_windows_of_gemma_3_come_with_the_file(tmp_path: Path) -> None:
    written = models.write("gemma3-every-2", tmp_path / "g.gguf")
    loaded = load(ModelSpec(str(tmp_path / "g.gguf"), dtype="float32"))
    ids = torch.tensor([list(range(5, 45))])  # longer than the window of 8
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, written(ids).logits)


def test_ends_of_turns_end_generation(tmp_path: Path) -> None:
    from llmkit.formats.gguf.write import write_gguf

    model = models.make("llama")
    write_gguf(
        tmp_path / "m.gguf",
        config=model.config,
        tensors=model.state_dict(),
        tokenizer=models.VOCABULARY,
        kind="F16",
        ends=[1, 4],
        general={},
    )
    assert load(ModelSpec(str(tmp_path / "m.gguf"))).model.generation_config.eos_token_id == [1, 4]


def test_what_a_file_cannot_be_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="question-answering"):
        load(ModelSpec(str(file), task="question-answering"))
    with pytest.raises(OptionError):
        load(ModelSpec(str(file), four_bits=True))
    with pytest.raises(OptionError):
        load(ModelSpec(str(file), revision="main"))
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match="cut"):
        load(ModelSpec(str(tmp_path / "cut.gguf")))


@pytest.mark.parametrize(("name", "command"), [("tf_model.h5", "convert"), ("flax_model.msgpack", "convert")])
def test_other_frameworks_name_the_command(
    name: str, command: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    shutil.copy(tiny_model("llama") / "config.json", tmp_path)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"llmkit {command}"):
        load(ModelSpec(str(tmp_path)))
