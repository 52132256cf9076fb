"""What the copy engine and its maps must not be asked: each mistake has a sentence."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import re

import pytest
from tensor_copies import MAP_AT, aligned, map_of, run

from atrous.engines import simulated
from atrous.launch import Launch, TensorMapRequest
from atrous.probes.probe import ProbeArguments

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")


@pytest.fixture(autouse=True, params=["in-order", "random:3:random", "reverse:0:earliest"])
def _schedule(request, monkeypatch):
    monkeypatch.setenv("ATROUS_SIM_SCHEDULE", request.param)


def wrongly(mistake, *, expect=512, box=(64, 8), x_map=None, shift=0, operand="x", **how):
    """Run test_tensor_copy with one mistake on int8 [32, 128]."""
    x, y = aligned((32, 128), "int8"), aligned((32, 128), "int8")
    found = x_map or map_of(x, operand, box=box, **how)
    return run(f"test_tensor_copy<Mistake::{mistake}>", x=x, y=y, maps=[found], size=[0, 0, 0, 0, 0, shift, expect], count=512, shared=8192)


def test_the_kernel_without_a_mistake_runs():
    wrongly("kNone")


MISTAKES = {
    "kRank": r"load_tile at test_kernels_tensor_copy.cpp:\d+: 3 coordinates for a tensor map of rank 2",
    "kKind": r"load_im2col at .*: 4 coordinates for a tensor map of rank 2",
    "kSharedMap": r"load_tile at .*: the tensor map lies in shared memory; expected the kernel's parameters or global memory",
    "kOddMap": r"load_tile at .*: the tensor map at 0x\w+; expected a multiple of 64",
    "kOverwrittenMap": r"load_tile at .*: the 128 bytes at 0x\w+ are no tensor map; expected one that the launch encoded",
    "kUninitialised": r"(load_tile|wait) at .*: the mbarrier at shared offset 0x\w+ is not initialised",
    "kUnpublished": r"load_tile at .*: the mbarrier .* without a fence_barrier_init\(\) after it",
    "kGlobalDestination": r"load_tile.* shared memory",
    "kMask": r"load_tile_multicast at .*: the mask of blocks is 0x2; expected some of 0x1, the cluster's 1 blocks",
    "kNoMask": r"load_tile_multicast at .*: the mask of blocks is 0x0; expected some of 0x1",
    "kGlobalSource": r"store_tile.* shared memory",
    "kOddRun": r"copy_bulk at .*: 24 bytes; expected a multiple of 16, from 16 to 1048560",
    "kOddRunSource": r"copy_bulk at .*: the global address is 0x\w+; expected a multiple of 16",
    "kOddRunDestination": r"copy_bulk at .*: the destination is shared offset 0x\w+; expected a multiple of 16",
    "kSharedRunSource": r"copy_bulk at .*: 0x\w+ lies in shared memory; expected global memory",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_the_kernel(mistake):
    with pytest.raises(RuntimeError, match=MISTAKES[mistake]) as caught:
        wrongly(mistake, operand="y" if mistake == "kGlobalSource" else "x")
    assert "test_tensor_copy<Mistake::" in str(caught.value)


def test_a_box_that_begins_off_its_boundary():
    with pytest.raises(RuntimeError, match=r"load_tile at .*: the destination is shared offset 0x\w+; expected a multiple of 128"):
        wrongly("kNone", shift=64)
    with pytest.raises(RuntimeError, match=r"store_tile at .*: the source is shared offset 0x\w+; expected a multiple of 128"):
        wrongly("kUnreadStore", shift=16, operand="y")


def test_a_box_that_leaves_shared_memory():
    with pytest.raises(RuntimeError, match=r"load_tile"):
        wrongly("kNone", box=(128, 80))


def test_bytes_that_never_come_are_a_named_deadlock():
    with pytest.raises(RuntimeError, match=r"phase 0 of the mbarrier .*: 0 of 1 arrivals, 16 of 528 bytes still to come"):
        wrongly("kNone", expect=528)


def test_bytes_that_nothing_expected():
    # the first half of the box completes the phase, so the second comes too late
    with pytest.raises(RuntimeError, match=r"it exits while the load_tile at .* is in flight|256 bytes came that nothing expected|mbarrier"):
        wrongly("kNone", expect=256)


def test_a_block_that_exits_with_a_load_in_flight(monkeypatch):
    monkeypatch.setenv("ATROUS_SIM_SCHEDULE", "in-order:0:latest")
    with pytest.raises(RuntimeError, match=r"the block exits with bytes outstanding in phase 0 of the mbarrier .*, 512 of 512 bytes still to come"):
        wrongly("kNoWait")


def test_a_thread_that_exits_while_its_store_may_still_read():
    with pytest.raises(RuntimeError, match="store_tile"):
        wrongly("kUnreadStore", operand="y")


def test_what_no_document_says_of_stores():
    with pytest.raises(RuntimeError, match=r"store_tile at .*: the element stride of dimension 1 is 2; expected 1"):
        wrongly("kSteppedStore", operand="y", element_strides=(1, 2), box=(64, 16))


def test_an_absent_operand_has_no_map():
    x, y = aligned((32, 128), "int8"), aligned((512,), "uint8")
    with pytest.raises(RuntimeError, match="are no tensor map"):
        run("probe_load_tile<2>", x=None, y=y, maps=[map_of(x, "x", box=(64, 8))], count=512, shared=512)


# ---- walks

PIXELS = dict(channels_per_pixel=16, pixels_per_column=8)


def walk(size, **how):
    """Load a column of pixels of int8 [2, 6, 7, 16] in a bounding box of one pixel more at the low ends."""
    x, y = aligned((2, 6, 7, 16), "int8"), aligned((128,), "uint8")
    corners = dict(lower_corner=(-1, -1), upper_corner=(0, 0), element_strides=(1, 2, 2, 1))
    return run("probe_load_im2col<4>", x=x, y=y, maps=[map_of(x, "x", **{**PIXELS, **corners, **how})], size=size, count=128, shared=128)


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ([0, 7, -1, 0, 0, 0], r"the walk starts at w = 7; expected a step of 2 inside the bounding box, -1 to 6"),
        ([0, -2, -1, 0, 0, 0], r"the walk starts at w = -2; expected"),
        ([0, 0, -1, 0, 0, 0], r"the walk starts at w = 0; expected a step of 2"),
        ([0, -1, 6, 0, 0, 0], r"the walk starts at h = 6; expected a step of 2 inside the bounding box, -1 to 5"),
        ([0, -1, -1, 0, -1, 0], r"the offset of w is -1; expected 0 to 255"),
        ([0, -1, -1, 0, 0, 256], r"the offset of h is 256; expected 0 to 255"),
    ],
)
def test_walks(size, sentence):
    walk([0, -1, 1, 1, 2, 2])
    with pytest.raises(RuntimeError, match=rf"load_im2col at tensor_copy.cuh:\d+: {sentence}"):
        walk(size)


# ---- maps


def refused(x, sentence, **how):
    """Expect this sentence of a map of x, in the simulator and in the module of the compiled engine alike."""
    found = map_of(x, "x", **how) if "sizes" not in how else dataclasses.replace(map_of(x, "x", box=how.pop("box")), **how)
    y = aligned((16,), "uint8")
    with pytest.raises(RuntimeError, match=re.escape(sentence)) as caught:
        run(f"probe_load_tile<{x.ndim}>", x=x, y=y, maps=[found], count=16)
    assert f"[probe_load_tile<{x.ndim}>] tensor map 0: " in str(caught.value)


def test_limits_of_boxes():
    x = aligned((300, 512), "int8")
    refused(x, "the box of dimension 1 is 257; expected 1 to 256", box=(16, 257))
    refused(x, "the box of dimension 0 is 272; expected 1 to 256", box=(272, 1))
    refused(x, "the box of dimension 1 is 0; expected 1 to 256", box=(16, 0))
    refused(x, "a row of the box has 24 bytes; expected a multiple of 16", box=(24, 1))
    refused(x, "a row of the box has 144 bytes under a swizzle of 128; expected at most those", box=(144, 1), swizzle=128)
    refused(x, "a row of the box has 80 bytes under a swizzle of 64; expected at most those", box=(80, 1), swizzle=64)
    refused(x, "a row of the box has 64 bytes under a swizzle of 128; expected all of those", box=(64, 1), swizzle=128)
    refused(x, "the swizzle is 96 bytes; expected 0, 32, 64 or 128", box=(64, 1), swizzle=96)
    refused(x, "the element stride of dimension 1 is 9; expected 1 to 8", box=(64, 9), element_strides=(1, 9))
    refused(x, "the element stride of dimension 1 is 0; expected 1 to 8", box=(64, 9), element_strides=(1, 0))


def test_limits_of_tensors():
    x = aligned((4, 64), "int8")
    refused(x[:, 8:], "the tensor begins 8 bytes past a multiple of 16; expected a multiple of 16", box=(16, 1))
    refused(aligned((4, 24), "int8"), "the stride of dimension 1 is 24 bytes; expected a multiple of 16", box=(16, 1))
    refused(x[::-1], "the stride of dimension 1 is -64; expected 0 to 1099511627775", box=(16, 1))
    refused(x, "the stride of dimension 1 is 1099511627776; expected 0 to 1099511627775", box=(16, 1), sizes=(64, 4), strides=(2**40,))
    refused(x, "the size of dimension 1 is 0; expected 1 to 4294967296", box=(16, 1), sizes=(64, 0), strides=(64,))
    refused(x, "the size of dimension 1 is 4294967297; expected 1 to 4294967296", box=(16, 1), sizes=(64, 2**32 + 1), strides=(64,))
    refused(x, "the element type is 99; expected a DataType", box=(16, 1), sizes=(64, 4), strides=(64,), element_type=99)
    refused(x, "the rank is 0; expected 1 to 5", box=(16, 1), sizes=(), strides=())


def test_the_largest_sizes_and_strides_are_taken():
    x, y = aligned((4, 64), "int8"), aligned((16,), "uint8")
    x[:] = 7
    found = dataclasses.replace(map_of(x, "x", box=(16, 1)), sizes=(64, 2**32), strides=(2**40 - 16,))
    run("probe_load_tile<2>", x=x, y=y, maps=[found], size=[0, 0], count=16)
    assert y.tolist() == [7] * 16


@pytest.mark.parametrize(("rank", "low", "high"), [(3, -32768, 32767), (4, -128, 127), (5, -16, 15)], ids=["c, w, n", "c, w, h, n", "c, w, h, d, n"])
def test_limits_of_corners(rank, low, high):
    spatial = rank - 2
    x = aligned((1, *(4,) * spatial, 16), "int8")
    for name, value in (("lower", low - 1), ("lower", high + 1), ("upper", low - 1), ("upper", high + 1)):
        corners = {"lower_corner": (0,) * spatial, "upper_corner": (0,) * spatial}
        corners[f"{name}_corner"] = (*(0,) * (spatial - 1), value)
        refused(x, f"the {name} corner of {'whd'[spatial - 1]} is {value}; expected {low} to {high}", **PIXELS, **corners)
    refused(x, "the bounding box holds 0 pixels along w; expected at least 1", **PIXELS, lower_corner=(0,) * spatial, upper_corner=(-4, *(0,) * (spatial - 1)))


def test_limits_of_columns():
    x = aligned((1, 4, 4, 512), "int8")
    corners = dict(lower_corner=(0, 0), upper_corner=(0, 0))
    refused(x, "the number of channels of a pixel is 272; expected 1 to 256", **corners, channels_per_pixel=272, pixels_per_column=8)
    refused(x, "the number of pixels of a column is 1025; expected 1 to 1024", **corners, channels_per_pixel=16, pixels_per_column=1025)
    refused(x, "the number of pixels of a column is 0; expected 1 to 1024", **corners, channels_per_pixel=16, pixels_per_column=0)
    refused(x, "the channels of a pixel have 8 bytes; expected a multiple of 16", **corners, channels_per_pixel=8, pixels_per_column=8)
    refused(x, "the channels of a pixel have 32 bytes under a swizzle of 64", **corners, channels_per_pixel=32, pixels_per_column=8, swizzle=64)
    refused(x, "the element stride of the images is 2; expected 1 for im2col", **corners, **PIXELS, element_strides=(1, 1, 1, 2))
    refused(x[0, 0], "the rank of an im2col map is 2; expected 3 to 5", **PIXELS)


def test_places_of_maps():
    x = aligned((4, 64), "int8")
    for offset in (MAP_AT + 32, MAP_AT + 128, -64, 0):
        with pytest.raises(RuntimeError, match=rf"its place is byte {offset} of the parameters; expected a multiple of 64 past the pointers"):
            simulated.prepare(bare(map_of(x, "x", offset, box=(16, 1))))
    request = map_of(x, "x", box=(16, 1)).request(("x",))
    request.pointer_slot = 3
    with pytest.raises(RuntimeError, match=r"\[probe_load_tile<2>\] tensor map 0: its tensor is pointer 3; expected one of 3"):
        sim.Prepared("probe_load_tile<2>", (1, 1, 1), (32, 1, 1), (1, 1, 1), 0, bytes(MAP_AT + 128), 3, bytes(request))
    with pytest.raises(RuntimeError, match="the tensor maps have 7 bytes; expected a multiple of"):
        sim.Prepared("probe_load_tile<2>", (1, 1, 1), (32, 1, 1), (1, 1, 1), 0, bytes(MAP_AT + 128), 3, bytes(7))


def bare(found):
    return Launch("probe_load_tile<2>", "", (1, 1, 1), (32, 1, 1), 0, bytes(MAP_AT + 128), ("x", "w", "y"), tensor_maps=(found,))


def test_one_launch_follows_its_pointers():
    xs = [aligned((4, 64), "int8") for _ in range(3)]
    for i, x in enumerate(xs):
        x[:] = i + 1
    arguments = bytes(ProbeArguments(count=16)).ljust(MAP_AT + 128, b"\0")
    prepared = simulated.prepare(dataclasses.replace(bare(map_of(xs[0], "x", box=(16, 1))), parameters=arguments, shared_bytes=2048))
    for i in (0, 1, 1, 2, 0):
        y = aligned((16,), "uint8")
        prepared.run((xs[i].ctypes.data, 0, y.ctypes.data), 0)
        assert y.tolist() == [i + 1] * 16
    with pytest.raises(RuntimeError, match="the tensor begins 4 bytes past a multiple of 16"):
        prepared.run((xs[0].ctypes.data + 4, 0, y.ctypes.data), 0)


def test_requests_lie_where_their_mirror_lies():
    expected = [(field, getattr(TensorMapRequest, field).offset) for field, _ in TensorMapRequest._fields_]
    assert sim.layout("TensorMapRequest") == [*expected, ("sizeof", ctypes.sizeof(TensorMapRequest))]
