"""What the installed package holds and what its metadata promise."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import atrous

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"cu13", "sysctk13", "test", "plot", "torch", "jax", "keras", "onnx", "ray", "dev"}
WHEEL_BYTES = 30 * 10**6


@pytest.fixture(scope="module")
def distribution():
    try:
        return importlib.metadata.distribution("atrous")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("atrous is imported from a source tree, so there are no metadata")


def test_the_extras(distribution):
    assert set(distribution.metadata.get_all("Provides-Extra")) == EXTRAS


def test_numpy_is_the_only_requirement(distribution):
    always = [line for line in distribution.requires if "extra ==" not in line]
    assert [re.match(r"[\w-]+", line).group() for line in always] == ["numpy"]


def test_the_version_has_one_source(distribution):
    assert atrous.__version__ == distribution.version
    assert f'\nversion = "{distribution.version}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_five_wheels_of_one_minor_bring_nvcc():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pinned = re.search(r"^build\.requires = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL).group(1)
    names = re.findall(r'"(nvidia-[\w-]+)==13\.0\.\*"', pinned)
    assert sorted(names) == ["nvidia-cuda-cccl", "nvidia-cuda-crt", "nvidia-cuda-nvcc", "nvidia-cuda-runtime", "nvidia-nvvm"]
    assert len(names) == pinned.count('"') // 2


def test_the_tests_run_on_the_installed_package(distribution):
    record = Path(str(distribution.locate_file("atrous/__init__.py")))
    if not record.is_file():
        pytest.skip("atrous is an editable install, whose files stay in the source tree")
    assert Path(atrous.__file__).resolve() == record.resolve()


def contents(distribution):
    """Return the paths of the installed files, and their bytes."""
    return {str(path): path.locate().stat().st_size for path in distribution.files if path.locate().is_file()}


def test_what_is_installed(distribution):
    found = contents(distribution)
    if "atrous/__init__.py" not in found:
        pytest.skip("atrous is an editable install, whose files stay in the source tree")
    headers = {path.relative_to(ROOT / "csrc" / "include").as_posix() for path in (ROOT / "csrc" / "include").rglob("*") if path.is_file()}
    assert {f"atrous/include/{header}" for header in headers} <= set(found)
    assert "atrous/py.typed" in found
    assert not [path for path in found if path.startswith("atrous/") and path.endswith((".cu", ".cpp"))]
    assert sum(size for path, size in found.items() if not path.endswith(".pyc")) < 3 * WHEEL_BYTES


def test_every_stub_names_what_its_extension_has():
    for name in ("_cuda", "_sim"):
        if importlib.util.find_spec(f"atrous.{name}") is None:
            continue
        module = importlib.import_module(f"atrous.{name}")
        stub = (Path(atrous.__file__).parent / f"{name}.pyi").read_text(encoding="utf-8")
        declared = set(re.findall(r"^(?:def|class) (\w+)", stub, re.MULTILINE))
        assert declared == {word for word in dir(module) if not word.startswith("_")}, name


def test_importing_atrous_imports_neither_cupy_nor_an_extension():
    script = "import sys, atrous; print([name for name in sys.modules if name in ('cupy', 'torch', 'jax', 'atrous._cuda', 'atrous._sim')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_wheel_is_small(tmp_path):
    wheels = sorted((ROOT / "dist").glob("atrous-*.whl"))
    if not wheels:
        pytest.skip("no wheel in dist/; `pip wheel --no-deps -w dist .` puts one there")
    for wheel in wheels:
        assert wheel.stat().st_size < WHEEL_BYTES, wheel.name
        assert "atrous/include/atrous/problem.hpp" in zipfile.ZipFile(wheel).namelist()


def test_the_build_lists_every_source():
    def listed(text, name):
        return set(re.search(rf"set\({name}\n(.*?)\)", text, re.DOTALL).group(1).split())

    lists = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    everywhere, sm90 = listed(lists, "ATROUS_INSTANCES"), listed(lists, "ATROUS_INSTANCES_SM90")
    assert not everywhere & sm90
    assert everywhere | sm90 == {path.stem for path in (ROOT / "csrc" / "instances").glob("*.cu")}
    simulator = listed((ROOT / "cmake" / "simulator.cmake").read_text(encoding="utf-8"), "ATROUS_SIM_SOURCES")
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc" / "sim").glob("*.cpp")} <= simulator
    # table.cpp puts a family's kernels into the list whose instances are built alike
    table = (ROOT / "csrc" / "instances" / "table.cpp").read_text(encoding="utf-8")
    general, alone = (set(re.findall(r"\badd_(\w+),", part)) for part in table.partition("kSm90Families =")[::2])
    assert general <= everywhere
    assert alone == sm90
