"""The model of wgmma: every shape, element type, swizzle and major against NumPy, and a sentence for every misuse."""

from __future__ import annotations

import importlib
import struct

import ml_dtypes
import numpy as np
import pytest

from atrous.engines import simulated

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")

SCHEDULES = [
    *((word, seed, landing) for word, seed in (("in-order", 0), ("reverse", 0), ("greedy", 1)) for landing in ("latest", "earliest")),
    *(("random", seed, landing) for seed in range(3) for landing in ("latest", "earliest", "random")),
]
#: Type of the kernels -> dtype of NumPy, largest integer for inputs whose sums are exact
TYPES = {
    "float16": (np.float16, 8), "bfloat16": (ml_dtypes.bfloat16, 8), "prims::Tfloat32": (np.float32, 8), "int8": (np.int8, 127), "uint8": (np.uint8, 255),
    "prims::Float8E4m3": (ml_dtypes.float8_e4m3fn, 8), "prims::Float8E5m2": (ml_dtypes.float8_e5m2, 4),
}  # fmt: skip
MAJOR = {False: "prims::Major::kK", True: "prims::Major::kMn"}
#: swizzle of the descriptor -> 16-byte chunks of one of its rows
WIDTH = {0: 1, 1: 8, 2: 4, 3: 2}
SIZES = (8, 16, 24, *range(32, 257, 16))


@pytest.fixture(autouse=True)
def _in_order():
    sim.set_schedule("in-order", 0)
    yield
    sim.set_schedule("in-order", 0)


def launch(name, *, x=None, w=None, y=None, size=(), threads=128, shared=200 * 1024, grid=1):
    """Run one kernel of struct ProbeArguments on arrays."""
    packed = struct.pack("=QQQq8i", 0, 0, 0, 0 if x is None else x.nbytes, *size, *(0,) * (8 - len(size)))
    pointers = tuple(0 if array is None else array.ctypes.data for array in (x, w, y))
    sim.Prepared(name, (grid, 1, 1), (threads, 1, 1), (1, 1, 1), shared, packed, 3).run(pointers, 0)
    return y


def integers(random, shape, kind):
    """Return integers whose products sum exactly, as the element type."""
    dtype, most = TYPES[kind]
    low = 0 if kind == "uint8" else -most
    return random.integers(low, most + 1, shape).astype(dtype)


