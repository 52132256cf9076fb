"""What is asked of an operation on single elements: another order in memory or another dtype (to_nhwc, to_nchw), or a sum (add)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from . import arguments as arg
from .casestring import ELEMENTWISE_VERBS, format_case
from .errors import ProblemError, sentence


@dataclass(frozen=True)
class ElementwiseProblem:
    """y = activation(x + other), or y = x, in y's layout and dtype; resolved and hashable. Build it with `make` or `parse`."""

    n: int
    h: int
    w: int
    c: int
    dtype: str = "float32"  # of x and other
    out_dtype: str = ""  # "" : that of x
    layout: str = "NHWC"  # of x and other
    out_layout: str = ""  # "" : that of x
    other: bool = False
    activation: tuple[Any, ...] = ("none",)

    def __post_init__(self) -> None:
        name = self._operation
        arg.one_of(name, "layout", self.layout, arg.LAYOUTS)
        arg.one_of(name, "dtype of x", self.dtype, arg.INPUT_DTYPES, "convert x to one of these")
        for word, value in (("out_dtype", self.dtype), ("out_layout", self.layout)):
            if not getattr(self, word):
                object.__setattr__(self, word, value)
        arg.one_of(name, "out_dtype", self.out_dtype, arg.INPUT_DTYPES, "pass out_dtype=None or one of these")
        arg.one_of(name, "out_layout", self.out_layout, arg.LAYOUTS)
        if self.other == (self.layout != self.out_layout):
            came = f"x is {self.layout}, y is {self.out_layout} and other is {'given' if self.other else 'missing'}"
            raise ProblemError(sentence(name, came, "one layout for a sum, and two without one", "build it with make"))
        if self.activation != ("none",) and not self.other:
            raise ProblemError(sentence(name, f"activation is {self.activation!r}", "none where nothing is added", "drop activation="))
        if math.prod(self.x_shape) >= 2**60:
            raise ProblemError(sentence(name, f"x has shape {self.x_shape}", "fewer than 2^60 elements (offsets are 64-bit)", "split the batch"))

    @property
    def verb(self) -> str:
        """The word of the case string: one of ELEMENTWISE_VERBS."""
        return "add" if self.other else f"to{self.out_layout.lower()}"

    @property
    def _operation(self) -> str:
        return "add" if self.other else f"to_{(self.out_layout or self.layout).lower()}"

    @classmethod
    def make(cls, x_shape: Any, verb: str, *, dtype: str, out_dtype: str | None = None, layout: str = "NHWC", activation: Any = None) -> ElementwiseProblem:
        """Return the problem that these user arguments mean, or raise ProblemError; `layout` is that of a sum's arrays."""
        name = {"tonhwc": "to_nhwc", "tonchw": "to_nchw"}.get(verb, "add")
        arg.one_of(name, "verb", verb, ELEMENTWISE_VERBS)
        arg.one_of(name, "layout", layout, arg.LAYOUTS)
        out_layout = layout if verb == "add" else verb.removeprefix("to").upper()
        source = layout if verb == "add" else {"NHWC": "NCHW", "NCHW": "NHWC"}[out_layout]
        x = dict(zip(source, arg.shape4(name, "x", x_shape, source)))
        return cls(
            n=x["N"], h=x["H"], w=x["W"], c=x["C"], dtype=dtype, out_dtype=out_dtype or "", layout=source, out_layout=out_layout,
            other=verb == "add", activation=arg.activation_tuple(name, activation),
        )  # fmt: skip

    def _shape(self, layout: str) -> tuple[int, int, int, int]:
        sizes = {"N": self.n, "H": self.h, "W": self.w, "C": self.c}
        n, a, b, c = (sizes[letter] for letter in layout)
        return n, a, b, c

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Shape of x, and of other."""
        return self._shape(self.layout)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output in its own layout."""
        return self._shape(self.out_layout)

    @property
    def flops(self) -> int:
        """Additions and activations; 0 where elements only move."""
        return self.n * self.h * self.w * self.c * (self.other + (self.activation != ("none",)))

    def __str__(self) -> str:
        return format_case(self)
