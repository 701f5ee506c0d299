"""`llmkit kernels`, and kernels from files behind `--attn`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.command import ROOT, assert_refused, run

EXAMPLE = f"{ROOT}/examples/attention/one_pass.py:attend"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder: Path, body: str, mask: str = 'mask="boolean", supports=["gqa"]') -> str:
    path = folder / "mine.py"
    decorator = f"@llmkit.attention.kernel({mask})\n" if mask else ""
    path.write_text(
        "import torch, llmkit\n"
        "from llmkit.attention.reference import reference_attention as right\n"
        f"{decorator}def attend(module, query, key, value, attention_mask, *, scaling, **rest):\n    {body}\n"
    )
    return f"{path}:attend"


RIGHT = "return right(module, query, key, value, attention_mask, scaling=scaling)"
WRONG = "return right(module, query, key, value, torch.ones_like(attention_mask), scaling=scaling)"


def test_list():
    found = run("kernels")
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0].split() == ["kernel", "mask", "devices", "dtypes", "supports"]
    assert {"reference", "eager", "sdpa", "flex_attention"} <= {line.split()[0] for line in lines[1:]}
    objects = [json.loads(line) for line in run("kernels", "list", "--json").out.splitlines()]
    assert {one["name"]: one["from"] for one in objects}["reference"] == "llmkit"


def test_the_example_is_right_and_gives_the_text_of_sdpa():
    found = run("kernels", "verify", EXAMPLE)
    assert (found.code, "WRONG" in found.out) == (0, False)
    assert " 0 wrong" in found.err
    texts = {
        attn: run("generate", "--attn", attn, "Once upon a time", "--greedy", "--max-new-tokens", 30, "-q")
        for attn in ("sdpa", EXAMPLE)
    }
    assert texts["sdpa"].out == texts[EXAMPLE].out != ""
    assert len((ROOT / "examples/attention/one_pass.py").read_text().splitlines()) <= 40


def test_verify_shows_the_fault(tmp_path):
    found = run("kernels", "verify", write(tmp_path, WRONG))
    assert found.code == 1
    line = next(line for line in found.out.splitlines() if line.startswith("causal "))
    assert "WRONG" in line
    assert "without a mask" in line
    assert "mine.py:attend does not apply its mask: in " in found.err
    assert found.err.endswith(
        "fill its scores with the dtype's lowest number where attention_mask is False\n"
    )
    objects = [
        json.loads(one)
        for one in run("kernels", "verify", write(tmp_path, WRONG), "--quick", "--json").out.splitlines()
    ]
    assert {one["case"]: one["passed"] for one in objects}["causal"] is False


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("query.transpose(1, 2)", "a Tensor alone; it must return (output, None)"),
        ("None", "nothing; it must return (output, None)"),
        ("(query, None)", "shape (2, 4, 17, 64); it must be (batch, queries, heads,"),
    ],
)
def test_a_wrong_return_value_is_named(tmp_path, tiny_model, returned, said):
    attn = write(tmp_path, f"return {returned}")
    found = run("kernels", "verify", attn, "--quick")
    assert found.code == 1
    line = next(line for line in found.out.splitlines() if line.startswith("causal "))
    assert "WRONG" in line
    assert said in line
    assert "attn" not in found.out.replace(attn, "")
    refused = run("generate", "a", "--attn", attn, "-m", tiny_model("llama"), "-q")
    assert_refused(refused, said, option="attn")


def test_verify_inside_a_model(tiny_model):
    found = run("kernels", "verify", "reference", "--quick", "-m", tiny_model("qwen3"))
    assert found.code == 0, found.out
    assert "Qwen3ForCausalLM: taken by every layer" in found.out
    refused = run("kernels", "verify", "reference", "--quick", "-m", tiny_model("bloom"))
    assert refused.code == 1
    assert "BloomForCausalLM does not use the attention interface" in refused.out


def test_verify_inside_an_encoder(tiny_model):
    found = run("kernels", "verify", "reference", "--quick", "-m", tiny_model("bert"))
    assert found.code == 0, found.out
    assert "BertForMaskedLM: padded batch against single texts" in found.out


def test_a_file_may_hold_what_looks_its_module_up(tmp_path, tiny_model):
    """Dataclasses and torch's custom operations do; and it runs once, however often it is asked for."""
    attn = write(tmp_path, RIGHT)
    path = Path(attn.rpartition(":")[0])
    before = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport torch\n"
        "with open(__file__ + '.runs', 'a') as f: f.write('x')\n"
        "@dataclass\nclass Sizes:\n    rows: int = 1\n"
        "@torch.library.custom_op('llmkit_test::same', mutates_args=())\n"
        "def same(x: torch.Tensor) -> torch.Tensor:\n    return x.clone()\n"
    )
    path.write_text(before + path.read_text())
    for _ in range(2):
        done = run("generate", "a", "--attn", attn, "-m", tiny_model("llama"), "--max-new-tokens", 2, "-q")
        assert done.code == 0, done.err
    assert Path(f"{path}.runs").read_text() == "x"


