"""Who may import and include whom, and how long files and functions may be: the repository read as text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "atrous"
CSRC = ROOT / "csrc"
FILE_LINES = 400
FUNCTION_LINES = 60
ENVIRONMENT_VARIABLES = 5

#: unit of src/atrous (a module or a folder) -> the units it may import; one that is absent may import nothing of atrous
MAY_IMPORT = {
    "config": {"errors"},
    "arguments": {"errors", "geometry"},
    "casestring": {"errors", "geometry", "arguments"},
    "window": {"errors", "geometry", "arguments", "casestring"},
    "pool_problem": {"errors", "arguments", "window"},
    "elementwise_problem": {"errors", "arguments", "casestring"},
    "problem": {"errors", "geometry", "arguments", "casestring", "window", "pool_problem", "elementwise_problem"},
    "weighting": {"geometry"},
    "kernels": {"problem", "arguments", "launch"},
    "reference": {"problem", "geometry", "weighting"},
    "engines": {"launch", "errors", "config"},
    "interop": {"errors"},
    "streams": {"errors"},
    "overlap": {"interop"},
    "operands": {"errors", "interop", "overlap"},
    "choose": {"kernels", "problem", "config", "errors"},
    "sampling": {"arguments", "errors", "problem"},
    "redzones": {"errors", "interop"},
    "probes": {"launch", "kernels"},
    "conformance": {"probes", "redzones", "engines", "errors"},
    "error_bounds": {"problem", "reference", "weighting"},
    "testing": {"error_bounds", "kernels", "problem", "config", "reference", "sampling", "errors"},
}
MAY_IMPORT["ledger"] = {"errors"}
MAY_IMPORT["sequence"] = {"interop", "launch"}
MAY_IMPORT["trials"] = {"config", "kernels", "launch", "problem"}
MAY_IMPORT["verify"] = {"trials", "choose", "sequence", "engines", "kernels", "launch", "ledger", "redzones", "sampling", "testing", "weighting"}
MAY_IMPORT["verify"] |= {"interop", "arguments", "config", "errors", "problem"}
MAY_IMPORT["recall"] = {"interop", "kernels", "overlap", "streams"}
MAY_IMPORT["checks"] = {"choose", "errors", "operands", "problem", "window"}
MAY_IMPORT["routes"] = {"choose", "engines", "errors", "interop", "kernels", "launch", "operands", "problem", "sequence"}
MAY_IMPORT["plan"] = {"routes", "streams", "sequence", "checks", "recall", "choose", "config", "problem", "interop", "operands", "weighting"}
MAY_IMPORT["plan"] |= MAY_IMPORT["problem"]
MAY_IMPORT["repeats"] = {"recall", "requests", "routes", "sequence", "streams", "config", "interop", "kernels", "operands", "overlap", "problem"}
_DOORS = {"plan", "requests", "operands", "problem", "interop", "errors", "arguments"}
MAY_IMPORT.update(
    requests={"arguments", "errors", "interop", "operands", "problem"},
    ops=_DOORS | {"repeats"},
    conv_pool=_DOORS,
    elementwise=_DOORS,
    separable=_DOORS,
    pools=_DOORS,
    weighted_pool=_DOORS,
    planners=_DOORS,
    queries=_DOORS | {"routes", "choose", "geometry"},
)
#: where the public names are defined
PUBLIC = {"__init__", "ops", "conv_pool", "elementwise", "pools", "weighted_pool", "planners", "queries", "plan", "routes", "errors", "testing", "problem"}
PUBLIC |= {"separable"}
MAY_IMPORT.update(
    __init__={"ops", "conv_pool", "elementwise", "separable", "plan", "planners", "pools", "weighted_pool", "queries", "choose", "errors", "problem", "routes"},
    nets=PUBLIC,
    adapters=PUBLIC,
    bench=PUBLIC | {"arguments", "choose", "error_bounds", "kernels", "reference", "weighting"},
    cli=PUBLIC | {"nets", "bench", "config", "verify", "trials", "ledger", "conformance", "kernels"},
    __main__={"cli"},
)
#: packages of others that a unit may import at its top: NumPy everywhere but here
NO_NUMPY = {"errors", "config", "geometry", "arguments", "casestring", "problem", "launch", "kernels", "choose", "__main__"}

#: what stands in csrc, from the ground up; a file includes its own floor and those below
FLOORS = (
    ("include/atrous/problem.hpp",),
    ("include/atrous/tensor_map.hpp", "include/atrous/stream_arguments.hpp", "include/atrous/grouped_arguments.hpp"),
    ("include/atrous/large_arguments.hpp", "include/atrous/separable_arguments.hpp"),
    ("include/atrous/geometry.hpp", "include/atrous/types.cuh", "include/atrous/prims/"),
    ("include/atrous/vec.cuh", "include/atrous/layout.cuh", "include/atrous/tf32.cuh", "include/atrous/first_patch.cuh"),
    ("include/atrous/row_items.cuh", "include/atrous/grouped_rows.cuh"),
    ("include/atrous/plane_runs.cuh",),
    ("include/atrous/depthwise_rows.cuh", "include/atrous/depthwise_planes.cuh", "include/atrous/depthwise_window.cuh", "include/atrous/depthwise_large.cuh"),
    ("include/atrous/epilogue.cuh", "include/atrous/tile.cuh", "include/atrous/reductions.cuh", "include/atrous/mma_types.cuh"),
    ("include/atrous/gemm_tile.cuh", "include/atrous/gemm_loader.cuh", "include/atrous/element_loader.cuh"),
    ("include/atrous/partial_sums.cuh", "include/atrous/warp_output.cuh", "include/atrous/pooled_tile.cuh", "include/atrous/neighbours.cuh"),
    ("include/atrous/window_state.cuh", "include/atrous/row_ring.cuh", "include/atrous/pool_band.cuh"),
    ("include/atrous/pool_column.cuh",),
    ("include/atrous/kernels/", "include/atrous/probes/"),
    ("instances/",),
    ("struct_layout.hpp", "runtime_calls.hpp", "runtime_calls.cpp", "tensor_maps.hpp", "tensor_maps.cpp", "sim/"),
    ("common_bindings.hpp",),
    ("module.cpp", "sim_module.cpp"),
)
#: what defines the runtime's launch for the simulator
FAKE_RUNTIME = ("csrc/sim/fake_runtime.cpp", "csrc/sim/include/cuda_runtime.h")
CPP_SUFFIXES = (".cu", ".cuh", ".cpp", ".hpp", ".h")


def files(*folders, suffixes):
    """Return the repository's files of these folders with one of the suffixes."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in suffixes]
    return [path for path in found if "__pycache__" not in path.parts]


