"""The command `atrous bench`: what it prints and writes, on terminals and pipes, its refusals and its exit codes."""

from __future__ import annotations

import json
import sys

import pytest
from fake_rival import Rival, install

from atrous.bench import contest, suite
from atrous.cli import main
from atrous.cli.bench import layers_of

CASE = "n1c8h9w9_k8r3s3_pad1_f32"


@pytest.fixture
def quick(monkeypatch):
    """Turns of one call, and one rival that is here and one that is not."""
    monkeypatch.setattr(contest, "TURN_SECONDS", {"cpu": 0.0})
    monkeypatch.setattr(contest, "PAUSE_SECONDS", {"cpu": 0.0})
    return install(monkeypatch, Rival("torch eager", seconds=0.01), Rival("jax", absent="jax is not installed"))


def test_a_case_with_its_operation_prints_times_a_ratio_a_sum_and_who_is_absent(quick, capsys, tmp_path):
    path = tmp_path / "out.json"
    assert main(["bench", "conv2d", CASE, "--against", "all", "--rounds", "3", "--device", "cpu", "--json", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("wall time; against torch eager")
    assert printed[1].startswith(f"{CASE} x1: atrous ") and "; ratio " in printed[1] and "torch eager mode" in printed[1]
    assert printed[2] == "sum of 1 layer (1 kinds), wall time, rounds: 3"
    assert any(line.startswith("  torch eager mode") and "of ours, geomean" in line for line in printed)
    assert "absent: jax: jax is not installed" in printed
    document = json.loads(path.read_text())
    assert document["format"] == 2 and {row["case"] for row in document["rows"]} == {CASE}
    assert document["rivals"] == {"torch eager": None, "jax": "jax is not installed"}


def test_a_network_is_measured_at_a_batch_with_its_counts_and_in_float32_on_a_cpu(quick, capsys, tmp_path):
    own = tmp_path / "mine.txt"
    own.write_text("one n1c8h9w9_k8r3s3_pad1_f16_relu x2\ntwo n1c8h9w9_max_r3s3_f16 x1\n")
    path = tmp_path / "out.json"
    assert main(["bench", str(own), "--batch", "2", "--against", "torch", "--rounds", "1", "--device", "cpu", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "mine/one x2: " in printed and "sum of 3 layers (2 kinds)" in printed
    rows = json.loads(path.read_text())["rows"]
    assert {(row["case"], row["count"]) for row in rows} == {("n2c8h9w9_k8r3s3_pad1_f32_relu", 2), ("n2c8h9w9_max_r3s3_f32", 1)}
    ours = [row["count"] * row["seconds"][0] for row in rows if row["contestant"] == "atrous plan"]
    (line,) = [line for line in printed.splitlines() if line.startswith("  atrous plan")]
    from atrous.bench.summary import in_words

    assert line.split(maxsplit=2)[2] == in_words(sum(ours))


def test_a_wrong_result_of_ours_ends_with_1_and_of_a_rival_with_0(monkeypatch, quick, capsys):
    quick[0].spoil = lambda y: y.fill(0)
    assert main(["bench", CASE, "--rounds", "1", "--device", "cpu"]) == 0
    assert "skipped: torch eager mode: wrong result: " in capsys.readouterr().out

    judged = []

    def first_is_wrong(*words, **more):
        judged.append(words)
        if len(judged) == 1:
            raise contest.WrongResult("so says the test")
        return 0.5, 1

    monkeypatch.setattr(contest, "worst_error", first_is_wrong)
    assert main(["bench", CASE, "--rounds", "1", "--device", "cpu", "--against", "none"]) == 1
    printed = capsys.readouterr().out
    assert "skipped: atrous: wrong result: so says the test" in printed and "x1: atrous plan " in printed


def test_what_has_no_meaning_at_a_dtype_is_named_and_the_rest_is_measured(quick, capsys, tmp_path):
    own = tmp_path / "mine.txt"
    own.write_text("one n1c8h9w9_max_r3s3_f16\ntwo n1c8h9w9_avg_r3s3_f16\n")
    assert main(["bench", str(own), "--dtype", "i8", "--rounds", "1", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "mine/one x1: atrous " in printed and "mine/two x1: not measured: [avg_pool2d] x is int8" in printed


def test_a_picture_is_drawn(quick, capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures come from matplotlib; pip install atrous[plot]")
    path = tmp_path / "out.png"
    assert main(["bench", CASE, "--rounds", "2", "--device", "cpu", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000
    assert f"drawn in {path}" in capsys.readouterr().out


def test_on_a_terminal_a_table_is_live_and_no_color_turns_it_off(quick):
    pytest.importorskip("rich", reason="the table comes from rich; pip install rich")
    from test_cli import on_terminal

    words = ["-m", "atrous", "bench", CASE, "--rounds", "1", "--against", "none", "--device", "cpu"]
    seen, rest = on_terminal(words, "stdout")
    assert b"\x1b[" in seen and b"atrous plan" in seen and b"layer" in seen and b"sum of 1 layer" in seen and rest == b""
    seen, _ = on_terminal(words, "stdout", NO_COLOR="1")
    assert b"\x1b" not in seen and CASE.encode() in seen


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "[case] 'nonsense'"),
        (["net_resnet5"], "[bench] no case file 'net_resnet5'"),
        (["max_pool2d", CASE], "[bench] max_pool2d stands before"),
        (["conv2d"], "[bench] conv2d and no case"),
        ([CASE, "--against", "nobody"], "[bench] the rival is 'nobody'"),
        ([CASE, "--dtype", "f17"], "[bench] the dtype is 'f17'"),
        ([CASE, "--json", "/no/such/folder/x.json"], "[bench] the file is '/no/such/folder/x.json'"),
    ],
)
def test_refusals_are_one_sentence_before_anything_is_printed(capsys, words, says):
    assert main(["bench", *words]) == 1
    said = capsys.readouterr()
    assert said.out == "" and says in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize("words", [[], [CASE, "--rounds", "0"], [CASE, "--batch", "x"], [CASE, "--device", "tpu"], [CASE, "--engine", "warp"]])
def test_bad_usage_exits_with_2(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words])
    assert ended.value.code == 2 and "usage: atrous bench" in capsys.readouterr().err


def test_words_are_cases_networks_and_paths():
    assert [layer.name for layer in layers_of(["conv2d", CASE])] == [f"case/{CASE}"]
    assert layers_of(["net_lenet5"]) == layers_of(["lenet5"]) == layers_of([str(suite.folder() / "lenet5.txt")]) == suite.read("lenet5")
    assert len(layers_of([CASE, "net_lenet5"])) == 1 + len(suite.read("lenet5"))


def test_no_rival_is_imported_before_it_is_asked_for():
    import subprocess

    code = "import sys; from atrous.cli import main; main(['explain', 'n1c8h9w9_k8r3s3_f16', '--json']); "
    code += "print([name for name in ('torch', 'jax', 'tensorflow', 'onnxruntime', 'cupy', 'matplotlib', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
