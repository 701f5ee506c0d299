"""`llmkit eval` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from llmkit.records.read import open_rows
from tests.command import assert_refused, run, spawn

ROWS = [
    {"prediction": "the cat sat", "references": ["the cat sat down", "a cat"], "lang": "en"},
    {"prediction": "a dog ran home", "references": ["the dog ran home", "a dog ran"], "lang": "en"},
    {"prediction": "two birds", "references": ["two small birds", "birds"], "lang": "fr"},
]


FEW = "llmkit: only {} rows: {} are unreliable; use at least 20 rows, better hundreds\n"


def llmkit(*arguments, **options):
    """Run `llmkit eval ...` and give the exit code, stdout and stderr."""
    done = run("eval", *map(str, arguments), **options)
    return done.code, done.out, done.err


@pytest.fixture
def rows(tmp_path):
    def write(content=ROWS, name="predictions.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        return path

    return write


def test_table(rows):
    code, out, err = llmkit("--metric", "bleu,rouge,f1", rows())
    assert (code, err) == (0, FEW.format(3, "intervals"))
    lines = out.splitlines()
    assert lines[0].split() == ["metric", "score", "95%", "interval", "rows"]
    assert [line.split()[0] for line in lines[1:7]] == [
        "bleu",
        "rouge1",
        "rouge2",
        "rougeL",
        "rougeLsum",
        "f1",
    ]
    assert lines[7] == ""
    assert lines[8].startswith("bleu: nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert lines[-1].startswith("intervals: bootstrap|resamples:1000|seed:0|version:llmkit-")


def test_json_and_its_file(rows, tmp_path):
    target = tmp_path / "scores.json"
    code, out, _ = llmkit("--metric", "f1", rows(), "--json", "-o", target, "--seed", 3, "--confidence", 0.9)
    assert code == 0
    found = json.loads(out)
    assert json.loads(target.read_text(encoding="utf-8")) == found
    (score,) = found["scores"]
    # Without articles: 2 of 2 and 3 words; the same three; 2 of 2 and 3
    assert score["score"] == pytest.approx((4 / 5 + 1 + 4 / 5) / 3)
    assert score["low"] <= score["score"] <= score["high"]
    assert score["signature"].startswith("nrefs:2|norm:squad|refs:max|version:llmkit-")
    assert (found["seed"], found["confidence"], found["resamples"]) == (3, 0.9, 1000)


def test_bare_numbers_alone(rows):
    code, out, _ = llmkit("--metric", "exact_match,squad", rows(), "--bare", "--by", "lang")
    assert (code, out) == (0, "0.0000\n33.3333\n86.6667\n")


def test_stdin_is_rows():
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    done = spawn("eval", "--metric", "f1", "--bare", input=lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0.8667\n", "")
    assert llmkit("-", "--metric", "f1", "--bare", stdin=lines) == (0, "0.8667\n", "")
    assert_refused(run("eval", "--metric", "f1", stdin=""), "no rows")


def test_plain_lines(tmp_path):
    (tmp_path / "out.en").write_text("the cat\na dog\n", encoding="utf-8")
    (tmp_path / "ref.en").write_text("the cat\na cow\n", encoding="utf-8")
    (tmp_path / "ref2.en").write_text("a cat\na dog\n", encoding="utf-8")
    references = ["--references", tmp_path / "ref.en", "--references", tmp_path / "ref2.en"]
    assert llmkit("--metric", "exact_match", tmp_path / "out.en", *references, "--bare")[1] == "1.0000\n"
    assert llmkit("--metric", "exact_match", *references[:2], "--bare", stdin="the cat\nx\n")[1] == "0.5000\n"


def test_groups(rows):
    code, out, _ = llmkit("--metric", "f1", rows(), "--by", "lang")
    assert code == 0
    table = [line.split() for line in out.splitlines()[:4]]
    assert table[0][:2] == ["lang", "metric"]
    assert [(line[0], line[2], line[-1]) for line in table[1:]] == [
        ("(all)", "0.8667", "3"),
        ("en", "0.9000", "2"),
        ("fr", "0.8000", "1"),
    ]


def test_a_group_is_named_as_in_json(rows):
    values = [None, True, 3, "true story"]
    made = rows([{"prediction": "a", "reference": "a", "kind": value} for value in values])
    found = json.loads(evaluate("--metric", "f1", made, "--by", "kind", "--json"))["scores"]
    assert [score["group"] for score in found] == [None, "null", "true", "3", "true story"]


def test_baseline(rows):
    worse = [{"prediction": str(row["prediction"]).split()[0]} for row in ROWS]
    other = rows(worse, "baseline.jsonl")
    code, out, _ = llmkit("--metric", "f1", rows(), "--baseline", other, "--json")
    assert code == 0
    compared = json.loads(out)["scores"][0]["baseline"]
    assert compared["difference"] > 0
    assert compared["low"] <= compared["difference"] <= compared["high"]
    assert 0 < compared["p_randomization"] <= 1
    metrics = "f1,exact_match,rouge,bleu,chrf"
    code, out, _ = llmkit("--metric", metrics, rows(), "--baseline", other, "--by", "lang")
    table = out.partition("\nf1: ")[0].splitlines()
    assert f"against {other}:" in table
    assert f"against {other}, lang fr:" in table
    assert table[-2].split()[0] in metrics
    widths = [len(line) for line in table if not line.startswith("against")]
    assert max(widths) <= 80


def test_per_record(rows, tmp_path):
    target = tmp_path / "scored.jsonl"
    assert llmkit("--metric", "f1,squad_v2", rows(), "--per-record", target, "-q")[0] == 0
    found = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [{key: row[key] for key in ROWS[0]} for row in found] == ROWS
    assert [row["scores"]["f1"] for row in found] == pytest.approx([4 / 5, 1, 4 / 5])
    assert "squad_v2_NoAns_f1" not in found[0]["scores"]


def test_files_that_are_there_are_kept(rows, tmp_path):
    target = tmp_path / "scored.jsonl"
    target.write_text("precious", encoding="utf-8")
    for flag in ("--per-record", "--output"):
        code, _, err = llmkit("--metric", "f1", rows(), flag, target)
        assert code == 2
        assert str(target) in err
        assert "--overwrite" in err
        assert target.read_text(encoding="utf-8") == "precious"
    assert llmkit("--metric", "f1", rows(), "--per-record", target, "--overwrite")[0] == 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 3


def test_a_failed_run_leaves_no_records(rows, tmp_path):
    target = tmp_path / "scored.jsonl"
    code, _, _ = llmkit("--metric", "f1", rows([*ROWS, {"prediction": None}]), "--per-record", target)
    assert code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_card(rows, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# Mine\n", encoding="utf-8")
    code, _, err = llmkit("--metric", "f1", rows(), "--card", card, "--dataset", "pets")
    assert code == 0
    assert "README.md has the scores" in err
    assert "name: pets" in card.read_text(encoding="utf-8")


def test_choices_are_reported(rows):
    chinese = rows([{"prediction": "我爱北京", "reference": "我爱北京天安门"}])
    code, out, err = llmkit("--metric", "bleu,rouge", chinese, "--bare")
    assert code == 0
    assert out.splitlines()[:2] == ["47.2367", "0.7273"]
    assert "BLEU's tokenizer is zh: the references are mostly han" in err
    assert "ROUGE compares words of every script" in err
    # The user chose: no notice.
    code, out, err = llmkit(
        "--metric", "bleu,rouge", chinese, "--bare", "--tokenize", "13a", "--rouge-words", "default"
    )
    assert (out.splitlines()[:2], err) == (["0.0000", "0.0000"], "")


def test_tokenized_text_is_reported(rows):
    tokenized = rows([{"prediction": "It is a cat .", "reference": "It is a dog ."}])
    assert "plain text" in llmkit("--metric", "bleu", tokenized)[2]
    assert llmkit("--metric", "bleu", tokenized, "--tokenize", "none")[2] == ""


def test_the_target_language_chooses_the_tokenizer(rows):
    _, out, err = llmkit("--metric", "bleu", rows(), "--to", "zh", "--json")
    assert "|tok:zh|" in json.loads(out)["scores"][0]["signature"]
    assert "BLEU's tokenizer is zh: the target language is zh" in err


@pytest.mark.parametrize(
    ("arguments", "option", "fact"),
    [
        (["--metric", "chrff"], None, "chrf?"),
        (["--metric", "f1,Rouge"], None, "rouge?"),
        (["--metric", ","], None, "bleu, chrf,"),
        (["--metric", "f1", "--stemmer"], "stemmer", "rouge"),
        (["--metric", "rouge", "--word-order", "2"], "word_order", "chrf"),
        (["--metric", "rouge", "--to", "zh"], "to", "bleu"),
        (["--metric", "bleu", "--tokenize", "13b"], "tokenize", "none, zh, 13a"),
        (["--metric", "f1", "--confidence", "95"], "confidence", "95.0"),
        (["--metric", "f1", "--json", "--bare"], "bare", "--json"),
        (["--metric", "f1", "--table", "word"], "table", "latex"),
        (["--metric", "f1", "--json", "--table", "csv"], "table", "--json"),
        (["--metric", "f1", "--by", "genre"], None, "predictions.jsonl:1: no column 'genre'"),
        (["--metric", "f1", "--dataset", "x"], "dataset", "--card"),
        (["--metric", "f1", "--card", "none.md"], "card", "none.md"),
        (["--metric", "f1", "-m", "stories"], "model", "--task"),
        (["--metric", "f1", "--stride", "3"], "stride", "perplexity"),
        (["--metric", "f1", "--greedy"], "greedy", "--task"),
        (["--metric", "f1", "--from", "en"], "from", "--task"),
        (["--metric", "f1", "--truncate", "left"], "truncate", "--task"),
    ],
)
def test_bad_usage(rows, arguments, option, fact):
    assert_refused(run("eval", rows(), *arguments), fact, option=option)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"reference": "b"}, "predictions.jsonl:17: no column 'prediction'"),
        ({"prediction": "a", "references": []}, "predictions.jsonl:17: "),
        ({"prediction": None, "reference": "b"}, "predictions.jsonl:17: the prediction is null"),
        ({"prediction": "a", "reference": float("nan")}, "predictions.jsonl:17: NaN"),
        ({"prediction": {"a": 1}, "reference": "b"}, "predictions.jsonl:17: the prediction is dict"),
    ],
)
def test_bad_rows(rows, row, message):
    data = rows([{"prediction": "a", "reference": "b"}] * 16 + [row])
    assert_refused(run("eval", "--metric", "f1", data), message)


def test_a_baseline_of_other_rows(rows):
    baseline = ("eval", "--metric", "f1", rows(), "--baseline")
    assert_refused(run(*baseline, rows(ROWS[:2], "short.jsonl")), "short.jsonl", "after 2")
    assert_refused(run(*baseline, rows(ROWS[::-1], "turned.jsonl")), "turned.jsonl:1: its references")
    assert_refused(run(*baseline, rows()), option="baseline")
    other = rows(ROWS, "other.jsonl")
    assert_refused(run(*baseline, other, "--baseline", other), option="baseline")


def test_nothing_to_score(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    for arguments, message in [
        ((tmp_path / "empty.jsonl",), "the input has no rows"),
        ((tmp_path / "missing.jsonl",), "missing.jsonl: no such file"),
        ((tmp_path,), "is a folder"),
        ((), "stdin"),
    ]:
        assert_refused(run("eval", "--metric", "f1", *arguments), message)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("The cat sat on the mat.\nThe dog sat on the cat.\n", encoding="utf-8")
    return path


def test_perplexity(text, tiny_model):
    code, out, err = llmkit(
        "--metric", "perplexity", text, "-m", tiny_model("gpt2"), "--window", 16, "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert [one["name"] for one in found["scores"]] == ["perplexity", "word_perplexity", "bits_per_byte"]
    assert found["scores"][0]["details"]["words"] == 12
    assert found["scores"][0]["details"]["bytes"] == 48
    assert "|window:16|stride:8|bos:<s>,every|docs:joined|" in found["scores"][0]["signature"]
    assert "windows of 16 tokens, 8 new in each; <s> before every window" in err


def test_perplexity_of_lines_and_rows(text, tiny_model, rows, tmp_path):
    model = ["--metric", "perplexity", "-m", tiny_model("gpt2"), "--bare", "-q"]
    lines = llmkit(*model, text, "--lines")
    assert lines[0] == 0
    blank = tmp_path / "blank.txt"  # blank lines are no texts
    blank.write_text("\n" + text.read_text(encoding="utf-8").replace("\n", "\n\n  \n"), encoding="utf-8")
    assert llmkit(*model, blank, "--lines") == lines
    texts = [{"n": n, "story": line} for n, line in enumerate(text.read_text(encoding="utf-8").splitlines())]
    assert llmkit(*model, rows(texts), "--field", "story") == lines
    assert llmkit(*model, rows(texts), "--template", "{story}") == lines
    joined = llmkit(*model, rows(texts), "--field", "story", "--concatenate")
    assert joined[0] == 0
    assert joined != lines
    scored = tmp_path / "scored.jsonl"
    assert llmkit(*model, rows(texts), "--field", "story", "--per-record", scored, "--by", "n")[0] == 0
    found = [json.loads(line) for line in scored.read_text(encoding="utf-8").splitlines()]
    assert [row["story"] for row in found] == [row["story"] for row in texts]
    assert found[0]["scores"]["perplexity"] > 1
    more = ["--per-record", scored, "--overwrite", "--token-losses"]
    assert llmkit(*model, rows(texts), "--field", "story", *more)[0] == 0
    first = json.loads(scored.read_text(encoding="utf-8").splitlines()[0])
    assert len(first["tokens"]) == len(first["token_losses"]) > 1


def test_perplexity_over_no_words_is_left_out(tiny_model, rows, tmp_path):
    scored = tmp_path / "scored.jsonl"
    model = ["--metric", "perplexity", "-m", tiny_model("gpt2"), "-q"]
    code, out, err = llmkit(*model, rows([{"text": "  "}, {"text": "\t"}]), "--per-record", scored)
    assert (code, err) == (0, "")
    assert "nan" not in out
    found = [json.loads(line)["scores"] for line in scored.read_text(encoding="utf-8").splitlines()]
    assert [sorted(scores) for scores in found] == [["bits_per_byte", "perplexity"]] * 2


def test_perplexity_from_stdin_is_one_text(text, tiny_model):
    arguments = ["--metric", "perplexity", "-m", tiny_model("gpt2"), "--bare", "-q"]
    piped = llmkit(*arguments, stdin=text.read_text(encoding="utf-8"))
    assert piped[1] == llmkit(*arguments, text)[1] != ""


@pytest.mark.parametrize(
    ("arguments", "option", "fact"),
    [
        (["perplexity,bleu"], "metric", "bleu"),
        (["perplexity", "--tokenize", "zh"], "tokenize", ""),
        (["perplexity", "--references", "zh"], "references", ""),
        (["perplexity", "--task", "qa"], "task", ""),
        (["perplexity", "--reference-field", "x"], "reference_field", "multiple_choice"),
        (["multiple_choice", "--bos", "none"], "bos", "perplexity"),
        (["minimal_pairs", "--field", "x"], "field", "perplexity, multiple_choice"),
        (["perplexity", "--baseline", "x"], None, "x: no such file"),
        (["perplexity", "--token-losses"], "token_losses", "--per-record"),
        (["perplexity", "--batch-size", "many"], "batch_size", "many"),
        (["perplexity", "--window", "99999"], "window", "99999"),
        (["perplexity", "--from", "en"], "from", "stories"),
    ],
)
def test_bad_usage_around_perplexity(text, arguments, option, fact):
    assert_refused(run("eval", text, "-q", "--metric", *arguments), fact, option=option)


def test_text_metrics_need_no_network_and_no_torch(rows):
    """Every metric in one process that cannot connect; afterwards none of the heavy packages is there."""
    code = """
