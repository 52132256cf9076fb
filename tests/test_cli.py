"""The command line: what info and explain say, exit codes, one-sentence refusals, and manners on terminals and pipes."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import atrous
from atrous.cli import COMMANDS, main

CASE = "n1c64h56w56_k64r3s3_pad1_f16"


def atrous_command(*arguments, **options):
    inherited = {name: value for name, value in os.environ.items() if name not in ("ATROUS_ENGINE", "NO_COLOR", "FORCE_COLOR")}
    environment = {**inherited, **options.pop("environment", {})}
    return subprocess.run([sys.executable, "-m", "atrous", *arguments], env=environment, text=True, timeout=120, **{"capture_output": True, **options})


def test_info_names_versions_engines_with_reasons_gpu_and_build():
    done = atrous_command("info")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"atrous {atrous.__version__}"
    assert f"numpy          {np.__version__}" in done.stdout
    assert f"python         {platform.python_version()}" in done.stdout
    for name, reason in atrous.engine_reasons().items():
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert line.split(maxsplit=1)[1] == ("ready" if reason is None else f"no: {reason}")
    for word in ("  cupy  ", "  driver  ", "  gpu", "built\n  "):
        assert word in done.stdout


def test_info_json_holds_the_same_facts():
    facts = json.loads(atrous_command("info", "--json").stdout)
    assert facts["atrous"] == atrous.__version__
    assert facts["engines"] == atrous.engine_reasons()
    assert (facts["no_gpu"] is None) == bool(facts["gpus"])
    assert facts["built"]["cuda"]


def test_info_reads_the_record_of_the_build(monkeypatch, tmp_path, capsys):
    (tmp_path / "_build.json").write_text('{"cuda": "no", "reason": "no nvcc was found", "host_compiler": "GNU 12.2.0"}')
    monkeypatch.setattr("atrous.cli.info.resources.files", lambda package: tmp_path)
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert "reason         no nvcc was found" in printed and "host_compiler  GNU 12.2.0" in printed


def test_explain_prints_a_line_a_kernel_and_one_choice():
    done = atrous_command("explain", CASE, "--device", "sm_90")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"conv2d {CASE}"
    assert "231,211,008 FLOPs" in done.stdout  # 2 * 56 * 56 * 64 * 64 * 9
    assert "sm_90" in done.stdout
    assert sum(line.startswith("->") for line in done.stdout.splitlines()) == 1


def test_explain_json_is_the_rows():
    rows = json.loads(atrous_command("explain", CASE, "--json").stdout)
    assert sum(row["chosen"] for row in rows) == 1
    assert rows[-1]["kernel"] == "arrays"
    assert all(row["chosen"] or row["reason"] or row["microseconds"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "nonsense"], "[case] 'nonsense'"),
        (["explain", CASE, "--device", "sm_1"], "[explain] device is 'sm_1'"),
        (["explain", "n1c3h2w2_k1r3s3_f32"], "the window spans 3 rows"),
        (["demo", "--out", "/no/such/directory/x.png"], "[demo] --out is '/no/such/directory/x.png'"),
        (["demo", "--images", "600"], "[demo] --images is 600; expected at most 599"),
    ],
)
def test_refusals_are_one_sentence_and_exit_code_1(arguments, words):
    done = atrous_command(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"atrous {arguments[0]}: ") and words in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_an_engine_that_cannot_run_is_refused_with_its_own_sentence():
    reason = atrous.engine_reasons()["compiled"]
    if reason is None:
        pytest.skip("the compiled engine runs here, so there is nothing to refuse")
    done = atrous_command("demo", "--engine", "compiled")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("atrous demo: [demo] engine 'compiled' cannot run here: ") and reason in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["info", "--nonsense"], ["explain"], ["demo", "--batch", "0"], ["demo", "--engine", "warp"], ["demo", "--seconds", "nan"]],
)
def test_bad_usage_shows_the_usage_and_exits_with_2(arguments):
    done = atrous_command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: atrous")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_a_module(command):
    assert callable(importlib.import_module(f"atrous.cli.{command}").run)
    done = atrous_command(command, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: atrous {command}")


def test_a_reader_that_leaves_early_sees_no_traceback():
    read, write = os.pipe()
    os.close(read)
    done = atrous_command("info", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 1 and done.stderr == ""


def on_terminal(arguments, stream, **environment):
    """Run Python with one of its streams on a pseudo-terminal; return (what the terminal saw, what the pipe saw)."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals exist on POSIX systems only")
    ours, theirs = pty.openpty()
    piped = "stderr" if stream == "stdout" else "stdout"
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "ATROUS_ENGINE")}
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, env={**inherited, "TERM": "xterm-256color", **environment}, **{stream: theirs, piped: subprocess.PIPE})
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux reports a terminal whose other side is closed as an input/output error
            part = b""
        if not part:
            break
        seen += part
    os.close(ours)
    rest = getattr(process, piped).read()
    getattr(process, piped).close()
    assert process.wait() == 0
    return seen, rest


def test_terminals_get_styles_and_no_color_turns_them_off():
    pytest.importorskip("rich", reason="styles come from rich; pip install rich")
    assert b"\x1b[1m" in on_terminal(["-m", "atrous", "info"], "stdout")[0]
    assert b"\x1b" not in on_terminal(["-m", "atrous", "info"], "stdout", NO_COLOR="1")[0]


def test_progress_is_drawn_on_a_terminal_and_stdout_stays_whole(tmp_path):
    pytest.importorskip("rich", reason="the progress bar comes from rich; pip install rich")
    arguments = ["-m", "atrous", "demo", "--engine", "arrays", "--seconds", "0.3", "--images", "40", "--out", str(tmp_path / "x.png")]
    bar, text = on_terminal(arguments, "stderr")
    assert b"timing" in bar and b"%" in bar
    assert text.startswith(b"Running on ") and b"Accuracy" in text and b"\x1b" not in text


def test_lines_printed_beside_a_progress_bar_stay_on_stdout():
    pytest.importorskip("rich", reason="the progress bar comes from rich; pip install rich")
    code = "from atrous.cli.screen import Screen\nwith Screen().progress() as report:\n    report('stage', 0.5)\n    print('result')"
    bar, text = on_terminal(["-c", code], "stderr")
    assert b"stage" in bar and b"50 %" in bar
    assert text == b"result\n"
