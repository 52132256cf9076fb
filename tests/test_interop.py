"""Arrays in and out: every library, every stride, outputs in the caller's memory, and what a plan promises."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from libraries import BIAS, CONV_Y, LIBRARIES, POOL_Y, WEIGHT, Producer, X, engine, equal, jax_library, library, numbers, optional

import atrous
from atrous import reference
from atrous.engines import arrays
from atrous.problem import Conv2dProblem, Pool2dProblem

__all__ = ["engine", "library"]  # fixtures

BF16 = np.dtype(ml_dtypes.bfloat16)


# The kind of the result is the kind of the input.


def test_convolution_answers_in_kind(library):
    make, back, kind = library
    y = atrous.conv2d(make(X), make(WEIGHT), make(BIAS), padding=1, stride=2)
    assert isinstance(y, kind)
    equal(back(y), CONV_Y)


def test_pooling_answers_in_kind(library):
    make, back, kind = library
    y, index = atrous.max_pool2d(make(X), (3, 2), padding=1, return_indices=True)
    assert isinstance(y, kind) and isinstance(index, kind)
    equal(back(y), POOL_Y)
    indexed = Pool2dProblem.make(X.shape, (3, 2), "max", dtype="float32", padding=1, return_indices=True)
    equal(back(index), reference.pool2d(indexed, X)[1])


def test_plan_answers_in_kind(library):
    make, back, kind = library
    plan = atrous.plan_conv2d(X.shape, make(WEIGHT), make(BIAS), padding=1, stride=2)
    y = plan(make(X))
    assert isinstance(y, kind)
    equal(back(y), CONV_Y)


def test_weighted_table_in_kind(library):
    make, back, kind = library
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    for table in ([[1, 0], [0, 3]], make(np.array([[1, 0], [0, 3]], "float32"))):
        y = atrous.weighted_avg_pool2d(make(x), 2, table)
        assert isinstance(y, kind)
        equal(back(y)[0, :, :, 0], np.array([[3.75, 5.75], [11.75, 13.75]], "float32"))


def test_index_converters_in_kind(library):
    make, back, kind = library
    index = np.array([5, 0, 7, 2], "int32").reshape(1, 1, 2, 2)  # offsets h*W+w in a plane of 2 x 4, N = 1, C = 2
    onnx = atrous.indices_to_onnx(make(index), (1, 2, 4, 2))
    assert isinstance(onnx, kind)
    wide = "int32" if "jax" in kind.__module__ and back(onnx).dtype == "int32" else "int64"  # jax has no int64 unless told to
    equal(back(onnx).ravel(), np.array([5, 8, 7, 10], wide))
    columns = atrous.indices_to_onnx(make(index), (1, 2, 4, 2), storage_order=1)
    equal(back(columns).ravel(), np.array([3, 8, 7, 12], wide))
    tensorflow = atrous.indices_to_tf(make(index), (1, 2, 4, 2), include_batch=True)
    equal(back(tensorflow).ravel(), np.array([10, 1, 14, 5], wide))


def test_out_in_kind(library):
    make, back, kind = library
    if kind is np.ndarray and make is Producer:
        out = Producer(np.zeros_like(CONV_Y))
    elif "jax" in kind.__module__:
        pytest.skip("jax arrays cannot be written")
    else:
        out = make(np.zeros_like(CONV_Y))
    y = atrous.conv2d(make(X), make(WEIGHT), make(BIAS), padding=1, stride=2, out=out)
    assert y is out
    equal(y.array if isinstance(y, Producer) else back(y), CONV_Y)


def test_jax_out_is_refused():
    make, _, _ = jax_library()
    with pytest.raises(atrous.ProblemError, match="out is read-only"):
        atrous.conv2d(make(X), make(WEIGHT), make(BIAS), padding=1, stride=2, out=make(np.zeros_like(CONV_Y)))


def test_numpy_subclass_and_scalars_as_numbers():
    y = atrous.conv2d(X.view(np.memmap), WEIGHT, BIAS, padding=np.int64(1), stride=[np.int8(2), np.uint16(2)], groups=np.int32(1))
    equal(y, CONV_Y)
    equal(atrous.max_pool2d(X, np.array(2), ceil_mode=np.True_), reference.pool2d(Pool2dProblem.make(X.shape, 2, "max", dtype="float32", ceil_mode=True), X))


# bfloat16


def test_bfloat16_of_numpy(engine):
    x, weight = X.astype(BF16), WEIGHT.astype(BF16)
    y = atrous.conv2d(x, weight, padding=1, engine=engine)
    problem = Conv2dProblem.make(X.shape, WEIGHT.shape, dtype="bfloat16", padding=1)
    equal(y, reference.conv2d(problem, x, weight))


def test_bfloat16_of_torch(engine):
    torch = optional("torch")
    x, weight = torch.from_numpy(X).to(torch.bfloat16), torch.from_numpy(WEIGHT).to(torch.bfloat16)
    y = atrous.conv2d(x, weight, padding=1, engine=engine)
    assert y.dtype == torch.bfloat16 and y.device.type == "cpu"
    problem = Conv2dProblem.make(X.shape, WEIGHT.shape, dtype="bfloat16", padding=1)
    expected = reference.conv2d(problem, X.astype(BF16), WEIGHT.astype(BF16)).astype("float32")
    equal(y.to(torch.float32).numpy(), expected)
    out = torch.zeros_like(y)
    assert atrous.conv2d(x, weight, padding=1, engine=engine, out=out) is out
    equal(out.to(torch.float32).numpy(), expected)
    turned = x.permute(0, 3, 1, 2)  # NCHW in shape, NHWC in memory
    y = atrous.conv2d(turned, weight, padding=1, engine=engine, layout="NCHW", weight_layout="KRSC")
    equal(y.to(torch.float32).numpy(), expected.transpose(0, 3, 1, 2))


def test_torch_out_dtype_objects():
    torch = optional("torch")
    x, weight = torch.from_numpy(X), torch.from_numpy(WEIGHT)
    assert atrous.conv2d(x, weight, out_dtype=torch.bfloat16).dtype == torch.bfloat16
    assert atrous.conv2d(x, weight, out_dtype=torch.float64).dtype == torch.float64
    assert atrous.plan_pool2d(X.shape, 2, "max", dtype=torch.float16).problem.dtype == "float16"


@pytest.mark.parametrize("dtype", ["float16", np.float16, np.dtype("float16"), np.dtype("<f2")])
def test_out_dtype_objects(dtype):
    y = atrous.conv2d(X, WEIGHT, out_dtype=dtype)
    problem = Conv2dProblem.make(X.shape, WEIGHT.shape, dtype="float32", out_dtype="float16")
    equal(y, reference.conv2d(problem, X, WEIGHT))


def test_out_dtype_of_ml_dtypes():
    assert atrous.conv2d(X, WEIGHT, out_dtype=ml_dtypes.bfloat16).dtype == BF16
    assert atrous.conv2d(X, WEIGHT, out_dtype="bfloat16").dtype == BF16


# Strides: every view is read and written in place.


def strided(array):
    """Return views of the same numbers in memory of every sort, by name."""
    wide = np.full((array.shape[0], 2 * array.shape[1], array.shape[2], 3 * array.shape[3]), 99, array.dtype)
    wide[:, ::2, :, 1::3] = array
    padded = np.full(tuple(extent + 2 for extent in array.shape), 99, array.dtype)
    padded[1:-1, 1:-1, 1:-1, 1:-1] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    return {
        "every other row, every third channel": wide[:, ::2, :, 1::3],
        "inside a larger array": padded[1:-1, 1:-1, 1:-1, 1:-1],
        "Fortran order": np.asfortranarray(array),
        "rows backwards": np.ascontiguousarray(array[:, ::-1])[:, ::-1],
        "everything backwards": np.ascontiguousarray(array[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1],
        "channels first in memory": np.ascontiguousarray(array.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
        "read-only": frozen,
    }


VIEWS = tuple(strided(np.zeros((1, 1, 1, 1))))


@pytest.mark.parametrize("view", VIEWS)
def test_views_as_inputs(view, engine):
    x, weight = strided(X)[view], strided(WEIGHT)[view]
    before = x.copy(), weight.copy()
    equal(atrous.conv2d(x, weight, BIAS, padding=1, stride=2, engine=engine), CONV_Y)
    equal(atrous.max_pool2d(x, (3, 2), padding=1, engine=engine), POOL_Y)
    plan = atrous.plan_conv2d(x.shape, weight, BIAS, padding=1, stride=2, engine=engine)
    equal(plan(x), CONV_Y)
    assert (x == before[0]).all() and (weight == before[1]).all()


@pytest.mark.parametrize("view", [name for name in VIEWS if name != "read-only"])
def test_views_as_outputs(view, engine):
    out = strided(np.zeros_like(CONV_Y))[view]
    assert atrous.conv2d(X, WEIGHT, BIAS, padding=1, stride=2, engine=engine, out=out) is out
    equal(out, CONV_Y)
    out = strided(np.zeros_like(POOL_Y))[view]
    root = out
    while root.base is not None:
        root = root.base
    beside = int((root == 99).sum())
    assert atrous.max_pool2d(X, (3, 2), padding=1, engine=engine, out=out) is out
    equal(out, POOL_Y)
    assert int((root == 99).sum()) == beside, "something beside the output was written"


def test_broadcast_inputs(engine):
    x = np.broadcast_to(np.float32(3), (2, 5, 5, 4))
    weight = np.broadcast_to(np.float32(2), (3, 3, 3, 4))
    bias = np.broadcast_to(np.float32(1), (3,))
    equal(atrous.conv2d(x, weight, bias, engine=engine), np.full((2, 3, 3, 3), 3 * 2 * 9 * 4 + 1, "float32"))
    equal(atrous.lp_pool2d(x, 2, p=1, engine=engine), np.full((2, 2, 2, 4), 12, "float32"))


def test_strided_bias_and_scale(engine):
    bias = np.repeat(BIAS, 2)[::2][::-1]
    scale = np.arange(9, dtype="float32")[::3]
    y = atrous.conv2d(X, WEIGHT, bias, scale=scale, engine=engine)
    problem = Conv2dProblem.make(X.shape, WEIGHT.shape, dtype="float32", bias="float32", scale="float32")
    equal(y, reference.conv2d(problem, X, WEIGHT, np.array([0, 3, 6], "float32"), BIAS[::-1].copy()))


def test_torch_views(engine):
    torch = optional("torch")
    x = torch.from_numpy(np.ascontiguousarray(X.transpose(0, 3, 1, 2))).permute(0, 2, 3, 1)
    out = torch.full((*CONV_Y.shape[:3], 6), 99.0)
    atrous.conv2d(x, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS), padding=1, stride=2, engine=engine, out=out[..., 1:4])
    equal(out[..., 1:4].numpy(), CONV_Y)
    assert (out[..., [0, 4, 5]] == 99).all()


def test_torch_elements_at_odd_addresses():
    """On a device such an array ends in a fault that no later call survives."""
    torch = optional("torch")
    x = torch.frombuffer(bytearray(4 * 24 + 1), dtype=torch.float32, offset=1).view(1, 2, 3, 4)
    with pytest.raises(atrous.ProblemError, match="x starts at an address that is no multiple of 4, the alignment of float32"):
        atrous.to_nchw(x)


# Outputs in the caller's memory.


def test_input_and_output_are_slices_of_one_array(engine):
    joined = np.zeros((2, 7, 6, 4 + 3), "float32")
    joined[..., :4] = X
    x, out = joined[..., :4], joined[..., 4:]
    assert atrous.conv2d(x, numbers((3, 3, 3, 4), seed=4), padding=1, engine=engine, out=out) is out
    problem = Conv2dProblem.make(X.shape, (3, 3, 3, 4), dtype="float32", padding=1)
    equal(out, reference.conv2d(problem, X, numbers((3, 3, 3, 4), seed=4)))
    equal(joined[..., :4], X)


def test_dense_block_of_torch(engine):
    torch = optional("torch")
    joined = torch.zeros(2, 7, 7, 6)
    joined[:, :4] = torch.from_numpy(X.transpose(0, 3, 1, 2).copy())
    weight = torch.from_numpy(numbers((3, 4, 3, 3), seed=4))
    atrous.conv2d(joined[:, :4], weight, padding=1, layout="NCHW", engine=engine, out=joined[:, 4:])
    problem = Conv2dProblem.make((2, 4, 7, 6), (3, 4, 3, 3), dtype="float32", padding=1, layout="NCHW")
    equal(joined[:, 4:].numpy(), reference.conv2d(problem, X.transpose(0, 3, 1, 2), weight.numpy()))


def test_residual_is_the_output(engine):
    residual = numbers(CONV_Y.shape, seed=5)
    problem = Conv2dProblem.make(X.shape, WEIGHT.shape, dtype="float32", padding=1, stride=2, residual=True, activation="relu")
    expected = reference.conv2d(problem, X, WEIGHT, residual=residual)
    y = atrous.conv2d(X, WEIGHT, padding=1, stride=2, activation="relu", residual=residual, out=residual, engine=engine)
    assert y is residual
    equal(residual, expected)


def test_pair_of_outputs(engine):
    y, index = np.zeros_like(POOL_Y), np.zeros(POOL_Y.shape, "int32")
    answer = atrous.max_pool2d(X, (3, 2), padding=1, return_indices=True, out=(y, index), engine=engine)
    assert answer[0] is y and answer[1] is index
    equal(y, POOL_Y)
    picked = X.reshape(2, 42, 4)[np.arange(2)[:, None, None, None], index, np.arange(4)]
    equal(picked, POOL_Y)


# Empty batches and no output channels are good calls.


@pytest.mark.parametrize("make", ["numpy", "torch", "array-api-strict"])
def test_empty_batch_and_no_filters(make, monkeypatch):
    make, _, kind = LIBRARIES[make]()
    for entry in ("conv2d", "pool2d"):
        monkeypatch.setattr(arrays, entry, None)  # nothing may run
    none = make(np.zeros((0, 7, 6, 4), "float32"))
    y = atrous.conv2d(none, make(WEIGHT), make(BIAS), padding=1, stride=2)
    assert isinstance(y, kind) and tuple(y.shape) == (0, *CONV_Y.shape[1:])
    y = atrous.conv2d(make(X), make(WEIGHT[:0]), make(BIAS[:0]))
    assert isinstance(y, kind) and tuple(y.shape) == (2, 5, 5, 0)
    out = make(np.zeros((0, 3, 3, 4), "float32"))
    assert atrous.avg_pool2d(none, 2, out=out) is out
    y, index = atrous.max_pool2d(none, 2, return_indices=True)
    assert tuple(y.shape) == tuple(index.shape) == (0, 3, 3, 4)
    for pool in (atrous.lp_pool2d, atrous.l2_pool2d, atrous.rms_pool2d, atrous.weighted_avg_pool2d):
        assert tuple(pool(none, (3, 2)).shape) == (0, 2, 3, 4)
    plan = atrous.plan_conv2d((0, 7, 6, 4), make(WEIGHT))
    assert tuple(plan(none).shape) == (0, 5, 5, 3)


# Libraries are loaded at first sight, and only then.


def test_numpy_users_import_no_other_library():
    code = (
        "import sys, numpy as np, atrous\n"
        "x = np.ones((1, 4, 4, 1), 'float32')\n"
        "atrous.conv2d(x, np.ones((1, 3, 3, 1), 'float32')); atrous.max_pool2d(x, 2)\n"
        "print(sorted({'torch', 'cupy', 'jax', 'array_api_strict', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