import socket, sys
def refuse(*_):
    raise AssertionError("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
from llmkit.cli.main import run_command
from llmkit.evaluation.registry import of_predictions
names = ",".join(name for name in of_predictions() if name != "bertscore")
assert run_command(["eval", "--metric", names, "--stemmer", "--bare", sys.argv[1]]) == 0
heavy = {"torch", "transformers", "evaluate", "datasets", "peft", "accelerate", "tensorflow"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(rows())], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 15


def evaluate(*arguments):
    """What a run prints that goes well."""
    code, out, err = llmkit(*arguments)
    notices = [line for line in err.splitlines() if "rows: intervals" not in line]
    assert (code, notices) == (0, [])
    return out


def test_multiple_choice_and_a_baseline(tiny_model, rows, tmp_path):
    questions = [
        {"question": f"{n} and", "choices": ["one", "two", "a house"], "answer": n % 3} for n in range(6)
    ]
    source, first, second = rows(questions, "q.jsonl"), tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    arguments = ["--metric", "multiple_choice", source, "-q", "--per-record"]
    evaluate(*arguments, first, "-m", tiny_model("gpt2"))
    kept = [json.loads(line) for line in first.read_text().splitlines()]
    assert all(len(row["losses"]) == 3 and row["prediction"] in row["choices"] for row in kept)
    other = evaluate(*arguments, second, "-m", tiny_model("gpt2", seed=1), "--baseline", first, "--json")
    found = json.loads(other)["scores"][0]
    share = sum(row["scores"]["accuracy"] for row in kept) / 6
    assert found["baseline"]["score"] == pytest.approx(share)


def test_perplexity_against_another_models(text, tiny_model, tmp_path):
    first = tmp_path / "first.jsonl"
    model = ["--metric", "perplexity", text, "--lines", "-q"]
    alone = evaluate(*model, "-m", tiny_model("gpt2"), "--per-record", first, "--json")
    same = evaluate(*model, "-m", tiny_model("gpt2"), "--baseline", first, "--json")
    for one, score in zip(json.loads(same)["scores"], json.loads(alone)["scores"], strict=True):
        assert one["baseline"]["score"] == pytest.approx(score["score"])
        assert one["baseline"]["difference"] == pytest.approx(0)
    other = evaluate(*model, "-m", tiny_model("gpt2", seed=1), "--baseline", first, "--json")
    assert json.loads(other)["scores"][0]["baseline"]["difference"] != 0
    first.write_text(first.read_text().replace('"bytes": ', '"bytes": 1'))
    assert_refused(run("eval", *model, "-m", tiny_model("gpt2"), "--baseline", first), "first.jsonl:1: ")


def test_an_encoder_decoder_after_its_source(tiny_model, rows):
    pairs = rows([{"en": "The dog.", "text": "Der Hund."}, {"en": "A cat.", "text": "Eine Katze."}])
    model = ["--metric", "perplexity", pairs, "-m", tiny_model("t5"), "-q", "--bare"]
    assert len(evaluate(*model, "--given", "translate: {en}").splitlines()) == 3
    assert_refused(run("eval", *model), "encoder-decoder", option="given")


def test_a_masked_model(tiny_model, text):
    found = evaluate("--metric", "perplexity", text, "-m", tiny_model("bert"), "--window", 16, "--json", "-q")
    assert "kind:masked" in json.loads(found)["scores"][0]["signature"]


def test_report(rows, tmp_path):
    page = tmp_path / "page.html"
    code, _, err = llmkit("--metric", "f1,rouge", rows(), "--report", page)
    assert code == 0
    assert f"the report is {page}" in err
    assert "<h2>Worst rows by f1</h2>" in page.read_text() or "All rows by f1" in page.read_text()
    again = ("eval", "--metric", "f1", rows(), "--report", page)
    assert_refused(run(*again), str(page), option="overwrite")
    page.unlink()
    assert_refused(run(*again, "--per-record", page), option="report")


def test_token_losses_in_the_report(text, tiny_model, tmp_path):
    page = tmp_path / "page.html"
    losses = ["--token-losses", "--per-record", tmp_path / "losses.jsonl"]
    evaluate(
        "--metric", "perplexity", text, "--lines", "-q", "-m", tiny_model("gpt2"), "--report", page, *losses
    )
    assert "Tokens, colored by their loss" in page.read_text()


def write_systems(rows):
    """Three systems: as the references, as two of three, and as none."""
    gold = ["the cat sat", "a dog ran home", "two birds", "one fish", "red ball", "blue sky"]
    names = ("good", "half", "none")
    outputs = [gold, [*gold[:3], "x", "y", "z"], ["x"] * 6]
    return [
        rows([{"prediction": p, "reference": r} for p, r in zip(out, gold, strict=True)], f"{name}.jsonl")
        for name, out in zip(names, outputs, strict=True)
    ]


def test_several_systems_in_one_table(rows, tmp_path):
    files = write_systems(rows)
    table = evaluate("--metric", "f1,exact_match", *files)
    assert [line.split() for line in table.splitlines()[:4]] == [
        ["system", "f1", "exact_match", "rows"],
        ["good", "1.0000*", "1.0000*", "6"],
        ["half", "0.5000", "0.5000", "6"],
        ["none", "0.0000", "0.0000", "6"],
    ]
    target = tmp_path / "all.json"
    code, out, _ = llmkit("--metric", "f1", *files, "--json", "-o", target)
    assert code == 0
    found = json.loads(out)
    assert json.loads(target.read_text(encoding="utf-8")) == found
    assert found["best"] == {"f1": ["good"]}
    assert [one["name"] for one in found["systems"]] == ["good", "half", "none"]
    for option, value in [("by", "x"), ("baseline", files[0]), ("per-record", "x"), ("card", "README.md")]:
        assert_refused(run("eval", "--metric", "f1", *files, f"--{option}", value), option=option)
    assert_refused(run("eval", "--metric", "f1", *files, "--bare"), option="bare")
    assert_refused(run("eval", "--metric", "f1", files[0], files[0]), "good.jsonl")
    assert_refused(run("eval", "--metric", "f1", files[0], rows(ROWS, "o.jsonl")), "o.jsonl:1")
    assert_refused(run("eval", "--metric", "perplexity", *files), "half.jsonl")


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("latex", r"f1 & 0.8667 & 0.8000 to 1.0000 & 3 \\"),
        ("markdown", "| f1 | 0.8667 |"),
        ("csv", ",f1,0.866"),
    ],
)
def test_tables_in_other_forms(rows, form, part):
    assert part in evaluate("--metric", "f1", rows(), "--table", form)


