"""Models, without a device, how far sums of float32 by 3xTF32 are from float64 over the suite's dense layers, and writes docs/float32.md's table.

python benchmarks/float32_error.py            models every layer and writes a JSON file, then the table
python benchmarks/float32_error.py --write    writes the table from the newest JSON file
python benchmarks/float32_error.py --check    says whether the page holds it
"""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tensor_core_sums import AMPERE, MODELS, sequential, split_sums, tf32

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from atrous.problem import Conv2dProblem, parse  # noqa: E402
from cases import FOLDER, read_cases  # noqa: E402

PAGE = ROOT / "docs" / "float32.md"
RESULTS = ROOT / "benchmarks" / "results" / "cpu" / "float32"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"
NETS = (
    "resnet50",
    "vgg16",
    "googlenet",
    "deeplabv3_r50_os8",
    "mobilenet_v1",
    "mobilenet_v2",
    "alexnet",
    "alexnet_2012",
    "convnext_t",
    "resnext50_32x4d",
    "lenet5",
)
#: windows of a layer, and as many output channels: fewer where a window is long, for the memory's sake
SAMPLE, LONG_SAMPLE, LONG = 48, 24, 1152
KINDS = ("normal", "relu")
UNIT = 2.0**-24


class Layer(NamedTuple):
    """One geometry: the layers that have it, and the problem of the first."""

    names: list[str]
    problem: Any


def layers() -> list[Layer]:
    """Return every distinct dense convolution of the suite, in the order of gemm_k."""
    found: dict[Any, Layer] = {}
    for net in NETS:
        for case in read_cases(FOLDER / f"{net}.txt"):
            problem = parse(case.text)
            if isinstance(problem, Conv2dProblem) and problem.groups == 1:
                key = (problem.r, problem.s, problem.c, problem.h, problem.w, problem.stride, problem.dilation, problem.pads)
                found.setdefault(key, Layer([], problem)).names.append(case.name)
    return sorted(found.values(), key=lambda layer: (gemm_k(layer.problem), layer.names))


def gemm_k(problem: Any) -> int:
    """Return R * S * C."""
    return problem.r * problem.s * problem.c


def sample(problem: Any) -> int:
    """Return how many windows of a layer are taken, and how many of its output channels."""
    return SAMPLE if gemm_k(problem) < LONG else LONG_SAMPLE


