"""atrous: hand-written CUDA kernels for convolution and pooling, with a NumPy and CuPy array path.

Importing it needs no GPU, no driver and no CuPy. What it exports is loaded at first use, with NumPy, so that importing it costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import AtrousError, CudaError, EngineUnavailable, OutOfMemory, ProblemError, UnsupportedProblem

if TYPE_CHECKING:
    from .conv_pool import conv2d_pool2d, plan_conv2d_pool2d
    from .elementwise import add, to_nchw, to_nhwc
    from .ops import conv2d
    from .plan import Plan
    from .planners import plan_conv2d, plan_pool2d
    from .pools import avg_pool2d, l2_pool2d, lp_pool2d, max_pool2d, rms_pool2d
    from .problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem, parse
    from .queries import explain, indices_to_onnx, indices_to_tf, output_size
    from .routes import engine_reasons
    from .separable import plan_separable_conv2d, separable_conv2d
    from .weighted_pool import weighted_avg_pool2d

__all__ = [
    "AtrousError",
    "Conv2dProblem",
    "ConvPool2dProblem",
    "CudaError",
    "ElementwiseProblem",
    "EngineUnavailable",
    "OutOfMemory",
    "Plan",
    "Pool2dProblem",
    "ProblemError",
    "SeparableConv2dProblem",
    "UnsupportedProblem",
    "__version__",
    "add",
    "avg_pool2d",
    "conv2d",
    "conv2d_pool2d",
    "engine_reasons",
    "explain",
    "indices_to_onnx",
    "indices_to_tf",
    "l2_pool2d",
    "lp_pool2d",
    "max_pool2d",
    "output_size",
    "parse",
    "plan_conv2d",
    "plan_conv2d_pool2d",
    "plan_pool2d",
    "plan_separable_conv2d",
    "rms_pool2d",
    "separable_conv2d",
    "to_nchw",
    "to_nhwc",
    "weighted_avg_pool2d",
]

#: public name -> the module that defines it
_HOMES = {
    "conv2d_pool2d": "conv_pool",
    "plan_conv2d_pool2d": "conv_pool",
    "add": "elementwise",
    "to_nchw": "elementwise",
    "to_nhwc": "elementwise",
    "conv2d": "ops",
    "Plan": "plan",
    "plan_conv2d": "planners",
    "plan_pool2d": "planners",
    "avg_pool2d": "pools",
    "l2_pool2d": "pools",
    "lp_pool2d": "pools",
    "max_pool2d": "pools",
    "rms_pool2d": "pools",
    "Conv2dProblem": "problem",
    "ConvPool2dProblem": "problem",
    "ElementwiseProblem": "problem",
    "Pool2dProblem": "problem",
    "SeparableConv2dProblem": "problem",
    "parse": "problem",
    "explain": "queries",
    "indices_to_onnx": "queries",
    "indices_to_tf": "queries",
    "output_size": "queries",
    "engine_reasons": "routes",
    "plan_separable_conv2d": "separable",
    "separable_conv2d": "separable",
    "weighted_avg_pool2d": "weighted_pool",
}


def __getattr__(name: str) -> Any:
    """Return what is loaded or looked up when it is asked for: a public name from its module, or the version, which takes long to look up."""
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        return value
    if name != "__version__":
        raise AttributeError(f"module 'atrous' has no attribute {name!r}")
    from importlib import metadata

    try:
        return metadata.version("atrous")
    except metadata.PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