def test_several_baselines(rows):
    good, half, none = write_systems(rows)
    command = ("--metric", "f1", half, "--baseline", good, "--baseline", none)
    (score,) = json.loads(evaluate(*command, "--json"))["scores"]
    assert [one["name"] for one in score["baselines"]] == [str(good), str(none)]
    assert [one["difference"] for one in score["baselines"]] == [-0.5, 0.5]
    assert score["baseline"]["difference"] == -0.5
    out = evaluate(*command)
    assert out.index(f"against {good}:\n") < out.index(" -0.5000 ") < out.index(f"against {none}:\n")
    found = list(csv.DictReader(io.StringIO(evaluate(*command, "--table", "csv"))))
    assert [row["baseline"] for row in found] == [str(good), str(none)]
    assert [float(row["difference"]) for row in found] == [-0.5, 0.5]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_files_of_rows(rows, tmp_path, suffix):
    """Scores and scored rows, in the forms that the other verbs write."""
    scores, records, systems = (tmp_path / f"{name}{suffix}" for name in ("scores", "rows", "systems"))
    files = ("-q", "-o", scores, "--per-record", records, "--by", "lang")
    expected = json.loads(evaluate("--metric", "f1", rows(), *files, "--json"))["scores"]
    found = [row.data for row in open_rows(scores)]
    assert [row["metric"] for row in found] == ["f1"] * len(expected)
    assert [float(row["score"]) for row in found] == [one["score"] for one in expected]
    assert [row["group"] or None for row in found] == [one["group"] for one in expected]
    scored = [row.data for row in open_rows(records)]
    assert [row["prediction"] for row in scored] == [row["prediction"] for row in ROWS]
    assert "f1" in scored[0]["scores"]
    evaluate("--metric", "f1", *write_systems(rows), "-o", systems, "-q")
    assert [str(row.data["best"]) for row in open_rows(systems)] == ["1", "0", "0"]
    names = {"scores", "rows", "systems", "predictions", "good", "half", "none"}
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("column", "gold", "metrics"),
    [
        ("translation_text", "target", ["bleu", "chrf"]),
        ("summary_text", "highlights", ["rouge1", "rouge2", "rougeL", "rougeLsum"]),
        ("generated_text", "completion", ["rouge1", "rouge2", "rougeL", "rougeLsum"]),
        ("answer", "answers", ["exact_match", "f1"]),
    ],
)
def test_result_columns_of_the_verbs_are_found(rows, column, gold, metrics):
    made = [{"text": "t", column: row["prediction"], gold: row["references"]} for row in ROWS]
    code, out, err = llmkit(rows(made), "--json")
    assert code == 0, err
    assert "--metric" in err
    found = json.loads(out)["scores"]
    assert [one["name"] for one in found] == metrics
    plain = json.loads(
        evaluate(rows(), "--metric", ",".join({m[:5] if "rouge" in m else m: 0 for m in metrics}), "--json")
    )
    assert [one["score"] for one in found] == [one["score"] for one in plain["scores"]]