def windows(problem: Any, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return [sample, gemm_k]: windows of x [H, W, C] at random outputs, in the order (r, s, c), zeros where they lie in padding."""
    taken = np.zeros((sample(problem), problem.r, problem.s, problem.c))
    for i in range(len(taken)):
        p, q = int(random.integers(problem.p)), int(random.integers(problem.q))
        for r in range(problem.r):
            h = p * problem.stride[0] - problem.pads[0] + r * problem.dilation[0]
            for s in range(problem.s):
                w = q * problem.stride[1] - problem.pads[2] + s * problem.dilation[1]
                if 0 <= h < problem.h and 0 <= w < problem.w:
                    taken[i, r, s] = x[h, w]
    return taken.reshape(len(taken), -1)


def operands(layer: Layer) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (kind, windows [sample, 1, gemm_k], weight [1, sample, gemm_k]); floats of 24 bits, as float64."""
    problem = layer.problem
    depth = gemm_k(problem)
    for kind in KINDS:
        random = np.random.default_rng(zlib.crc32(f"{layer.names[0]} {kind}".encode()))
        x = random.normal(0, 1, (problem.h, problem.w, problem.c)).astype(np.float32)
        weight = random.normal(0, 1 / math.sqrt(depth), (sample(problem), depth)).astype(np.float32).astype(np.float64)
        yield kind, windows(problem, np.maximum(x, 0) if kind == "relu" else x, random)[:, None], weight[None]


def error(sums: np.ndarray, exact: np.ndarray, bound: np.ndarray) -> list[float]:
    """Return the relative L2 error, and the largest error in units of gemm_k * 2^-24 * the sum of |x| |weight|."""
    distance = sums - exact
    share = np.max(np.abs(distance)[bound > 0] / bound[bound > 0])
    return [float(f"{np.linalg.norm(distance) / np.linalg.norm(exact):.4g}"), float(f"{share:.4g}")]


def modelled(layer: Layer) -> dict[str, Any]:
    """Return one row of the JSON file."""
    row: dict[str, Any] = {"layers": layer.names, "case": str(layer.problem), "gemm_k": gemm_k(layer.problem)}
    for kind, x, weight in operands(layer):
        # the exact sum: of products that float64 holds, by the compensated sum of math.fsum
        exact = np.array([[math.fsum(row * column) for column in weight[0]] for row in x[:, 0]])
        bound = gemm_k(layer.problem) * UNIT * (np.abs(x[:, 0]) @ np.abs(weight[0]).T)
        errors = {"sequential": error(sequential(x, weight), exact, bound)}
        errors["tf32"] = error(tf32(AMPERE, x, weight), exact, bound)
        errors["left in the tensor core"] = error(split_sums(AMPERE, x, weight, None), exact, bound)
        errors["every 128"] = error(split_sums(AMPERE, x, weight, 128), exact, bound)
        errors["every 128, small apart"] = error(split_sums(AMPERE, x, weight, 128, apart=True), exact, bound)
        for core in MODELS:
            errors[f"every 8, {core.name}"] = error(split_sums(core, x, weight, 8), exact, bound)
        row[kind] = errors
    return row


def run() -> Path:
    """Model every layer and write the JSON file."""
    rows = []
    for layer in layers():
        rows.append(modelled(layer))
        print(rows[-1]["layers"][0], rows[-1]["gemm_k"], rows[-1]["normal"], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    facts = {
        "date": datetime.date.today().isoformat(), "commit": commit, "numpy": np.__version__,
        "outputs": f"{SAMPLE**2} outputs a row, {LONG_SAMPLE**2} from gemm_k = {LONG} on",
        "models": [core._asdict() for core in MODELS], "errors": ["relative L2", "largest, in units of gemm_k 2^-24 sum |x| |weight|"], "rows": rows,
    }  # fmt: skip
    path = RESULTS / f"{facts['date']}-{commit}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return path


def newest() -> Path:
    """Return the newest JSON file by its date, then its name."""
    return max(RESULTS.glob("*.json"), key=lambda path: (json.loads(path.read_text())["date"], path.name))


def exceptions(facts: dict[str, Any], column: str, measure: int) -> list[tuple[int, str, str]]:
    """Return (gemm_k, layer, kind of x) of the rows where a column is not below sequential float32."""
    rows = ((row, kind) for row in facts["rows"] for kind in KINDS)
    return [(row["gemm_k"], row["layers"][0], kind) for row, kind in rows if row[kind][column][measure] >= row[kind]["sequential"][measure]]


def cell(errors: list[float]) -> str:
    """Return the two errors of one scheme as a cell of the table."""
    return f"{errors[0]:.2e} ({errors[1]:.2g})"


def sentence(facts: dict[str, Any], column: str, measure: int) -> str:
    """Return where a column is not below sequential float32."""
    found = exceptions(facts, column, measure)
    if not found:
        return "nowhere"
    shown = "; ".join(f"{layer}, gemm_k {depth}, {kind}" for depth, layer, kind in found[-3:])
    return f"{len(found)} of {len(facts['rows']) * len(KINDS)}, at a gemm_k of {found[0][0]} to {found[-1][0]} (last: {shown})"


def table(path: Path) -> str:
    """Return the Markdown that stands between the markers."""
    facts = json.loads(path.read_text())
    columns = ["sequential", *(f"every 8, {core.name}" for core in MODELS), "every 128, small apart", "every 128", "left in the tensor core", "tf32"]
    lines = ["| gemm_k | layer | x | " + " | ".join(columns) + " |", "|--:|---|---|" + "--:|" * len(columns)]
    for row in facts["rows"]:
        others = f" and {len(row['layers']) - 1} more" if len(row["layers"]) > 1 else ""
        for kind in KINDS:
            cells = " | ".join(cell(row[kind][column]) for column in columns)
            lines.append(f"| {row['gemm_k']} | {row['layers'][0]}{others} | {kind} | {cells} |")
    lines += ["", "Rows in which an error is not below that of sequential float32:", ""]
    for column in columns[1:-1]:
        lines.append(f"- {column}: relative L2: {sentence(facts, column, 0)}; largest: {sentence(facts, column, 1)}.")
    where = f"[{path.name}](../{path.relative_to(ROOT).as_posix()})"
    lines += ["", f"{facts['outputs']}; NumPy {facts['numpy']}, {facts['date']}, commit {facts['commit']}; {where}."]
    return "\n".join(lines)


def main() -> int:
    """Run, write or check."""
    if "--write" not in sys.argv[1:] and "--check" not in sys.argv[1:]:
        run()
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    wanted = f"{before}{BEGIN}\n{table(newest())}\n{END}{rest.partition(END)[2]}"
    if "--check" in sys.argv[1:]:
        print(
            "docs/float32.md holds the newest figures"
            if text == wanted
            else "docs/float32.md does not hold the newest figures: run benchmarks/float32_error.py --write"
        )
        return int(text != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
