"""Results files made by hand, in the format of the measurements: what the report and the page are tested on."""

from __future__ import annotations

import dataclasses
import json
import random

from atrous.problem import parse

HEAD = {
    "format": 2,
    "date": "2026-01-02",
    "commit": "abc1234",
    "atrous": "0.1.0",
    "where": {"gpu": None, "processor": "A Processor", "cores": 2, "threads": 2, "python": "3.12.1", "system": "Linux x86_64"},
    "versions": {"numpy": "2.4.6", "torch": "2.13.0"},
    "skipped": [],
}
GPU = {"name": "Some GPU", "driver": "600.1", "sm_clock_mhz": 1980}
#: layer, count, family, case
LAYERS = (
    ("net/conv1", 1, "first_layer", "n1c3h224w224_k64r7s7_pad3_stride2_bias_relu"),
    ("net/pool1", 1, "pool_max", "n1c64h112w112_max_r3s3_pad1_stride2"),
    ("net/conv2", 3, "conv3x3", "n1c64h56w56_k64r3s3_pad1_bias_relu"),
    ("net/conv3", 2, "conv3x3", "n1c128h28w28_k128r3s3_pad1_bias_relu"),
    ("net/conv4 <with & in its name>", 1, "conv1x1", "n1c256h14w14_k1024r1s1_bias"),
    ("net/pool2", 1, "pool_global", "n1c2048h7w7_avg_r7s7"),
    ("thin/a_rather_long_name.of.a.layer.in.a.block", 4, "depthwise", "n1c96h56w56_k96r3s3_pad1_g96"),
    ("thin/grouped", 1, "grouped", "n1c128h28w28_k128r3s3_pad1_g32"),
)
BATCHES = (1, 8)
#: contestant -> its time / the ideal time, in order; the first is ours
SPEEDS = {"atrous": 2.0, "atrous plan": 1.8, "torch channels_last": 1.6, "torch contiguous": 3.0}


def suite(speeds=None, layers=LAYERS, batches=BATCHES, metrics=("wall",), rounds=5, jitter=0.02, rivals=None, **head):
    """Return a measurement of the suite; speeds may hold functions of (layer name, batch)."""
    drawn = random.Random(1)
    rows = []
    for name, count, family, case in layers:
        for batch in batches:
            problem = dataclasses.replace(parse(case), n=batch)
            size = 4 * (batch * problem.h * problem.w * problem.c + batch * problem.p * problem.q * getattr(problem, "k", problem.c))
            ideal = max(problem.flops / 1e11, size / 1e10)
            for metric in metrics:
                for contestant, speed in (speeds or SPEEDS).items():
                    factor = speed(name, batch) if callable(speed) else speed
                    if factor is None:
                        continue
                    seconds = [ideal * factor * (1 + jitter * (2 * i / max(1, rounds - 1) - 1) + 1e-4 * drawn.random()) for i in range(rounds)]
                    row = dict(layer=name, net=name.partition("/")[0], count=count, family=family, case=str(problem), contestant=contestant)
                    row |= dict(kernel="", metric=metric, seconds=seconds, cold=metric == "kernel", error=0.25)
                    rows.append(row | dict(flops=problem.flops, bytes=size, floor_seconds=None))
    settings = dict(rounds=rounds, device="cuda" if "kernel" in metrics else "cpu")
    absent = {"torch eager": None, "jax": "jax is not installed; pip install jax brings it."}
    return {**HEAD, "measures": "suite", "settings": settings, "rivals": rivals or absent, "rows": rows, **head}


def cpu_facts():
    """Return what a user of the CPU feels."""
    rows = [
        dict(what="import", package="atrous", unit="seconds", values=[0.11, 0.1, 0.12], budget=0.15),
        dict(what="import", package="torch", unit="seconds", values=[1.4, 1.5, 1.6]),
        dict(what="first call", package="atrous", unit="seconds", values=[0.13, 0.12, 0.14]),
        dict(what="install size", package="atrous", unit="bytes", values=[4_000_000]),
        dict(what="install size", package="torch", unit="bytes", values=[700_000_000]),
        dict(what="peak memory", package="atrous", unit="bytes", values=[90_000_000]),
    ]
    roofs = dict(flops_per_second=1.2e11, bytes_per_second=1.3e10, product="a product of two 2048 x 2048 float32 matrices", copy="a copy of 256 MB")
    return {**HEAD, "measures": "cpu facts", "settings": {"rounds": 3}, "rivals": {"jax": "jax is not installed"}, "rows": rows, "roofs": roofs}


def scaling():
    """Return times over one size at a time."""
    rows, fits = [], []
    for operation in ("conv2d", "max_pool2d"):
        for axis, values, exponent in (("batch", (1, 2, 4, 8, 16, 32), 1.0), ("channels", (16, 32, 64, 128, 256), 1.9), ("size", (14, 28, 56, 112, 224), 2.0)):
            for contestant, factor in (("atrous", 1.0), ("torch channels_last", 0.7)):
                head = dict(operation=operation, axis=axis, contestant=contestant)
                rows += [dict(head, value=value, case="", seconds=[1e-5 * factor * value**exponent * (1 + 0.01 * i) for i in range(3)]) for value in values]
                fits.append(dict(head, exponent=exponent, standard_error=0.01, points=len(values)))
    cases = {"conv2d": "n8c64h56w56_k64r3s3_pad1", "max_pool2d": "n8c64h56w56_max_r3s3_pad1_stride2"}
    return {**HEAD, "measures": "scaling", "settings": {"rounds": 3, "cases": cases}, "rivals": {}, "rows": rows, "fits": fits}


def issue_cost():
    """Return what a call costs, in the form of that file."""
    rows = [dict(what="plan(x, out=y)", budget=3.5, microseconds=[3.1, 3.2, 3.3]), dict(what="conv2d(x, w, b)", budget=None, microseconds=[9.1, 9.2, 9.3])]
    return {
        "measures": "issue cost",
        "commit": "abc1234",
        "date": "2026-01-02",
        "processor": "A Processor",
        "python": "3.12.1",
        "load average": 0.1,
        "rows": rows,
    }


def write(folder, **documents):
    """Write documents as files of a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, facts in documents.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(facts), encoding="utf-8")
    return paths
