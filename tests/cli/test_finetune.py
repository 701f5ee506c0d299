"""`llmkit finetune` as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.command import assert_refused, run

pytestmark = pytest.mark.usefixtures("frozen_imports")
TINY = [*("--max-steps", "4", "--eval-steps", "2", "--batch-size", "2", "--max-length", "64")]
TINY += ["--device", "cpu", "--dtype", "float32", "--lr", "1e-2"]
ONE = b'{"text": "a b c"}\n'


@pytest.fixture
def model(tiny_model: Callable[..., Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Count to {i}:", "completion": f" {i} cats, {i} dogs."} for i in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_rows_alone_train_the_bundled_model(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("finetune", data, "--max-steps", "2", "--json")
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    assert printed["folder"] == "rows-finetuned"
    assert "completion: 19 examples of" in result.err
    answer = run(
        "generate", "-m", tmp_path / "rows-finetuned", "--max-new-tokens", "4", "--greedy", "Count to 3:"
    )
    assert answer.code == 0, answer.err
    assert answer.out.strip()


def test_what_is_reported_on_the_way_and_at_the_end(data: Path, model: Path, tmp_path: Path) -> None:
    result = run("finetune", data, "-m", model, "-o", tmp_path / "out", *TINY)
    assert result.code == 0, result.err
    lines = dict(line.split(": ", 1) for line in result.out.splitlines())
    assert lines["folder"] == str(tmp_path / "out")
    assert lines["steps"] == "4"
    assert "step 0/4: held-out loss" in result.err
    assert "step 4/4: held-out loss" in result.err
    assert f"llmkit: next: llmkit generate -m {tmp_path / 'out'} " in result.err
    assert float(lines["held-out loss"]) < float(lines["held-out loss before"])
    quiet = run("finetune", data, "-m", model, "-o", tmp_path / "out", *TINY, "-q", "--overwrite")
    assert quiet.err == ""


def test_resuming_what_is_finished_has_nothing_to_do(data: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ["finetune", data, "-m", model, "-o", output, *TINY]
    assert_refused(run(*command, "--resume"), "no unfinished run", option="resume")
    assert run(*command).code == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    again = run(*command, "--resume")
    assert (again.code, again.out) == (0, "")
    assert again.err.startswith(f"llmkit: {output} is finished already; nothing to do (--overwrite ")
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    # A model that no run left there is no finished run.
    (output / "metrics.jsonl").unlink()
    assert_refused(run(*command, "--resume"), "no unfinished run", option="resume")


def test_the_plan_is_printed_and_nothing_is_left(data: Path, model: Path, tmp_path: Path) -> None:
    result = run("finetune", data, "-m", model, "--epochs", "2", "--batch-size", "2", "--dry-run", "--json")
    assert result.code == 0, result.err
    plan = json.loads(result.out)
    assert (plan["rows"], plan["examples"], plan["held_out_rows"]) == (20, 19, 1)
    assert plan["steps"] == 2 * plan["steps_per_epoch"] == 20
    assert 0 < plan["trained_parameters"] < plan["parameters"]
    assert plan["target_tokens"] < plan["tokens"]
    assert plan["memory"] > 0
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_a_recipe_file_gives_what_flags_do_not(data: Path, model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {model}\noutput: {tmp_path / 'out'}\nmax-steps: 3\nlr: 1e-3\nlora_rank: 2\nbatch_size: 4\n"
    )
    result = run("finetune", data, "--config", recipe, "--max-steps", "2", "--json", "--device", "cpu")
    assert result.code == 0, result.err
    assert json.loads(result.out)["steps"] == 2
    adapter = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert adapter["r"] == 2
    assert "0.001" in (tmp_path / "out/README.md").read_text()


def test_a_flag_wins_over_the_recipe_file_with_its_default_too(
    data: Path, model: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: {model}\nlora: false\nbatch-size: 2\neval-split: 0.5\ndevice: cpu\n")
    plan = ["finetune", data, "--config", recipe, "--dry-run", "--json"]
    ours = json.loads(run(*plan).out)
    assert ours["trained_parameters"] == ours["parameters"]
    assert (ours["batch_size"], ours["held_out_rows"], ours["device"]) == (2, 10, "cpu")
    theirs = json.loads(run(*plan, "--lora", "--batch-size", "8", "--eval-split", "0.05").out)
    assert theirs["trained_parameters"] < theirs["parameters"]
    assert (theirs["batch_size"], theirs["held_out_rows"]) == (8, 1)


@pytest.mark.parametrize("map", ["[source=a, target=b]", "{source: a, target: b}", "source=a,target=b"])
def test_every_flag_may_stand_in_the_recipe_file(model: Path, tmp_path: Path, map: str) -> None:
    rows, recipe = tmp_path / "rows.jsonl", tmp_path / "recipe.yaml"
    rows.write_text("".join(f'{{"a": "the dog {i}", "b": "der Hund {i}"}}\n' for i in range(6)))
    recipe.write_text(
        f"model: {model}\nmap: {map}\ndtype: float32\ndry-run: true\njson: true\non-error: skip\n"
    )
    result = run("finetune", rows, "--config", recipe)
    assert result.code == 0, result.err
    assert json.loads(result.out)["objective"] == "pairs"
    assert json.loads(result.out)["dtype"] == "float32"


def test_the_layout_of_prompts_is_reported_in_notices_and_card(model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"source": "the dog {i}", "target": "der Hund {i}"}}\n' for i in range(20)))
    result = run("finetune", rows, "-m", model, "-o", tmp_path / "out", *TINY)
    assert result.code == 0, result.err
    assert result.err.count(r'"{source}\n\n"') == 1
    assert r'"{source}\n\n"' in (tmp_path / "out/README.md").read_text()


def test_languages_may_stand_in_the_recipe_file(model: Path, tmp_path: Path) -> None:
    rows, recipe = tmp_path / "rows.jsonl", tmp_path / "recipe.yaml"
    texts = [{"translation": {"en": f"the dog {i}", "de": f"der Hund {i}"}} for i in range(6)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in texts))
    recipe.write_text(f"model: {model}\nfrom: en\nto: de\n")
    result = run("finetune", rows, "--config", recipe, "--dry-run", "--json")
    assert result.code == 0, result.err
    assert_refused(run("finetune", rows, "--config", recipe, "--to", "fr", "--dry-run"), "no text under 'fr'")


@pytest.mark.parametrize(
    ("family", "row"),
    [
        ("llama", {"prompt": "the dog {}", "completion": "der Hund"}),
        ("llama", {"source": "the dog {}", "target": "der Hund"}),
        ("bart", {"prompt": "the dog {}", "completion": "der Hund"}),
    ],
)
def test_languages_that_nothing_asks_for_are_refused(
    tiny_model: Callable[..., Path], tmp_path: Path, family: str, row: dict[str, str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row).replace("{}", str(i)) + "\n" for i in range(6)))
    refused = run("finetune", rows, "-m", tiny_model(family), "--from", "en", "--to", "de", "--dry-run")
    assert_refused(refused, "--from", "--to", "translation")


def test_rows_left_out_as_bad_set_the_exit_code(model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"text": "dog {i} and cat"}}\n' for i in range(8)) + '{"text": ""}\n{"text"\n')
    options = [
        "-m",
        model,
        "-o",
        tmp_path / "out",
        *TINY,
        "--on-error",
        "skip",
        "--eval-split",
        "0.4",
        "--json",
    ]
    result = run("finetune", rows, *options)
    assert result.code == 3, result.err
    assert f"skipped: {rows}:9: column 'text' is empty" in result.err
    assert f"skipped: {rows}:10: not JSON" in result.err
    assert json.loads(result.out)
    assert (tmp_path / "out/adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("max_step: 3\n", "no option 'max_step'; did you mean max_steps?"),
        ("max_steps: many\n", "max_steps: 'many' is not a number"),
        ("max_steps: 2.7\n", "max_steps: 2.7 is not a whole number"),
        ("- a\n", "lines of `key: value`"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_recipe_file_that_is_none(data: Path, model: Path, tmp_path: Path, text: str, fact: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    assert_refused(run("finetune", data, "-m", model, "--config", recipe), fact, option="config")


def test_columns_are_named_as_in_the_manual(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "news.jsonl"
    rows = [{"headline": f"News {i}", "body": f"On day {i} it rained."} for i in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["-m", model, "--dry-run", "--json"]
    assert_refused(run("finetune", file, *options), "news.jsonl:1: ", "headline, body", option="map")
    for pairs in (["source=body", "target=headline"], ["source=body,target=headline"]):
        result = run("finetune", file, *options, "--map", *pairs)
        assert json.loads(result.out)["objective"] == "pairs", result.err


@pytest.mark.parametrize(
    ("content", "options", "fact", "option"),
    [
        (b'{"text": "a"}\n{"text": "b"}\n{"text": \n', [], "rows.jsonl:3: ", None),
        (b'{"text": "a"}\n{"words": "b"}\n', [], "rows.jsonl:2: ", None),
        (b'{"text": "a"}\n{"text": null}\n{"text": "c"}\n', [], "rows.jsonl:2: column 'text' is null", None),
        (b"", [], "rows.jsonl is empty", None),
        (b'{"text": "\xff"}\n', [], "rows.jsonl:1: ", None),
        (b'{"text": "a"}\n', [], "1 different row(s)", "eval_split"),
        (b'{"text": "a", "messages": []}\n' * 2, [], "ambiguous", "objective"),
        (ONE, ["--eval-split", "0", "--batch-size", "none"], "'none'", "batch_size"),
        (ONE, ["--eval-split", "0", "--batch-size", "0"], "'0'", "batch_size"),
        (ONE, ["--eval-split", "0", "--scheduler", "step"], "'step'", "scheduler"),
        (ONE, ["--full", "--dora"], "--full", "dora"),
        (ONE, ["--from", "en"], "--from", "to"),
        (ONE, ["--map", "txt=text"], "did you mean text?", "map"),
        (ONE, ["--map", "text"], "'text'", "map"),
        (ONE, ["--processes", "0"], "not 0", "processes"),
        (ONE, ["--eval-split", "0", "-m", "nonesuch/model", "--offline"], "nonesuch/model", None),
    ],
)
def test_bad_rows_and_flags_are_one_line_before_any_training(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    options: list[str],
    fact: str,
    option: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_bytes(content)
    chosen = [] if "-m" in options else ["-m", model]
    assert_refused(run("finetune", "rows.jsonl", *chosen, *options), fact, option=option)
    assert os.listdir() == ["rows.jsonl"]


def test_bad_rows_are_skipped_and_counted_when_asked(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a dog"}\n{"text": \n' + '{"text": null}\n' + '{"text": "a cat"}\n' * 9)
    options = ["-m", model, "--dry-run", "--json", "--eval-split", "0"]
    result = run("finetune", file, *options, "--on-error", "skip")
    assert result.code == 0, result.err
    assert json.loads(result.out)["skipped"] == 2
    assert "rows.jsonl:2: " in result.err
    assert "rows.jsonl:3: column 'text' is null" in result.err


def test_an_output_in_use_is_refused(data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    assert_refused(
        run("finetune", data, "-m", model, "-o", tmp_path / "out", *TINY), "not empty", option="output"
    )
    assert_refused(run("finetune", data, "-m", model, "-o", data, *TINY), "is a file", option="output")
    if Path("/proc/self").exists():
        assert_refused(run("finetune", data, "-m", model, "-o", "/proc/out", *TINY), "cannot write there")


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["-o", "rows.jsonl/out"], ["--output", "rows.jsonl/out", "Not a directory"]),
        (["--attn", "sdap"], ["--attn", "sdap"]),
        (["--attn", "flash", "--device", "cpu"], ["flash", "cuda", "cpu"]),
        (["--device", "cpux"], ["--device", "cpux"]),
    ],
)
def test_what_is_known_at_once_is_reported_before_the_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], facts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("no rows\n")
    assert_refused(run("finetune", "rows.jsonl", "-m", "nonesuch/model", "--offline", *options), *facts)
    assert os.listdir() == ["rows.jsonl"]


def _start(data: Path, model: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "llmkit", "finetune", str(data), "-m", str(model), "-o", str(output)]
    long = ["--max-steps", "4000", "--eval-steps", "20", "--batch-size", "2", "--max-length", "64"]
    long += ["--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen([*command, *long], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (output / "checkpoints/checkpoint-20").exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_a_signal_saves_and_resume_goes_on(
    data: Path, model: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output = tmp_path / "out"
    with _start(data, model, output) as process:
        process.send_signal(number)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == code
    assert (
        printed.decode().splitlines()[-1]
        == f"llmkit: interrupted: {output} keeps what is done; --resume continues"
    )
    assert "Traceback" not in printed.decode()
    kept = sorted(int(p.name.split("-")[1]) for p in (output / "checkpoints").glob("checkpoint-*"))
    steps = [json.loads(line)["step"] for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert kept[-1] >= max(steps)  # the step that was running is in it


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_adapter(data: Path, model: Path, tmp_path: Path) -> None:
    """kill -9 wherever it strikes; the rest of the run, and its result, are those of a run left alone."""
    options = ["--max-steps", "70", "--eval-steps", "20", "--batch-size", "2", "--max-length", "64"]
    options += ["-m", str(model), "--device", "cpu", "--dtype", "float32"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "llmkit", "finetune", str(data), "-o", str(killed), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (killed / "checkpoints/checkpoint-20").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    for output, more in ((killed, ["--resume"]), (whole, [])):
        done = run("finetune", data, "-o", output, *options, *more)
        assert done.code == 0, done.err
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (killed, whole))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_messages_train_a_chat(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
    ]
    file.write_text((json.dumps({"messages": turns}) + "\n") * 8)
    result = run("finetune", file, "-m", model, "-o", tmp_path / "out", *TINY, "--eval-split", "0")
    assert result.code == 0, result.err
    assert "it gets a plain one" in result.err
    row = json.dumps({"messages": turns[:1]}) + "\n"
    talk = run("chat", "-m", tmp_path / "out", "--max-new-tokens", "4", stdin=row)
    assert talk.code == 0, talk.err


def test_an_upload_needs_somebody_to_ask(data: Path, model: Path) -> None:
    refused = run("finetune", data, "-m", model, *TINY, "--push-to-hub", "me/model", stdin="")
    assert_refused(refused, "no terminal", option="push_to_hub")


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    file = tmp_path / "preferences.jsonl"
    rows = [{"prompt": f"Say {i}:", "chosen": f" Yes, {i}.", "rejected": " No."} for i in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_preferences_are_trained_and_reported(preferences: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    result = run("finetune", preferences, "-m", model, "-o", tmp_path / "out", *TINY, "--dpo-beta", "0.2")
    assert result.code == 0, result.err
    assert "preference: 19 examples of" in result.err
    assert "the model scores each pair once before the first step" in result.err
    assert "step 0/4: held-out loss 0.6931, reward accuracy 0.500, margin 0.000" in result.err
    lines = dict(line.split(": ", 1) for line in result.out.splitlines())
    assert float(lines["reward accuracy"]) > float(lines["reward accuracy before"]) == 0.5
    assert float(lines["reward margin"]) > 0
    assert "| beta of the preference loss (DPO) | 0.2 |" in (tmp_path / "out/README.md").read_text()
    plan = run("finetune", preferences, "-m", model, "--dry-run", "--json")
    assert json.loads(plan.out)["lr"] == 5e-5


def test_preferences_without_trl_are_refused_before_anything_else(
    preferences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused = run("finetune", preferences, "-m", "nonesuch/model", "--offline")
    assert_refused(refused, "pip install 'llmkit[preferences]'")
    assert os.listdir() == [preferences.name]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (["--packing"], "packing"),
        (["--label-smoothing", "0.1"], "label_smoothing"),
        (["--lora-dropout", "0.1"], "lora_dropout"),
        (["--dpo-beta", "0"], "dpo_beta"),
    ],
)
def test_flags_that_do_not_go_with_preferences(preferences: Path, options: list[str], option: str) -> None:
    assert_refused(run("finetune", preferences, *options), option=option)


def test_beta_is_for_preferences(data: Path) -> None:
    refused = run("finetune", data, "--dpo-beta", "0.1")
    assert_refused(refused, "these rows are completion", option="dpo_beta")
