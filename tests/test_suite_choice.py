"""Which kernel and tile every layer of the suite's networks gets: tensor cores for what is dense and 16-bit, and why, in words."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from pathlib import Path

import pytest

from atrous import choose, kernels
from atrous.engines import simulated
from atrous.kernels.base import DEVICES
from atrous.problem import Conv2dProblem, parse

CASES = Path(__file__).resolve().parents[1] / "cases"
DENSE_NETWORKS = ("resnet50", "vgg16", "googlenet", "deeplabv3_r50_os8")
GROUPED_NETWORKS = ("mobilenet_v1", "mobilenet_v2", "resnext50_32x4d", "convnext_t", "replknet31b_dw", "alexnet_2012")
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
BATCHES = (1, 32, 256)
#: what multiplies on tensor cores
FAMILY = ("conv_igemm_sm80", "conv_first")


def layers(network):
    """Return (name, problem at batch 1) of every convolution of a network."""
    lines = (line.partition("#")[0].split() for line in (CASES / f"{network}.txt").read_text().splitlines())
    found = [(words[0], parse(words[1])) for words in lines if words]
    return [(name, problem) for name, problem in found if isinstance(problem, Conv2dProblem)]


def variants(problem):
    """Yield the problem in both 16-bit dtypes and at every batch."""
    for dtype in ("float16", "bfloat16"):
        for n in BATCHES:
            yield dataclasses.replace(problem, n=n, dtype=dtype, out_dtype=dtype)


@functools.cache
def instances(name):
    """Return the names that a kernel's launches may have: those that are built ahead."""
    return frozenset(kernels.named(name).instances())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("network", DENSE_NETWORKS)
def test_every_dense_layer_of_16_bits_runs_on_tensor_cores(network, architecture, record_property):
    """Its tile is one that is built, and its estimate beats every other kernel's at the ranking batch."""
    device = DEVICES[architecture]
    tiles, found = Counter(), layers(network)
    assert len(found) >= 9, "VGG-16 has 9 different convolutions among its 13, and no other network has fewer"
    for name, layer in found:
        assert layer.groups == 1, f"{name} is grouped: list it among GROUPED_NETWORKS"
        for problem in variants(layer):
            told = choose.explain_problem(problem, device)
            row = next(row for row in told.rows if row["chosen"])
            assert row["kernel"] in FAMILY, f"{architecture} {name} {problem}\n{told}"
            assert row["launch"].name in instances(row["kernel"]), row["launch"].name
            others = [other for other in told.rows if other is not row and other["microseconds"] is not None]
            assert others and all(other["ranked_microseconds"] > row["ranked_microseconds"] for other in others)
            tiles[row["launch"].name.rpartition(", ")[2].rstrip(">")] += 1
    record_property(f"{network} on {architecture}", dict(tiles))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_reason_is_told_in_words(architecture):
    """The rate, the tile and what bounds it; and of the others how long they would take, on which units."""
    told = choose.explain_case("n32c128h28w28_k128r3s3_pad1_f16_bias_relu", architecture)
    chosen = next(line for line in told.splitlines() if line.startswith("->"))
    rate = {"sm_80": "312", "sm_86": "149.7", "sm_89": "165.2", "sm_90": "989.4", "sm_120": "209.5"}[architecture]
    assert "conv_igemm_sm80: takes it, about " in chosen and f"tensor cores ({rate} TFLOP/s" in chosen, chosen
    assert ("with Tile" in chosen or "with SegmentTile" in chosen) and "bound by" in chosen and "(estimate)" in chosen, chosen
    other = next(line for line in told.splitlines() if "conv_direct" in line)
    assert "would take about " in other and "on the ordinary units (" in other, other


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_tensor_cores_no_tensor_core_kernel(architecture):
    """A chip whose rates are unknown, or that came before sm_80, is served by the ordinary units, and is told why."""
    device = dataclasses.replace(DEVICES[architecture], name="sm_75", half_flops=0.0, tf32_flops=0.0, int8_ops=0.0)
    for name, layer in layers("resnet50"):
        for problem in variants(layer):
            answers = {answer.kernel: answer.reason for answer in choose.options(problem, device)}
            assert all("lacks mma.sync" in answers[kernel] for kernel in FAMILY), (name, answers)
            assert choose.choose(problem, device).name not in FAMILY


def test_tiles_are_those_of_the_simulators_table():
    if simulated.available() is not None:
        pytest.skip(str(simulated.available()))
    built = set(simulated._kernel_names())
    for name in FAMILY:
        assert instances(name) <= built, sorted(instances(name) - built)


def kind_of(problem):
    """Return a grouped layer's kind: depthwise, narrow (fewer channels a group than a step of 32 holds) or wide."""
    if problem.groups == problem.c:
        return "depthwise" if problem.r <= 7 else "large depthwise"
    return "narrow" if problem.c // problem.groups < 32 else "wide"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_grouped_layers_are_listed_with_what_they_get(architecture, record_property):
    """No tensor core helps a group of one channel; groups that fill a step are dense layers side by side; between them rows stream through tensor cores."""
    device, got = DEVICES[architecture], Counter()
    for network in GROUPED_NETWORKS:
        for _, layer in layers(network):
            if layer.groups > 1:
                for problem in variants(layer):
                    got[kind_of(problem), problem.c // problem.groups, choose.choose(problem, device).name] += 1
    record_property(architecture, {f"{kind}, C/G = {channels}: {name}": count for (kind, channels, name), count in sorted(got.items())})
    assert {name for kind, _, name in got if kind == "wide"} == {"conv_igemm_sm80"}
    assert {name for kind, _, name in got if kind == "narrow"} == {"conv_grouped"}
    assert {channels for kind, channels, _ in got if kind == "narrow"} == {4, 8, 16}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_every_depthwise_layer_streams_its_rows(architecture, layout):
    """Windows of up to 7x7, in every float of 16 or 32 bits, at every batch: in its own layout, with a window known to the compiler."""
    kernel = {"NHWC": "conv_depthwise", "NCHW": "conv_depthwise_planes"}[layout]
    device, found = DEVICES[architecture], set()
    for network in GROUPED_NETWORKS:
        for name, layer in layers(network):
            if layer.groups != layer.c or layer.r > 7:
                continue
            for dtype in ("float16", "bfloat16", "float32"):
                for n in BATCHES:
                    problem = dataclasses.replace(layer, n=n, dtype=dtype, out_dtype=dtype, layout=layout, weight_layout="")
                    taken = choose.choose(problem, device)
                    assert taken.name == kernel, (name, str(problem))
                    launch = taken.launch(problem, None, device)
                    assert launch.name in instances(kernel) and "AnyWindow" not in launch.name
                    found.add(layer.r)
    assert found == {3, 7}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_large_depthwise_layers_run_on_tensor_cores(architecture):
    """RepLKNet's windows of 13x13 to 31x31, in both floats of 16 bits and at every batch."""
    device, found = DEVICES[architecture], set()
    for _, layer in layers("replknet31b_dw"):
        for problem in variants(layer):
            told = choose.explain_problem(problem, device)
            row = next(row for row in told.rows if row["chosen"])
            assert row["kernel"] == "conv_depthwise_large", f"{architecture} {problem}\n{told}"
            assert row["launch"].name in instances("conv_depthwise_large") and row["launch"].shared_bytes <= device.shared_per_block
            assert "tensor cores (" in row["account"] and "bound by" in row["account"]
            found.add((layer.r, row["launch"].name))
    assert {size for size, _ in found} == {31, 29, 27, 13}
