"""The models of ldmatrix, stmatrix and mma against fragment maps written from the PTX manual."""

from __future__ import annotations

import importlib
import itertools
import struct

import ml_dtypes
import numpy as np
import pytest

from atrous.engines import simulated

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")

ORDERS = [("in-order", 0), ("reverse", 0), ("greedy", 0), *(("random", seed) for seed in range(4))]
LANDINGS = ("latest", "earliest", "random")
SCHEDULES = [(word, seed, landing) for (word, seed), landing in itertools.product(ORDERS, LANDINGS)]
LANES = np.arange(32)
GROUP, MEMBER = LANES[:, None] // 4, LANES[:, None] % 4  # groupID and threadID_in_group of the manual
TYPES = {
    "float16": (np.dtype(np.float16), np.float32),
    "bfloat16": (np.dtype(ml_dtypes.bfloat16), np.float32),
    "float32": (np.dtype(np.float32), np.float32),
    "int8": (np.dtype(np.int8), np.int32),
    "uint8": (np.dtype(np.uint8), np.int32),
}
COUNTS = [(count, transposed) for count in (1, 2, 4) for transposed in (False, True)]


@pytest.fixture(autouse=True)
def _in_order():
    sim.set_schedule("in-order", 0)
    yield
    sim.set_schedule("in-order", 0)


def run(kernel, y, x=None, w=None, *, count=0, size=(), grid=1, block=32):
    """Run a kernel that takes ProbeArguments and return y."""
    parameters = struct.pack("=QQQq8i", 0, 0, 0, count, *size, *[0] * (8 - len(size)))
    prepared = sim.Prepared(kernel, (grid, 1, 1), (block, 1, 1), (1, 1, 1), 0, parameters, 3)
    prepared.run(tuple(0 if array is None else array.ctypes.data for array in (x, w, y)), 0)
    return y


def word(transposed):
    return str(transposed).lower()


# ---- fragments of mma, element by element as the manual numbers them


def fragment_of_a(bits):
    """Return (row, column) of each element of a that a lane holds, for elements of so many bits."""
    if bits == 32:  # m16n8k8, .tf32
        i = np.arange(4)
        return GROUP + np.where((i == 0) | (i == 2), 0, 8), MEMBER + np.where(i < 2, 0, 4)
    if bits == 16:  # m16n8k16
        i = np.arange(8)
        return GROUP + np.where((i < 2) | ((i >= 4) & (i < 6)), 0, 8), MEMBER * 2 + (i & 1) + np.where(i < 4, 0, 8)
    i = np.arange(16)  # m16n8k32, .s8 and .u8
    return GROUP + np.where((i < 4) | ((i >= 8) & (i < 12)), 0, 8), MEMBER * 4 + (i & 3) + np.where(i < 8, 0, 16)


def fragment_of_b(bits):
    if bits == 32:
        return MEMBER + np.array([0, 4]), GROUP + np.zeros(2, int)
    if bits == 16:
        i = np.arange(4)
        return MEMBER * 2 + (i & 1) + np.where(i < 2, 0, 8), GROUP + np.zeros(4, int)
    i = np.arange(8)
    return MEMBER * 4 + (i & 3) + np.where(i < 4, 0, 16), GROUP + np.zeros(8, int)


def fragment_of_c():
    i = np.arange(4)
    return GROUP + np.where(i < 2, 0, 8), MEMBER * 2 + (i & 1)


def registers(matrix, fragment):
    """Return the 32-bit registers of the 32 lanes that hold a matrix by this map."""
    return np.ascontiguousarray(matrix[fragment]).view(np.uint32)


def multiply(name, a, b, c, times=1, warps=1):
    """Return a @ b + c as the simulated mma computes it, the product added `times` times, by every warp of a block alike."""
    dtype, sums = TYPES[name]
    bits = 8 * dtype.itemsize
    x = registers(a.astype(dtype), fragment_of_a(bits))
    w = np.concatenate([registers(b.astype(dtype), fragment_of_b(bits)), registers(c.astype(sums), fragment_of_c())], axis=1)
    x, w = np.tile(x, (warps, 1)), np.tile(w, (warps, 1))
    lanes = run(f"probe_mma<{name}>", np.zeros((32 * warps, 4), sums), x, w, count=times, block=32 * warps)
    found = np.zeros((warps, 16, 8), sums)
    rows, columns = fragment_of_c()
    found[:, rows, columns] = lanes.reshape(warps, 32, 4)
    assert (found == found[0]).all() or np.isnan(found).any()
    return found[0]