PYTHON_FILES = files("src", "tests", "benchmarks", "examples", suffixes=(".py", ".pyi"))
PACKAGE_FILES = [path for path in PYTHON_FILES if path.is_relative_to(PACKAGE) and path.suffix == ".py"]
CPP_FILES = files("csrc", suffixes=CPP_SUFFIXES)


def name(path):
    """Return a path relative to the repository, for a message."""
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    """Return the dotted name of a file of the package, as a tuple without the leading `atrous`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


MODULES = {module_of(path) for path in PACKAGE_FILES}


def unit(module):
    """Return the unit of MAY_IMPORT that a module belongs to."""
    return module[0] if module else "__init__"


def imported(path, source=None):
    """Return the modules of atrous that a file imports, and the foreign packages, without those for type checkers only."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module[:-1]
    own, foreign = set(), set()
    waiting = [ast.parse(path.read_text(encoding="utf-8") if source is None else source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ("atrous", *package[: len(package) - node.level + 1]) if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            targets = [(*base, alias.name) if (*base[1:], alias.name) in MODULES else base for alias in node.names]
        else:
            continue
        own |= {target[1:] for target in targets if target[0] == "atrous"}
        foreign |= {target[0] for target in targets if target[0] != "atrous"}
    return own, foreign


def upward(path, source=None):
    """Return the imports of a file that its unit may not make."""
    own, foreign = imported(path, source)
    here = unit(module_of(path))
    allowed = MAY_IMPORT.get(here, set()) | {here}
    bad = [".".join(("atrous", *target)) for target in own if unit(target) not in allowed]
    return bad + [package for package in foreign if package == "numpy" and here in NO_NUMPY]


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name)
def test_no_import_runs_up(path):
    assert not upward(path), f"{name(path)} imports what stands above it"


def test_an_import_that_runs_up_is_seen():
    path = PACKAGE / "engines" / "compiled.py"
    assert upward(path, "from ..plan import Plan") == ["atrous.plan"]
    assert upward(path, "from .. import plan") == ["atrous.plan"]
    assert upward(path, "def f():\n    import atrous.choose") == ["atrous.choose"]
    assert upward(path, "if TYPE_CHECKING:\n    from ..problem import Problem") == []
    assert upward(PACKAGE / "launch.py", "import numpy") == ["numpy"]
    assert upward(PACKAGE / "errors.py", "from . import config") == ["atrous.config"]


def circle(graph):
    """Return the nodes of a circle of a graph {node: successors}, or an empty list."""
    left = {node: set(successors) & graph.keys() - {node} for node, successors in graph.items()}
    while ends := [node for node, successors in left.items() if not successors & left.keys()]:
        for node in ends:
            del left[node]
    return sorted(left)


def test_no_imports_in_a_circle():
    assert circle({1: {2}, 2: {1}, 3: {1}, 4: set()}) == [1, 2, 3]
    assert circle({module_of(path): imported(path)[0] for path in PACKAGE_FILES}) == []


def includes(path):
    """Return what a C++ file includes, as written."""
    return re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', path.read_text(encoding="utf-8"), re.MULTILINE)


def resolve(path, include):
    """Return the file of csrc that an include names, or None."""
    places = (path.parent, CSRC, CSRC / "include", CSRC / "sim" / "include")
    return next((found.resolve() for place in places if (found := place / include).is_file()), None)


def floor_of(path):
    """Return the index in FLOORS of a file of csrc."""
    relative = path.relative_to(CSRC).as_posix()
    return next(index for index, floor in enumerate(FLOORS) if any(relative == entry or (entry[-1] == "/" and relative.startswith(entry)) for entry in floor))


@pytest.mark.parametrize("path", CPP_FILES, ids=name)
def test_no_include_runs_up(path):
    for include in includes(path):
        target = resolve(path, include)
        kernel_text = path.is_relative_to(CSRC / "include")
        if "pybind11" in include:
            assert path.parent == CSRC, f"{name(path)} knows pybind11; only the modules may"
        elif kernel_text and (target is None or not target.is_relative_to(CSRC / "include")):
            allowed = (
                include in ("cuda_fp16.h", "cuda_bf16.h") if path.name == "types.cuh" else include.startswith("atrous_sim/") and path.parent.name == "prims"
            )
            assert allowed, f"{name(path)} includes {include}; kernel text includes nothing outside itself"
        elif target is not None and not target.is_relative_to(CSRC / "sim"):
            assert floor_of(target) <= floor_of(path), f"{name(path)} includes {include}, which stands above it"


def test_no_includes_in_a_circle():
    graph = {path.resolve(): {resolve(path, include) for include in includes(path)} for path in CPP_FILES}
    assert circle(graph) == []


def code(path):
    """Return a C++ file without its comments and the contents of its strings."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


@pytest.mark.parametrize("path", CPP_FILES, ids=name)
def test_what_belongs_in_one_place_stays_there(path):
    text, primitive = code(path), path.parent.name == "prims"
    if path.is_relative_to(CSRC / "include") and not primitive:
        assert not re.search(r"\b(asm|__asm__)\b", text), f"{name(path)} has inline PTX outside prims/"
        assert "ATROUS_SIMULATED" not in text, f"{name(path)} asks for the simulator outside prims/"
        assert "__CUDA_ARCH__" not in text, f"{name(path)} branches on the architecture"
    if path.parent != CSRC and name(path) not in FAKE_RUNTIME:
        assert not re.search(r"<<<|\bcudaLaunch\w*\s*\(", text), f"{name(path)} launches; only the modules may"
    assert "getenv" not in text, f"{name(path)} reads the environment; only config.py may"


def test_the_environment_is_read_in_one_place():
    variables = set()
    for path in PACKAGE_FILES:
        text = path.read_text(encoding="utf-8")
        if path != PACKAGE / "config.py":
            assert not re.search(r"\bos\.environ\b|\bgetenv\b|from os import", text), f"{name(path)} reads the environment; only config.py may"
        else:
            variables |= {
                node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", str(node.value))
            }
    assert 1 <= len(variables) <= ENVIRONMENT_VARIABLES, sorted(variables)


@pytest.mark.parametrize("path", PYTHON_FILES + CPP_FILES, ids=name)
def test_length_and_first_line(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES, f"{name(path)} has {len(lines)} lines"
    first = lines[0] if lines else ""
    opening = '"""' if path.suffix in (".py", ".pyi") else "// "
    assert first.startswith(opening) and len(first.split()) >= 4, f"{name(path)} does not begin by saying what it is: {first!r}"
    assert first.rstrip().rstrip('"').endswith((".", ":")), f"{name(path)} begins with no sentence: {first!r}"


def python_functions(path):
    """Yield (name, lines) of every function of a Python file, its docstring aside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node) is not None
            yield node.name, node.end_lineno - node.lineno + 1 - (node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0)


def cpp_functions(text):
    """Yield (first line, lines) of every function of a C++ text in the form that clang-format gives it."""
    opened = {}
    for number, line in enumerate(text.splitlines()):
        indent = len(line) - len(line.lstrip())
        if line.rstrip().endswith("{") and "(" in line and indent <= 2 and indent not in opened:
            opened[indent] = number, line.strip()
        elif line.strip().startswith("}") and indent in opened:
            start, first = opened.pop(indent)
            yield first, number - start + 1


@pytest.mark.parametrize("path", PYTHON_FILES + CPP_FILES, ids=name)
def test_functions_are_short(path):
    found = python_functions(path) if path.suffix in (".py", ".pyi") else cpp_functions(path.read_text(encoding="utf-8"))
    long = [f"{function}: {lines} lines" for function, lines in found if lines > FUNCTION_LINES]
    assert not long, f"{name(path)}: {long}"


def test_a_long_function_is_seen():
    body = "int f(int x) {\n" + "  x += 1;\n" * FUNCTION_LINES + "}\n"
    assert [lines for _, lines in cpp_functions(body)] == [FUNCTION_LINES + 2]
    assert [lines for _, lines in cpp_functions("struct A {\n  void f() {\n    g();\n  }\n};\n")] == [3]


def test_every_kernel_takes_its_argument_in_place():
    """Without __grid_constant__ the address of a tensor map in the argument is that of a local copy, which no copy engine reads."""
    heads = [(path, head) for path in CPP_FILES for head in re.findall(r"__global__[^;{#]*?\([^;{#]*\{", path.read_text(encoding="utf-8"))]
    assert len(heads) > 50
    wrong = [f"{name(path)}: {head}" for path, head in heads if "const __grid_constant__" not in head]
    assert not wrong, wrong
