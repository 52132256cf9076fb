"""The model of the copy engine against NumPy: boxes, swizzles, columns of pixels, stores, groups, and in every order that is legal."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from tensor_copies import MAP_AT, SCHEDULES, aligned, box_of, bytes_of, map_of, patches, run, swizzle

from atrous.engines import simulated

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

DTYPES = ("int8", "float16", "float32", "float64")
SPANS = (0, 32, 64, 128)


def set_schedule(schedule, monkeypatch):
    monkeypatch.setenv("ATROUS_SIM_SCHEDULE", ":".join(map(str, schedule)))


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: "-".join(map(str, schedule)))
def schedule(request, monkeypatch):
    set_schedule(request.param, monkeypatch)
    return request.param


def filled(random, shape, dtype, pad=0):
    """Return an aligned array of random bits."""
    array = aligned(shape, dtype, pad)
    array[:] = random.integers(0, 256, (*shape[:-1], shape[-1] * array.itemsize), dtype=np.uint8).view(dtype)
    return array


def row_pitch(random, inner, itemsize):
    """Return elements that fill a row of `inner` up to some multiple of 16 bytes."""
    return -inner % (16 // itemsize) + random.integers(0, 3) * (16 // itemsize)


def random_box(random, rank, span, dtype):
    """Return a tensor, its box and steps, and a corner in or about it; the densest axis last."""
    itemsize = np.dtype(dtype).itemsize
    inner = (span or int(random.choice([16, 32, 48, 80]))) // itemsize
    box = [*random.integers(1, 6 if rank > 3 else 12, rank - 1).tolist(), inner]
    steps = [int(random.choice([1, 1, 2, 3])) for _ in range(rank)]
    shape = [*random.integers(1, 9, rank - 1).tolist(), int(random.integers(1, 2 * inner + 1))]
    corner = [int(random.integers(-extent - 1, s + 2)) if random.random() < 0.6 else 0 for s, extent in zip(shape, box)]
    x = filled(random, shape, dtype, row_pitch(random, shape[-1], itemsize))
    return x, box, steps, corner


def load(x, box, steps, corner, span, shift=0):
    """Return the bytes that a box of x has in shared memory, with what NumPy says of them."""
    expected = swizzle(bytes_of(box_of(x, corner, box, steps)), span, shift)
    size = [*corner[::-1], *[0] * (5 - x.ndim), shift]
    found = map_of(x, "x", box=tuple(box[::-1]), element_strides=tuple(steps[::-1]), swizzle=span)
    y = np.full(expected.size, 0xAB, np.uint8)
    run(f"probe_load_tile<{x.ndim}>", x=x, y=y, maps=[found], size=size, count=y.size, shared=y.size + shift)
    return y, expected


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_boxes(rank, span, monkeypatch):
    random = np.random.default_rng(10 * rank + span)
    for trial in range(24):
        set_schedule(SCHEDULES[trial % len(SCHEDULES)], monkeypatch)
        x, box, steps, corner = random_box(random, rank, span, DTYPES[trial % 4])
        # a swizzle goes by the bits of the address, so a box may begin inside its pattern
        shift = 128 * int(random.integers(0, 8)) if rank < 5 and trial % 3 == 0 else 0
        y, expected = load(x, box, steps, corner, span, shift)
        np.testing.assert_array_equal(y, expected, f"{x.shape} box {box} steps {steps} at {corner}, shift {shift}")


def test_a_box_in_every_schedule(schedule):
    random = np.random.default_rng(3)
    x = filled(random, (6, 20, 64), "float16")
    y, expected = load(x, [2, 10, 64], [2, 2, 1], [1, -3, 5], 128)
    np.testing.assert_array_equal(y, expected)


def test_the_swizzle_of_128_bytes_is_the_picture_in_the_manual():
    x = aligned((8, 128), "int8")
    x[:] = (np.arange(1024) // 16 % 8).reshape(8, 128)
    y, _ = load(x, [8, 128], [1, 1], [0, 0], 128)
    assert y.reshape(8, 8, 16)[:, :, 0].tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7], [1, 0, 3, 2, 5, 4, 7, 6], [2, 3, 0, 1, 6, 7, 4, 5], [3, 2, 1, 0, 7, 6, 5, 4],
        [4, 5, 6, 7, 0, 1, 2, 3], [5, 4, 7, 6, 1, 0, 3, 2], [6, 7, 4, 5, 2, 3, 0, 1], [7, 6, 5, 4, 3, 2, 1, 0],
    ]  # fmt: skip


def random_convolution(random, spatial, dtype, span):
    """Return x: [n, spatial ..., c], window, stride, dilation and pads of a convolution with at least one output."""
    while True:
        size = random.integers(1, 10, spatial).tolist()
        window, stride, dilation = (random.integers(1, most, spatial).tolist() for most in (4, 4, 3))
        pads = [tuple(random.integers(0, 4, 2).tolist()) for _ in range(spatial)]
        if all(s + sum(p) >= (k - 1) * d + 1 for s, p, k, d in zip(size, pads, window, dilation)):
            break
    channels = int(random.integers(1, 2 * span // np.dtype(dtype).itemsize + 1))
    x = filled(random, (int(random.integers(1, 4)), *size, channels), dtype, row_pitch(random, channels, np.dtype(dtype).itemsize))
    return x, window, stride, dilation, pads


def im2col_map(x, window, stride, dilation, pads, channels, pixels, span, tight):
    """Return the map of x whose walk visits the first pixels of a convolution's windows."""
    lower = [-before for before, _ in pads]
    upper = [after - (k - 1) * d for (_, after), k, d in zip(pads, window, dilation)]
    if tight:  # the box may end right behind the last window's start
        outputs = [(s + sum(p) - (k - 1) * d - 1) // step + 1 for s, p, k, d, step in zip(x.shape[1:], pads, window, dilation, stride)]
        upper = [(q - 1) * step + 1 - s + low for q, step, s, low in zip(outputs, stride, x.shape[1:], lower)]
    return map_of(
        x, "x", element_strides=(1, *stride[::-1], 1), lower_corner=tuple(lower[::-1]), upper_corner=tuple(upper[::-1]),
        channels_per_pixel=channels, pixels_per_column=pixels, swizzle=span,
    )  # fmt: skip


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_columns_of_pixels_are_the_patches_of_a_convolution(spatial, span, tight, monkeypatch):
    random = np.random.default_rng(100 * spatial + span + tight)
    for trial in range(8):
        set_schedule(SCHEDULES[random.integers(len(SCHEDULES))], monkeypatch)
        dtype = DTYPES[1 + trial % 2]
        x, window, stride, dilation, pads = random_convolution(random, spatial, dtype, span or 32)
        channels = (span or 48) // x.itemsize
        pixels = int(random.integers(1, 40))
        found = im2col_map(x, window, stride, dilation, pads, channels, pixels, span, tight)
        truth = patches(x, window, stride, dilation, pads)
        outputs = truth.shape[: 1 + spatial]
        for first in range(0, int(np.prod(outputs)), pixels):
            start = np.unravel_index(first, outputs)
            tap = tuple(int(random.integers(k)) for k in window)
            c = int(random.integers(x.shape[-1]))
            wanted = truth[(..., *tap, slice(None))].reshape(-1, x.shape[-1])[first : first + pixels, c : c + channels]
            expected = np.zeros((pixels, channels), dtype)  # past the last image, and past the last channel
            expected[: wanted.shape[0], : wanted.shape[1]] = wanted
            at = [int(o) * s - before for o, s, (before, _) in zip(start[1:], stride, pads)]
            size = [c, *at[::-1], int(start[0]), *(t * d for t, d in zip(tap[::-1], dilation[::-1]))]
            y = np.full(expected.nbytes, 0xAB, np.uint8)
            run(f"probe_load_im2col<{spatial + 2}>", x=x, y=y, maps=[found], size=size, count=y.size, shared=y.size)
            np.testing.assert_array_equal(y, swizzle(bytes_of(expected), span), f"{x.shape} {window} {stride} {dilation} {pads} from {start} tap {tap}")


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_stored_boxes(rank, span, monkeypatch):
    random = np.random.default_rng(1000 * rank + span)
    for trial in range(24):
        set_schedule(SCHEDULES[trial % len(SCHEDULES)], monkeypatch)
        y, box, _, corner = random_box(random, rank, span, DTYPES[trial % 4])
        shift = 128 * int(random.integers(0, 8)) if rank < 5 and trial % 3 == 0 else 0
        values = filled(random, box, y.dtype)
        lain = swizzle(bytes_of(values), span, shift)
        expected = y.copy()
        for index in np.ndindex(*box):
            at = tuple(c + i for c, i in zip(corner, index))
            if all(0 <= a < extent for a, extent in zip(at, y.shape)):
                expected[at] = values[index]
        whole = y.base
        around = whole.view(np.uint8).copy()
        size = [*corner[::-1], *[0] * (5 - rank), shift]
        found = map_of(y, "y", box=tuple(box[::-1]), swizzle=span)
        run(f"probe_store_tile<{rank}>", x=lain, y=y, maps=[found], size=size, count=lain.size, shared=lain.size + shift)
        np.testing.assert_array_equal(bytes_of(y), bytes_of(expected), f"{y.shape} box {box} at {corner}")
        y[:] = 0
        assert y.nbytes == 0 or (whole.view(np.uint8) <= around).all(), "written between the rows of y"


@pytest.mark.parametrize(("count", "shift"), [(16, 0), (48, 16), (4096, 112), (16400, 0)])
def test_plain_runs_of_bytes(count, shift, schedule):
    x = aligned((count,), "uint8")
    x[:] = np.random.default_rng(count).integers(0, 256, count)
    y = aligned((2, count), "uint8")
    run("probe_copy_bulk", x=x, y=y, size=[0] * 5 + [shift], count=count, shared=count + shift)
    np.testing.assert_array_equal(y, [x, x + 1])


@pytest.mark.parametrize("boxes", [1, 2, 3, 4, 11])
def test_a_ring_of_boxes(boxes, schedule):
    random = np.random.default_rng(boxes)
    x = filled(random, (boxes * 4 - 1, 64), "int8")
    y = filled(random, x.shape, "int8")
    maps = [map_of(x, "x", MAP_AT, box=(64, 4)), map_of(y, "y", MAP_AT + 128, box=(64, 4))]
    run("test_tensor_ring", x=x, y=y, maps=maps, size=[4, boxes], count=256, shared=4 * 256)
    np.testing.assert_array_equal(y.view(np.uint8), x.view(np.uint8) + 1)


@pytest.mark.parametrize("forgotten", [3, 4])
def test_a_forgotten_wait_shows_in_some_order(forgotten, monkeypatch):
    x = filled(np.random.default_rng(0), (44, 64), "int8")
    wrong = 0
    for seed in range(20):
        for landing in ("latest", "earliest", "random"):
            set_schedule(("random", seed, landing), monkeypatch)
            y = aligned(x.shape, "int8")
            maps = [map_of(x, "x", MAP_AT, box=(64, 4)), map_of(y, "y", MAP_AT + 128, box=(64, 4))]
            size = [4, 11, 0, 0, 0]
            size[forgotten] = 1
            try:
                run("test_tensor_ring", x=x, y=y, maps=maps, size=size, count=256, shared=4 * 256)
            except RuntimeError:
                wrong += 1
                continue
            wrong += bool((y.view(np.uint8) != x.view(np.uint8) + 1).any())
    assert wrong > 0


def test_maps_are_encoded_anew_only_for_another_address():
    random = np.random.default_rng(5)
    sim = importlib.import_module("atrous._sim")
    for x in (filled(random, (8, 16), "float16") for _ in range(3)):
        y, expected = load(x, [8, 16], [1, 1], [0, 0], 0)
        np.testing.assert_array_equal(y, expected)
    assert sim.layout("TensorMapRequest")[-1][0] == "sizeof"


@pytest.mark.parametrize(("blocks", "mask"), [(2, 0b11), (4, 0b1111), (4, 0b1010), (8, 0b11111111)])
def test_multicast_puts_every_part_into_every_block_named(blocks, mask, schedule):
    x = filled(np.random.default_rng(blocks), (8 * blocks - 3, 64), "int8")
    y = np.full((blocks, blocks * 512), 0xAB, np.uint8)
    found = map_of(x, "x", box=(64, 8), swizzle=64)
    run("probe_multicast", x=x, y=y, maps=[found], size=[0, 8, mask], count=blocks * 512, shared=blocks * 512, cluster=blocks)
    expected = swizzle(bytes_of(box_of(x, [0, 0], [8 * blocks, 64])), 64)
    for rank in range(blocks):
        np.testing.assert_array_equal(y[rank], expected if mask >> rank & 1 else 0xAB)
