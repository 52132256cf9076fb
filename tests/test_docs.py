"""The README's lines and code, and every public docstring's example, are run as they stand."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import atrous

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
FUNCTIONS = [name for name in atrous.__all__ if inspect.isfunction(getattr(atrous, name))]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_has_its_parts_and_its_example_runs(name):
    text = inspect.getdoc(getattr(atrous, name))
    assert text, f"{name} has no docstring"
    if name not in ("engine_reasons", "parse"):
        for part in ("Parameters", "Raises"):
            assert part in text, f"{name} says nothing of {part}"
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(getattr(atrous, name), name, globs={}):
        runner.run(test)
    assert runner.failures == 0


def test_examples_exist():
    with_example = [name for name in FUNCTIONS if ">>>" in (inspect.getdoc(getattr(atrous, name)) or "")]
    assert len(with_example) >= 10


def test_readme_python_runs():
    names = {"weight": np.ones((128, 3, 3, 64), "float32"), "bias": np.zeros(128, "float32"), "y": np.empty((8, 56, 56, 128), "float32")}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["y"].shape == (8, 56, 56, 128)


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_readme_has_one_line_under_each_heading(heading):
    section = re.search(rf"^## {heading}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    assert section, f"no heading {heading}"
    commands = re.findall(r"```sh\n(.*?)```", section[1], re.DOTALL)
    assert len(commands) == 1 and len(commands[0].strip().splitlines()) == 1


def test_first_screen_is_short():
    assert README.split("## Run it")[0].count("\n") <= 40


def test_kernel_recipe_in_docs_names_real_places():
    recipe = (ROOT / "docs/adding-a-kernel.md").read_text()
    for place in re.findall(r"`((?:csrc|src|tests)/[\w./]+)`", recipe.replace("NAME", "conv_direct")):
        assert list(ROOT.glob(place)) or list(ROOT.glob(place.replace(".cu", "*.cu"))), f"{place} is not there"


def test_readme_speeds_are_those_of_the_newest_measurement():
    run = subprocess.run([sys.executable, str(ROOT / "benchmarks/report.py"), "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
