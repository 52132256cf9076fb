"""What `import atrous` offers, and that it loads nothing of it before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import atrous

TEXT = Path(atrous.__file__).read_text(encoding="utf-8")


def imported():
    """Return public name -> module, of every import from a module of the package that stands in its text."""
    return {name.name: node.module for node in ast.walk(ast.parse(TEXT)) if isinstance(node, ast.ImportFrom) and node.level == 1 for name in node.names}


def test_what_type_checkers_read_is_what_is_loaded():
    loaded = {name: module for name, module in imported().items() if module != "errors"}
    assert loaded == atrous._HOMES
    assert {*imported(), "__version__"} == set(atrous.__all__) and len(set(atrous.__all__)) == len(atrous.__all__)


@pytest.mark.parametrize("name", atrous.__all__)
def test_every_name_is_there(name):
    value = getattr(atrous, name)
    assert value is not None and name in dir(atrous)
    if name != "__version__":
        assert getattr(sys.modules[f"atrous.{imported()[name]}"], name) is value


def test_importing_loads_no_numpy_and_the_first_use_does():
    text = "import sys, atrous; before = 'numpy' in sys.modules; atrous.conv2d; print(before, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_all_that_a_star_imports():
    namespace = {}
    exec("from atrous import *", namespace)
    assert set(atrous.__all__) <= set(namespace)
