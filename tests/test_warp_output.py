"""The way of a warp's mma sums to y on the simulator: exact in every layout and type, and the bits of one output at a time."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from atrous.engines import simulated
from atrous.kernels import parameters

ml_dtypes = pytest.importorskip("ml_dtypes", reason="the only NumPy bfloat16")
if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")

TILES = list(itertools.product((4, 2), (4, 2)))
TYPES = ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64"]
SCHEDULES = [("in-order", 0), ("reverse", 0), ("greedy", 0), ("random", 1)]
ACTIVATIONS = [("none",), ("relu",), ("relu6",), ("leaky_relu", 0.5), ("clip", -3.0, 20.0)]
SMOOTH = [("silu",), ("gelu",), ("gelu_tanh",), ("hardswish",), ("sigmoid",), ("tanh",)]
#: axes of y from the slowest to the fastest, elements between its rows, elements before it, whether it runs backwards
LAYOUTS = {
    "nhwc": ("npqk", 0, 0, False),
    "nchw": ("nkpq", 0, 0, False),
    "slice": ("npqk", 16, 8, False),
    "odd slice": ("npqk", 3, 5, False),
    "odd base": ("nkpq", 0, 1, False),
    "backwards": ("npqk", 0, 0, True),
    "backward columns": ("nkpq", 0, 0, True),
    "columns apart": ("nkqp", 1, 0, False),
}


@pytest.fixture(autouse=True)
def _in_order():
    sim.set_schedule("in-order", 0)
    yield
    sim.set_schedule("in-order", 0)


def dtype(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@dataclass
class Array:
    """An array [N, P, Q, K] somewhere in memory that holds more, whose rest must not change."""

    memory: np.ndarray
    view: np.ndarray

    @property
    def strides(self):
        return tuple(stride // self.view.itemsize for stride in self.view.strides)


def array(shape, name, layout, fill):
    """Return an Array in one of LAYOUTS, all of `fill`."""
    axes, gap, before, backwards = LAYOUTS[layout]
    order = ["npqk".index(axis) for axis in axes]
    sizes = [shape[axis] for axis in order]
    sizes[-1] += gap
    element = dtype(name)
    raw = np.zeros((int(np.prod(sizes)) + before + 32) * element.itemsize + 16, np.uint8)
    start = -raw.ctypes.data % 16
    memory = raw[start : start + (int(np.prod(sizes)) + before + 32) * element.itemsize].view(element)
    memory[...] = fill
    view = memory[before : before + int(np.prod(sizes))].reshape(sizes)
    view = view[..., : shape[order[-1]]].transpose(np.argsort(order))
    return Array(memory, view[:, ::-1, ::-1, ::-1] if backwards and axes == "npqk" else view[:, :, ::-1] if backwards else view)


@dataclass
class Case:
    """What a run takes."""

    shape: tuple[int, int, int, int]
    y_type: str = "float32"
    layout: str = "nhwc"
    groups: int = 1
    scale: str | None = None
    bias: str | None = None
    residual: str | None = None  # a layout, or "y" for its own memory
    activation: tuple = ("none",)
    zero_point: int = 0


def draw(random, case, sums_type, reals=False):
    """Return (sums, scale, bias, residual) of small integers and powers of two, or of normal numbers."""
    k = case.shape[3]
    low = 0 if case.y_type == "uint8" else -6
    residual = random.integers(low, 7, case.shape)
    if reals and sums_type == "float32":
        sums, scale, bias = (random.normal(0, 2, size) for size in (case.shape, k, k))
    else:
        sums, scale, bias = random.integers(-40, 41, case.shape), 2.0 ** random.integers(-2, 2, k), random.integers(-9, 10, k)
        scale = random.integers(-2, 3, k) if case.scale and "int" in case.scale else scale
    return sums.astype(sums_type), np.asarray(scale), np.asarray(bias), residual


def run(kernel, case, sums, scale, bias, residual, grid, block):
    """Return (y, whether all else of its memory kept its value)."""
    n, p, q, k = case.shape
    y = array(case.shape, case.y_type, case.layout, 77)
    other = y if case.residual == "y" else array(case.shape, case.y_type, case.residual or "nhwc", 55)
    if case.residual:
        other.view[...] = residual.astype(other.view.dtype)
    scale_array = None if case.scale is None else scale.astype(dtype(case.scale))
    bias_array = None if case.bias is None else bias.astype(dtype(case.bias))
    name, *numbers = case.activation
    low, high = (*numbers, 0.0, 0.0)[:2]
    arguments = parameters.ConvArguments(
        y_stride=(parameters._Strides)(*y.strides),
        residual_stride=(parameters._Strides)(*other.strides),
        epilogue=parameters.Epilogue(
            activation_a=low,
            activation_b=high,
            activation=parameters.ACTIVATION_CODES[name],
            scale_type=parameters.DATA_TYPES[case.scale or "float32"],
            bias_type=parameters.DATA_TYPES[case.bias or "float32"],
            y_type=parameters.DATA_TYPES[case.y_type],
            y_zero_point=case.zero_point,
        ),
        **dict(n=n, p=p, q=q, k=k, groups=case.groups),
    )
    operands = [sums, None, scale_array, bias_array, other.view if case.residual else None, y.view]
    pointers = tuple(0 if operand is None else operand.ctypes.data for operand in operands)
    sim.Prepared(kernel, (grid, 1, 1), (block, 1, 1), (1, 1, 1), 0, bytes(arguments), 6).run(pointers, 0)
    found = y.view.copy()
    y.view[...] = 77
    return found, bool((y.memory == np.asarray(77).astype(y.memory.dtype)).all())


def by_warps(case, m, n, sums, *terms):
    columns = case.shape[3] // case.groups
    grid = -(-columns // (8 * n)) * case.groups * -(-int(np.prod(case.shape[:3])) // (32 * m))
    return run(f"test_warp_output<{m}, {n}, {sums.dtype.name}>", case, sums, *terms, grid, 64)


def by_outputs(case, sums, *terms):
    return run(f"test_output<{sums.dtype.name}>", case, sums, *terms, -(-sums.size // 64), 64)


def expected(case, sums, scale, bias, residual):
    """Return y of sums whose every intermediate value is exact."""
    value = sums.astype(np.float64)
    value = value * scale if case.scale else value
    value = value + bias if case.bias else value
    value = value + residual if case.residual else value
    name, *numbers = case.activation
    value = {
        "none": lambda v: v,
        "relu": lambda v: np.maximum(v, 0),
        "relu6": lambda v: np.clip(v, 0, 6),
        "leaky_relu": lambda v: np.where(v > 0, v, v * numbers[0]),
        "clip": lambda v: np.clip(v, *numbers),
    }[name](value)
    if case.zero_point:
        value = np.rint(value) + case.zero_point
    element = dtype(case.y_type)
    if element.kind in "iu":
        value = np.clip(np.rint(value), np.iinfo(element).min, np.iinfo(element).max)
    return value.astype(element)


def check(case, m, n, sums_type="float32", seed=0):
    drawn = draw(np.random.default_rng(seed), case, sums_type)
    y, kept = by_warps(case, m, n, *drawn)
    np.testing.assert_array_equal(y, expected(case, *drawn), err_msg=f"{case} {m} {n} {sums_type}")
    assert kept, f"{case} {m} {n}: wrote outside of y"


def cases(count, seed):
    """Yield random cases, with the numbers of a tile and the type of its sums."""
    random = np.random.default_rng(seed)
    pick = lambda options: options[random.integers(len(options))]  # noqa: E731
    for number in range(count):
        groups = int(pick([1, 1, 2, 3]))
        shape = (*(int(random.integers(1, 4)) for _ in range(2)), int(pick([1, 5, 8, 14, 16, 31])), groups * int(pick([1, 3, 8, 16, 24, 40, 65])))
        sums_type = pick(["float32", "int32"])
        case = Case(shape, pick(TYPES), pick(list(LAYOUTS)), groups, pick([None, *TYPES]), pick([None, *TYPES]))
        case.residual = pick([None, "y", *LAYOUTS])
        case.activation = pick(ACTIVATIONS)
        case.zero_point = int(random.integers(-5, 6)) if case.y_type in ("int8", "uint8") else 0
        for name in ("scale", "bias"):
            if getattr(case, name) == "uint8":
                setattr(case, name, "int8")
        yield case, pick(TILES), sums_type, number


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_outputs_are_exact(schedule):
    sim.set_schedule(*schedule)
    for case, tile, sums_type, seed in cases(150, schedule[1] + len(schedule[0])):
        check(case, *tile, sums_type, seed)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("sums_type", ["float32", "int32"])
def test_every_type_and_layout(tile, sums_type):
    for y_type, layout, residual in itertools.product(TYPES, LAYOUTS, (None, "y", "nhwc", "nchw")):
        check(Case((2, 2, 24, 48), y_type, layout, residual=residual, bias="float32"), *tile, sums_type)


def test_integers_that_float64_need_not_pass():
    """All of int32, where a detour through float32 would show."""
    sums = np.random.default_rng(0).integers(-(2**31), 2**31, (1, 3, 16, 40)).astype(np.int32)
    for tile, layout, activation in itertools.product(TILES, LAYOUTS, [("none",), ("relu",)]):
        case = Case(sums.shape, "int32", layout, activation=activation)
        np.testing.assert_array_equal(by_warps(case, *tile, sums, None, None, None)[0], np.maximum(sums, 0) if activation == ("relu",) else sums)


@pytest.mark.parametrize("activation", ACTIVATIONS + SMOOTH, ids=lambda activation: activation[0])
@pytest.mark.parametrize("sums_type", ["float32", "int32"])
def test_the_bits_are_those_of_one_output_at_a_time(activation, sums_type):
    random = np.random.default_rng(7)
    for tile, (y_type, layout) in zip(itertools.cycle(TILES), itertools.product(["float32", "float16", "float64", "int8"], LAYOUTS)):
        case = Case((1, 3, 16, 40), y_type, layout, 1, "float32", "float64", "nhwc", activation)
        drawn = draw(random, case, sums_type, reals=True)
        ours, theirs = by_warps(case, *tile, *drawn)[0], by_outputs(case, *drawn)[0]
        assert ours.tobytes() == theirs.tobytes(), f"{case} {tile}"


@pytest.mark.parametrize("sums_type", ["float32", "int32"])
def test_bits_do_not_depend_on_the_place(sums_type):
    """The same sums, wherever y lies and whatever the lanes can do with it."""
    case = Case((1, 3, 17, 40), "float32", "nhwc", 1, "float32", "float32", "nhwc", ("gelu",))
    drawn = draw(np.random.default_rng(3), case, sums_type, reals=True)
    found = set()
    for tile, case.layout, case.residual in itertools.product(TILES, LAYOUTS, ["y", *LAYOUTS]):
        found.add(by_warps(case, *tile, *drawn)[0].tobytes())
    assert len(found) == 1
