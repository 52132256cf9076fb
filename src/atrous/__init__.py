"""atrous: hand-written CUDA kernels for convolution and pooling, with a NumPy and CuPy array path.

Importing it needs no GPU, no driver and no CuPy.
"""

from __future__ import annotations

from .conv_pool import conv2d_pool2d, plan_conv2d_pool2d
from .errors import AtrousError, CudaError, EngineUnavailable, OutOfMemory, ProblemError, UnsupportedProblem
from .ops import conv2d
from .plan import Plan
from .planners import plan_conv2d, plan_pool2d
from .pools import avg_pool2d, l2_pool2d, lp_pool2d, max_pool2d, rms_pool2d
from .problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem, parse
from .queries import explain, indices_to_onnx, indices_to_tf, output_size
from .routes import engine_reasons
from .weighted_pool import weighted_avg_pool2d

__all__ = [
    "AtrousError",
    "Conv2dProblem",
    "ConvPool2dProblem",
    "CudaError",
    "EngineUnavailable",
    "OutOfMemory",
    "Plan",
    "Pool2dProblem",
    "ProblemError",
    "UnsupportedProblem",
    "__version__",
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
    "rms_pool2d",
    "weighted_avg_pool2d",
]


def __getattr__(name: str) -> str:
    """Return the version, looked up when asked for: the module that knows it takes a seventh of the time to import all of atrous."""
    if name != "__version__":
        raise AttributeError(f"module 'atrous' has no attribute {name!r}")
    from importlib import metadata

    try:
        return metadata.version("atrous")
    except metadata.PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