def test_a_kernel_is_refused_where_it_does_not_run(tmp_path, tiny_model):
    """Before it is proven, on a device that it never said it takes."""
    attn = write(tmp_path, RIGHT, mask='mask="boolean", supports=["gqa"], devices=["cuda"]')
    model = ["-m", tiny_model("llama"), "-q", "--device", "cpu"]
    for name in (attn, "flash_attention_2"):
        refused = run("generate", "a", "--attn", name, *model)
        assert_refused(refused, f"{name} runs on cuda, not on cpu", option="attn")


def test_a_wrong_kernel_never_runs(tmp_path, tiny_model):
    model = ["-m", tiny_model("llama"), "--greedy", "--max-new-tokens", 4, "-q"]
    wrong = write(tmp_path, WRONG)
    refused = run("generate", "One day", "--attn", wrong, *model)
    assert_refused(refused, "is wrong: causal and", "--no-verify", option="attn")
    assert run("generate", "One day", "--attn", wrong, *model, "--no-verify").code == 0


def test_a_kernel_is_proven_once(tmp_path, tiny_model, monkeypatch):
    import llmkit.attention.verify as proof

    asked = []
    verify = proof.verify
    monkeypatch.setattr(proof, "verify", lambda *a, **k: asked.append(a) or verify(*a, **k))
    model = ["-m", tiny_model("llama"), "--greedy", "--max-new-tokens", 4, "-q"]
    for times in (1, 1):
        assert run("generate", "One day", "--attn", write(tmp_path, RIGHT), *model).code == 0
        assert len(asked) == times
    # Another content is another kernel.
    assert run("generate", "One day", "--attn", write(tmp_path, RIGHT + "  # new"), *model).code == 0
    assert len(asked) == 2


