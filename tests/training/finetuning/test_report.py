"""What a finished run leaves to be read: its curve, its page and its card."""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.plan import FinetuneInputs, prepare
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.finetuning.report import card, write_report
from llmkit.training.finetuning.result import FinetuneResult
from llmkit.training.report import curve

ROWS = [
    {"step": 0, "eval_loss": 4.0},
    {"step": 1, "loss": 4.5, "learning_rate": 1e-3},
    {"step": 2, "loss": 3.5, "learning_rate": 1e-3},
    {"step": 2, "eval_loss": 3.25},
]


@pytest.fixture
def prepared(tiny_model: Callable[..., Path], tmp_path: Path) -> FinetuneInputs:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"prompt": "say {i}", "completion": " {i}"}}\n' for i in range(8)), "utf-8")
    recipe = FinetuneRecipe(
        lora_rank=4, lora_alpha=12, dora=True, dtype="float32", batch_size=2, packing=True
    )
    return prepare([file], ModelSpec(str(tiny_model("llama")), device="cpu"), recipe)


def result(folder: Path) -> FinetuneResult:
    return FinetuneResult(
        folder=folder,
        steps=2,
        kept_step=1,
        parameters=1000,
        trained_parameters=10,
        train_loss=3.5,
        held_out_before=4.0,
        held_out_loss=3.25,
        perplexity=25.790,
        reward_accuracy_before=None,
        reward_accuracy=None,
        reward_margin=None,
        peak_memory=1 << 30,
        tokens_per_second=1234.5,
        seconds=60.0,
    )


def test_the_selected_step_is_marked_on_the_curve() -> None:
    picture = ElementTree.fromstring(curve(ROWS, kept=1))
    line, _legend = (node for node in picture.iter() if node.get("class") == "mark")
    points = [
        node.get("cx") for node in picture.iter() if node.tag.endswith("circle") and node.get("class") == "fa"
    ]
    assert line.get("x1") == points[0]  # the training loss of step 1
    assert "selected: step 1" in {node.text for node in picture.iter()}
    assert 'class="mark"' not in curve(ROWS)


def legend(picture: str) -> set[str]:
    texts = {node.text for node in ElementTree.fromstring(picture).iter() if node.tag.endswith("text")}
    return texts & {"training", "held out"}


def test_the_curve_is_a_picture_of_both_losses() -> None:
    assert legend(curve(ROWS)) == {"training", "held out"}
    assert legend(curve([row for row in ROWS if "loss" in row])) == {"training"}
    # A run of one step has a picture, too.
    ElementTree.fromstring(curve(ROWS[1:2]))


def test_the_page_shows_results_and_recipe_and_runs_nothing(prepared: FinetuneInputs, tmp_path: Path) -> None:
    folder = tmp_path / "a<b>&c"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    write_report(folder / "metrics.jsonl", prepared, result(folder), "llmkit finetune '<script>'")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "a&lt;b&gt;&amp;c" in page
    for said in ("4.0000 before, 3.2500 after", "25.790", "rank 4, alpha 12 dora", "packed rows per step"):
        assert said in page
    assert "<svg" in page
    # It needs no network: nothing is fetched from anywhere.
    assert not any(sign in page for sign in ("src=", "@import", "<link"))
    assert legend((folder / "loss.svg").read_text(encoding="utf-8")) == {"training", "held out"}


def test_the_card_has_the_metadata_that_the_hub_reads(prepared: FinetuneInputs, tmp_path: Path) -> None:
    folder = tmp_path / "a: b"
    text = card(prepared, result(folder), "llmkit finetune rows.jsonl")
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["base_model_relation"] == "adapter"
    assert header["pipeline_tag"] == "text-generation"
    (model,) = header["model-index"]
    assert model["name"] == "a: b"
    metrics = {one["type"]: one["value"] for one in model["results"][0]["metrics"]}
    assert metrics == {"loss": 3.25, "perplexity": 25.790}
    assert "```sh\nllmkit finetune rows.jsonl\n```" in text
    assert f"| rows read | {prepared.plan.rows} |" in text
    # Other programs do not find a base that is inside the package.
    assert "llmkit merge" not in text
    embedded = replace(prepared, loaded=replace(prepared.loaded, revision="embedded"))
    assert "`llmkit merge 'a: b' -o 'a: b-merged'`" in card(embedded, result(folder), "")
    # Nothing measured, nothing claimed.
    bare = replace(result(folder), held_out_loss=None, held_out_before=None, perplexity=None)
    bare_text = card(prepared, bare, "")
    assert "model-index" not in yaml.safe_load(bare_text.split("---\n")[1])
    assert "```" not in bare_text


def test_the_card_shows_the_layout_of_prompts(
    prepared: FinetuneInputs, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    file, notices = tmp_path / "tasks.jsonl", list[str]()
    row = '{{"instruction": "say {0}", "input": "now", "output": "{0}"}}\n'
    file.write_text("".join(row.format(i) for i in range(8)), "utf-8")
    spec = ModelSpec(str(tiny_model("llama")), device="cpu")
    instructed = prepare([file], spec, FinetuneRecipe(dtype="float32"), notice=notices.append)
    text = card(instructed, result(tmp_path / "out"), "")
    (program,) = re.findall(r"```python\n(.*)\n```", text)
    layout = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
    assert ast.literal_eval(program) == layout
    assert "layout (the part with {input} only if a row has one)" in text
    assert f"{program} (the part with {{input}} only" in notices[-1]
    # A prompt that is a column as it stands needs no words.
    assert "layout" not in card(prepared, result(tmp_path / "out"), "")
