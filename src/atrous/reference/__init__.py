"""What the operations mean, in NumPy: slow, readable, and shared with no kernel."""

from __future__ import annotations

from .conv import conv2d, conv2d_unrounded
from .conv_pool import conv2d_pool2d, conv2d_pool2d_unrounded
from .elementwise import elementwise, elementwise_unrounded
from .pool import pool2d, pool2d_unrounded, tap_weights
from .separable import separable_conv2d, separable_conv2d_unrounded

__all__ = [
    "conv2d",
    "conv2d_pool2d",
    "conv2d_pool2d_unrounded",
    "conv2d_unrounded",
    "elementwise",
    "elementwise_unrounded",
    "pool2d",
    "pool2d_unrounded",
    "separable_conv2d",
    "separable_conv2d_unrounded",
    "tap_weights",
]