def test_a_cache_that_cannot_be_written(tmp_path, tiny_model, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    model = ["-m", tiny_model("llama"), "--greedy", "--max-new-tokens", 4, "-q"]
    assert run("generate", "One day", "--attn", write(tmp_path, RIGHT), *model).code == 0


@pytest.mark.parametrize(
    ("attn", "fact"),
    [
        ("sdpaa", "--attn sdpaa: "),
        ("sdpaa", "did you mean sdpa?"),
        ("nothing.py:attend", "no file nothing.py"),
        ("{folder}/mine.py", "/mine.py:FUNCTION"),
        ("{folder}/mine.py:atend", "has no function atend; did you mean attend?"),
        ("{folder}/broken.py:attend", "does not load: SyntaxError"),
        ("someone/kernel", "--trust-remote-code"),
        ("kernels-community/flash-attn2", "pip install 'transformers[kernels]'"),
    ],
)
def test_kernels_that_do_not_exist_or_may_not_run(attn, fact, tmp_path, tiny_model):
    write(tmp_path, RIGHT)
    (tmp_path / "broken.py").write_text("def attend(:\n")
    attn = attn.format(folder=tmp_path)
    refused = run("generate", "a", "--attn", attn, "-m", tiny_model("llama"), "-q")
    assert_refused(refused, fact, option="attn")


def test_the_error_for_an_undeclared_function_has_the_line_to_add(tmp_path, tiny_model):
    attn = write(tmp_path, RIGHT, mask="")
    refused = run("generate", "a", "--attn", attn, "-m", tiny_model("llama"), "-q")
    assert_refused(refused, '@llmkit.attention.kernel(mask="additive", supports=["gqa"])')


def test_training_needs_a_backward(tmp_path):
    attn = write(tmp_path, RIGHT)
    assert "not claimed: backward" in run("kernels", "verify", attn).out


def test_bench(tmp_path, monkeypatch):
    from llmkit.attention import benchmark

    tiny = (benchmark.AttentionShape("tiny", 1, 4, 2, 8, 8, 16),)
    defaults = {**benchmark.compare.__kwdefaults__, "shapes": tiny}
    monkeypatch.setattr(benchmark.compare, "__kwdefaults__", defaults)
    picture = tmp_path / "k.svg"
    found = run("kernels", "bench", "eager", "sdpa", "--picture", picture)
    assert found.code == 0
    assert [line.split()[1] for line in found.out.splitlines()[1:]] == ["eager", "sdpa"]
    assert "GB/s in a copy" in found.err
    drawn = picture.read_text()
    assert drawn.count("<rect") == 2
    assert len(re.findall(r" ms \(\d+% of the limit in (?:arithmetic|bandwidth)\)<", drawn)) == 2
    objects = [json.loads(line) for line in run("kernels", "bench", "sdpa", "--json").out.splitlines()]
    assert objects[0]["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "fact", "option"),
    [
        (["verify"], "`kernels verify NAME`", None),
        (["prove", "sdpa"], "`llmkit kernels list`", None),
        # The kernel is an argument here, so the error names no option.
        (["verify", "sdpaa"], "error: sdpaa: ", None),
        (["bench", "nothing.py:attend"], "error: nothing.py:attend: no file nothing.py", None),
        (["verify", "someone/kernel"], "error: someone/kernel runs that repository's code", None),
        (["verify", "flash_attention_2"], "flash_attention_2 runs on cuda", "device"),
        (["bench", "--dtype", "int3"], "int3: use float32, bfloat16, float16", "dtype"),
        (["bench", "--picture", "x.png"], ".svg", "picture"),
        (["verify", "reference", "--device", "cuda:99"], "cuda:99: this machine has", "device"),
        (["bench", "--device", "tpu"], "tpu: not a device", "device"),
    ],
)
def test_bad_usage(arguments, fact, option):
    assert_refused(run("kernels", *arguments), fact, option=option)


def test_without_a_compiler_sdpa_runs_with_a_notice(tmp_path, tiny_model, monkeypatch):
    from llmkit.attention import native_build

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("llmkit.native_build._OWN", [])  # of an earlier test that had no cache
    native_build._tried.cache_clear()
    try:
        found = run("generate", "a", "--attn", "cpu", "-m", tiny_model("llama"), "--max-new-tokens", 3)
    finally:
        native_build._tried.cache_clear()
    assert found.code == 0
    assert "cannot be built, SDPA runs instead: there is no C++ compiler" in found.err


def test_training_hands_over_to_sdpa_with_a_notice(tmp_path, tiny_model, monkeypatch):
    from llmkit.attention import cpu

    monkeypatch.setattr(cpu, "_reported", set())
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "One day", "completion": " the sailor asked."}) + "\n")
    model = ["-m", tiny_model("llama"), "--attn", "cpu", "--max-steps", 1, "--eval-split", 0]
    done = run("finetune", rows, "-o", tmp_path / "tuned", *model)
    assert done.code == 0, done.err
    notice = "llmkit: the cpu attention kernel has no backward pass: SDPA runs in training"
    assert done.err.splitlines().count(notice) == 1


def test_another_packages_kernel(monkeypatch, tiny_model):
    """Packages offer theirs by the entry point `llmkit.attention`."""
    from importlib.metadata import EntryPoint

    import llmkit.attention.registry as registry

    point = EntryPoint("theirs", "llmkit.attention.reference:reference_attention", "llmkit.attention")
    monkeypatch.setattr(registry, "_entry_points", lambda: [point])
    assert "theirs" in run("kernels").out
    model = ["-m", tiny_model("llama"), "--greedy", "--max-new-tokens", 4, "-q"]
    found = [run("generate", "One day", "--attn", name, *model).out for name in ("theirs", "sdpa")]
    assert found[0] == found[1] != ""
