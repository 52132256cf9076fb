"""Counts what kernels move on the simulator: sectors of global memory against the least that a layer can move, and bank conflicts.

python tests/proof/traffic.py [--json FILE] [--only WORD ...] [--places]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import builds

SECTOR_BYTES = 32
#: what `work_of` says of a layer above which it is counted with fewer channels
MOST_WORK = 12_000_000
#: and no fewer than these: 64 bytes of a half-precision pixel
LEAST_CHANNELS = 32
#: a place with a smaller part of a launch's shared-memory instructions is none of its main loop
MAIN_LOOP = 1 / 8
#: class of layers -> the figure of the scoreboard with its worst ratio of bytes
FIGURES = {
    "depthwise stride 1": "traffic_depthwise",
    "depthwise strided": "",
    "depthwise large": "traffic_depthwise_large",
    "pool without overlap": "traffic_pool",
    "pool with overlap": "traffic_pool_overlap",
    "grouped": "traffic_grouped",
}


#: class of layers -> the most bytes that a kernel may ask for, in units of the least
CEILINGS = {"depthwise stride 1": 1.10, "pool without overlap": 1.10, "pool with overlap": 1.35}
#: kernel -> the most bank conflicts for each instruction of its main loops on any layer of the suite, and why not 0
REASONS = {
    "pool_stream": (2.0, "copies of pixels narrower than 128 bytes land in banks side by side, so that reads, S for each copy, meet in none"),
    "pool_bands": (1.25, "bands lie as in memory, and lanes that go on in another run meet those of the run before"),
    "conv_depthwise_planes": (1.5, "bands lie as in memory, and lanes that go on in another run meet those of the run before"),
}
#: the device whose kernels are counted
CHOOSING = "sm_90"
#: windows of more rows or columns are a class of their own
LARGE_WINDOW = 7


class Traffic:
    """What the launches of a `with counted()` moved.

    Sums are items of `figures`; every instruction of a warp asks once for each sector that it touches, whatever a device's
    first-level cache would hold of it.
    """

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def __getitem__(self, name: str) -> int:
        return int(self.figures[name])

    @property
    def sectors(self) -> int:
        """Sectors of global memory that were asked for, read and written."""
        return self["global_read_sectors"] + self["global_write_sectors"]

    @property
    def conflicts_per_instruction(self) -> float:
        """Wavefronts beyond the least, for each shared-memory instruction of a warp."""
        return self["shared_conflicts"] / max(1, self["shared_instructions"])

    def main_loop_conflicts(self) -> float:
        """Return the most conflicts for each instruction of any place with MAIN_LOOP of the shared-memory instructions or more."""
        least = MAIN_LOOP * self["shared_instructions"]
        own = [sums for _, sums in self.figures["places"] if sums["shared_instructions"] >= max(1, least)]
        return max((sums["shared_conflicts"] / sums["shared_instructions"] for sums in own), default=0.0)

    def places(self) -> dict[str, dict[str, int]]:
        """Return "FILE:LINE" -> its sums; what is inlined from a header is "vec.cuh:20 in pool.cuh:196"."""
        import atrous._sim as extension

        offsets = sorted({place for place, _ in self.figures["places"] if isinstance(place, int)})
        names = lines_of(str(extension.__file__), offsets)
        found: dict[str, dict[str, int]] = {}
        for place, sums in self.figures["places"]:
            name = names[place] if isinstance(place, int) else base_name(place)
            mine = found.setdefault(name, dict.fromkeys(sums, 0))
            for key, value in sums.items():
                mine[key] += value
        return found


@contextlib.contextmanager
def counted() -> Iterator[Traffic]:
    """Count the launches of the block, which this process's race build of the simulator runs."""
    import atrous._sim as extension

    traffic = Traffic()
    extension.start_traffic()
    try:
        yield traffic
    finally:
        traffic.figures = extension.stop_traffic()


def base_name(place: str) -> str:
    """Return "/a/b.cuh:7" without its folders."""
    return place.rpartition("/")[2].partition(" ")[0]