def depth_of(name):
    return 32 // TYPES[name][0].itemsize


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_the_maps_cover_each_element_once(bits):
    for fragment, shape in ((fragment_of_a(bits), (16, 256 // bits)), (fragment_of_b(bits), (256 // bits, 8)), (fragment_of_c(), (16, 8))):
        held = np.zeros(shape, int)
        np.add.at(held, fragment, 1)
        assert (held == 1).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", TYPES)
def test_mma_is_the_product_of_matrices(name, schedule):
    random = np.random.default_rng(7)
    depth = depth_of(name)
    if TYPES[name][1] is np.int32:
        ends = np.iinfo(TYPES[name][0])
        a, b = random.integers(ends.min, ends.max + 1, (16, depth)), random.integers(ends.min, ends.max + 1, (depth, 8))
        c = random.integers(-(2**30), 2**30, (16, 8))
    else:  # no two elements of a matrix alike; eight bits of mantissa hold them all, and 24 their sums
        a, b = random.permutation(16 * depth).reshape(16, depth), random.permutation(depth * 8).reshape(depth, 8)
        c = random.permutation(2**16)[:128].reshape(16, 8) - 2**15
    sim.set_schedule(*schedule)
    np.testing.assert_array_equal(multiply(name, a, b, c, 3, 2), c + 3 * (a @ b))


def test_int8_sums_wrap():
    a, b = np.full((16, 32), -128), np.full((32, 8), -128)
    c = np.full((16, 8), 2**31 - 1)
    expected = (c + a @ b + 2**31) % 2**32 - 2**31
    assert expected.max() < 0
    np.testing.assert_array_equal(multiply("int8", a, b, c), expected)


def one_product(name, left, right, start=0.0):
    """Return the sums of a product whose row 0 and column 0 hold these elements, at (0, 0)."""
    a, b = np.zeros((16, depth_of(name))), np.zeros((depth_of(name), 8))
    a[0, : len(left)], b[: len(right), 0] = left, right
    return multiply(name, a, b, np.full((16, 8), start))[0, 0]


def test_subnormals_are_kept():
    assert one_product("float16", [2.0**-24], [2.0**-24]) == np.float32(2.0**-48)
    assert one_product("bfloat16", [2.0**-133], [1.0]) == np.float32(2.0**-133)
    assert one_product("bfloat16", [2.0**-100], [2.0**-49]) == np.float32(2.0**-149)
    assert one_product("float32", [2.0**-130], [0.5], 2.0**-149) == np.float32(2.0**-131 + 2.0**-149)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_infinities_and_nan_follow_ieee(name):
    assert one_product(name, [np.inf], [2.0]) == np.inf
    assert one_product(name, [-np.inf], [2.0], 1.0) == -np.inf
    assert one_product(name, [1.0], [1.0], np.inf) == np.inf
    for left, right, start in (([np.inf], [0.0], 0.0), ([np.inf], [1.0], -np.inf), ([np.nan], [1.0], 0.0), ([1.0], [1.0], np.nan)):
        assert np.float32(one_product(name, left, right, start)).view(np.uint32) == 0x7FFFFFFF


def test_the_largest_float16_does_not_overflow_in_the_sum():
    assert one_product("float16", [65504.0] * 16, [65504.0] * 16) == np.float32(16 * 65504.0**2)


def test_a_sum_is_rounded_once():
    assert one_product("float16", [2.0**12, 1.0, -(2.0**12)], [2.0**12, 1.0, 2.0**12]) == 1.0
    assert one_product("float16", [1.0, 1.0], [2.0**-14, 2.0**-14], 2.0**11) == np.float32(2.0**11 + 2.0**-13 + 0)
    # half a unit in the last place by itself is a tie to even; with any more it is not
    assert one_product("float32", [1.0], [1.0], 2.0**24) == 2.0**24
    assert one_product("float32", [1.0, 1.0], [1.0, 2.0**-20], 2.0**24) == 2.0**24 + 2


def test_tf32_ignores_the_low_13_bits():
    bits = np.array([0x3FFFFFFF], np.uint32)
    assert one_product("float32", bits.view(np.float32), [1.0]) == np.float32((bits & 0xFFFFE000).view(np.float32)[0])


def nearest_tf32(value):
    """Return a finite float with 10 bits of mantissa, halfway cases away from zero, by exact arithmetic on doubles."""
    wide = np.abs(value.astype(np.float64))
    unit = np.exp2(np.maximum(np.floor(np.log2(np.maximum(wide, 2.0**-150))), -126) - 10)
    return np.sign(value) * np.floor(wide / unit + 0.5) * unit


def test_round_tf32_is_to_nearest_with_ties_away():
    random = np.random.default_rng(3)
    bits = random.integers(0, 2**32, 4096, dtype=np.uint32)
    bits[:1024] = bits[:1024] & 0xFFFFE000 | 0x1000  # ties
    bits[1024:1280] &= 0x807FFFFF  # subnormals
    bits[1280:1284] = [0, 0x7F7FEFFF, 0x7F7FF000, 0x00000FFF]
    x = bits.view(np.float32)
    x = np.where(np.isfinite(x), x, np.float32(1))
    y = run("probe_round_tf32<float32>", np.zeros_like(x), x, count=x.size, grid=x.size // 128, block=128)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, nearest_tf32(x).astype(np.float32))
    assert (y.view(np.uint32) & 0x1FFF == 0).all() and np.isinf(y[1282]) and not np.isinf(y[1281])


def test_round_tf32_truncates_what_is_not_finite():
    """As ptxas makes the conversion: half a bit is added to finite values alone, and the low 13 bits are cleared."""
    bits = [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC01FFF, 0x7FFFFFFF, 0x7F802000, 0x7F801FFF, 0x7F7FF000, 0x80000000]
    expected = [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7FFFE000, 0x7F802000, 0x7F800000, 0x7F800000, 0x80000000]
    special = np.array(bits, np.uint32).view(np.float32)
    y = run("probe_round_tf32<float32>", np.zeros_like(special), special, count=special.size, block=128)
    np.testing.assert_array_equal(y.view(np.uint32), np.array(expected, np.uint32))


SPECIAL = [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 0x7FFFFFFF]
LARGEST = [0x7F7FFFFF, 0xFF7FFFFF, 0x7F7FF000, 0x7F7FEFFF, 0xFF7FE000]


def splits(x):
    """Return what the kernels make of floats: rounded, high, low, and a weight's high and low."""
    x = np.resize(x, -(-x.size // 128) * 128)
    return run("probe_split_tf32<float32>", np.zeros((x.size, 5), np.float32), x, x, count=x.size, grid=x.size // 128, block=128).T


def cut(x):
    """Return what a tensor core reads of floats."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def test_split_holds_22_bits_of_every_normal_float():
    random = np.random.default_rng(5)
    bits = random.integers(0, 2**32, 2**17, dtype=np.uint32)
    bits[: 2**14] = bits[: 2**14] & 0xFFFFE000 | random.integers(0xFFE, 0x1003, 2**14, dtype=np.uint32)  # about halfway
    x = bits.view(np.float32)
    x = np.where(np.isfinite(x) & (np.abs(x) > 2.0**-112) & (np.abs(x) < 2.0**127.9), x, np.float32(-1.0))
    rounded, high, low, weight_high, weight_low = splits(x)
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(cut(rounded), nearest_tf32(x))
    np.testing.assert_array_equal(high, nearest_tf32(x))
    np.testing.assert_array_equal(weight_high, high)
    np.testing.assert_array_equal(high.astype(np.float64) + low, wide)
    assert (np.abs(cut(low)) <= 2.0**-11 * np.abs(wide)).all()
    assert (np.abs(wide - high - cut(low)) <= 2.0**-23 * np.abs(wide)).all()
    assert (np.abs(wide - weight_high - cut(weight_low)) <= 2.0**-23 * np.abs(wide)).all()
    assert (weight_low.view(np.uint32) & 0x1FFF == 0).all()


def test_split_of_subnormal_and_tiny_floats_loses_less_than_the_last_bit_of_tf32():
    bits = np.concatenate([np.arange(0x4000), np.random.default_rng(6).integers(0, 2**26, 2**13)]).astype(np.uint32)
    x = np.concatenate([bits, bits | 0x80000000]).view(np.float32)
    _, high, low, weight_high, weight_low = splits(x)
    wide = x.astype(np.float64)
    for parts in (high + cut(low), weight_high + cut(weight_low)):
        assert (np.abs(wide - parts) <= 2.0**-136).all()
    assert ((weight_high != 0) == (x != 0)).all()
    assert (np.signbit(weight_high) == np.signbit(x)).all()


def test_split_leaves_no_infinity_to_meet_a_zero():
    """An infinity and a NaN are in the low part, beside a finite high one; what is near the largest float stays finite."""
    x = np.array(SPECIAL + LARGEST, np.uint32).view(np.float32)
    rounded, high, low, weight_high, weight_low = (part[: x.size] for part in splits(x))
    assert np.isfinite(high).all() and np.isfinite(weight_high).all() and (high != 0).all() and (weight_high != 0).all()
    np.testing.assert_array_equal(cut(rounded)[:5], [np.inf, -np.inf, np.nan, np.nan, np.nan])
    for part in (low, weight_low):
        np.testing.assert_array_equal(cut(part)[:5], [np.inf, -np.inf, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(weight_high[:2], [1, -1])
    np.testing.assert_array_equal(np.signbit(high[:2]), [False, True])
    wide = x[5:].astype(np.float64)
    assert (np.abs(cut(rounded)[5:] - wide) < 2.0**-10 * np.abs(wide)).all()
    for parts in (high + cut(low), weight_high + cut(weight_low)):
        assert (np.abs(parts[5:] - wide) <= 2.0**-21 * np.abs(wide)).all()


# ---- ldmatrix, stmatrix


def lane_elements(matrices, transposed):
    """Return [lane, matrix, 2]: the elements of 8x8 matrices that each lane holds by the manual's figure."""
    held = np.zeros((32, len(matrices), 2), matrices.dtype)
    for lane, (index, matrix), half in itertools.product(range(32), enumerate(matrices), range(2)):
        shown = matrix.T if transposed else matrix
        held[lane, index, half] = shown[lane // 4][2 * (lane % 4) + half]
    return held


@pytest.mark.parametrize("schedule", SCHEDULES[::2])
@pytest.mark.parametrize(("count", "transposed"), COUNTS)
def test_load_matrix_gathers_the_rows_that_lanes_name(count, transposed, schedule):
    random = np.random.default_rng(11)
    x = random.permutation(2**16)[:512].astype(np.uint16).reshape(64, 8)
    rows = np.concatenate([random.permutation(64)[:32] for _ in range(3)]).astype(np.int32)
    sim.set_schedule(*schedule)
    y = run(f"probe_load_matrix<{count}, {word(transposed)}>", np.zeros((96, count), np.uint32), x, rows, block=96)
    for warp in range(3):
        matrices = x[rows[32 * warp : 32 * warp + 8 * count]].reshape(count, 8, 8)
        expected = lane_elements(matrices, transposed)
        np.testing.assert_array_equal(y[32 * warp : 32 * warp + 32].view(np.uint16).reshape(32, count, 2), expected)


@pytest.mark.parametrize("schedule", SCHEDULES[::2])
@pytest.mark.parametrize(("count", "transposed"), COUNTS)
def test_store_matrix_scatters_to_the_rows_that_lanes_name(count, transposed, schedule):
    random = np.random.default_rng(12)
    matrices = random.integers(1, 2**16, (2, count, 8, 8)).astype(np.uint16)
    x = np.concatenate([lane_elements(matrices[warp], transposed) for warp in range(2)]).reshape(64, 2 * count).view(np.uint32)
    rows = random.permutation(64).astype(np.int32)
    expected = np.zeros((64, 8), np.uint16)
    for warp in range(2):
        expected[rows[32 * warp : 32 * warp + 8 * count]] = matrices[warp].reshape(8 * count, 8)
    sim.set_schedule(*schedule)
    y = run(f"probe_store_matrix<{count}, {word(transposed)}>", np.zeros((64, 8), np.uint16), x, rows, block=64)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("schedule", SCHEDULES[::5])
@pytest.mark.parametrize("kind", ["load", "store"])
def test_rows_that_hardware_would_not_take_are_named(kind, schedule):
    sim.set_schedule(*schedule)
    name = {"load": "load_matrix<{}>", "store": "store_matrix_transposed<{}>"}[kind]
    y = np.zeros(64, np.uint32)
    for count, lane, offset, elsewhere, said in (
        (1, 5, 2, 0, "expected a multiple of 16"),
        (2, 15, 8, 0, "expected a multiple of 16"),
        (4, 31, 4, 0, "expected a multiple of 16"),
        (2, 9, 0, 1, "shared memory"),
        (4, 30, 16 * 64 - 30 * 16, 0, "shared memory"),
    ):
        with pytest.raises(RuntimeError) as caught:
            run(f"test_{kind}_row<{count}>", y, size=(lane, offset, elsewhere))
        for words in (name.format(count), f"the row of lane {lane}", said, "test_kernels_matrix.cpp:"):
            assert words in str(caught.value), (words, str(caught.value))


@pytest.mark.parametrize("kind", ["load", "store"])
def test_rows_of_lanes_that_do_not_count_may_be_anything(kind):
    y = np.zeros(64, np.uint32)
    for count, lane in ((1, 8), (1, 31), (2, 16)):
        run(f"test_{kind}_row<{count}>", y, size=(lane, 3, 0))
        run(f"test_{kind}_row<{count}>", y, size=(lane, 0, 1))


@pytest.mark.parametrize("schedule", SCHEDULES[::5])
def test_lanes_that_do_not_take_part_are_named(schedule):
    sim.set_schedule(*schedule)
    with pytest.raises(RuntimeError, match=r"lanes 29-31 never arrive at the mma_m16n8k16_f16 of warp 0"):
        run("test_absent_lanes_of_mma", np.zeros(1, np.int32), size=(29,))
    with pytest.raises(RuntimeError, match=r"mma_m16n8k16_f16 of warp 0 names lanes 24-31, which this block does not have"):
        run("test_absent_lanes_of_mma", np.zeros(1, np.int32), size=(32,), block=24)
    with pytest.raises(RuntimeError, match=r"mismatched warp collectives.*load_matrix<4>.*load_matrix_transposed<4>"):
        run("test_mixed_load_matrix", np.zeros(1, np.int32), size=(-1,))
