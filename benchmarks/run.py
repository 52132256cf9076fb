"""Measures the suite: every layer of the networks at each batch and dtype, atrous beside every rival that is here, into one results file.

    python benchmarks/run.py [--device cpu] [--nets resnet50 vgg16] [--batch 1 8] [--dtype f32] [--against all] [--out FILE]
    python benchmarks/run.py --resume FILE ...

The file is written after every layer, so that a run that is cut off loses one layer; --resume goes on with it and measures no
layer twice (it must be of the same commit, versions and settings). A problem that several networks share is measured once. Each
result is checked against the float64 reference before it is timed; what is wrong, and who is absent and why, stands in the file.

After some errors of a kernel no CUDA call of a process succeeds any more. Then the file says who it was, and the run ends with exit code 3:
--resume goes on behind that layer, in a process that has the GPU again. So it does after a hang or a crash, and steps over the layer that was
under way, which FILE.under-way names. --layer-seconds ends a run that hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import faulthandler
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atrous.bench.measure import Bench, Wanted

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
#: read by OpenBLAS, OpenMP, MKL and TensorFlow when they are loaded, so set before any of them is
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
#: holds back OpenBLAS' instructions; a figure needs to say so
CORETYPE = "OPENBLAS_CORETYPE"
DTYPES = {"cpu": ["f32"], "cuda": ["f16"]}
BATCHES = {"cpu": [1, 8], "cuda": [1, 32, 256]}
#: exit code of a run whose process lost the GPU; another one can go on
LOST = 3


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where CuPy reaches a GPU")
    parser.add_argument("--nets", nargs="+", default=[], help="names or paths of case files (default: every network)")
    parser.add_argument("--batch", nargs="+", type=int, help="default 1 8 on a CPU, 1 32 256 on a GPU")
    parser.add_argument("--dtype", nargs="+", help="default f32 on a CPU, f16 on a GPU")
    parser.add_argument("--layout", choices=("NHWC", "NCHW"), default="NHWC")
    parser.add_argument("--plain", action="store_true", help="leave scale, bias, residual and activation out")
    parser.add_argument("--against", nargs="+", default=["all"], help="names of rivals, 'all' or 'none'")
    parser.add_argument("--only", help="measure only layers whose name, family or case string holds this")
    parser.add_argument("--metrics", nargs="+", choices=("kernel", "wall", "issue"), help="default: all that the device has")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every library on a CPU (default: all cores)")
    parser.add_argument("--seconds", type=float, help="begin no layer later than this")
    parser.add_argument("--layer-seconds", type=float, help="end the run where one layer takes longer, which then hangs; --resume steps over it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, help="default benchmarks/results/PLACE/DATE-COMMIT-suite.json")
    where.add_argument("--resume", type=Path, help="go on with this file; begin it where it is not there")
    return parser.parse_args(words)


def limit_threads(count: int) -> None:
    """Let every library use so many threads: by their variables, and by the cores that this process may run on."""
    os.environ.update({name: str(count) for name in THREADS})
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def place_of(document: dict[str, Any]) -> str:
    """Return the folder of results: "cpu", or the GPU's name as a word."""
    if document["settings"]["device"] != "cuda":
        return "cpu"
    return "-".join((document["where"]["gpu"] or {"name": "unnamed gpu"})["name"].lower().split())


def layers_wanted(chosen: argparse.Namespace, device: str) -> list[tuple[Wanted | None, Any, str]]:
    """Return (what to measure, None and "") or (None, layer and why not) for every layer, batch and dtype, in the order to measure."""
    from atrous.bench import suite
    from atrous.bench.measure import Wanted, wanted

    nets = chosen.nets or suite.networks()
    found: list[tuple[Wanted | None, Any, str]] = []
    for dtype in chosen.dtype or DTYPES[device]:
        for batch in chosen.batch or BATCHES[device]:
            for net in nets:
                for each in wanted(suite.read(net), batch=batch, dtype=dtype, layout=chosen.layout, plain=chosen.plain):
                    found.append((each, None, "") if isinstance(each, Wanted) else (None, *each))
    if chosen.only is None:
        return found
    return [each for each in found if each[0] is not None and chosen.only in f"{each[0].layer.name} {suite.family(each[0].problem)} {each[0].case}"]


