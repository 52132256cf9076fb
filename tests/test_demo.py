"""The demo from end to end: what it prints and draws, and its network against a forward pass written out here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import atrous
from atrous.cli import picture, session
from atrous.nets import lenet
from atrous.nets.graph import Convolution, Network, Pooling

LAYERS = ("conv1", "conv2", "pool1", "mix", "conv3", "pool2", "logits")
PROJECT = Path(__file__).parents[1]


def run(directory, *arguments, prelude="", **environment):
    """Run `atrous` with these arguments in a process of its own; `prelude` is Python that runs first."""
    code = f"import sys\n{prelude}\nfrom atrous.cli import main\nsys.exit(main(sys.argv[1:]))"
    inherited = {name: value for name, value in os.environ.items() if name not in ("ATROUS_ENGINE", "NO_COLOR", "FORCE_COLOR")}
    inherited["PYTHONPATH"] = os.pathsep.join([str(Path(atrous.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=directory, env={**inherited, **environment}, capture_output=True, text=True, timeout=300)


def data(name):
    with resources.files("atrous.nets").joinpath("data").joinpath(name).open("rb") as stream:
        return dict(np.load(stream).items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    return directory, run(directory, "demo", "--engine", "arrays", "--seconds", "0.05")


def test_says_first_where_it_runs_and_why(finished):
    first = finished[1].stdout.splitlines()[0]
    assert re.match(r"Running on .+ through (NumPy|CuPy) \(engine arrays\): .{10,}", first)


def test_ends_well_and_keeps_stderr_for_terminals(finished):
    assert finished[1].returncode == 0, finished[1].stderr
    assert finished[1].stderr == ""


def test_accuracy_is_over_97_percent_on_all_599(finished):
    percent, right, total = re.search(r"Accuracy ([\d.]+) %: (\d+) of (\d+) held-out", finished[1].stdout).groups()
    assert int(total) == 599
    assert float(percent) > 97
    assert float(percent) == pytest.approx(100 * int(right) / 599, abs=0.005)
    assert len(re.findall(r"wrong: sample \d+ is a \d, read as \d", finished[1].stdout)) == 599 - int(right)


def test_speed_is_a_rate_with_its_spread(finished):
    rate, low, high = re.search(r"Speed ([\d,]+) images per second \(median of \d+ pass(?:es)?, 20-80 %: ([\d,]+) to ([\d,]+)", finished[1].stdout).groups()
    assert 0 < int(low.replace(",", "")) <= int(rate.replace(",", "")) <= int(high.replace(",", ""))


def test_one_line_a_layer(finished):
    lines = finished[1].stdout.splitlines()
    for name in LAYERS:
        (line,) = [line for line in lines if line.startswith(name + " ")]
        _, case, kernel, engine, milliseconds, gflops = re.split(r"  +", line.strip())
        problem = atrous.parse(case)
        assert (str(problem), problem.n, kernel, engine) == (case, 128, "windows + matmul" if hasattr(problem, "groups") else "windows", "arrays")
        assert float(gflops.replace(",", "")) == pytest.approx(problem.flops / float(milliseconds.replace(",", "")) * 1e-6, rel=2e-3)


def test_png_is_a_picture_with_many_colours(finished):
    image = pytest.importorskip("PIL.Image", reason="Pillow opens the PNG; pip install pillow")
    pytest.importorskip("matplotlib", reason="matplotlib draws the PNG; pip install atrous[plot]")
    with image.open(finished[0] / "atrous-demo.png") as png:
        assert png.format == "PNG"
        assert 1500 <= png.width <= 4000 and 1000 <= png.height <= 3000
        assert len(png.convert("RGB").getcolors(maxcolors=2**24)) > 300
    assert "Wrote atrous-demo.png" in finished[1].stdout


def test_json_is_one_object_with_the_same_facts(tmp_path):
    done = run(tmp_path, "demo", "--engine", "arrays", "--json", "--seconds", "0", "--images", "40", "--batch", "16", "--out", "other.png")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["images"], facts["batch"], [row["name"] for row in facts["layers"]]) == (40, 16, list(LAYERS))
    assert facts["accuracy"] == facts["right"] / 40
    assert facts["png"] is None or (tmp_path / "other.png").stat().st_size > 10_000


def test_without_rich_and_matplotlib_it_says_so_and_succeeds(tmp_path):
    hide = "sys.modules['rich'] = sys.modules['matplotlib'] = None"
    done = run(tmp_path, "demo", "--engine", "arrays", "--seconds", "0", "--images", "30", prelude=hide)
    assert done.returncode == 0, done.stderr
    assert "No PNG is written: matplotlib is not installed; pip install atrous[plot]" in done.stdout
    assert list(tmp_path.iterdir()) == []


FAKE_CUPY = """
import importlib.machinery, types, numpy
cupy = types.ModuleType("cupy")
cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
cupy.asarray = cupy.asnumpy = numpy.asarray
waits = []
device = types.SimpleNamespace(id=0)
properties = dict(name=b"Stand-in 9000", major=9, minor=0, multiProcessorCount=132, totalGlobalMem=2**37)
runtime = types.SimpleNamespace(getDeviceProperties=lambda index: properties, getDeviceCount=lambda: 1, driverGetVersion=lambda: 13000)
stream = types.SimpleNamespace(synchronize=lambda: waits.append(1))
cupy.cuda = types.SimpleNamespace(is_available=lambda: True, Device=lambda: device, runtime=runtime, get_current_stream=lambda: stream)
sys.modules["cupy"] = cupy
import atrous.routes
reasons = dict(compiled="it was built for sm_80 alone", runtime=None, simulated=None, arrays=None)
atrous.engine_reasons = atrous.routes.engine_reasons = lambda: reasons
import atexit
atexit.register(lambda: print("waits", len(waits), file=sys.stderr))
"""


def test_the_same_command_uses_a_gpu_when_there_is_one(tmp_path):
    """A stand-in for CuPy over NumPy arrays: the GPU's name comes first, and every clock is read after a wait."""
    done = run(tmp_path, "demo", "--seconds", "0", "--images", "30", prelude=FAKE_CUPY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Running on Stand-in 9000 through CuPy (engine arrays): a CUDA device is there. compiled: it was built for sm_80 alone\n")
    warm_up, per_timing = 1, 2
    assert done.stderr == f"waits {warm_up + per_timing * (1 + len(LAYERS))}\n"


def test_info_names_the_gpu_its_driver_and_its_size(tmp_path):
    done = run(tmp_path, "info", prelude=FAKE_CUPY)
    assert done.returncode == 0, done.stderr
    assert "gpu 0          Stand-in 9000 (sm_90, 132 multiprocessors, 128 GiB)" in done.stdout
    assert ", up to CUDA 13.0\n" in done.stdout
    assert "compiled       no: it was built for sm_80 alone" in done.stdout


@pytest.mark.parametrize("images", [4, 599])
def test_kernels_on_the_simulator_read_what_plain_numpy_reads(tmp_path, images):
    reason = atrous.engine_reasons()["simulated"]
    if reason is not None:
        pytest.skip(f"the simulator cannot run here: {reason}")
    done = run(tmp_path, "demo", "--engine", "simulated", "--images", str(images), "--seconds", "0", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {row["engine"] for row in facts["layers"]} == {"simulated"}
    held_out = data("digits_held_out.npz")
    read = forward(data("lenet_weights.npz"), held_out["images"][:images]).argmax(1)
    assert facts["right"] == np.sum(read == held_out["labels"][:images])


# The network once more, written out in plain float64 NumPy and without the package's own description of it.


def convolve(x, weight, bias, pad=0, dilation=1):
    """Sum over taps; x (N,H,W,C), weight (K,R,S,C)."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = x.shape[1] - dilation * (weight.shape[1] - 1)
    columns = x.shape[2] - dilation * (weight.shape[2] - 1)
    y = np.zeros((len(x), rows, columns, len(weight))) + bias
    for r in range(weight.shape[1]):
        for s in range(weight.shape[2]):
            window = x[:, r * dilation : r * dilation + rows, s * dilation : s * dilation + columns]
            y += np.einsum("npqc,kc->npqk", window, weight[:, r, s])
    return y


def forward(weights, images):
    """Return the logits (N, 10) of images (N, 8, 8) of 0..16."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def quarters(x):
        return x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]

    x = images[..., None] / 16.0
    x = np.maximum(0, convolve(x, w["conv1.weight"], w["conv1.bias"], pad=1))
    x = np.maximum(0, convolve(x, w["conv2.weight"], w["conv2.bias"], pad=2, dilation=2))
    x = np.maximum.reduce(quarters(x))
    x = np.maximum(0, convolve(x, w["mix.weight"], w["mix.bias"]))
    x = np.maximum(0, convolve(x, w["conv3.weight"], w["conv3.bias"], pad=1))
    x = sum(quarters(x)) / 4
    return np.einsum("npqc,kpqc->nk", x, w["logits.weight"]) + w["logits.bias"]


def test_shipped_weights_read_over_98_percent_without_atrous():
    held_out = data("digits_held_out.npz")
    logits = forward(data("lenet_weights.npz"), held_out["images"])
    assert len(logits) == 599
    assert np.mean(logits.argmax(1) == held_out["labels"]) >= 0.98


def test_atrous_computes_the_same_logits():
    held_out = data("digits_held_out.npz")
    expected = forward(data("lenet_weights.npz"), held_out["images"])
    x = lenet.held_out().pixels()
    actual = lenet.trained().plan(x.shape, engine="arrays")(x).reshape(599, 10)
    # largest sum 432 terms of size about 1: float32 keeps some 5 digits
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)


