"""The packing of weights, run on the simulator against rows made by NumPy; sizes and the need to pack against numbers."""

from __future__ import annotations

import itertools
import random

import numpy
import pytest

from atrous.engines import simulated
from atrous.kernels.base import Strides
from atrous.kernels.packing import PackedRows, needs_packing, pack_launch, packed_rows
from atrous.problem import parse

#: dtype -> an integer type of its size: all but float32 is copied bit for bit
BITS = {"float16": numpy.uint16, "bfloat16": numpy.uint16, "float32": numpy.uint32, "int8": numpy.int8, "uint8": numpy.uint8}
GUARD, UNTOUCHED = 256, 0xA5


def weight_of(random_numbers, dtype, shape, order):
    """Return random weights [K, R, S, C] that lie in memory in the order of letters, or as a view with negative steps."""
    if dtype == "float32":
        values = random_numbers.standard_normal(shape).astype(numpy.float32)
    else:
        limits = numpy.iinfo(BITS[dtype])
        values = random_numbers.integers(limits.min, limits.max, shape, BITS[dtype], endpoint=True)
    if order == "view":
        k, r, s, c = shape
        base = numpy.full((s, 2 * k, r, 3 * c), 99, values.dtype)
        view = base[::-1, 1::2, :, ::-3].transpose(1, 2, 0, 3)
    else:
        axes = ["KRSC".index(letter) for letter in order]
        view = numpy.full([shape[axis] for axis in axes], 99, values.dtype).transpose(numpy.argsort(axes))
    view[...] = values
    return view