class UnderWay:
    """The file that names the layer being measured, and what is being done to it; one that lies there when a run begins is of a run that was ended."""

    def __init__(self, results: Path, patience: float | None = None) -> None:
        self.path = results.with_name(results.name + ".under-way")
        self.patience = patience
        self.layer: dict[str, str] = {}

    @contextlib.contextmanager
    def of(self, each: Wanted) -> Iterator[None]:
        """Name a layer until its end; end the process where that takes too long."""
        self.layer = {"layer": each.layer.name, "case": each.case}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.doing("beginning")
        if self.patience is not None:
            faulthandler.dump_traceback_later(self.patience, exit=True)  # says where, and ends even what waits for a GPU inside a library
        try:
            yield
        finally:  # what Python sees end is no hang
            faulthandler.cancel_dump_traceback_later()
            self.end()

    def doing(self, words: str) -> None:
        """Name what is being done."""
        if self.layer:
            self.path.write_text(json.dumps({**self.layer, "doing": words}), encoding="utf-8")

    def end(self) -> None:
        """Say that no layer is being measured."""
        self.layer = {}
        self.path.unlink(missing_ok=True)

    def skip(self) -> dict[str, str] | None:
        """Return what a results file says of the layer that an earlier run was ended in."""
        try:
            before = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or cut off while it was written
            return None
        doing = before.pop("doing")
        return {"contestant": "all", "reason": f"failed: a run was ended during it ({doing}): by a crash, a hang, or because its time was over", **before}


def measure_all(bench: Bench, layers: list[tuple[Wanted | None, Any, str]], path: Path, deadline: float, under_way: UnderWay) -> int:
    """Measure every layer that the document lacks, save after each, and return how many were left for want of time, or of a GPU."""
    from atrous.bench.summary import by_layer, in_words, layer_ratio, median, ratio_in_words

    metric = bench.options.metrics[0]
    for number, (each, layer, refusal) in enumerate(layers, 1):
        if each is None:
            skip = {"layer": layer.name, "case": layer.case, "contestant": "all", "reason": refusal}
            bench.document["skipped"] += [skip] if skip not in bench.document["skipped"] else []
            continue
        if bench.has(each):
            continue
        if time.monotonic() > deadline:
            return len(layers) - number + 1
        with under_way.of(each):
            rows, skipped = bench.measure(each)
            bench.save(path)
        contestants = next(iter(by_layer(rows, metric).values()), {})
        times = ", ".join(f"{name} {in_words(median(row['seconds']))}" for name, row in contestants.items())
        print(
            f"[{number}/{len(layers)}] {each.layer.name} {each.case}: {times or 'nothing'}; ratio {ratio_in_words(layer_ratio(contestants))}", file=sys.stderr
        )
        for skip in skipped:
            print(f"    skipped: {skip['contestant']}: {skip['reason']}", file=sys.stderr)
        if bench.lost:
            return len(layers) - number
    return 0


def main(words: list[str] | None = None) -> int:
    """Measure, save, print the sums; 1 where a result of ours was wrong or nothing was measured, 3 where the GPU was lost to this process."""
    begun, chosen = time.monotonic(), parsed(words)
    limit_threads(chosen.threads)
    from atrous.bench import rivals
    from atrous.bench.contest import Options
    from atrous.bench.measure import Bench, default_device
    from atrous.bench.summary import by_layer, is_ours, total_in_words, totals
    from atrous.errors import AtrousError

    device = chosen.device or default_device()
    try:
        against = rivals.named([word for word in chosen.against if word != "none"])
        where = {"threads": chosen.threads, CORETYPE.lower(): os.environ.get(CORETYPE)}
        bench = Bench(Options(device, chosen.rounds, tuple(chosen.metrics or ())), against, where=where)
        layers = layers_wanted(chosen, device)
        path = chosen.resume or chosen.out or RESULTS / place_of(bench.document) / f"{datetime.date.today()}-{bench.document['commit'].rstrip('+')}-suite.json"
        if chosen.resume is not None and path.exists():
            bench.resume(path)
    except AtrousError as refusal:
        print(f"benchmarks/run.py: {refusal}", file=sys.stderr)
        return 2
    under_way = UnderWay(path, chosen.layer_seconds)
    bench.options.report = under_way.doing
    if chosen.resume is not None and (skip := under_way.skip()) is not None:
        print(f"stepped over {skip['layer']} {skip['case']}: {skip['reason']}", file=sys.stderr)
        bench.document["skipped"].append(skip)
        bench.save(path)
    under_way.end()
    for name, reason in bench.document["rivals"].items():
        print(f"{name}: {'takes part' if reason is None else f'absent: {reason}'}", file=sys.stderr)
    left = measure_all(bench, layers, path, begun + (chosen.seconds or float("inf")), under_way)
    bench.save(path)
    for metric in bench.options.metrics:
        print(f"{metric}: {len(by_layer(bench.document['rows'], metric))} layers")
        for total in totals(bench.document["rows"], metric):
            print(f"  {total_in_words(total, len(by_layer(bench.document['rows'], metric)))}")
    want = f"of a GPU ({bench.lost})" if bench.lost else "of time"
    print(f"wrote {path}" + (f"; {left} layers were left for want {want}: run again with --resume {path}" if left else ""))
    if bench.lost:
        return LOST
    ours = [skip for skip in bench.document["skipped"] if is_ours(skip["contestant"].partition(",")[0]) and skip["reason"].startswith(("wrong", "failed"))]
    return int(bool(ours) or not bench.document["rows"])


if __name__ == "__main__":
    code = main()
    if code == LOST:  # what libraries do at an orderly end may abort, or wait for a GPU that does not answer
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