def test_rows_that_a_verb_skipped_are_empty_predictions(rows):
    made = [
        {"prompt": "p", "generated_text": "a b", "completion": "a b"},
        {"completion": "c", "error": "bad"},
    ]
    code, out, err = llmkit(rows(made), "--metric", "f1", "--bare")
    assert (code, out) == (3, "0.5000\n")
    assert "1 of 2 rows failed" in err
    # Without a verb's column, a row that lacks the prediction is an error.
    assert_refused(run("eval", "--metric", "f1", rows([ROWS[0], {"reference": "a", "error": "b"}])), ":2: ")


def test_plain_lines_have_usual_metrics(tmp_path):
    (tmp_path / "out.de").write_text("Der Hund läuft nach Hause\n", encoding="utf-8")
    (tmp_path / "ref.de").write_text("Der Hund läuft nach Hause\n", encoding="utf-8")
    code, out, err = llmkit(tmp_path / "out.de", "--references", tmp_path / "ref.de", "--bare")
    assert (code, out) == (0, "100.0000\n100.0000\n")
    assert "--metric bleu,chrf" in err


def test_shares_of_all_rows_have_intervals(rows):
    same = rows([{"prediction": "a", "reference": "a"}] * 6)
    found = json.loads(evaluate("--metric", "exact_match", same, "--json"))["scores"][0]
    assert (found["low"], found["high"], found["interval"]) == (pytest.approx(0.6097, abs=1e-4), 1, "wilson")
    said = evaluate("--metric", "exact_match", same)
    assert "exact_match: wilson" in said
    assert "bootstrap" not in said


def test_answers_in_chinese_are_compared_by_characters(rows):
    chinese = rows([{"prediction": "天安门广场", "reference": "天安门"}])
    code, out, err = llmkit("--metric", "f1,squad", chinese, "--bare")
    assert (code, out) == (0, "0.7500\n0.0000\n75.0000\n")
    assert err.count("characters") == 1
    assert "--answer-words" in err


def test_perplexity_of_nothing_is_an_error(rows, tiny_model):
    one = rows([{"text": "a"}])
    model = ["-m", tiny_model("gpt2", bos=False), "--bos", "none", "-q"]
    assert_refused(run("eval", "--metric", "perplexity", one, *model), "perplexity")


def test_files_are_written_before_stdout(rows, tmp_path):
    """A reader that closes stdout at once (`| head -0`) costs no file."""
    page, scores = tmp_path / "page.html", tmp_path / "scores.json"
    command = [sys.executable, "-m", "llmkit", "eval", "--metric", "f1", str(rows()), "-q"]
    files = ["--report", str(page), "-o", str(scores)]
    done = subprocess.Popen([*command, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.close()
    assert done.wait() == 0
    assert page.exists()
    assert scores.exists()