def test_held_out_images_are_every_third_scan():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the original scans; pip install scikit-learn")
    digits = datasets.load_digits()
    held_out = data("digits_held_out.npz")
    assert np.array_equal(held_out["images"], digits.images[2::3])
    assert np.array_equal(held_out["labels"], digits.target[2::3])
    assert lenet.held_out().sample(1) == 5


def test_data_carry_their_licence_and_are_small():
    folder = resources.files("atrous.nets").joinpath("data")
    licence = folder.joinpath("LICENSE.md").read_text(encoding="utf-8")
    for words in ("CC BY 4.0", "Alpaydin", "10.24432/C50P49", "BSD 3-Clause", "load_digits"):
        assert words in licence
    assert len(folder.joinpath("lenet_weights.npz").read_bytes()) < 200_000
    assert len(folder.joinpath("digits_held_out.npz").read_bytes()) < 50_000


def test_training_script_runs_and_both_libraries_agree(tmp_path):
    pytest.importorskip("torch", reason="the training script needs PyTorch; pip install torch")
    pytest.importorskip("sklearn", reason="the training script needs scikit-learn; pip install scikit-learn")
    script = PROJECT / "examples" / "train_lenet.py"
    done = subprocess.run([sys.executable, script, "--out", tmp_path, "--epochs", "3"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    by_torch = re.search(r"by torch +([\d.]+) %", done.stdout)[1]
    by_atrous = re.search(r"by atrous +([\d.]+) %", done.stdout)[1]
    assert float(by_torch) > 60
    assert float(by_atrous) == pytest.approx(float(by_torch), abs=0.2)
    assert set(dict(np.load(tmp_path / "lenet_weights.npz"))) == set(data("lenet_weights.npz"))
    assert (tmp_path / "digits_held_out.npz").read_bytes() == resources.files("atrous.nets").joinpath("data").joinpath("digits_held_out.npz").read_bytes()


def test_graph_plans_shapes_through_and_traces_every_layer():
    ones = np.ones((4, 3, 3, 1), np.float32)
    net = Network((Convolution("sum", ones, options={"padding": "same"}), Pooling("halve", 2, "max"), Pooling("norm", "global", "l2")))
    planned = net.plan((2, 6, 6, 1), engine="arrays")
    outputs = planned.trace(np.ones((2, 6, 6, 1), np.float32))
    assert [y.shape for y in outputs] == [(2, 6, 6, 4), (2, 3, 3, 4), (2, 1, 1, 4)]
    assert outputs[0][0, 0, 0, 0] == 4 and outputs[0][0, 1, 1, 0] == 9
    assert outputs[2][1, 0, 0, 3] == pytest.approx(27)
    assert np.array_equal(planned(np.ones((2, 6, 6, 1), np.float32)), outputs[2])


def test_timing_is_the_median_and_the_20_and_80_percent_quantiles():
    timing = session.Timing.of([11.0, *range(1, 11)])
    assert (timing.low, timing.median, timing.high, timing.n) == (3, 6, 9, 11)


def test_repeat_divides_by_the_calls_between_two_waits():
    calls = []
    timing = session.repeat(lambda: calls.append(time.sleep(0.002)), 5, lambda: None, 0, lambda done: None)
    assert len(calls) == 5 and timing.n == 1
    assert 0.002 <= timing.median < 0.009


def test_softmax_sums_to_one_and_never_overflows():
    assert session.softmax(np.log([[1.0, 3.0]])).tolist() == [pytest.approx([0.25, 0.75])]
    assert session.softmax(np.array([[1000.0, 0.0]], np.float32)).tolist() == [[1, 0]]


def test_mosaic_puts_each_map_in_its_own_place():
    maps = np.arange(5, dtype=np.float32).reshape(1, 1, 5).repeat(2, 0).repeat(2, 1)
    image = picture.mosaic(maps)
    step = 32 + 2
    assert image.shape == (2 * step - 2, 3 * step - 2)
    assert [image[16, 16 + step * column] for column in range(3)] == [0, 1, 2]
    assert [image[16 + step, 16 + step * column] for column in range(2)] == [3, 4]
    assert np.isnan(image[32:34]).all() and np.isnan(image[step:, 2 * step :]).all()


def test_busiest_channels_are_those_that_vary_over_space():
    maps = np.zeros((3, 4, 4, 12), np.float32)
    maps[..., 0] = 100  # bright and flat
    for channel in range(2, 11):
        maps[:, 0, 0, channel] = channel
    assert picture.busiest(maps).tolist() == list(range(2, 11))


@pytest.mark.parametrize("mistakes", [0, 1, 12])
def test_picture_of_one_digit_with_any_number_of_mistakes(tmp_path, mistakes):
    pytest.importorskip("matplotlib", reason="matplotlib draws the PNG; pip install atrous[plot]")
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) % 17
    seen = (picture.FeatureMaps("conv", "3x3", np.ones((8, 8, 4), np.float32)),)
    specimen = picture.Specimen(2, image, 3, np.full(10, 0.1), seen)
    picture.draw(tmp_path / "one.png", "title", "subtitle", [specimen], [specimen] * mistakes)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
