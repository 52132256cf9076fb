"""What is asked of a pooling: Pool2dProblem, its checks and derived sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from . import arguments as arg
from .errors import ProblemError, UnsupportedProblem, sentence
from .window import WindowGeometry, resolved_pads


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
        self._check_channels(0)
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
        least_channels: int = 1,
        **options: Any,
    ) -> Pool2dProblem:
        """Return the problem that these user arguments mean; `options` are the fields of its kind. What a convolution gives may have no channels."""
        name = operation or f"{kind}_pool2d"
        arg.one_of(name, "layout", layout, arg.LAYOUTS)
        x = dict(zip(layout, arg.shape4(name, "x", x_shape, layout)))
        options["ceil_mode"] = ceil_mode
        arg.pool_options(name, options)
        dilations = arg.dilation_pair(name, dilation)
        taps = arg.window_size(name, window)
        size = (max(1, x["H"]), max(1, x["W"])) if taps is None else taps
        strides = size if stride is None else arg.stride_pair(name, stride)
        pads = resolved_pads(name, padding, (x["H"], x["W"]), size, strides, dilations)
        if taps is None:
            for word, value, given in (("stride", strides, stride is not None), ("padding", padding, any(pads)), ("dilation", dilations, dilations != (1, 1))):
                if given:
                    raise ProblemError(
                        sentence(name, f"window is 'global' and {word} is {arg.shown(value)}", f"no {word} (there is one window)", f"drop {word}=")
                    )
        made = cls(
            n=x["N"], h=x["H"], w=x["W"], c=x["C"], r=size[0], s=size[1], stride=strides, dilation=dilations, pads=pads,
            kind=kind, dtype=dtype, layout=layout, **options,
        )  # fmt: skip
        made._check_channels(least_channels)
        return made

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
