"""Values that a recipe file or a flag can hold: each bad one is refused by name, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import assert_refused, run
from tests.conftest import TinyModel


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"prompt": "a{i}", "completion": "b"}}\n' for i in range(4)))
    return file


# The text of a recipe, and what the error must name.
BAD = [
    ("epochs: .inf", "epochs"),
    ("epochs: .nan", "epochs"),
    ("epochs: 1e300", "epochs"),
    ("epochs: 2020-01-01", "epochs"),
    ("epochs: !!binary aGVsbG8=", "epochs"),
    ("seed: -1", "seed"),
    ("seed: 99999999999999999999", "seed"),
    ("lr: .inf", "lr"),
    ("lr: .nan", "lr"),
    ("weight_decay: .inf", "weight"),
    ("warmup: .nan", "warmup"),
    ("early_stopping: .inf", "early_stopping"),
    ("eval_split: .nan", "eval_split"),
    ("max_steps: 1000000000000000", "max-steps"),
    ("max_length: 1000000000000000", "max-length"),
    ("batch_size: 1000000000000000", "batch-size"),
    ("gradient_accumulation: 1000000000000000", "gradient-accumulation"),
    ("lora_rank: 1000000000000", "lora-rank"),
    ("lora_alpha: 0", "lora-alpha"),
    ("dpo_beta: .inf", "dpo_beta"),
    ("[" * 20_000, "recipe.yaml"),
    ("model: " + "{b: " * 3000, "recipe.yaml"),
    ("&a {model: *a}", "model"),
    ("- 1", "recipe.yaml"),
    ("? [a, b]\n: 1", "recipe.yaml"),
    ("epochs: !!python/object/apply:os.getcwd []", "recipe.yaml"),
    ("#" * (2 << 20), "recipe.yaml"),
]


@pytest.mark.parametrize(("text", "fact"), BAD, ids=lambda one: one[:24])
def test_a_bad_recipe_is_refused(
    text: str, fact: str, rows: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    command = ("finetune", rows, "-m", tiny_model("llama"), "-o", tmp_path / "out", "--dry-run")
    result = run(*command, "--config", tmp_path / "recipe.yaml")
    assert_refused(result, fact)
    assert "unexpected" not in result.err
    assert len(result.err) < 600


@pytest.mark.parametrize(
    "arguments",
    [
        ("finetune", "ROWS", "--dry-run"),
        ("pretrain", "ROWS", "--dry-run"),
        ("generate", "a"),
        ("chat", "--lines"),
        ("translate", "a"),
        ("summarize",),
        ("qa", "--question", "a"),
        ("eval", "--metric", "rouge", "ROWS"),
        ("bench", "-m", "stories"),
    ],
    ids=lambda one: one[0],
)
@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_no_generator_takes_is_refused(arguments: tuple[str, ...], seed: str, rows: Path) -> None:
    given = [str(rows) if one == "ROWS" else one for one in arguments]
    assert_refused(run(*given, "--seed", seed, stdin="a"), seed[:4], option="seed")


@pytest.mark.parametrize("flag", ["--epochs", "--lr", "--weight-decay", "--warmup", "--eval-split"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_flag_must_be_finite(flag: str, value: str, rows: Path) -> None:
    result = run("finetune", rows, "--dry-run", flag, value)
    assert_refused(result, value, option=flag.strip("-").replace("-", "_"))


PERMISSIONS = [
    ("trust_remote_code: true", "--trust-remote-code"),
    ("overwrite: true", "--overwrite"),
    ("push_to_hub: me/mine", "--push-to-hub"),
    ("attn: FOLDER/kernel.py:attend", "--attn"),
    ("attn: kernel.py:attend", "--attn"),
    ("attn: somebody/kernels", "--attn"),
    ("linear: FOLDER/kernel.py:attend", "--linear"),
]


@pytest.mark.parametrize(("text", "flag"), PERMISSIONS)
@pytest.mark.parametrize("dry", [("--dry-run",), ()], ids=["dry-run", "run"])
def test_a_recipe_runs_no_code_and_removes_nothing(
    text: str, flag: str, dry: tuple[str, ...], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernel.py").write_text("from pathlib import Path\nPath('ran').touch()\nattend = None\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text(f"output: out\n{text}\n".replace("FOLDER", str(tmp_path)))
    assert_refused(run("finetune", rows, "-m", "none", "--config", "recipe.yaml", *dry), "recipe.yaml", flag)
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "out" / "config.json").read_text() == "{}"


def test_the_command_line_gives_what_a_recipe_may_not(
    rows: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text("overwrite: true\ntrust_remote_code: true\nattn: sdpa\n")
    command = ("finetune", rows, "-m", tiny_model("llama"), "-o", tmp_path / "out", "--dry-run")
    flags = ("--overwrite", "--trust-remote-code")
    assert run(*command, "--config", tmp_path / "recipe.yaml", *flags).code == 0