def strides_of(weight, alignment=16):
    """Return Strides with the weight's element strides."""
    none = (0, 0, 0, 0)
    return Strides(x=none, y=none, weight=tuple(step // weight.itemsize for step in weight.strides), weight_alignment=alignment)


def rows_by_numpy(weight, rows):
    """Return the packed rows [K, row] of [K, R, S, C] by pad, reshape and transpose."""
    k, r, s, c = weight.shape
    width = rows.chunk_channels or c
    chunks = -(-c // width)
    padded = numpy.pad(weight, ((0, 0), (0, 0), (0, 0), (0, chunks * width - c))).reshape(k, r, s, chunks, width)
    runs = padded.transpose(0, 3, 1, 2, 4).reshape(k, chunks, r, s // rows.taps_in_run, rows.taps_in_run * width)
    piece = 16 // weight.itemsize
    return numpy.pad(runs, ((0, 0),) * 4 + ((0, -runs.shape[-1] % piece),)).reshape(k, -1)


def tf32(values):
    """Return finite float32 rounded to 10 bits of mantissa, halves away from zero, by their bits."""
    return ((values.view(numpy.uint32) + numpy.uint32(0x1000)) & numpy.uint32(0xFFFFE000)).view(numpy.float32)


def run(weight, rows, schedule=("in-order", 0, "latest")):
    """Pack on the simulator; return the bytes of the rows and the sums, with untouched guards around them."""
    if simulated.available() is not None:
        pytest.skip(str(simulated.available()))
    memory = numpy.full(rows.bytes + 3 * GUARD, UNTOUCHED, numpy.uint8)
    start = -memory.ctypes.data % GUARD + GUARD  # scratch starts at a multiple of 256
    launch = pack_launch(rows, strides_of(weight), "packed_here")
    assert launch.pointers == ("weight", "packed_here")
    simulated.prepare(launch).run((weight.ctypes.data, memory.ctypes.data + start), 0, schedule)
    assert (memory[:start] == UNTOUCHED).all() and (memory[start + rows.bytes :] == UNTOUCHED).all()
    packed = memory[start : start + rows.bytes]
    return packed[: rows.sums_offset], packed[rows.sums_offset :].view(numpy.int32)


def check(weight, rows, **how):
    """Hold what the simulator packs against what NumPy does, bit for bit."""
    packed, sums = run(weight, rows, **how)
    expected = [rows_by_numpy(weight, rows)]
    if rows.dtype == "float32":
        high = tf32(expected[0])
        expected = [high, tf32(expected[0] - high)][: rows.planes]
    assert packed.tobytes() == b"".join(plane.tobytes() for plane in expected)
    if rows.sums:
        assert sums.tolist() == weight.astype(numpy.int64).sum(axis=(1, 2, 3)).tolist()
    else:
        assert sums.size == 0


SHAPES = [(5, 3, 3, 8), (9, 1, 1, 40), (1, 7, 7, 3), (17, 2, 5, 21), (3, 1, 4, 1), (8, 3, 2, 64)]


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("order", ["KRSC", "KCRS", "RSCK", "view"])
def test_rows_of_every_order(dtype, order):
    numbers = numpy.random.default_rng(list(BITS).index(dtype))
    forms = itertools.cycle(itertools.product((False, True), (0, 16, 5, 1)))
    for shape, (whole, chunk), planes in itertools.product(SHAPES, itertools.islice(forms, 8), (1, 2)):
        if planes == 2 and dtype != "float32":
            continue
        weight = weight_of(numbers, dtype, shape, order)
        sums = dtype in ("int8", "uint8") and chunk != 5
        rows = PackedRows(dtype, *shape, taps_in_run=shape[2] if whole else 1, chunk_channels=chunk, planes=planes, sums=sums)
        check(weight, rows)


def test_drawn_rows_in_drawn_schedules():
    numbers, draw = numpy.random.default_rng(0), random.Random(0)
    for number in range(60):
        dtype = draw.choice(list(BITS))
        shape = (draw.randint(1, 20), draw.randint(1, 4), draw.randint(1, 4), draw.choice((draw.randint(1, 9), draw.randint(1, 200))))
        rows = PackedRows(
            dtype,
            *shape,
            taps_in_run=draw.choice((1, shape[2])),
            chunk_channels=draw.choice((0, draw.randint(1, shape[3] + 4))),
            planes=draw.choice((1, 2)) if dtype == "float32" else 1,
            sums=dtype.endswith("int8") and draw.random() < 0.7,
        )
        check(weight_of(numbers, dtype, shape, draw.choice(("KRSC", "KCRS", "RSCK", "SCRK", "view"))), rows, schedule=("random", number, "latest"))


@pytest.mark.parametrize(("shape", "blocks"), [((3, 3, 3, 300), 11), ((1400, 1, 1, 520), 350), ((4100, 1, 1, 3), 513)])
def test_rows_divided_between_blocks(shape, blocks):
    # 9 * 304 * 2 bytes are 342 pieces, 11 times 32; 175 tiles of 8 rows leave room for 2 parts of 3; 513 tiles for one
    weight = weight_of(numpy.random.default_rng(1), "float16", shape, "KCRS")
    rows = PackedRows("float16", *shape)
    assert pack_launch(rows, strides_of(weight)).grid == (blocks, 1, 1)
    check(weight, rows)


@pytest.mark.parametrize(("dtype", "value", "total"), [("int8", -128, -256000), ("int8", 127, 254000), ("uint8", 255, 510000)])
def test_sums_of_the_largest_weights(dtype, value, total):
    weight = numpy.full((2, 4, 5, 100), value, BITS[dtype])
    rows = PackedRows(dtype, *weight.shape, sums=True)
    packed, sums = run(weight, rows)
    assert sums.tolist() == [total, total]
    assert (packed.view(BITS[dtype]).reshape(2, 20, 112)[..., :100] == value).all() and not packed.reshape(2, 20, 112)[..., 100:].any()


LARGEST, LARGEST_TF32 = float(numpy.finfo(numpy.float32).max), 2.0**128 - 2.0**117
#: bits among the low 13 alone, which no tf32 has
HIDDEN_NANS = numpy.array([0x7F800001, 0xFF800400], numpy.uint32).view(numpy.float32)
SPECIAL = numpy.array([numpy.inf, -numpy.inf, numpy.nan, *HIDDEN_NANS, LARGEST, -LARGEST, 0.0, -0.0, 1 + 2.0**-11, 2.0**-140], numpy.float32)


def packed_specials(planes):
    """Return [planes, values] of what SPECIAL is packed to, each as the one weight of a row."""
    weight = SPECIAL.reshape(-1, 1, 1, 1)
    packed, _ = run(weight, PackedRows("float32", *weight.shape, planes=planes))
    return packed.view(numpy.float32).reshape(planes, len(SPECIAL), 4)[..., 0]


def test_floats_that_are_no_numbers_or_nearly_none():
    (values,) = packed_specials(1)
    assert values[:2].tolist() == [numpy.inf, -numpy.inf] and numpy.isnan(values[2:5]).all()
    assert values[5:7].tolist() == [LARGEST_TF32, -LARGEST_TF32]  # the nearest would be infinite
    assert numpy.signbit(values[7:9]).tolist() == [False, True] and not values[7:9].any()
    assert values[9] == 1 + 2.0**-10  # halves away from zero
    assert abs(values[10]) <= 2.0**-136


def test_two_planes_of_floats_that_are_no_numbers_or_nearly_none():
    high, low = packed_specials(2)
    assert high[:2].tolist() == [1, -1] and low[:2].tolist() == [numpy.inf, -numpy.inf]  # in the second plane, which is multiplied first
    assert numpy.isfinite(high).all() and numpy.isnan(low[2:5]).all()
    assert high[5:7].tolist() == [LARGEST_TF32, -LARGEST_TF32] and numpy.isfinite(low[5:7]).all()
    assert (high[5:7].astype(float) + low[5:7]).tolist() == pytest.approx([LARGEST, -LARGEST], rel=2.0**-22)
    assert not high[7:9].any() and not low[7:9].any()
    assert (high[9], low[9]) == (1 + 2.0**-10, -(2.0**-11))
    assert high[10] > 0 and high[10] + low[10] == pytest.approx(2.0**-140, abs=2.0**-136)  # not 0: an infinite x gives an infinity


@pytest.mark.parametrize(
    ("rows", "run_elements", "row_bytes", "total"),
    [
        (PackedRows("float16", 64, 3, 3, 64), 64, 1152, 73728),
        (PackedRows("float16", 64, 7, 7, 3), 8, 784, 50176),
        (PackedRows("float16", 64, 7, 7, 3, taps_in_run=7), 24, 336, 21504),
        (PackedRows("float32", 10, 1, 1, 6, planes=2), 8, 32, 640),
        (PackedRows("int8", 7, 3, 1, 20, sums=True), 32, 96, 700),
        (PackedRows("bfloat16", 2, 3, 3, 100, chunk_channels=64), 64, 2304, 4608),
        (PackedRows("bfloat16", 2, 3, 3, 8, chunk_channels=16), 16, 288, 576),
    ],
)
def test_sizes(rows, run_elements, row_bytes, total):
    assert (rows.run_elements, rows.row_bytes, rows.bytes) == (run_elements, row_bytes, total)


def needs(case, alignment=16, **form):
    """Return whether the weights of a case need packing; they are contiguous in its layout."""
    problem = parse(case)
    weight = numpy.empty(problem.weight_shape, BITS[problem.dtype]).transpose([problem.weight_layout.index(letter) for letter in "KRSC"])
    return needs_packing(packed_rows(problem, **form), strides_of(weight, alignment))


def test_what_needs_packing():
    assert not needs("n1c64h9w9_k32r3s3_f16_nhwc")
    assert not needs("n1c64h9w9_k32r3s3_g4_f16_nhwc")  # 16 channels a group
    assert not needs("n1c32h9w9_k32r3s3_i8_nhwc")
    assert not needs("n1c64h9w9_k32r1s1_f16_nchw")  # R = S = 1: the same bytes as KRSC
    assert needs("n1c64h9w9_k32r3s3_f16_nchw")
    assert needs("n1c64h9w9_k32r3s3_f16_nhwc", alignment=8)
    assert needs("n1c60h9w9_k32r3s3_f16_nhwc")  # 120 bytes a tap
    assert needs("n1c24h9w9_k32r3s3_i8_nhwc")
    assert needs("n1c64h9w9_k32r3s3_f32_nhwc") and needs("n1c64h9w9_k32r3s3_f32_nhwc", planes=2)
    assert needs("n1c32h9w9_k32r3s3_i8_zp3_nhwc")
    assert needs("n1c64h9w9_k32r3s3_f16_nhwc", chunk_channels=32)
    assert not needs("n1c4h9w9_k32r3s4_f16_nhwc", whole_filter_rows=True)  # 4 * 4 channels
    assert needs("n1c3h9w9_k32r3s4_f16_nhwc", whole_filter_rows=True)
