"""Tap weights of distance-weighted averages, as pure formulas in the standard library."""

from __future__ import annotations

import math

from .geometry import dilated_extent

TapWeights = tuple[tuple[float, ...], ...]


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
        dilation stretches the first two and leaves the third alone.
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
        return tuple(tuple(float(math.comb(rows - 1, r) * math.comb(columns - 1, s)) for s in range(columns)) for r in range(rows))
    if weighting not in ("gaussian", "inverse"):
        raise ValueError(f"weighting {weighting!r} has no formula; 'gaussian', 'inverse' and 'binomial' have")
    width = default_sigma(window, dilation) if sigma is None else sigma

    def weight(r: int, s: int) -> float:
        distance = math.hypot((r - (rows - 1) / 2) * dilation[0], (s - (columns - 1) / 2) * dilation[1])
        if weighting == "inverse":
            return 1 / (1 + distance)
        ratio = distance / width
        return math.exp(-ratio * ratio / 2)

    return tuple(tuple(weight(r, s) for s in range(columns)) for r in range(rows))