def lines_of(extension: str, offsets: list[int]) -> dict[int, str]:
    """Return the line of the kernels' text ahead of each offset, or the offset and why it has none, by binutils' addr2line."""
    command = ["addr2line", "-a", "-i", "-e", extension, *(hex(offset - 1) for offset in offsets)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else "no line is known of it"
        text = done.stdout
    except OSError as failure:
        reason, text = f"addr2line did not run: {failure}", ""
    lines: dict[int, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("0x"):
            at = lines.setdefault(int(line, 16) + 1, [])
        elif "?" not in line:
            at.append(line)
    return {offset: told(lines.get(offset, [])) or f"{offset:#x} of the extension ({reason})" for offset in offsets}


def told(lines: list[str]) -> str:
    """Return the innermost of the lines outside the primitives, with the innermost one that is a kernel's own."""
    own = [line for line in lines if re.search(r"/kernels/|/probes/|test_kernels", line)]
    outside = [line for line in lines if "/prims/" not in line]
    return " in ".join(dict.fromkeys(base_name(line) for line in (outside[:1] or lines[:1]) + own[:1]))


def least_bytes(problem: Any) -> int:
    """Return the bytes of x, of the weights or what is added, and of y (of a pool's indices too), each once."""
    import numpy as np

    from atrous.interop import numpy_dtype

    def size(shape: tuple[int, ...], dtype: str) -> int:
        return int(np.prod(shape, dtype=np.int64)) * numpy_dtype(dtype).itemsize

    found = size(problem.x_shape, problem.dtype) + size(problem.y_shape, problem.out_dtype)
    if getattr(problem, "other", False):
        found += size(problem.x_shape, problem.dtype)
    conv = getattr(problem, "conv", problem)
    if hasattr(conv, "weight_shape"):
        found += size(conv.weight_shape, conv.dtype)
    if hasattr(problem, "depthwise"):
        found += size(problem.depthwise.weight_shape, problem.dtype)
    return found + (size(problem.y_shape, problem.index_dtype) if getattr(problem, "return_indices", False) else 0)


def count(problem: Any, kernel: str | None = None) -> tuple[str, Traffic]:
    """Return the name of a kernel, CHOOSING's unless one is named, and what it moves for a problem; packing of weights apart.

    It is launched as on the simulated device, whose few multiprocessors leave tiles as a large batch has them anywhere.
    """
    from atrous import choose, testing
    from atrous.engines import simulated
    from atrous.kernels.base import default_strides
    from atrous.redzones import Guarded, memory_for
    from atrous.sequence import Bound, scratch_of
    from atrous.verify import _taps as taps_of

    device = choose.device_named("simulated")
    chosen = choose.choose(problem, choose.device_named(CHOOSING) if kernel is None else device, kernel)
    launch = chosen.launch(problem, default_strides(problem), device)
    memory = memory_for("simulated")
    inputs = {**taps_of(problem), **testing.exact_inputs(problem)}
    operands = {name: Guarded(memory, array.shape, array.dtype.name, array) for name, array in inputs.items()}
    operands["y"] = Guarded(memory, problem.y_shape, problem.out_dtype)
    if getattr(problem, "return_indices", False):
        operands["index"] = Guarded(memory, problem.y_shape, problem.index_dtype)
    operands |= {name: Guarded(memory, (size,), "uint8") for name, size in scratch_of(launch).items()}
    bound = Bound(launch, simulated.prepare)

    def run(part: Any) -> None:
        prepared, slots = part
        prepared.run(tuple(operands[slot].pointer if slot in operands else 0 for slot in slots), 0, ("in-order", 0, "latest"))

    if bound.packing is not None:
        run(bound.packing)
    with counted() as traffic:
        run(bound.rest)
    return chosen.name, traffic


def ratio(problem: Any, traffic: Traffic) -> float:
    """Return the bytes of the sectors that a problem's launches asked for, in units of the least that it can move."""
    return traffic.sectors * SECTOR_BYTES / least_bytes(problem)


def class_of(problem: Any) -> str | None:
    """Return which of FIGURES a problem counts for, or None."""
    if hasattr(problem, "groups"):
        if problem.groups == 1:
            return None
        if problem.groups < problem.c:
            return "grouped"
        if max(problem.r, problem.s) > LARGE_WINDOW:
            return "depthwise large"
        return "depthwise stride 1" if problem.stride == (1, 1) else "depthwise strided"
    if not hasattr(problem, "kind"):
        return None
    apart = problem.stride[0] >= problem.r and problem.stride[1] >= problem.s
    return "pool without overlap" if apart else "pool with overlap"


def work_of(problem: Any) -> int:
    """Return the multiply-adds of a convolution, 16 of one group as one since tensor cores are simulated whole, or the cells of all windows of a pool."""
    depth = -(-problem.c // problem.groups // 16) if hasattr(problem, "groups") else 1
    channels = problem.k if hasattr(problem, "groups") else problem.c
    return int(problem.n * channels * problem.p * problem.q * problem.r * problem.s * depth)


def affordable(problem: Any) -> Any:
    """Return the problem, or the same with fewer channels (and groups) where it would take long: halves, down to LEAST_CHANNELS or two groups."""
    while class_of(problem) and work_of(problem) > MOST_WORK and problem.c % 2 == 0 and problem.c > LEAST_CHANNELS:
        if not hasattr(problem, "groups"):
            problem = dataclasses.replace(problem, c=problem.c // 2)
        elif problem.groups % 2 == 0 and problem.groups > 2:
            problem = dataclasses.replace(problem, c=problem.c // 2, k=problem.k // 2, groups=problem.groups // 2)
        else:
            break
    return problem


def layers() -> list[tuple[str, Any]]:
    """Return (name, problem at batch 1) of the suite's depthwise, grouped and pooling layers in both layouts, each problem once."""
    from atrous.bench import suite

    found = {}
    for net, layout in itertools.product(suite.networks(), ("NHWC", "NCHW")):
        for layer in suite.read(net):
            problem = suite.at(layer.problem, batch=1, layout=layout)
            if class_of(problem):
                found.setdefault(str(problem), (layer.name, problem))
    return list(found.values())


def measure(name: str, problem: Any, kernel: str | None = None) -> dict[str, Any]:
    """Return the record of one layer."""
    run = affordable(problem)
    kernel, traffic = count(run, kernel)
    return {
        "layer": name,
        "case": str(problem),
        "counted": str(run),  # with fewer channels where it differs
        "class": class_of(problem),
        "kernel": kernel,
        "ratio": round(ratio(run, traffic), 4),
        "footprint_ratio": round((traffic["read_footprint"] + traffic["write_footprint"]) * SECTOR_BYTES / least_bytes(run), 4),
        "conflicts_per_instruction": round(traffic.conflicts_per_instruction, 4),
        "main_loop_conflicts": round(traffic.main_loop_conflicts(), 4),
        **{key: value for key, value in traffic.figures.items() if isinstance(value, int)},
        "places": traffic.places(),
    }


def figures_of(records: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of the scoreboard: the worst of the layers of each class, and of all in conflicts."""
    found = {key: max((record["ratio"] for record in records if record["class"] == name), default=None) for name, key in FIGURES.items() if key}
    found["traffic_conflicts"] = max((record["main_loop_conflicts"] for record in records), default=None)
    return {key: value for key, value in found.items() if value is not None}


def show(record: dict[str, Any], with_places: bool) -> None:
    """Print a line on a layer, and with its places the lines of text that move most."""
    fewer = "" if record["counted"] == record["case"] else f"  [as {record['counted']}]"
    conflicts = f"{record['conflicts_per_instruction']:.3f} conflicts an instruction ({record['main_loop_conflicts']:.3f} at worst)"
    print(f"{record['layer']:28} {record['class'] or '':20} {record['kernel']:14} {record['ratio']:8.3f} x the least, {conflicts}{fewer}", flush=True)
    if not with_places:
        return
    for place, sums in sorted(record["places"].items(), key=lambda item: -item[1]["global_read_sectors"] - item[1]["shared_conflicts"]):
        moved = f"{sums['global_read_sectors']} sectors read, {sums['global_write_sectors']} written"
        print(f"    {place}: {moved}; {sums['shared_conflicts']} conflicts in {sums['shared_instructions']} instructions")


def records_of(cases: list[str], kernel: str | None = None) -> list[dict[str, Any]]:
    """Return the record of each case string on the race build, in a process of its own: what a test holds a kernel to."""
    command, environment = builds.command("race")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "records.json"
        words = ["--case", *cases, *(["--kernel", kernel] if kernel else []), "--json", str(file)]
        done = subprocess.run([*command, __file__, *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"traffic.py {' '.join(words)}\n{done.stderr[-4000:]}")
        return list(json.loads(file.read_text(encoding="utf-8"))["layers"])


def work(options: argparse.Namespace) -> int:
    """Count every layer asked for in this process, which runs the race build."""
    from atrous.problem import parse

    records = []
    for name, problem in [(case, parse(case)) for case in options.case] if options.case else layers():
        if options.only and not any(word in f"{name} {class_of(problem)}" for word in options.only):
            continue
        records.append(measure(name, problem, options.kernel))
        show(records[-1], options.places)
    figures = figures_of(records)
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps({**figures, "layers": records}, indent=1) + "\n", encoding="utf-8")
    return 0 if records else 1


def main(arguments: list[str] | None = None) -> int:
    """Start this very script on the race build, unless it runs there already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and every layer's counts to FILE")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="layers whose name or class holds one of these")
    parser.add_argument("--case", nargs="+", metavar="CASE", help="these problems instead of the suite's layers")
    parser.add_argument("--kernel", metavar="NAME", help="this kernel instead of the one that is chosen")
    parser.add_argument("--places", action="store_true", help="print what each line of the kernels' text moves")
    options = parser.parse_args(arguments)
    if builds.MODULE in sys.modules:
        return work(options)
    command, environment = builds.command("race")
    return subprocess.run([*command, __file__, *(sys.argv[1:] if arguments is None else arguments)], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
