"""to_nhwc, to_nchw and add: to the bit over sizes, strides, casts and special values, on the simulator and on the array path."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
from libraries import library  # noqa: F401

import atrous
from atrous import ProblemError, config, testing
from atrous.engines import arrays, arrays_elementwise, simulated
from atrous.interop import numpy_dtype
from atrous.kernels import elementwise, transpose
from atrous.kernels.base import Strides
from atrous.problem import ElementwiseProblem, parse

sys.path.insert(0, str(Path(__file__).parent / "proof"))
import traffic

DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8")
ENGINES = {"arrays": arrays, "simulated": simulated}
#: what casts meet: ties, what saturates, what only some types hold
SPECIAL = (
    0.0,
    -0.0,
    0.5,
    1.5,
    2.5,
    -0.5,
    -1.5,
    126.5,
    127.5,
    -128.5,
    254.5,
    255.5,
    256.0,
    -300.0,
    65504.0,
    65520.0,
    1e-8,
    3.4e38,
    1e300,
    np.inf,
    -np.inf,
    np.nan,
)


@pytest.fixture(params=ENGINES)
def engine(request):
    if reason := ENGINES[request.param].available():
        pytest.skip(reason)
    return request.param


def numbers(shape, dtype, seed=0):
    """Return an array in which every element differs from its neighbours."""
    values = np.random.default_rng(seed).integers(-100, 101, shape)
    return (values % 128 if dtype == "uint8" else values).astype(numpy_dtype(dtype))


def same(got, want):
    """Hold two arrays of one dtype to each other bit by bit, all NaN alike."""
    assert got.shape == want.shape and got.dtype == want.dtype
    wide, expected = got.astype(np.float64), want.astype(np.float64)
    unequal = (wide != expected) & ~(np.isnan(wide) & np.isnan(expected)) | (np.signbit(wide) != np.signbit(expected)) & ~np.isnan(wide)
    assert not unequal.any(), (np.argwhere(unequal)[:3], wide[unequal][:3], expected[unequal][:3])


def cast(values, dtype):
    """Return float64 values as dtype, by the rules that the docstrings state."""
    if dtype in ("int8", "uint8"):
        limits = np.iinfo(dtype)
        return np.clip(np.where(np.isnan(values), 0.0, np.rint(values)), limits.min, limits.max).astype(dtype)
    with np.errstate(over="ignore"):
        return values.astype(numpy_dtype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "float64"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70, 130])
def test_sizes_around_vectors_and_tiles(engine, dtype, size):
    """Each axis in turn, the others odd or whole; channels first and last."""
    for shape in ((1, size, 2, 8), (2, 8, 1, size), (1, 3, size, 5), (1, size, 1, size), (1, 16, 8, size)):
        x = numbers(shape, dtype)
        same(atrous.to_nhwc(x, engine=engine), np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        same(atrous.to_nchw(x, engine=engine), np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        same(atrous.add(x, x, engine=engine), cast(2 * x.astype(np.float64), dtype))


@pytest.mark.parametrize("out_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_cast_rounds_once_and_saturates(engine, dtype, out_dtype):
    """Through both kernels: few channels and many."""
    values = cast(np.array(SPECIAL), dtype)
    for channels in (3, 16, 40):
        x = np.resize(values, (1, channels, 5, 8))
        wide = x.astype(np.float64)
        want = cast(wide.astype(np.float32) if dtype != "float64" and out_dtype == "bfloat16" else wide, out_dtype)
        if (dtype, out_dtype) == ("float64", "bfloat16"):
            problem = ElementwiseProblem.make(x.shape, "tonhwc", dtype=dtype, out_dtype=out_dtype)
            testing.assert_matches(atrous.to_nhwc(x, out_dtype=out_dtype, engine=engine), testing.expected_output(problem, {"x": x}), problem)
            continue
        same(atrous.to_nhwc(x, out_dtype=out_dtype, engine=engine), np.ascontiguousarray(want.transpose(0, 2, 3, 1)))
        same(atrous.to_nchw(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), out_dtype=out_dtype, engine=engine), want)


def test_a_type_moved_to_itself_keeps_its_bits():
    """The payload of a NaN too, where `transpose` moves it."""
    if reason := simulated.available():
        pytest.skip(reason)
    x = np.resize(np.array([0x7E01, 0x7C01, 0xFFFF, 0x8000, 0x3C00], np.uint16).view(np.float16), (1, 64, 8, 8))
    assert atrous.explain("n1c64h8w8_tonhwc_f16", "sm_80").rows[0]["chosen"]
    got = atrous.to_nhwc(x, engine="simulated")
    assert (got.view(np.uint16) == x.transpose(0, 2, 3, 1).view(np.uint16)).all()


def windows_of(shape, dtype):
    """Yield (name, function from a seed to a view of this shape): reversed axes, steps, slices and other orders."""
    n, a, b, c = shape
    yield "reversed", lambda seed: numbers(shape, dtype, seed)[:, ::-1, :, ::-1]
    yield "steps", lambda seed: numbers((n, a, 2 * b, 3 * c), dtype, seed)[:, :, ::2, 1::3]
    yield "slice of the last axis", lambda seed: numbers((n, a, b, c + 13), dtype, seed)[..., 5 : 5 + c]
    yield "even slice of the last axis", lambda seed: numbers((n, a, b, 3 * c), dtype, seed)[..., c : 2 * c]
    yield "slice of the rows", lambda seed: numbers((n, a + 2, b + 3, c), dtype, seed)[:, 1 : a + 1, 2 : b + 2]
    yield "turned", lambda seed: numbers((n, c, a, b), dtype, seed).transpose(0, 2, 3, 1)
    yield "turned again", lambda seed: numbers((n, b, c, a), dtype, seed).transpose(0, 3, 1, 2)
    yield "repeated images", lambda seed: np.broadcast_to(numbers((1, a, b, c), dtype, seed), shape)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("shape", [(2, 16, 4, 32), (2, 7, 5, 9)], ids=str)
def test_any_strides(engine, dtype, shape):
    for name, view in windows_of(shape, dtype):
        x, other = view(1), view(2)
        assert x.shape == shape, name
        same(atrous.to_nhwc(x, engine=engine), np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        same(atrous.to_nchw(x, engine=engine), np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        want = cast(np.maximum(x.astype(np.float64) + other.astype(np.float64), 0), dtype)
        same(atrous.add(x, other, activation="relu", engine=engine), want)
        same(atrous.add(numbers(shape, dtype, 1), numbers(shape, dtype, 2), engine=engine, out=np.empty_like(x)), add_of(shape, dtype))
        if name != "repeated images":
            out = view(3)
            assert atrous.add(numbers(shape, dtype, 1), numbers(shape, dtype, 2), out=out, engine=engine) is out
            same(out, add_of(shape, dtype))


def add_of(shape, dtype):
    return cast(numbers(shape, dtype, 1).astype(np.float64) + numbers(shape, dtype, 2).astype(np.float64), dtype)


@pytest.mark.parametrize("channels", [16, 24, 5])
def test_slices_of_channels_are_outputs(engine, channels):
    """Two arrays side by side in one: what is beside them stays as it is."""
    first, second = numbers((2, channels, 4, 8), "float16", 1), numbers((2, channels, 4, 8), "float16", 2)
    whole = np.full((2, 4, 8, 2 * channels + 8), 77, np.float16)
    atrous.to_nhwc(first, out=whole[..., :channels], engine=engine)
    atrous.to_nhwc(second, out=whole[..., channels : 2 * channels], engine=engine)
    want = np.concatenate([first, second], axis=1).transpose(0, 2, 3, 1)
    same(whole[..., : 2 * channels], want)
    assert (whole[..., 2 * channels :] == 77).all()
    planes = np.full((2, 2 * channels, 4, 8), 77, np.float32)
    atrous.to_nchw(np.ascontiguousarray(first.transpose(0, 2, 3, 1)), out_dtype="float32", out=planes[:, channels:], engine=engine)
    same(planes[:, channels:], first.astype(np.float32))
    assert (planes[:, :channels] == 77).all()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_sum_may_be_written_over_its_terms(engine, dtype):
    for shape in ((1, 4, 8, 16), (1, 3, 5, 7)):
        for target in ("x", "other"):
            given = {"x": numbers(shape, dtype, 1), "other": numbers(shape, dtype, 2)}
            assert atrous.add(**given, out=given[target], engine=engine) is given[target]
            same(given[target], add_of(shape, dtype))
    both = numbers(shape, dtype, 1)
    atrous.add(both, both, out=both, engine=engine)
    same(both, cast(2 * numbers(shape, dtype, 1).astype(np.float64), dtype))


def test_an_axis_of_one_element_has_no_step(engine):
    """Other strides on it are the same memory in the same order."""
    x = numbers((1, 4, 5, 6), "float32", 1)
    again = np.lib.stride_tricks.as_strided(x, x.shape, (4, *x.strides[1:]))
    same(atrous.add(x, numbers(x.shape, "float32", 2), out=again, engine=engine), add_of(x.shape, "float32"))


def test_every_library_and_pieces_of_an_image(library, monkeypatch):  # noqa: F811
    """Five rows in pieces of two, then images in pieces of two."""
    make, back, kind = library
    first, second = numbers((3, 5, 4, 6), "float32", 1), numbers((3, 5, 4, 6), "float32", 2)
    problem = ElementwiseProblem.make(first.shape, "add", dtype="float32")
    row = arrays_elementwise.held_bytes(problem, 1)
    for budget in (2**40, 2 * row, 11 * row):
        monkeypatch.setattr(config, "workspace_bytes", lambda budget=budget: budget)
        calls = (atrous.to_nhwc, [first]), (atrous.to_nchw, [first]), (atrous.add, [first, second])
        answers = [function(*map(make, given), engine="arrays") for function, given in calls]
        assert {type(answer) for answer in answers} == {kind}
        wants = first.transpose(0, 2, 3, 1), first.transpose(0, 3, 1, 2), add_of(first.shape, "float32")
        for answer, want in zip(answers, wants):
            same(np.ascontiguousarray(back(answer)), np.ascontiguousarray(want))


def apart(shape, dtype):
    """Return an array whose images are 2^31 elements apart, in memory that is reserved and never touched between them."""
    size = (shape[0] - 1) * 2**31 + int(np.prod(shape[1:]))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = np.frombuffer(mmap.mmap(-1, size * np.dtype(dtype).itemsize, flags=flags), dtype)
    inner = [int(np.prod(shape[axis + 1 :])) for axis in (1, 2, 3)]
    return np.lib.stride_tricks.as_strided(memory, shape, [step * memory.itemsize for step in (2**31, *inner)])


def test_images_beyond_2_to_31_elements():
    if reason := simulated.available():
        pytest.skip(reason)
    for shape in ((3, 16, 4, 8), (3, 3, 5, 7)):
        x, y = apart(shape, "float16"), apart((shape[0], shape[2], shape[3], shape[1]), "float16")
        x[...] = numbers(shape, "float16", 1)
        same(atrous.to_nhwc(x, out=y, engine="simulated"), x.transpose(0, 2, 3, 1))
        same(atrous.to_nchw(y, engine="simulated"), np.ascontiguousarray(x))
        atrous.add(x, numbers(shape, "float16", 2), out=x, engine="simulated")
        same(np.ascontiguousarray(x), add_of(shape, "float16"))


@pytest.mark.parametrize("shape", [(0, 4, 5, 6), (2, 0, 5, 6), (2, 4, 0, 6)], ids=str)
def test_nothing_gives_nothing(engine, shape):
    x = np.zeros(shape, np.float16)
    assert atrous.to_nhwc(x, out_dtype="float32", engine=engine).shape == (shape[0], shape[2], shape[3], shape[1])
    assert atrous.to_nchw(x, engine=engine).shape == (shape[0], shape[3], shape[1], shape[2])
    assert atrous.add(x, x, engine=engine).shape == shape


def test_what_makes_no_sense_is_refused():
    x = np.zeros((1, 2, 3, 4), np.float16)
    wide = np.zeros((1, 2, 3, 8), np.float16)
    for call, words in (
        (lambda: atrous.add(x, x[..., :2]), "other has shape (1, 2, 3, 2); expected (1, 2, 3, 4) (N, H, W, C)"),
        (lambda: atrous.add(x, x.astype("float32")), "other has dtype float32; expected float16"),
        (lambda: atrous.add(x, x, activation="swoosh"), "activation is 'swoosh'"),
        (lambda: atrous.add(x, x, out_dtype="int32"), "out_dtype is 'int32'; expected one of"),
        (lambda: atrous.add(wide[..., :4], x, out=wide[..., 1:5]), "out shares memory with x"),
        (lambda: atrous.to_nhwc(x[0]), "expected"),
        (lambda: atrous.to_nhwc(x, out_dtype="complex64"), "out_dtype is 'complex64'"),
        (lambda: atrous.to_nhwc(x, out=np.zeros((1, 2, 3, 4), np.float16)), "out has shape (1, 2, 3, 4); expected (1, 3, 4, 2) (N, H, W, C)"),
        (lambda: atrous.to_nchw(x.reshape(1, 1, 1, 24), out=x.reshape(1, 24, 1, 1)), "out shares memory with x; expected an output of its own;"),
        (lambda: atrous.add(x, x, out=x[:, ::-1]), "an output of its own (only x or other may be the output itself)"),
        (lambda: atrous.to_nhwc(x.astype("int32")), "dtype of x is 'int32'"),
    ):
        with pytest.raises(ProblemError) as refused:
            call()
        assert words in str(refused.value)


@pytest.mark.parametrize(
    "case",
    ["n1c64h56w56_tonchw_f16_f32", "n0c3h4w5_tonhwc_u8", "n1c64h56w56_add_relu_f16_nchw", "n2c3h4w5_add_leaky-relu0.25_i8_f32", "n1c2h3w4_add_clip-2:3.5_bf16"],
)
def test_case_strings(case):
    assert str(parse(case)) == case
    assert parse(str(parse(case))) == parse(case)


@pytest.mark.parametrize(
    "case", ["n1c2h3w4_tonhwc_f16_f32_f32", "n1c2h3w4_tonhwc_relu_f16", "n1c2h3w4_tonchw_f16_nchw", "n1c2_tonhwc_f16", "n1c2h3w4_add_pad1"]
)
def test_case_strings_without_a_meaning(case):
    with pytest.raises(ProblemError):
        parse(case)


def test_a_problem_is_consistent():
    with pytest.raises(ProblemError, match="one layout for a sum"):
        ElementwiseProblem(1, 2, 3, 4, layout="NHWC", out_layout="NCHW", other=True)
    with pytest.raises(ProblemError, match="none where nothing is added"):
        ElementwiseProblem(1, 2, 3, 4, layout="NHWC", out_layout="NCHW", activation=("relu",))


def test_both_kernels_on_every_change_of_layout():
    if reason := simulated.available():
        pytest.skip(reason)
    for case in ("n1c16h4w16_tonhwc_f16", "n2c5h7w3_tonchw_f32_i8"):
        assert [row["reason"] for row in atrous.explain(case).rows[:2]] == [None, None]
    assert atrous.explain("n1c16h4w16_add_f16").rows[0]["reason"] == "it moves elements and adds none"


def test_threads_go_on_where_blocks_are_fewer_than_items(monkeypatch):
    if reason := simulated.available():
        pytest.skip(reason)
    monkeypatch.setattr(elementwise, "MOST_BLOCKS", 2)
    for shape in ((1, 16, 16, 40), (3, 7, 9, 11)):
        same(atrous.add(numbers(shape, "float32", 1), numbers(shape, "float32", 2), engine="simulated"), add_of(shape, "float32"))


def test_axes_that_are_one_run_are_merged():
    dense = (60, 12, 3, 1)
    assert elementwise.merged((2, 5, 4, 3), [dense, dense]) == ((1, 1, 1, 120), [(0, 0, 0, 1)] * 2)
    # a slice of channels: pixels 8 apart
    assert elementwise.merged((2, 5, 4, 3), [dense, (160, 32, 8, 1)]) == ((1, 1, 40, 3), [(0, 0, 3, 1), (0, 0, 8, 1)])
    # y in another order: its smallest step last
    assert elementwise.merged((1, 5, 4, 3), [(60, 12, 3, 1), (60, 4, 1, 20)]) == ((1, 1, 3, 20), [(0, 0, 1, 3), (0, 0, 20, 1)])
    assert elementwise.merged((2, 1, 1, 3), [(-3, 0, 0, -1), (3, 9, 9, 1)]) == ((1, 1, 1, 6), [(0, 0, 0, -1), (0, 0, 0, 1)])
    assert elementwise.merged((2, 1, 1, 3), [(3, 0, 0, -1), (3, 9, 9, 1)]) == ((1, 1, 2, 3), [(0, 0, 3, -1), (0, 0, 3, 1)])


def test_pixels_of_rows_that_follow_each_other_are_one_axis():
    problem = parse("n2c3h5w4_tonhwc_f16")
    whole = Strides(x=(60, 4, 1, 20), y=(60, 12, 3, 1))
    assert transpose.axes_of(problem, whole) == ((2, 1, 3, 20), (60, 4, 20, 1), (60, 12, 1, 3))
    apart = Strides(x=(60, 4, 1, 20), y=(90, 18, 3, 1))
    assert transpose.axes_of(problem, apart) == ((2, 5, 3, 4), (60, 4, 20, 1), (90, 18, 1, 3))


@pytest.mark.parametrize(
    "case",
    [
        "n2c64h16w16_tonhwc_f16", "n2c64h16w16_tonchw_f16", "n1c64h16w16_tonhwc_f32", "n1c32h8w16_tonchw_f32", "n1c64h8w16_tonchw_f16_f32",
        "n1c64h8w16_tonhwc_f32_f16", "n1c128h8w16_tonchw_i8", "n1c32h8w16_tonhwc_f64", "n1c128h8w16_tonhwc_u8_f32", "n1c64h16w16_add_relu_f16",
    ],
)  # fmt: skip
def test_each_sector_is_moved_once_and_no_bank_is_asked_twice(case):
    (found,) = traffic.records_of([case], "elementwise" if "_add_" in case else "transpose")
    assert found["ratio"] == 1
    assert found["shared_conflicts"] == 0


def test_odd_sizes_move_by_elements_through_separate_banks():
    """Sectors of rows that begin inside them are asked for by two warps; 49 pixels are 2 tiles of 64 columns at most."""
    (found,) = traffic.records_of(["n2c65h7w7_tonhwc_f16"], "transpose")
    assert found["main_loop_conflicts"] == 0
