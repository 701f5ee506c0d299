import pytest

from tests.command import assert_refused, rows_of, run, spawn

ROWS = '{"text": "Once upon a time"}\n{"text": "There was a dog"}\n{"text": "The sun"}\n'


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("generate", "x", "--workers", "2"), "workers"),
        (("generate", "x", "--gpus-per-worker", "1"), "gpus_per_worker"),
        (("generate", "x", "--allow-mixed"), "allow_mixed"),
        (("generate", "x", "--cluster", "0"), "cluster"),
        (("translate", "x", "--from", "en", "--to", "de", "--cluster", "nowhere"), "cluster"),
        (("qa", "Who?", "--context", "IN", "--cluster", "2", "--workers", "2"), "workers"),
        (("summarize", "x", "--cluster", "2"), "cluster"),
        (("eval", "--metric", "perplexity", "IN", "--cluster", "2"), "cluster"),
        (("eval", "--metric", "rouge", "IN", "--cluster", "2"), "cluster"),
    ],
)
def test_a_cluster_where_there_is_none_is_refused(tmp_path, arguments, option):
    path = tmp_path / "in.txt"
    path.write_text("The old man came to the house.\n", encoding="utf-8")
    assert_refused(run(*(str(path) if one == "IN" else one for one in arguments)), option=option)


@pytest.mark.slow
def test_a_cluster_on_this_machine_writes_the_same_file(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "in.jsonl").write_text(ROWS, encoding="utf-8")
    common = ("generate", "--input", str(tmp_path / "in.jsonl"), "--max-new-tokens", "5", "--batch-size", "2")
    files = []
    for name, more in (("one", ()), ("many", ("--cluster", "2"))):
        files.append(tmp_path / f"{name}.jsonl")
        done = spawn(*common, "--temperature", "1", "--seed", "3", "-o", files[-1], *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert done.stderr.splitlines(keepends=True)[-1] == f"llmkit: 3 rows in {files[-1]}\n"
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(rows_of(files[0].read_text(encoding="utf-8"))) == 3
