"""What is asked: Conv2dProblem and Pool2dProblem, every check of shapes and words, and the derived sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from . import arguments as arg
from .casestring import split_case
from .errors import ProblemError, UnsupportedProblem, sentence
from .geometry import AxisPadding, axis_pads
from .window import WindowGeometry

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
        pads = _pads(operation, padding, (x["H"], x["W"]), (weight["R"], weight["S"]), strides, dilations)
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
class Pool2dProblem(WindowGeometry):
    """One pooling, fully resolved and hashable. Build it with `Pool2dProblem.make`, `parse`, or the public functions."""

    kind: str  # max, avg, lp, rms, weighted
    ceil_mode: bool = False
    dtype: str = "float32"
    layout: str = "NHWC"
    nan: str = "propagate"  # max
    return_indices: bool = False  # max
    count_include_pad: bool = False  # avg
    divisor: float | None = None  # avg
    power: float = 2.0  # lp
    weighting: str = ""  # weighted: gaussian, inverse, binomial, custom
    sigma: float | None = None  # weighted: gaussian, in input cells
    normalize: str = "valid"  # weighted

    KINDS = ("max", "avg", "lp", "rms", "weighted")
    #: option -> the one kind it belongs to
    _OPTION_OF: ClassVar[dict[str, str]] = {
        "nan": "max",
        "return_indices": "max",
        "count_include_pad": "avg",
        "divisor": "avg",
        "power": "lp",
        "weighting": "weighted",
        "sigma": "weighted",
        "normalize": "weighted",
    }

    def __post_init__(self) -> None:
        name = self._operation
        arg.one_of(name, "kind", self.kind, self.KINDS)
        arg.one_of(name, "layout", self.layout, arg.LAYOUTS)
        arg.one_of(name, "dtype of x", self.dtype, arg.INPUT_DTYPES, "convert x to one of these")
        arg.one_of(name, "nan", self.nan, arg.NAN_POLICIES)
        arg.one_of(name, "normalize", self.normalize, arg.NORMALIZATIONS)
        if self.kind == "weighted":
            arg.one_of(name, "weights", self.weighting, arg.WEIGHTINGS)
        for word, allowed in self._OPTION_OF.items():
            default = next(f.default for f in fields(self) if f.name == word)
            if self.kind != allowed and getattr(self, word) != default:
                said = {"power": "p", "weighting": "weights"}.get(word, word)
                raise ProblemError(sentence(name, f"{said} is {getattr(self, word)!r}", f"{said} only in {allowed} pooling", f"drop {said}="))
        smallest, largest = (0.0, math.inf) if self.dtype == "float64" else (2.0**-126, (2 - 2.0**-23) * 2.0**127)  # what its accumulator holds in full
        if self.divisor is not None and not (smallest <= abs(self.divisor) <= largest and 0 < abs(self.divisor) < math.inf):
            expected = "a finite number that is not 0" + ("" if self.dtype == "float64" else " and lies in float32's range")
            raise ProblemError(sentence(name, f"divisor is {self.divisor:g}", expected, "pass divisor=None to count the taps"))
        if not self.power > 0:
            raise ProblemError(sentence(name, f"p is {self.power:g}", "a real p > 0, or inf for max |x|", "use p=1 for sums of |x|; p = 0 has no norm"))
        if self.sigma is not None and not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ProblemError(sentence(name, f"sigma is {self.sigma:g}", "a finite number > 0 (input cells)", "pass sigma=None for the default"))
        self._check_window()
        if self.kind != "max" and self.dtype not in arg.FLOAT_DTYPES:
            raise UnsupportedProblem(
                sentence(
                    name,
                    f"x is {self.dtype}",
                    f"one of {', '.join(arg.FLOAT_DTYPES)} (the mean of integers is no integer)",
                    "cast x first; only max_pool2d takes int8 and uint8",
                )
            )
        self._check_empty()

    @property
    def _operation(self) -> str:
        return {"weighted": "weighted_avg_pool2d"}.get(self.kind, f"{self.kind}_pool2d")

    @property
    def _ceil(self) -> bool:
        return self.ceil_mode

    def _check_empty(self) -> None:
        divides_by_real = self.kind in ("max", "rms") or (self.kind == "avg" and self.divisor is None and not self.count_include_pad)
        if not divides_by_real and not (self.kind == "weighted" and self.normalize == "valid"):
            return
        empty = self.empty_window()
        if empty is not None:
            raise ProblemError(
                sentence(
                    self._operation,
                    f"window {empty[1]} along the {empty[0]} lies wholly in padding {self.pads} (top, bottom, left, right)",
                    "every window to hold a real cell (nothing else has a maximum or a mean)",
                    "pad less, or use a larger window",
                )
            )

    @classmethod
    def make(
        cls,
        x_shape: Any,
        window: Any,
        kind: str,
        *,
        dtype: str,
        stride: Any = None,
        padding: Any = "valid",
        dilation: Any = 1,
        ceil_mode: bool = False,
        layout: str = "NHWC",
        operation: str | None = None,
        **options: Any,
    ) -> Pool2dProblem:
        """Return the problem that these user arguments mean; `options` are the fields of its kind."""
        name = operation or f"{kind}_pool2d"
        arg.one_of(name, "layout", layout, arg.LAYOUTS)
        x = dict(zip(layout, arg.shape4(name, "x", x_shape, layout)))
        options["ceil_mode"] = ceil_mode
        arg.pool_options(name, options)
        dilations = arg.dilation_pair(name, dilation)
        taps = arg.window_size(name, window)
        size = (max(1, x["H"]), max(1, x["W"])) if taps is None else taps
        strides = size if stride is None else arg.stride_pair(name, stride)
        pads = _pads(name, padding, (x["H"], x["W"]), size, strides, dilations)
        if taps is None:
            for word, value, given in (("stride", strides, stride is not None), ("padding", padding, any(pads)), ("dilation", dilations, dilations != (1, 1))):
                if given:
                    raise ProblemError(
                        sentence(name, f"window is 'global' and {word} is {arg.shown(value)}", f"no {word} (there is one window)", f"drop {word}=")
                    )
        return cls(
            n=x["N"], h=x["H"], w=x["W"], c=x["C"], r=size[0], s=size[1], stride=strides, dilation=dilations, pads=pads,
            kind=kind, dtype=dtype, layout=layout, **options,
        )  # fmt: skip

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output, and of the indices, in this problem's layout."""
        return self._shape(self.p, self.q, self.c)

    @property
    def out_dtype(self) -> str:
        """Dtype of the output: that of x."""
        return self.dtype

    @property
    def index_dtype(self) -> str:
        """Dtype of the indices: int32 where h*W+w fits, else int64."""
        return "int32" if self.h * self.w < 2**31 else "int64"

    @property
    def flops(self) -> int:
        """Reduction steps, one a tap."""
        return self.n * self.p * self.q * self.c * self.r * self.s


def _pads(
    operation: str, padding: Any, sizes: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    axes: tuple[AxisPadding, AxisPadding] = arg.padding_axes(operation, padding)
    rows, columns = (axis_pads(*axis) for axis in zip(sizes, window, stride, dilation, axes))
    return (*rows, *columns)


def parse(case: str) -> Conv2dProblem | Pool2dProblem:
    """Return the problem that a case string describes; parse(str(problem)) == problem."""
    conv, shape, window, options = split_case(case)
    if conv:
        order = options.get("weight_layout") or WEIGHT_LAYOUT[options.get("layout", "NHWC")]
        sizes = {**window, "C": shape["C"] // max(1, options.get("groups", 1))}
        weight_shape = tuple(sizes[letter] for letter in order)
        x_shape = tuple(shape[letter] for letter in options.get("layout", "NHWC"))
        return Conv2dProblem.make(x_shape, weight_shape, **options)
    x_shape = tuple(shape[letter] for letter in options.get("layout", "NHWC"))
    size = "global" if window is None else (window["R"], window["S"])
    return Pool2dProblem.make(x_shape, size, **options)
