"""Times atrous beside other libraries on shapes of your own, or on a network's layers; every result is checked before it is timed.

A case string is measured as it is written: n32c64h56w56_k64r3s3_pad1_f16. net_resnet50 (or a path to a file of cases) is measured layer by
layer, with the counts and their sum; its layers are float16 at batch 1, on a CPU float32, unless --batch and --dtype say other. On a GPU the
table shows kernel time (a CUDA graph's replays over cold caches), without one the array path's time on this CPU. Ratio = the best rival's
median / ours (a plan's): above 1 we are faster; in brackets where the spreads of the rounds overlap, which is no verdict.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..bench import rivals, suite
from ..bench.contest import ROUNDS, Options
from ..bench.measure import Bench, Wanted, default_device, wanted
from ..bench.summary import by_layer, is_ours, total_in_words, totals
from ..errors import ProblemError, sentence, shown
from ..problem import parse
from ..routes import ENGINES
from .bench_view import View
from .screen import Screen

#: the operation that may stand before the cases -> that of a problem
OPERATIONS = {name: name for name in ("conv2d", "conv2d_pool2d", "max_pool2d", "avg_pool2d", "lp_pool2d", "rms_pool2d", "weighted_avg_pool2d")}
OPERATIONS["l2_pool2d"] = "lp_pool2d"
DEFAULT_RIVAL = "torch"
NETWORK_DTYPE = {"cpu": "float32", "cuda": None}
#: the net of cases that were given one by one
CASES = "case"
FAILED = 1


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `atrous bench`."""
    names = ", ".join(repr(rivals.module(name).NAME) for name in rivals.ORDER if name != rivals.OURS)
    parser.add_argument("what", nargs="+", metavar="WHAT", help="case strings, net_NAME or paths of case files; the operation (conv2d ...) may stand first")
    parser.add_argument("--batch", type=_positive, help="images a batch (default: as the case says; a network's layers 1)")
    parser.add_argument("--dtype", help="f16, bf16, f32, f64, i8 or u8 (default: as the case says; a network's layers on a CPU f32)")
    parser.add_argument("--layout", choices=("NHWC", "NCHW"), help="default: as the case says")
    parser.add_argument("--plain", action="store_true", help="leave scale, bias, residual and activation out")
    parser.add_argument("--against", action="append", metavar="RIVAL", help=f"one of {names}, 'all' or 'none'; may be repeated (default {DEFAULT_RIVAL})")
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help=f"interleaved rounds (default {ROUNDS}; fewer make no figure to quote)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where CuPy reaches a GPU, else cpu")
    parser.add_argument("--engine", choices=ENGINES, help="of ours (default: the best that serves the device)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results, after every layer")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them (needs matplotlib: pip install atrous[plot])")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and return 0 unless a result of ours was wrong or nothing was measured."""
    layers = layers_of(arguments.what)
    if arguments.dtype is not None:
        suite.dtype_named(arguments.dtype)  # a refusal comes before anything is printed
    device = arguments.device or default_device()
    words = [word for word in arguments.against or [DEFAULT_RIVAL] if word != "none"]
    if arguments.plot is not None:
        _check_plot(arguments.plot)
    _check_folders(arguments.json, arguments.plot)
    screen = Screen()
    with View(screen) as view:
        options = Options(device, arguments.rounds, report=view.doing)
        bench = Bench(options, rivals.named(words), arguments.engine)
        view.begin(bench, len(layers))
        for group in layers:
            changes = dict(batch=arguments.batch, dtype=arguments.dtype, layout=arguments.layout, plain=arguments.plain)
            if group.net != CASES:
                changes["dtype"] = arguments.dtype or NETWORK_DTYPE[device]
            for found in wanted([group], **changes):
                _measure(bench, found, view)
            if arguments.json is not None:
                bench.save(arguments.json)
    wrong = _print(screen, bench, options.metrics)
    if arguments.plot is not None:
        from ..bench.plot import draw

        draw(bench.document, arguments.plot)
        screen.line(f"drawn in {arguments.plot}")
    if bench.lost:
        screen.line(f"no CUDA call of this process succeeds any more: {bench.lost}; what comes behind was not measured", "red")
    return FAILED if wrong or bench.lost or not bench.document["rows"] else 0


def layers_of(words: list[str]) -> list[suite.Layer]:
    """Return the layers that words mean, or raise ProblemError."""
    operation = OPERATIONS.get(words[0])
    words = words[1:] if operation else words
    if not words:
        raise ProblemError(sentence("bench", f"{operation} and no case", "a case string or net_NAME", "pass for example n1c64h56w56_k64r3s3_pad1_f32"))
    found: list[suite.Layer] = []
    for word in words:
        is_file = word.endswith(".txt") or word.startswith(suite.PREFIX) or word in suite.networks()
        found += suite.read(word) if is_file else [suite.Layer(f"{CASES}/{word}", str(parse(word)), 1)]
    for layer in found:
        if operation and layer.net == CASES and layer.problem._operation != operation:
            came = f"{operation} stands before {shown(layer.case)}, which is of {layer.problem._operation}"
            raise ProblemError(sentence("bench", came, "cases of that operation", "drop the operation: the case says it"))
    return found


def _check_plot(path: Path) -> None:
    from .picture import missing

    reason = missing()
    if reason is not None:
        raise ProblemError(sentence("bench", f"--plot is {shown(str(path))} and {reason.rstrip('.')}", "matplotlib", "drop --plot"))


def _check_folders(*paths: Path | None) -> None:
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise ProblemError(sentence("bench", f"the file is {shown(str(path))}", "a path in a folder that exists", "make the folder first"))


def _measure(bench: Bench, found: Wanted | tuple[suite.Layer, str], view: View) -> None:
    if bench.lost:
        return
    if isinstance(found, Wanted):
        rows, skipped = bench.measure(found)
        view.layer(found, rows, skipped)
        return
    layer, refusal = found
    bench.document["skipped"].append({"layer": layer.name, "case": layer.case, "contestant": "all", "reason": refusal})
    view.none(layer, refusal)


def _print(screen: Screen, bench: Bench, metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    """Print the sums and who took no part; return where a result of ours was refused."""
    rows, skipped = bench.document["rows"], bench.document["skipped"]
    for metric in metrics:
        kinds = by_layer(rows, metric)
        if not kinds:
            continue
        runs = sum(next(iter(contestants.values()))["count"] for contestants in kinds.values())
        noun = "layer" if runs == 1 else "layers"
        cold = ", cold L2" if any(row["cold"] for row in rows if row["metric"] == metric) else ""
        screen.line(f"sum of {runs} {noun} ({len(kinds)} kinds), {metric} time{cold}, rounds: {bench.options.rounds}", "bold")
        for total in totals(rows, metric):
            screen.line(f"  {total_in_words(total, len(kinds))}")
    for name, reason in bench.document["rivals"].items():
        if reason is not None:
            screen.line(f"absent: {name}: {reason}", "yellow")
    reasons: dict[tuple[str, str], int] = {}
    for skip in skipped:
        key = (skip["contestant"], skip["reason"])
        reasons[key] = reasons.get(key, 0) + 1
    for (contestant, reason), count in reasons.items():
        screen.line(f"skipped: {contestant}, {count} of them: {reason}" if count > 1 else f"skipped: {contestant}: {reason}", "yellow")
    wrong = [skip for skip in skipped if is_ours(skip["contestant"].partition(",")[0]) and skip["reason"].startswith(("wrong", "failed"))]
    return wrong
