"""What is asked: Conv2dProblem, the pairs ConvPool2dProblem and SeparableConv2dProblem, their checks and sizes; and parse of every problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import arguments as arg
from .casestring import format_case, split_case, split_elementwise, split_pair, split_separable
from .elementwise_problem import ElementwiseProblem
from .errors import ProblemError, UnsupportedProblem, sentence
from .pool_problem import Pool2dProblem
from .window import WindowGeometry, resolved_pads

__all__ = ["PAIRS", "WEIGHT_LAYOUT", "Conv2dProblem", "ConvPool2dProblem", "ElementwiseProblem", "Pool2dProblem", "SeparableConv2dProblem", "parse"]

WEIGHT_LAYOUT = {"NHWC": "KRSC", "NCHW": "KCRS"}


@dataclass(frozen=True)
class Conv2dProblem(WindowGeometry):
    """One convolution, fully resolved and hashable. Build it with `Conv2dProblem.make`, `parse`, or the public functions."""

    k: int
    groups: int = 1
    padding_mode: str = "zeros"
    dtype: str = "float32"
    out_dtype: str = ""  # "" : that of x, or int32 for int8 and uint8
    layout: str = "NHWC"
    weight_layout: str = ""  # "" : KRSC for NHWC, KCRS for NCHW
    scale: str | None = None  # dtype name of the operand, None where there is none
    bias: str | None = None
    residual: bool = False
    activation: tuple[Any, ...] = ("none",)
    precision: str = "float32"
    zero_point: int = 0  # of x, int8 and uint8 only; padding holds it too
    out_zero_point: int = 0  # of y, int8 and uint8 only

    @property
    def _operation(self) -> str:
        return "conv2d"

    def __post_init__(self) -> None:
        arg.one_of(self._operation, "layout", self.layout, arg.LAYOUTS)
        if not self.out_dtype:
            object.__setattr__(self, "out_dtype", self.dtype if self.dtype in arg.FLOAT_DTYPES else "int32")
        if not self.weight_layout:
            object.__setattr__(self, "weight_layout", WEIGHT_LAYOUT[self.layout])
        self._check_words()
        self._check_window()
        self._check_channels()
        arg.group_count(self._operation, self.groups, self.c, self.k)
        self._check_padding_mode()

    def _check_words(self) -> None:
        name = self._operation
        arg.one_of(name, "dtype of x", self.dtype, arg.INPUT_DTYPES, "convert x and weight to one of these")
        floating = self.dtype in arg.FLOAT_DTYPES
        outputs = arg.FLOAT_DTYPES if floating else ("int32", "int8", "uint8", "float32")
        arg.one_of(name, f"out_dtype for {self.dtype}", self.out_dtype, outputs, "pass out_dtype=None or one of these")
        arg.one_of(name, "padding_mode", self.padding_mode, arg.PADDING_MODES)
        arg.one_of(name, "precision", self.precision, arg.PRECISIONS)
        if self.precision != "float32" and self.dtype != "float32":
            raise ProblemError(
                sentence(
                    name,
                    f"precision is {self.precision!r} and x is {self.dtype}",
                    "precision only with float32 arrays",
                    "drop precision= or pass float32 arrays",
                )
            )
        for operand, dtype in (("scale", self.scale), ("bias", self.bias)):
            if dtype is not None:
                arg.one_of(
                    name, f"dtype of {operand}", dtype, arg.FLOAT_DTYPES if floating else (*arg.FLOAT_DTYPES, "int32"), f"convert {operand} to one of these"
                )
        ranges = {"int8": (-128, 127), "uint8": (0, 255)}
        for word, value, dtype in (("zero_point", self.zero_point, self.dtype), ("out_zero_point", self.out_zero_point, self.out_dtype)):
            low, high = ranges.get(dtype, (0, 0))
            if not low <= value <= high:
                raise ProblemError(sentence(name, f"{word} is {value} with {dtype}", f"{low} to {high}" if high else "0", "pass 0, or arrays of int8 or uint8"))

    def _check_padding_mode(self) -> None:
        if self.padding_mode in ("zeros", "replicate"):
            return
        for axis, size, pads in (("rows", self.h, self.pads[:2]), ("columns", self.w, self.pads[2:])):
            most = size - 1 if self.padding_mode == "reflect" else size
            if max(pads) > most:
                raise ProblemError(
                    sentence(
                        self._operation,
                        f"padding_mode {self.padding_mode!r} with padding {pads} on {size} {axis}",
                        f"at most {most} cells of padding (that is all there is to copy)",
                        "pad less, or use padding_mode='replicate' or 'zeros'",
                    )
                )

    @classmethod
    def make(
        cls,
        x_shape: Any,
        weight_shape: Any,
        *,
        dtype: str,
        stride: Any = 1,
        padding: Any = "valid",
        dilation: Any = 1,
        groups: Any = 1,
        padding_mode: str = "zeros",
        layout: str = "NHWC",
        weight_layout: str | None = None,
        scale: str | None = None,
        bias: str | None = None,
        residual: bool = False,
        activation: Any = None,
        precision: str = "float32",
        out_dtype: str | None = None,
        zero_point: int = 0,
        out_zero_point: int = 0,
        operation: str = "conv2d",
    ) -> Conv2dProblem:
        """Return the problem that these user arguments mean, or raise ProblemError before anything runs."""
        arg.one_of(operation, "layout", layout, arg.LAYOUTS)
        order = arg.letters(operation, "weight_layout", weight_layout or WEIGHT_LAYOUT[layout], "KRSC")
        x = dict(zip(layout, arg.shape4(operation, "x", x_shape, layout)))
        weight = dict(zip(order, arg.shape4(operation, "weight", weight_shape, order)))
        count = arg.group_count(operation, groups, x["C"], weight["K"])
        per_group = weight["C"]
        if per_group * count != x["C"]:
            raise ProblemError(
                sentence(
                    operation,
                    f"weight has shape {tuple(weight_shape)} ({order}) with {per_group} input channels a filter; x has C = {x['C']} and groups = {count}",
                    f"C/groups = {x['C']}/{count} = {x['C'] / count:g} input channels a filter",
                    "pass matching arrays, groups= or weight_layout=",
                )
            )
        if weight["R"] < 1 or weight["S"] < 1:
            raise ProblemError(
                sentence(operation, f"weight has shape {tuple(weight_shape)} ({order})", "at least one row and one column", "pass a filter with taps")
            )
        strides, dilations = arg.stride_pair(operation, stride), arg.dilation_pair(operation, dilation)
        pads = resolved_pads(operation, padding, (x["H"], x["W"]), (weight["R"], weight["S"]), strides, dilations)
        return cls(
            n=x["N"], h=x["H"], w=x["W"], c=x["C"], k=weight["K"], r=weight["R"], s=weight["S"],
            stride=strides, dilation=dilations, pads=pads, groups=count, padding_mode=padding_mode, dtype=dtype,
            out_dtype=out_dtype or "", layout=layout, weight_layout=order, scale=scale, bias=bias, residual=residual,
            activation=arg.activation_tuple(operation, activation), precision=precision,
            zero_point=arg.integer(operation, "zero_point", zero_point),
            out_zero_point=arg.integer(operation, "out_zero_point", out_zero_point),
        )  # fmt: skip

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of weight in `weight_layout`."""
        sizes = {"K": self.k, "R": self.r, "S": self.s, "C": self.c // self.groups}
        return tuple(sizes[letter] for letter in self.weight_layout)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output in this problem's layout."""
        return self._shape(self.p, self.q, self.k)

    @property
    def flops(self) -> int:
        """Floating-point operations, two per multiply-add, padding counted as real taps."""
        return 2 * self.n * self.p * self.q * self.k * self.r * self.s * (self.c // self.groups)


@dataclass(frozen=True)
class ConvPool2dProblem:
    """A pooling of what a convolution gives, rounded to its out_dtype in between. Build it with `make`, `parse`, or the public functions."""

    conv: Conv2dProblem
    pool: Pool2dProblem

    POOLS = ("max", "avg")

    def __post_init__(self) -> None:
        name = self._operation
        arg.one_of(name, "pool", self.pool.kind, self.POOLS)
        came = (self.pool.x_shape, self.pool.dtype, self.pool.layout)
        made = (self.conv.y_shape, self.conv.out_dtype, self.conv.layout)
        if came != made:
            raise ProblemError(
                sentence(name, f"the pooling reads {came} and the convolution gives {made}", "one shape, dtype and layout", "build it with make")
            )
        if self.pool.return_indices:
            raise ProblemError(sentence(name, "the pooling returns indices", "values alone", "call conv2d, then max_pool2d with return_indices=True"))

    @property
    def _operation(self) -> str:
        return "conv2d_pool2d"

    @classmethod
    def make(cls, conv: Conv2dProblem, window: Any, pool: str, **options: Any) -> ConvPool2dProblem:
        """Return the pooling of `conv` that these words of a pooling mean, or raise ProblemError before anything runs."""
        name = "conv2d_pool2d"
        arg.one_of(name, "pool", pool, cls.POOLS)
        if conv.out_dtype == "int32":
            raise ProblemError(
                sentence(name, f"the convolution of {conv.dtype} gives int32", "what a pooling takes", "pass out_dtype='int8', 'uint8' or 'float32'")
            )
        try:
            pooling = Pool2dProblem.make(conv.y_shape, window, pool, dtype=conv.out_dtype, layout=conv.layout, least_channels=0, **options)
        except (ProblemError, UnsupportedProblem) as failure:
            said = str(failure).removeprefix(f"[{pool}_pool2d] ")
            raise type(failure)(f"[{name}] of the pooling, whose x is the convolution's {conv.y_shape}: {said}") from None
        return cls(conv, pooling)

    def __getattr__(self, name: str) -> Any:
        """Return what the convolution says of the operands: x_shape, weight_shape, dtype, layout, k, groups, scale, bias, residual ..."""
        if name.startswith("_") or name in ("conv", "pool"):
            raise AttributeError(name)
        return getattr(self.conv, name)

    @property
    def parts(self) -> tuple[Conv2dProblem, Pool2dProblem]:
        """The two, in the order in which they run."""
        return self.conv, self.pool

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output in this problem's layout."""
        return self.pool.y_shape

    @property
    def flops(self) -> int:
        """Floating-point operations of the convolution and reduction steps of the pooling."""
        return self.conv.flops + self.pool.flops

    def __str__(self) -> str:
        return format_case(self)


@dataclass(frozen=True)
class SeparableConv2dProblem:
    """A depthwise convolution and the 1x1 of what it gives, rounded to its out_dtype in between. Build it with `make` or `parse`."""

    depthwise: Conv2dProblem
    pointwise: Conv2dProblem

    def __post_init__(self) -> None:
        self._check_depthwise(self.depthwise)
        name, second = self._operation, self.pointwise
        came, made = (second.x_shape, second.dtype, second.layout), (self.depthwise.y_shape, self.depthwise.out_dtype, self.depthwise.layout)
        if came != made:
            raise ProblemError(sentence(name, f"the 1x1 reads {came} and the depthwise gives {made}", "one shape, dtype and layout", "build it with make"))
        if (second.r, second.s, second.stride, second.dilation, second.pads, second.groups) != (1, 1, (1, 1), (1, 1), (0, 0, 0, 0), 1):
            form = f"{second.r}x{second.s} with stride {second.stride}, dilation {second.dilation}, padding {second.pads} and {second.groups} groups"
            raise ProblemError(sentence(name, f"the second filter is {form}", "1x1 with stride 1, no padding and one group", "call conv2d twice"))

    @classmethod
    def _check_depthwise(cls, first: Conv2dProblem) -> None:
        name = "separable_conv2d"
        if first.groups != first.c:
            came = f"the first convolution has {first.groups} groups and C = {first.c}"
            raise ProblemError(sentence(name, came, "one channel a group", "give it C groups, or call conv2d twice"))
        if first.dtype not in arg.FLOAT_DTYPES:
            raise UnsupportedProblem(sentence(name, f"x is {first.dtype}", f"one of {', '.join(arg.FLOAT_DTYPES)}", "call conv2d twice, requantised between"))
        if first.residual:
            raise ProblemError(sentence(name, "the depthwise convolution has a residual", "one of the 1x1 alone", "call conv2d twice"))

    @property
    def _operation(self) -> str:
        return "separable_conv2d"

    @classmethod
    def make(cls, depthwise: Conv2dProblem, weight_shape: Any, **options: Any) -> SeparableConv2dProblem:
        """Return the 1x1 of `depthwise` that these options of `Conv2dProblem.make` mean, or raise ProblemError before anything runs."""
        cls._check_depthwise(depthwise)
        return cls(depthwise, Conv2dProblem.make(depthwise.y_shape, weight_shape, dtype=depthwise.out_dtype, layout=depthwise.layout, **options))

    def __getattr__(self, name: str) -> Any:
        """Return what the depthwise says of x (x_shape, n, h, w, c, dtype), and what the 1x1 says of the rest (weight_shape, k, bias, y_shape ...)."""
        if name.startswith("_") or name in ("depthwise", "pointwise"):
            raise AttributeError(name)
        return getattr(self.depthwise if name in ("x_shape", "n", "h", "w", "c", "dtype") else self.pointwise, name)

    @property
    def parts(self) -> tuple[Conv2dProblem, Conv2dProblem]:
        """The two, in the order in which they run."""
        return self.depthwise, self.pointwise

    @property
    def flops(self) -> int:
        """Floating-point operations of both."""
        return self.depthwise.flops + self.pointwise.flops

    def __str__(self) -> str:
        return format_case(self)


#: problems of two parts, of which the second reads what the first gives
PAIRS = (ConvPool2dProblem, SeparableConv2dProblem)


def parse(case: str) -> Conv2dProblem | Pool2dProblem | ConvPool2dProblem | SeparableConv2dProblem | ElementwiseProblem:
    """Return the problem that a case string describes; parse(str(problem)) == problem."""
    if (separable := split_separable(case)) is not None:
        first, window, options = separable
        return _parsed_separable(_convolution(first, "the 1x1"), window, options)
    if (pair := split_pair(case)) is not None:
        first, window, options = pair
        conv = _convolution(first, "the pooling")
        return ConvPool2dProblem.make(conv, "global" if window is None else (window["R"], window["S"]), options.pop("kind"), **options)
    if (found := split_elementwise(case)) is not None:
        sizes, options = found
        layout = {"tonhwc": "NCHW", "tonchw": "NHWC"}.get(options["verb"], options.get("layout", "NHWC"))
        return ElementwiseProblem.make(tuple(sizes[letter] for letter in layout), **options)
    is_conv, shape, window, options = split_case(case)
    if is_conv:
        order = options.get("weight_layout") or WEIGHT_LAYOUT[options.get("layout", "NHWC")]
        sizes = {**window, "C": shape["C"] // max(1, options.get("groups", 1))}
        weight_shape = tuple(sizes[letter] for letter in order)
        x_shape = tuple(shape[letter] for letter in options.get("layout", "NHWC"))
        return Conv2dProblem.make(x_shape, weight_shape, **options)
    x_shape = tuple(shape[letter] for letter in options.get("layout", "NHWC"))
    size = "global" if window is None else (window["R"], window["S"])
    return Pool2dProblem.make(x_shape, size, **options)


def _convolution(case: str, what: str) -> Conv2dProblem:
    """Return the convolution of a case string before '+'."""
    found = parse(case)
    if not isinstance(found, Conv2dProblem):
        raise ProblemError(sentence("case", f"{arg.shown(case)} stands before '+'", "a convolution", f"put {what} behind"))
    return found


def _parsed_separable(depthwise: Conv2dProblem, window: dict[str, int], options: dict[str, Any]) -> SeparableConv2dProblem:
    """Return the pair of a depthwise convolution and of the words behind '+': operands of no named dtype have that of what it gives."""
    order = options.get("weight_layout") or WEIGHT_LAYOUT[depthwise.layout]
    sizes = {**window, "C": depthwise.k // max(1, options.get("groups", 1))}
    options |= {name: depthwise.out_dtype for name in ("scale", "bias") if options.get(name) == ""}
    return SeparableConv2dProblem.make(depthwise, tuple(sizes[letter] for letter in order), **options)
