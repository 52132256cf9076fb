"""A sequential graph of layers on plans: describe it once, plan it for a batch, run it, look inside, time it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import plan_conv2d, plan_conv2d_pool2d, plan_pool2d
from ..plan import Plan


@dataclass(frozen=True)
class Convolution:
    """One convolution with its bias and activation in the epilogue; `options` are keyword arguments of `plan_conv2d`."""

    name: str
    weight: Any  # (K, R, S, C/G)
    bias: Any = None  # (K,)
    options: dict[str, Any] = field(default_factory=dict)

    def plan(self, x_shape: tuple[int, ...], dtype: str, engine: str | None, convert: Any) -> Plan:
        """Return the plan for inputs of this shape; `convert` carries the weights to the array library that x will have."""
        bias = None if self.bias is None else convert(self.bias)
        return plan_conv2d(x_shape, convert(self.weight), bias, dtype=dtype, engine=engine, **self.options)


@dataclass(frozen=True)
class Pooling:
    """One pooling; `kind` is that of `plan_pool2d` ("max", "avg", "lp", ...) and `options` are its keyword arguments."""

    name: str
    window: Any
    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def plan(self, x_shape: tuple[int, ...], dtype: str, engine: str | None, convert: Any) -> Plan:
        """Return the plan for inputs of this shape."""
        return plan_pool2d(x_shape, self.window, self.kind, dtype=dtype, engine=engine, **self.options)


@dataclass(frozen=True)
class ConvolutionPooling:
    """A convolution and the pooling behind it as one layer, to the bit of the two."""

    convolution: Convolution
    pooling: Pooling

    @property
    def name(self) -> str:
        """Both names: "conv1+pool1"."""
        return f"{self.convolution.name}+{self.pooling.name}"

    def plan(self, x_shape: tuple[int, ...], dtype: str, engine: str | None, convert: Any) -> Plan:
        """Return the plan for inputs of this shape."""
        conv, pool = self.convolution, self.pooling
        words = {f"pool_{name}" if name in ("stride", "padding", "dilation") else name: value for name, value in pool.options.items() if name != "layout"}
        bias = None if conv.bias is None else convert(conv.bias)
        return plan_conv2d_pool2d(x_shape, convert(conv.weight), bias, pool=pool.kind, window=pool.window, dtype=dtype, engine=engine, **conv.options, **words)


def fused(layers: tuple[Convolution | Pooling, ...]) -> tuple[Convolution | Pooling | ConvolutionPooling, ...]:
    """Return the layers with every convolution and the maximum or average behind it, of one layout, made one."""
    found: list[Convolution | Pooling | ConvolutionPooling] = []
    for layer in layers:
        before = found[-1] if found else None
        if isinstance(layer, Pooling) and isinstance(before, Convolution) and _go_together(before, layer):
            found[-1] = ConvolutionPooling(before, layer)
        else:
            found.append(layer)
    return tuple(found)


def _go_together(conv: Convolution, pool: Pooling) -> bool:
    same_layout = conv.options.get("layout", "NHWC") == pool.options.get("layout", "NHWC")
    return pool.kind in ("max", "avg") and same_layout and not pool.options.get("return_indices", False)


@dataclass(frozen=True)
class Network:
    """Layers in order, each fed by the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> from atrous.nets.graph import Convolution, Network, Pooling
    >>> net = Network((Convolution("edges", np.ones((4, 3, 3, 1), np.float32)), Pooling("halve", 2, "max")))
    >>> net.plan((5, 8, 8, 1))(np.ones((5, 8, 8, 1), np.float32)).shape
    (5, 3, 3, 4)
    """

    layers: tuple[Convolution | Pooling, ...]

    def plan(self, x_shape: tuple[int, ...], *, dtype: str = "float32", engine: str | None = None, convert: Any = None, fuse: bool = False) -> PlannedNetwork:
        """Return the network planned for inputs of one shape.

        Parameters
        ----------
        x_shape
            Shape of the input in the layers' layout; the first number is the batch.
        dtype
            Dtype of the input, default float32.
        engine
            Engine of every layer, default the best that serves the arrays' device.
        convert
            Function that carries a NumPy weight to the library of x (``cupy.asarray`` on a GPU), default none.
        fuse
            Plan a convolution and the pooling behind it together, as `plan_conv2d_pool2d` does, to the same bits: one
            step called "conv1+pool1" where the trace has two otherwise. Default False.
        """
        steps = []
        for layer in fused(self.layers) if fuse else self.layers:
            plan = layer.plan(x_shape, dtype, engine, convert or _unchanged)
            steps.append((layer.name, plan))
            x_shape = plan.problem.y_shape
        return PlannedNetwork(tuple(steps))


@dataclass(frozen=True)
class PlannedNetwork:
    """The plans of a network for one input shape; callable."""

    steps: tuple[tuple[str, Plan], ...]

    def __call__(self, x: Any) -> Any:
        """Return the last layer's output for x."""
        for _, plan in self.steps:
            x = plan(x)
        return x

    def trace(self, x: Any) -> list[Any]:
        """Return the output of every layer for x, in order."""
        outputs = []
        for _, plan in self.steps:
            x = plan(x)
            outputs.append(x)
        return outputs


def _unchanged(array: Any) -> Any:
    return array
