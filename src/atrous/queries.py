"""Questions that run nothing: output sizes, explanations, and indices in other frameworks' conventions."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import arguments as arg
from .choose import Explanation, explain_case
from .errors import ProblemError, sentence
from .geometry import arithmetic, axis_output, axis_pads
from .interop import library_of
from .plan import Plan
from .problem import PAIRS, Conv2dProblem, ElementwiseProblem, Pool2dProblem
from .routes import cuda_architecture


def output_size(size: int, kernel: int, *, stride: int = 1, padding: Any = "valid", dilation: int = 1, ceil_mode: bool = False) -> int:
    """Return how many windows fit along one axis: floor((I + p0 + p1 - Ke) / S) + 1 with Ke = D*(K-1)+1.

    Parameters
    ----------
    size, kernel : int >= 1
        Input cells and taps along the axis.
    stride, dilation : int >= 1
    padding : int, (low, high), "valid", "same", "same_lower", "full" or "causal"
    ceil_mode : bool, default False
        Round up, less one where the last window would start beyond the input and its low padding.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ProblemError
        If an argument makes no sense or no window fits; the message shows the arithmetic.

    Notes
    -----
    The formula is that of Dumoulin and Visin, arXiv:1603.07285, with dilation.

    Examples
    --------
    >>> import atrous
    >>> atrous.output_size(28, 3, padding=1, stride=3)
    10
    """
    name = "output_size"
    cells, taps = arg.integer(name, "size", size, 1), arg.integer(name, "kernel", kernel, 1)
    step, spread = arg.integer(name, "stride", stride, 1), arg.integer(name, "dilation", dilation, 1, " (1 means dense)")
    pads = axis_pads(cells, taps, step, spread, arg.axis_padding(name, "padding", padding))
    outputs = axis_output(cells, taps, step, spread, pads, arg.flag(name, "ceil_mode", ceil_mode))
    if outputs < 1:
        raise ProblemError(sentence(name, arithmetic(cells, taps, step, spread, pads), "at least 1", "use a smaller window, less dilation or more padding"))
    return outputs


def explain(case_or_plan: Any, device: Any = None) -> Explanation:
    """Return which kernel takes a problem and why each other one declines, as text with `.rows`.

    Parameters
    ----------
    case_or_plan : str, problem or Plan
        A case string such as "n1c64h56w56_k64r3s3_pad1_f16", a problem, or a plan.
    device : str or int, optional
        "sm_80", "sm_90" ... needs no GPU; an index asks that CUDA device. Default: a plan's own device, else "sm_80".

    Returns
    -------
    Explanation
        A str; `.rows` has a dict a kernel: kernel, chosen, reason, microseconds (an estimate), launch.

    Raises
    ------
    ProblemError
        If the case string or the device's name makes no sense.
    EngineUnavailable
        If an index is given and no such CUDA device is there.

    Examples
    --------
    >>> import atrous
    >>> [row["kernel"] for row in atrous.explain("n1c64h56w56_k64r1s1_f16", "sm_80").rows if row["chosen"]]
    ['conv_igemm_sm80']
    """
    if isinstance(case_or_plan, Plan):
        if device is None:
            return case_or_plan.explain()
        case_or_plan = case_or_plan.problem
    if not isinstance(case_or_plan, (str, Conv2dProblem, Pool2dProblem, *PAIRS, ElementwiseProblem)):
        came = f"case_or_plan is of type {type(case_or_plan).__name__}"
        raise ProblemError(sentence("explain", came, "a case string, a problem or a Plan", "pass for example 'n1c64h56w56_k64r3s3_pad1_f16'"))
    if device is not None and not isinstance(device, str):
        device = cuda_architecture(arg.integer("explain", "device", device, 0))
    return explain_case(case_or_plan, device)


def indices_to_onnx(indices: Any, x_shape: Any, *, layout: str = "NHWC", storage_order: int = 0) -> Any:
    """Return max-pooling indices as ONNX's MaxPool counts them: over the whole N x C x H x W tensor.

    Parameters
    ----------
    indices : array of offsets h*W+w, as `max_pool2d(..., return_indices=True)` gives them
    x_shape : four ints
        Shape of the input that was pooled, in `layout`.
    storage_order : 0 or 1
        ONNX's attribute: 0 counts a plane row by row, 1 column by column.

    Returns
    -------
    int64 array of the shape of `indices`: (n*C + c)*H*W + h*W + w, or w*H + h for storage_order 1.

    Raises
    ------
    ProblemError
        If indices and x_shape do not fit together.
    """
    plane, n, c, sizes = _plane(indices, x_shape, layout, "indices_to_onnx")
    order = arg.integer("indices_to_onnx", "storage_order", storage_order, 0)
    if order > 1:
        raise ProblemError(sentence("indices_to_onnx", f"storage_order is {order}", "0 or 1", "pass 0 for rows first"))
    if order == 1:
        plane = plane % sizes["W"] * sizes["H"] + plane // sizes["W"]
    return _like(indices, (n * sizes["C"] + c) * (sizes["H"] * sizes["W"]) + plane)


def indices_to_tf(indices: Any, x_shape: Any, *, layout: str = "NHWC", include_batch: bool = False) -> Any:
    """Return max-pooling indices as TensorFlow's max_pool_with_argmax counts them: (h*W + w)*C + c, channels last.

    Parameters
    ----------
    indices : array of offsets h*W+w, as `max_pool2d(..., return_indices=True)` gives them
    x_shape : four ints
        Shape of the input that was pooled, in `layout`.
    include_batch : bool, default False
        TensorFlow's include_batch_in_index: add n*H*W*C.

    Returns
    -------
    int64 array of the shape of `indices`

    Raises
    ------
    ProblemError
        If indices and x_shape do not fit together.
    """
    plane, n, c, sizes = _plane(indices, x_shape, layout, "indices_to_tf")
    batch = n * (sizes["H"] * sizes["W"] * sizes["C"]) if arg.flag("indices_to_tf", "include_batch", include_batch) else 0
    return _like(indices, plane * sizes["C"] + c + batch)


def _plane(indices: Any, x_shape: Any, layout: str, operation: str) -> tuple[Any, Any, Any, dict[str, int]]:
    arg.one_of(operation, "layout", layout, arg.LAYOUTS)
    library = library_of(operation, "indices", indices)
    dtype = str(getattr(indices, "dtype", "int32")).rpartition(".")[2]  # "torch.int32", "array_api_strict.int32"; DLPack alone names none
    operand = library.operand(operation, "indices", indices) if dtype in ("int32", "int64") else None
    if operand is None or operand.dtype not in ("int32", "int64"):
        raise ProblemError(sentence(operation, f"indices has dtype {dtype}", "int32 or int64", "pass the indices that max_pool2d gave"))
    sizes = dict(zip(layout, arg.shape4(operation, "x", x_shape, layout)))
    axes = dict(zip(layout, operand.shape)) if len(operand.shape) == 4 else {}
    if axes.get("N") != sizes["N"] or axes.get("C") != sizes["C"]:
        came = f"indices has shape {operand.shape} and x {tuple(x_shape)} ({layout})"
        raise ProblemError(sentence(operation, came, "indices with x's N and C", "pass the indices and the shape of one call"))
    tables = []
    for letter in "NC":
        shape = [sizes[letter] if axis == letter else 1 for axis in layout]
        tables.append(library.computable(library.constant(np.arange(sizes[letter]).reshape(shape), "int64", operand)))
    return library.computable(operand) + 0 * tables[0], tables[0], tables[1], sizes


def _like(indices: Any, values: Any) -> Any:
    library = library_of("indices", "indices", indices)
    operand = library.operand("indices", "indices", indices)
    made = library.empty(operand.shape, "int64", operand)
    library.computable(library.made("indices", made, operand))[...] = values
    return library.result("indices", made)