class Operand:
    """A matrix [rows, K] of elements, its place in an image of shared memory and the numbers of its descriptor.

    The place of every element follows from CUTLASS's canonical layouts (mma_traits_sm90_gmma.hpp), in units of 16 bytes:
    K-major ((8, m), 2) : ((w, SBO), 1 or LBO); MN-major ((w, m), (8, k)) : ((1, LBO), (w, SBO)), or without a swizzle
    (m, (8, k)) : (SBO, (1, LBO)); each followed by Swizzle<b, 4, 3> of the byte address.
    """

    def __init__(self, matrix, swizzle, *, across=False, stride=None, leading=None, lines=0, step_k=0):
        self.matrix, self.swizzle, self.across = matrix, swizzle, across
        rows, depth = matrix.shape
        self.size = matrix.dtype.itemsize
        self.width = WIDTH[swizzle]
        wide = 16 * self.width
        per_wgmma = 32 // self.size
        self.steps = depth // per_wgmma
        if across:
            chunks = rows // 8
            if swizzle == 0:
                self.leading = leading or 128  # between the two halves of K
                self.stride = stride or 256 * self.steps  # between chunks of 8 rows
                self.step = 256
            else:
                self.stride = stride or wide * 8  # between the two halves of K
                self.leading = leading or self.stride * 2 * self.steps  # between blocks of w chunks
                self.step = 2 * self.stride
            del chunks
        elif swizzle == 0:
            self.leading = leading or 128 * (rows // 8)
            self.stride = stride or 128
            self.step = 2 * self.leading
        else:
            assert depth * self.size <= wide, "K of one pattern"
            self.leading, self.stride, self.step = leading or 16, stride or 8 * wide, 32
        self.shift = lines * wide  # by whole rows of the pattern
        self.step += step_k

    def addresses(self):
        """Return [rows, depth]: the byte of each element, from the start of the pattern."""
        rows, depth = self.matrix.shape
        r, k = np.meshgrid(np.arange(rows), np.arange(depth), indexing="ij")
        t = 16 // self.size
        if self.across:
            chunk, within = r // 8, r % 8
            step, k = divmod(k, 16)
            if self.swizzle == 0:
                unit = 16 * (k % 8) + self.leading * (k // 8) + self.stride * chunk
            else:
                unit = 16 * (chunk % self.width) + self.leading * (chunk // self.width) + 16 * self.width * (k % 8) + self.stride * (k // 8)
            address = self.shift + step * self.step + unit + within * self.size
        else:
            step, k = divmod(k, 2 * t)
            across_k = self.leading if self.swizzle == 0 else 16
            address = self.shift + step * self.step + 16 * self.width * (r % 8) + self.stride * (r // 8) + across_k * (k // t) + self.size * (k % t)
        return address ^ (address >> 7 & self.width - 1) << 4

    def write(self, image, tile):
        """Put the elements into the image; each has a place of its own."""
        places = tile + self.addresses()
        assert len(np.unique(places)) == places.size
        raw = np.ascontiguousarray(self.matrix).view(np.uint8).reshape(*self.matrix.shape, self.size)
        for byte in range(self.size):
            image[places + byte] = raw[..., byte]

    def extent(self):
        return (int(self.addresses().max()) + 1024 + 15) // 1024 * 1024

    def fields(self, tile):
        return tile, self.leading, self.stride, self.swizzle, self.shift, self.step


def is_integer(kind):
    return kind in ("int8", "uint8")


def product(a, b, start, kind):
    """Return start + a bT for inputs whose sums are exact in every order."""
    wide = np.int64 if is_integer(kind) else np.float64
    return (start.astype(wide) + a.astype(wide) @ b.astype(wide).T).astype(np.int32 if is_integer(kind) else np.float32)


def multiply(kind, a, b, start=None, *, registers=False):
    """Run a probe on two operands and return y: [64, N]."""
    n = b.matrix.shape[0]
    tile_b = 2048 if registers else a.extent()
    image = np.full(tile_b + b.extent(), 0xFF, np.uint8)  # NaN wherever no element is
    if registers:
        image[:2048] = np.ascontiguousarray(a).view(np.uint8).ravel()
    else:
        a.write(image, 0)
    b.write(image, tile_b)
    sums = np.int32 if is_integer(kind) else np.float32
    accumulate = start is not None
    how = struct.pack("=16i", *((0,) * 6 if registers else a.fields(0)), *b.fields(tile_b), b.steps, accumulate, 0, 0)
    start = np.full((64, n), 99, sums) if start is None else start
    w = np.concatenate([np.frombuffer(how, np.uint8), start.astype(sums).view(np.uint8).ravel()])
    y = np.full((64, n), -1, sums)
    majors = (MAJOR[b.across],) if registers else (MAJOR[a.across], MAJOR[b.across])
    name = f"probe_wgmma{'_registers' if registers else ''}<{n}, {kind}, {', '.join(majors)}>"
    return launch(name, x=image, w=w, y=y)


def check(kind, n, *, depth=1, accumulate=True, seed=0, a_options=None, b_options=None, swizzle=1):
    random = np.random.default_rng(seed)
    elements = depth * 32 // np.dtype(TYPES[kind][0]).itemsize
    a, b = integers(random, (64, elements), kind), integers(random, (n, elements), kind)
    start = random.integers(-50, 50, (64, n)) if accumulate else None
    y = multiply(kind, Operand(a, swizzle, **a_options or {}), Operand(b, swizzle, **b_options or {}), start)
    np.testing.assert_array_equal(y, product(a, b, np.zeros((64, n)) if start is None else start, kind))


# ---- values


@pytest.mark.parametrize("n", SIZES)
def test_every_n(n):
    check("bfloat16", n, depth=4)
    check("bfloat16", n, depth=1, accumulate=False)


EVERY_TYPE = [(kind, n) for kind in ("float16", "prims::Tfloat32", "int8") for n in (8, 64, 256)]
EVERY_TYPE += [("uint8", 64), ("prims::Float8E4m3", 64), ("prims::Float8E5m2", 64)]


@pytest.mark.parametrize("kind,n", EVERY_TYPE)
@pytest.mark.parametrize("accumulate", [False, True])
def test_every_element_type(kind, n, accumulate):
    check(kind, n, depth=4, accumulate=accumulate)


@pytest.mark.parametrize("swizzle", WIDTH)
@pytest.mark.parametrize("kind", ["bfloat16", "prims::Tfloat32", "int8"])
def test_k_major_swizzles(swizzle, kind):
    """K advances by 32 bytes inside the rows of a swizzle, and by two blocks of 8 rows without one."""
    n = 64
    depth = max(WIDTH[swizzle] // 2, 1)
    check(kind, n, depth=depth if swizzle else 3, swizzle=swizzle)


@pytest.mark.parametrize("swizzle", WIDTH)
@pytest.mark.parametrize("across", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_mn_major(swizzle, across, kind):
    depth = 2 if swizzle != 3 and across != (True, True) else 1
    if across == (True, True):
        depth = 3
    elif swizzle == 3:
        depth = 1
    check(kind, 128, depth=depth, swizzle=swizzle, a_options={"across": across[0]}, b_options={"across": across[1]})


@pytest.mark.parametrize("seed", range(6))
def test_random_distances(seed):
    """The distances of a descriptor are any multiples of 16 that keep its blocks apart."""
    random = np.random.default_rng(seed)
    far = lambda least: int(least + 16 * random.integers(0, 20))  # noqa: E731
    for swizzle in (0, 1, 2, 3):
        wide = 16 * WIDTH[swizzle]
        options = []
        for rows in (64, 128):
            if swizzle:
                # a multiple of the pattern keeps two blocks of 8 rows from meeting in the same lines
                options.append({"stride": far(8 * wide) if seed % 2 else 8 * wide * int(random.integers(1, 4))})
            else:
                stride = far(128)
                options.append({"stride": stride, "leading": far(stride * (rows // 8))})
        # rows that share lines of a pattern are told apart by Operand.write
        check("bfloat16", 128, depth=1, swizzle=swizzle, a_options=options[0], b_options=options[1], seed=seed)
    across = {"across": True, "stride": far(1024) // 1024 * 1024, "leading": 4096 + 1024 * int(random.integers(0, 3))}
    check("float16", 128, depth=1, swizzle=1, a_options=across, b_options=across, seed=seed)


@pytest.mark.parametrize("swizzle", [1, 2, 3])
@pytest.mark.parametrize("lines", [1, 3, 7, 9])
def test_start_at_any_row(swizzle, lines):
    """A tile may start at any row of a swizzled image, as the taps of a convolution do: the swizzle goes by addresses."""
    depth = WIDTH[swizzle] // 2
    check("bfloat16", 64, depth=depth, swizzle=swizzle, a_options={"lines": lines}, b_options={"lines": lines + 1})


def test_halo():
    """Rows of an image shifted by one pixel: 8 rows further by SBO are rows of another image line."""
    random = np.random.default_rng(5)
    pixels = integers(random, (10, 10, 64), "bfloat16")  # h, w, c: a tile of 8x8 with a halo of one
    b = Operand(integers(random, (64, 64), "bfloat16"), 1)
    for top, left in ((0, 0), (1, 2), (2, 1)):
        window = pixels[top : top + 8, left : left + 8].reshape(64, 64)
        a = Operand(window, 1, stride=10 * 128, lines=top * 10 + left)
        whole = Operand(pixels.reshape(100, 64), 1)
        # the descriptor's view of the window is where the whole image has those pixels
        index = (np.arange(top, top + 8)[:, None] * 10 + np.arange(left, left + 8)).ravel()
        np.testing.assert_array_equal(a.addresses(), whole.addresses()[index])
        np.testing.assert_array_equal(multiply("bfloat16", a, b), product(window, b.matrix, np.zeros((64, 64)), "bfloat16"))


@pytest.mark.parametrize("kind,n,across", [("bfloat16", 8, False), ("bfloat16", 128, False), ("bfloat16", 256, False), ("bfloat16", 64, True),
                                           *((kind, 64, False) for kind in TYPES if kind != "bfloat16")])  # fmt: skip
def test_a_from_registers(kind, n, across):
    random = np.random.default_rng(7)
    elements = 32 // np.dtype(TYPES[kind][0]).itemsize
    a, b = integers(random, (64, elements), kind), integers(random, (n, elements), kind)
    start = random.integers(-50, 50, (64, n))
    y = multiply(kind, a, Operand(b, 1, across=across), start, registers=True)
    np.testing.assert_array_equal(y, product(a, b, start, kind))


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "prims::Tfloat32"])
def test_rounding(kind):
    """Sums in double, k ascending, rounded to float once a wgmma; the low 13 bits of a tf32 do not count."""
    random = np.random.default_rng(11)
    dtype = TYPES[kind][0]
    elements = 32 // np.dtype(dtype).itemsize
    a, b = random.normal(0, 1, (64, elements)).astype(dtype), random.normal(0, 1, (64, elements)).astype(dtype)
    start = random.normal(0, 1, (64, 64)).astype(np.float32)
    y = multiply(kind, Operand(a, 1), Operand(b, 1), start)
    if kind == "prims::Tfloat32":
        a, b = ((m.view(np.uint32) & 0xFFFFE000).view(np.float32) for m in (a, b))
    sums = start.astype(np.float64)
    for k in range(elements):
        sums = sums + np.outer(a[:, k].astype(np.float64), b[:, k].astype(np.float64))
    np.testing.assert_array_equal(y, sums.astype(np.float32))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_every_schedule(schedule):
    sim.set_schedule(*schedule)
    check("bfloat16", 64, depth=4)
    check("bfloat16", 128, depth=2, a_options={"across": True}, b_options={"across": True})
    test_a_from_registers("int8", 64, False)


# ---- descriptors


@pytest.mark.parametrize("offset,leading,stride,swizzle,step", [(0, 16, 1024, 1, 32), (512, 4096, 512, 2, -256), (256, 0, 256, 3, 16), (48, 2048, 128, 0, 128)])
def test_bits_of_a_descriptor(offset, leading, stride, swizzle, step):
    y = np.zeros(2, np.uint64)
    launch("test_wgmma_bits", y=y, size=(offset, leading, stride, swizzle, step))
    expected = offset >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | swizzle << 62
    assert [int(bits) for bits in y] == [expected, expected + (step >> 4)]


# ---- misuse


def scene():
    return np.zeros(12288, np.uint8)


MISUSES = [
    ("test_wgmma_no_fence", (), 128, "is the first of its warp and no wgmma_fence came before it"),
    ("test_wgmma_written_sums", (), 128, "the accumulators were written after the last wgmma_fence; expected a wgmma_fence between"),
    ("test_wgmma_written_in_flight", (), 128, "the accumulators were written by other instructions before its wait"),
    ("test_wgmma_written_between", (), 128, "the accumulators were written while an earlier wgmma that uses them is in flight|before its wait"),
    ("test_wgmma_read_between", (), 128, "is the first after a wgmma_wait; expected a wgmma_fence between"),
    ("test_wgmma_written_fragment", (), 128, "the registers of a were written before its wait"),
    ("test_wgmma_unfenced_fragment", (), 128, "the registers of a were written after the last wgmma_fence"),
    ("test_wgmma_no_wait", (0,), 128, "it exits and has not waited for the wgmma at .*test_kernels_wgmma.cpp:"),
    ("test_wgmma_no_wait", (1,), 128, "it exits and has not waited for the wgmma at"),
    ("test_wgmma_warps", (96, 128), 128, r"was issued by other warps of a warpgroup, not by threads 96-127; expected all four"),
    ("test_wgmma_warps", (160, 160), 256, r"was issued by other warps of a warpgroup, not by threads 160-191"),
    ("test_wgmma_warps", (128, 64), 128, "the warps of its warpgroup differ in their descriptors of b"),
    ("test_wgmma_warps", (160, 160), 160, "is called by threads 128-159, which are no whole warpgroup"),
    ("test_wgmma_warps", (96, 96), 96, "is called by threads 0-95, which are no whole warpgroup"),
    ("test_wgmma_shapes", (), 128, "the warps of its warpgroup differ in their N"),
    ("test_wgmma_lanes", (), 128, "lanes 0 and 5 differ in their descriptors of b; expected the same in all lanes"),
    ("test_wgmma_global_tile", (), 128, "is not in the shared memory of its block"),
    ("test_wgmma_descriptor", (512, 16, 1024, 1, 0, 0), 128, "the tile starts 512 bytes past a multiple of 1024 in shared memory; expected a multiple, where"),
    ("test_wgmma_descriptor", (256, 16, 512, 2, 0, 0), 128, "the tile starts 256 bytes past a multiple of 512"),
    ("test_wgmma_descriptor", (128, 16, 256, 3, 0, 0), 128, "the tile starts 128 bytes past a multiple of 256"),
    ("test_wgmma_descriptor", (8, 16, 128, 0, 0, 0), 128, "the tile starts 8 bytes past a multiple of 16 in shared memory; expected a multiple\\.$"),
    ("test_wgmma_descriptor", (0, 24, 1024, 1, 0, 0), 128, "24 bytes came for a leading or stride distance; expected a multiple of 16"),
    ("test_wgmma_descriptor", (0, 16, 1 << 18, 1, 0, 0), 128, "262144 bytes came for a leading or stride distance"),
    ("test_wgmma_descriptor", (0, 16, 1024, 1, 24, 0), 128, "advance at .*: by 24 bytes"),
    ("test_wgmma_descriptor", (0, 16, 1024, 1, -4096, 0), 128, "advance at .*: by -4096 bytes, to byte -"),
    ("test_wgmma_descriptor", (0, 16, 1024, 1, 0, 3), 128, "the descriptor of b has base offset 3; expected 0"),
    ("test_wgmma_descriptor", (9216, 16, 3072, 1, 0, 0), 128, "operand b: .* bytes at byte .* of dynamic shared memory .* leave it"),
    ("test_wgmma_descriptor", (0, 16, 1024, 1, -1024, 0), 128, "operand b: .* lies between the objects of shared memory"),
]


MISUSE_SCHEDULES = [("in-order", 0, "latest"), ("reverse", 0, "latest"), ("random", 3, "latest"), ("greedy", 2, "latest"), ("random", 4, "earliest")]
#: seen only where the write comes before the sums land
IN_FLIGHT = ("test_wgmma_written_in_flight", "test_wgmma_written_between", "test_wgmma_written_fragment")


@pytest.mark.parametrize("schedule", MISUSE_SCHEDULES, ids=str)
@pytest.mark.parametrize("name,size,threads,sentence", MISUSES)
def test_misuse_is_named(name, size, threads, sentence, schedule):
    landing = "latest" if name in IN_FLIGHT else schedule[2]
    sim.set_schedule(*schedule[:2], landing)
    with pytest.raises(RuntimeError, match=sentence) as caught:
        launch(name, x=scene(), y=np.zeros((64, 32), np.float32), size=size, threads=threads, shared=14 * 1024)
    assert name in str(caught.value)


@pytest.mark.parametrize("schedule", [("in-order", 0, "latest"), ("in-order", 0, "earliest")], ids=str)
def test_exit_without_wait_in_every_landing(schedule):
    sim.set_schedule(*schedule)
    with pytest.raises(RuntimeError, match="has not waited for the wgmma"):
        launch("test_wgmma_no_wait", x=scene(), size=(0,))


def test_a_missing_wait_shows_as_old_sums():
    random = np.random.default_rng(3)
    a, b = integers(random, (64, 64), "bfloat16"), integers(random, (32, 64), "bfloat16")
    image = np.zeros(12288, np.uint8)
    Operand(a, 1).write(image, 0)
    Operand(b, 1).write(image, 8192)
    once = product(a[:, :16], b[:, :16], np.zeros((64, 32)), "bfloat16")
    for landing, expected in (("latest", once), ("earliest", 2 * once)):
        sim.set_schedule("in-order", 0, landing)
        y = launch("test_wgmma_early_read", x=image, y=np.zeros((64, 32), np.float32))
        np.testing.assert_array_equal(y, expected)
    for landing, expected in (("latest", 0 * once), ("earliest", once)):
        sim.set_schedule("in-order", 0, landing)
        y = launch("test_wgmma_overwritten", x=image, y=np.zeros((64, 32), np.float32))
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("exchanged", [0, 1])
def test_registers_of_a_out_of_order_show(exchanged):
    random = np.random.default_rng(4)
    a, b = integers(random, (64, 64), "bfloat16"), integers(random, (32, 64), "bfloat16")
    image = np.zeros(12288, np.uint8)
    Operand(a, 1).write(image, 0)
    Operand(b, 1).write(image, 8192)
    y = launch("test_wgmma_fragment", x=image, y=np.zeros((64, 32), np.float32), size=(exchanged,))
    assert np.array_equal(y, product(a[:, :16], b[:, :16], np.zeros((64, 32)), "bfloat16")) == (exchanged == 0)


def test_a_failed_launch_leaves_nothing_behind():
    """Records of registers and warpgroups are those of one cluster."""
    for _ in range(2):
        with pytest.raises(RuntimeError):
            launch("test_wgmma_warps", x=scene(), size=(96, 128))
        check("bfloat16", 64, depth=4)
