"""Tap weights of distance-weighted averages, as pure formulas in the standard library."""

from __future__ import annotations

import math

from .geometry import dilated_extent

TapWeights = tuple[tuple[float, ...], ...]

#: Only ratios of weights count. Tables whose largest weight is not within 2^+-64 get a common factor: float32 ends at 2^+-127.
RANGE_BITS = 64
#: A gaussian's weight is at least this part of the largest: less would vanish in float32, and where a map's edge leaves a
#: window such taps alone, their average would be 0 / 0. Beside an ordinary tap it changes no bit.
LEAST_PART = 2.0**-100


def default_sigma(window: tuple[int, int], dilation: tuple[int, int]) -> float:
    """Return the sigma that a window of this size gets when none is given, in input cells.

    0.3 * ((extent - 1) * 0.5 - 1) + 0.8 with the larger dilated extent: the rule that OpenCV documents for
    getGaussianKernel.
    """
    extent = max(dilated_extent(size, step) for size, step in zip(window, dilation, strict=False))
    return 0.3 * ((extent - 1) * 0.5 - 1) + 0.8


def tap_weights(weighting: str, window: tuple[int, int], dilation: tuple[int, int] = (1, 1), sigma: float | None = None) -> TapWeights:
    """Return the R x S weights of a window, not normalised.

    Parameters
    ----------
    weighting : str
        "gaussian": exp(-d^2 / (2 sigma^2)); "inverse": 1 / (1 + d); "binomial": the product of the binomial
        coefficients of row and column. d is the tap's distance in input cells from the centre of the window, so
        dilation stretches the first two and leaves the third alone. A table whose largest weight would be beyond
        2^64 or below 2^-64 is divided by a common factor, and a gaussian's weights below 2^-100 are 2^-100.
    window, dilation : tuple of int
        (R, S) and the step between taps along the rows and the columns.
    sigma : float, optional
        Of "gaussian", in input cells; default `default_sigma(window, dilation)`.

    Returns
    -------
    tuple of R tuples of S floats
    """
    rows, columns = window
    if weighting == "binomial":
        row_factors, column_factors = ([math.comb(taps - 1, t) for t in range(taps)] for taps in window)
        unit = 1 << max(0, (max(row_factors) * max(column_factors)).bit_length() - RANGE_BITS)
        return tuple(tuple(row * column / unit for column in column_factors) for row in row_factors)
    if weighting not in ("gaussian", "inverse"):
        raise ValueError(f"weighting {weighting!r} has no formula; 'gaussian', 'inverse' and 'binomial' have")
    width = default_sigma(window, dilation) if sigma is None else sigma
    nearest = math.hypot((rows + 1) % 2 / 2 * dilation[0], (columns + 1) % 2 / 2 * dilation[1])
    if nearest < width * math.sqrt(2 * RANGE_BITS * math.log(2)):
        nearest = 0.0  # exp(-nearest^2 / (2 sigma^2)) is far from vanishing

    def weight(r: int, s: int) -> float:
        distance = math.hypot((r - (rows - 1) / 2) * dilation[0], (s - (columns - 1) / 2) * dilation[1])
        if weighting == "inverse":
            return 1 / (1 + distance)
        return max(math.exp(-((distance - nearest) / width) * ((distance + nearest) / width) / 2), LEAST_PART)

    return tuple(tuple(weight(r, s) for s in range(columns)) for r in range(rows))
