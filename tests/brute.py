"""Convolution and pooling by seven plain loops over Python lists: slow, obvious, and sharing nothing with the package.

Everything here is NHWC, weights KRSC, numbers Python floats (or ints); a problem is only a bag of sizes and words.
"""

from __future__ import annotations

import math


def walked(mode, position, size):
    """Return the cell seen at `position` by walking there from the nearest end of the image, or None for a zero."""
    if 0 <= position < size:
        return position
    if mode == "zeros":
        return None
    here = 0 if position < 0 else size - 1
    direction = 1 if position < 0 else -1  # reflect walks back into the image
    for _ in range(-position if position < 0 else position - size + 1):
        if mode == "reflect":
            here += direction
        elif mode == "circular":
            here = (here - direction) % size
    return here


def conv2d(problem, x, weight, scale=None, bias=None, residual=None):
    """Return the convolution before its rounding, as nested lists [n][p][q][k]."""
    zero = problem.zero_point
    out = []
    for n in range(problem.n):
        image = []
        for p in range(problem.p):
            line = []
            for q in range(problem.q):
                pixel = []
                for k in range(problem.k):
                    total = 0
                    for r in range(problem.r):
                        for s in range(problem.s):
                            row = walked(problem.padding_mode, p * problem.stride[0] - problem.pads[0] + r * problem.dilation[0], problem.h)
                            column = walked(problem.padding_mode, q * problem.stride[1] - problem.pads[2] + s * problem.dilation[1], problem.w)
                            if row is None or column is None:
                                continue
                            per_group = problem.c // problem.groups
                            group = k // (problem.k // problem.groups)
                            for c in range(per_group):
                                total += (x[n][row][column][group * per_group + c] - zero) * weight[k][r][s][c]
                    if scale is not None:
                        total = total * scale[k]
                    if bias is not None:
                        total = total + bias[k]
                    if residual is not None:
                        total = total + residual[n][p][q][k]
                    pixel.append(activate(total, *problem.activation))
                line.append(pixel)
            image.append(line)
        out.append(image)
    return out


def activate(v, name, *numbers):
    """Return one activated number."""
    if name == "relu":
        return max(v, 0)
    if name == "relu6":
        return min(max(v, 0), 6)
    if name == "leaky_relu":
        return v if v > 0 else v * numbers[0]
    if name == "silu":
        return v / (1 + math.exp(-v))
    if name == "gelu":
        return v * math.erfc(-v / math.sqrt(2)) / 2
    if name == "gelu_tanh":
        return v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v))) / 2
    if name == "hardswish":
        return 0 if v <= -3 else v if v >= 3 else v * (v + 3) / 6
    if name == "sigmoid":
        return 1 / (1 + math.exp(-v))
    if name == "tanh":
        return math.tanh(v)
    if name == "clip":
        return min(max(v, numbers[0]), numbers[1])
    return v


def stored_integer(v, low, high, zero_point=0):
    """Return a number as an integer: half to even, plus the zero point, saturated."""
    return min(max(round(v) + zero_point, low), high)


def windows(problem, x):
    """Yield (n, p, q, c, taps); taps are (r, s, h, w, value), value None on no real cell, padded cells still named."""
    bottom, right = problem.h + min(0, problem.pads[1]), problem.w + min(0, problem.pads[3])
    for n in range(problem.n):
        for p in range(problem.p):
            for q in range(problem.q):
                for c in range(problem.c):
                    taps = []
                    for r in range(problem.r):
                        for s in range(problem.s):
                            h = p * problem.stride[0] - problem.pads[0] + r * problem.dilation[0]
                            w = q * problem.stride[1] - problem.pads[2] + s * problem.dilation[1]
                            real = 0 <= h < bottom and 0 <= w < right
                            taps.append((r, s, h, w, x[n][h][w][c] if real else None))
                    yield n, p, q, c, taps


def pool2d(problem, x, tap_weight=None):
    """Return (y, index) before rounding, as nested lists [n][p][q][c]; index is None except for maxima."""
    y, index = ([[[[None] * problem.c for _ in range(problem.q)] for _ in range(problem.p)] for _ in range(problem.n)] for _ in range(2))
    for n, p, q, c, taps in windows(problem, x):
        value = reduced(problem, taps, tap_weight)
        if problem.kind == "max":
            value, index[n][p][q][c] = value
        y[n][p][q][c] = value
    return y, index if problem.kind == "max" else None


def reduced(problem, taps, tap_weight):
    """Return what one window gives."""
    real = [tap for tap in taps if tap[4] is not None]
    values = [tap[4] for tap in real]
    if problem.kind == "max":
        return maximum(problem, real)
    if problem.kind == "avg":
        total = math.fsum(values)
        if problem.divisor is not None:
            return total / problem.divisor
        if not problem.count_include_pad:
            return total / len(values)
        top, bottom, left, right = problem.pads
        return total / sum(-top <= h < problem.h + bottom and -left <= w < problem.w + right for _, _, h, w, _ in taps)
    if problem.kind == "lp":
        if math.isinf(problem.power):
            return max([abs(v) for v in values], default=0.0)
        return math.fsum(abs(v) ** problem.power for v in values) ** (1 / problem.power)
    if problem.kind == "rms":
        return math.sqrt(math.fsum(v * v for v in values) / len(values))
    total = math.fsum(tap_weight[r][s] * v for r, s, _, _, v in real)
    if problem.normalize == "full":
        return total / math.fsum(w for row in tap_weight for w in row)
    return total / math.fsum(tap_weight[r][s] for r, s, _, _, _ in real)


def maximum(problem, real):
    """Return (value, offset h*W+w) of the first largest tap; a NaN wins under "propagate" and counts for nothing under "omit"."""
    best = None
    for tap in real:
        if math.isnan(tap[4]):
            if problem.nan == "propagate":
                best = tap
                break
        elif best is None or tap[4] > best[4]:
            best = tap
    best = best or real[0]
    return best[4], best[2] * problem.w + best[3]
