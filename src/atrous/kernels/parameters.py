"""The kernels' argument structs as ctypes mirrors of csrc/include/atrous/problem.hpp, field for field."""

from __future__ import annotations

import ctypes
import math
from typing import Any

from ..arguments import ACTIVATIONS, PADDING_MODES

_Strides = ctypes.c_longlong * 4

#: dtype name -> the enum DataType of problem.hpp
DATA_TYPES = {"float32": 0, "float16": 1, "bfloat16": 2, "float64": 3, "int8": 4, "uint8": 5, "int32": 6, "int64": 7}
#: dtype name -> the C++ name in namespace atrous
CPP_TYPES = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16", "float64": "float64", "int8": "int8", "uint8": "uint8"}
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int8": 1, "uint8": 1, "int32": 4, "int64": 8}
ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
NORM_CODES = {name: code for code, name in enumerate(("power", "sum", "squares", "mean_square", "largest"))}
#: the powers of lp pooling that have a form of their own
NORMS = {1.0: "sum", 2.0: "squares", math.inf: "largest"}
PADDING_CODES = {name: code for code, name in enumerate(PADDING_MODES)}


class Epilogue(ctypes.Structure):
    """Mirror of struct Epilogue."""

    _fields_ = [
        ("activation_a", ctypes.c_double),
        ("activation_b", ctypes.c_double),
        ("activation", ctypes.c_int),
        ("scale_type", ctypes.c_int),
        ("bias_type", ctypes.c_int),
        ("y_type", ctypes.c_int),  # the residual's too
        ("y_zero_point", ctypes.c_int),
        ("reserved", ctypes.c_int),
    ]


class ConvArguments(ctypes.Structure):
    """Mirror of struct ConvArguments."""

    _fields_ = [
        ("x", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("residual", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("x_stride", _Strides),  # elements, in the order n, h, w, c
        ("weight_stride", _Strides),  # k, r, s, c
        ("residual_stride", _Strides),  # n, p, q, k
        ("y_stride", _Strides),  # n, p, q, k
        ("epilogue", Epilogue),
        *((name, ctypes.c_int) for name in ("n", "h", "w", "c", "k", "r", "s", "p", "q", "groups")),
        *((name, ctypes.c_int) for name in ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_left")),
        ("padding_mode", ctypes.c_int),
        ("x_zero_point", ctypes.c_int),
    ]


class FinishArguments(ctypes.Structure):
    """Mirror of struct FinishArguments: of its `conv`, x holds the partial sums."""

    _fields_ = [("conv", ConvArguments), ("segments", ctypes.c_int), ("reserved", ctypes.c_int)]


class PackArguments(ctypes.Structure):
    """Mirror of struct PackArguments."""

    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("packed_weight", ctypes.c_void_p),
        ("weight_stride", _Strides),  # elements, in the order k, r, s, c
        *((name, ctypes.c_int) for name in ("k", "r", "s", "channels", "taps_in_run", "chunk_channels", "run_elements", "planes", "with_sums", "row_parts")),
    ]


class FirstArguments(ctypes.Structure):
    """Mirror of struct FirstArguments."""

    _fields_ = [
        ("conv", ConvArguments),
        *((name, ctypes.c_longlong) for name in ("weight_row", "weight_plane", "weight_sums")),
        ("patches", ctypes.c_uint),
        *((name, ctypes.c_int) for name in ("row_patches", "column_patches", "patch_rows", "patch_columns", "chunks", "channels", "run_pieces")),
        *((name, ctypes.c_int) for name in ("weight_slots", "halo_rows", "halo_columns", "tap_rows", "row_bytes", "phases", "phase_columns")),
        *((name, ctypes.c_int) for name in ("channels_first", "row_threads_log2", "reserved")),
    ]


class GemmArguments(ctypes.Structure):
    """Mirror of struct GemmArguments."""

    _fields_ = [
        ("conv", ConvArguments),
        ("weight_row", ctypes.c_longlong),  # bytes
        ("weight_plane", ctypes.c_longlong),  # bytes
        ("tap_pieces", ctypes.c_int),
        ("segment_steps", ctypes.c_int),
        ("segment_blocks", ctypes.c_int),  # 0: a block sums all segments
        ("reserved", ctypes.c_int),
    ]


class DepthwiseArguments(ctypes.Structure):
    """Mirror of struct DepthwiseArguments."""

    _fields_ = [
        ("conv", ConvArguments),
        ("items", ctypes.c_uint),
        *((name, ctypes.c_int) for name in ("slabs", "lanes", "cell_lanes", "multiplier", "column_tiles", "tile_columns", "strips", "strip_rows")),
        *((name, ctypes.c_int) for name in ("phases_h", "phases_w", "apart_h", "apart_w", "row_stride", "column_stride", "chunk_rows", "lead")),
        *((name, ctypes.c_int) for name in ("ring_chunks", "row_pieces", "group_cells", "group_pieces", "reserved")),
    ]


class PlanesArguments(ctypes.Structure):
    """Mirror of struct PlanesArguments."""

    _fields_ = [
        ("conv", ConvArguments),
        ("items", ctypes.c_uint),
        *((name, ctypes.c_int) for name in ("slabs", "planes", "x_planes", "multiplier", "strips", "strip_rows", "parts", "x_pitch", "y_pitch")),
    ]


class PlaneRunsArguments(ctypes.Structure):
    """Mirror of struct PlaneRunsArguments of stream_arguments.hpp."""

    _fields_ = [("planes", PlanesArguments), ("run_step", ctypes.c_int), ("run_lanes", ctypes.c_int)]


class GroupedArguments(ctypes.Structure):
    """Mirror of struct GroupedArguments of grouped_arguments.hpp."""

    _fields_ = [
        ("conv", ConvArguments),
        ("weight_row", ctypes.c_longlong),  # bytes
        ("items", ctypes.c_uint),
        *((name, ctypes.c_int) for name in ("slabs", "slab_tiles", "group_units", "column_tiles", "tile_columns", "strips", "strip_rows")),
        *((name, ctypes.c_int) for name in ("phases_h", "phases_w", "apart_h", "apart_w", "column_stride", "lead")),
        *((name, ctypes.c_int) for name in ("cell_pieces", "bank_bits", "plane_cells", "front_bytes")),
    ]


class LargeArguments(ctypes.Structure):
    """Mirror of struct LargeArguments."""

    _fields_ = [
        ("conv", ConvArguments),
        ("items", ctypes.c_uint),
        *((name, ctypes.c_int) for name in ("slabs", "channels", "images", "strips", "strip_rows", "column_groups", "group_tiles", "pass_tiles")),
        *((name, ctypes.c_int) for name in ("shift", "octets", "first_octet", "end_octet", "row_pieces", "plane_pieces", "image_pieces")),
    ]


class PoolArguments(ctypes.Structure):
    """Mirror of struct PoolArguments."""

    _fields_ = [
        ("x", ctypes.c_void_p),
        ("tap_weight", ctypes.c_void_p),  # [R, S] float32, float64 for float64 x
        ("y", ctypes.c_void_p),
        ("index", ctypes.c_void_p),
        ("x_stride", _Strides),  # elements, in the order n, h, w, c
        ("y_stride", _Strides),  # n, p, q, c
        ("index_stride", _Strides),  # n, p, q, c
        ("divisor", ctypes.c_double),  # 0: count the taps
        ("power", ctypes.c_double),
        *((name, ctypes.c_int) for name in ("n", "h", "w", "c", "r", "s", "p", "q")),
        *((name, ctypes.c_int) for name in ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_bottom", "pad_left", "pad_right")),
        *((name, ctypes.c_int) for name in ("omit_nan", "count_include_pad", "normalize_full", "norm", "index_type")),
        *((name, ctypes.c_int) for name in ("log_lanes_c", "log_lanes_p", "log_lanes_q", "log_lanes_t")),
        *((name, ctypes.c_int) for name in ("rows_in_step", "taps_in_step", "cell_step_h", "cell_step_w")),
        *((name, ctypes.c_int) for name in ("output_pitch_h", "output_pitch_w", "tap_pitch_h", "tap_pitch_w")),
    ]


class PoolStreamArguments(ctypes.Structure):
    """Mirror of struct PoolStreamArguments of stream_arguments.hpp."""

    _fields_ = [
        ("pool", PoolArguments),
        *((name, ctypes.c_int) for name in ("rows_in_strip", "columns_in_tile", "pitch", "slot_elements", "by_rows", "reserved")),
    ]


class PoolBandsArguments(ctypes.Structure):
    """Mirror of struct PoolBandsArguments of stream_arguments.hpp."""

    _fields_ = [
        ("pool", PoolArguments),
        *((name, ctypes.c_int64) for name in ("x_image", "x_plane", "y_image", "y_plane")),
        ("items", ctypes.c_uint),
        *((name, ctypes.c_int) for name in ("image_planes", "inner", "groups", "planes", "strips", "strip_rows", "parts")),
        *((name, ctypes.c_int) for name in ("x_pitch", "y_pitch", "run_step", "run_lanes", "by_rows", "is_whole")),
    ]


class PatchArguments(ctypes.Structure):
    """Mirror of struct PatchArguments."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("window_rows", "window_columns", "row_patches", "column_patches", "rows", "columns")),
        ("is_average", ctypes.c_int),
        ("reserved", ctypes.c_int),
    ]


class ConvPoolArguments(ctypes.Structure):
    """Mirror of struct ConvPoolArguments."""

    _fields_ = [("gemm", GemmArguments), ("pool", PoolArguments), ("patch", PatchArguments)]


class FirstPoolArguments(ctypes.Structure):
    """Mirror of struct FirstPoolArguments."""

    _fields_ = [("first", FirstArguments), ("pool", PoolArguments), ("patch", PatchArguments)]


class SeparableArguments(ctypes.Structure):
    """Mirror of struct SeparableArguments of separable_arguments.hpp."""

    _fields_ = [
        ("depthwise_weight", ctypes.c_void_p),
        ("depthwise_scale", ctypes.c_void_p),
        ("depthwise_bias", ctypes.c_void_p),
        ("gemm", GemmArguments),
        ("depthwise_epilogue", Epilogue),
        *((name, ctypes.c_int) for name in ("h", "w", "r", "s", "stride_h", "stride_w", "dilation_h", "pad_top", "pad_left", "padding_mode")),
        *((name, ctypes.c_int) for name in ("row_tiles", "column_tiles", "groups_log2", "halo_rows", "halo_columns", "row_cells", "slice_cells", "reserved")),
    ]


class ElementwiseArguments(ctypes.Structure):
    """Mirror of struct ElementwiseArguments."""

    _fields_ = [
        ("x", ctypes.c_void_p),
        ("other", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("sizes", _Strides),  # of four axes, whatever they are
        ("x_stride", _Strides),  # elements, of these axes
        ("other_stride", _Strides),
        ("y_stride", _Strides),
        ("epilogue", Epilogue),
        *((name, ctypes.c_int) for name in ("x_type", "x_vectors", "y_vectors", "reserved")),
    ]


def pointer_names(structure: type[ctypes.Structure]) -> tuple[str, ...]:
    """Return the names of the pointer slots, which lead every argument struct."""
    kind = structure._fields_[0][1]
    if issubclass(kind, ctypes.Structure):
        return pointer_names(kind)
    return tuple(field[0] for field in structure._fields_ if field[1] is ctypes.c_void_p)


def epilogue(problem: Any) -> Epilogue:
    """Return the Epilogue of a Conv2dProblem."""
    name, *numbers = problem.activation
    low, high = (*numbers, 0.0, 0.0)[:2]
    return Epilogue(
        activation_a=low,
        activation_b=high,
        activation=ACTIVATION_CODES[name],
        scale_type=DATA_TYPES[problem.scale or problem.dtype],
        bias_type=DATA_TYPES[problem.bias or problem.dtype],
        y_type=DATA_TYPES[problem.out_dtype],
        y_zero_point=problem.out_zero_point,
    )


def elementwise_arguments(problem: Any, sizes: Any, x: Any, other: Any, y: Any, **flags: bool) -> bytes:
    """Return the bytes of ElementwiseArguments, pointers zero, for axes of these sizes and strides; `flags` are x_vectors and y_vectors."""
    name, *numbers = problem.activation
    low, high = (*numbers, 0.0, 0.0)[:2]
    return bytes(
        ElementwiseArguments(
            sizes=_Strides(*sizes),
            x_stride=_Strides(*x),
            other_stride=_Strides(*other),
            y_stride=_Strides(*y),
            epilogue=Epilogue(activation_a=low, activation_b=high, activation=ACTIVATION_CODES[name], y_type=DATA_TYPES[problem.out_dtype]),
            x_type=DATA_TYPES[problem.dtype],
            **flags,
        )
    )


def conv_arguments(problem: Any, strides: Any) -> ConvArguments:
    """Return ConvArguments, pointers zero; `strides` is a Strides of element strides."""
    names = ["n", "h", "w", "c", "k", "r", "s", "p", "q", "groups"]
    sizes = {name: getattr(problem, name) for name in names}
    return ConvArguments(
        x_stride=_Strides(*strides.x),
        weight_stride=_Strides(*strides.weight),
        residual_stride=_Strides(*strides.residual),
        y_stride=_Strides(*strides.y),
        epilogue=epilogue(problem),
        **sizes,
        **window_fields(problem),
        padding_mode=PADDING_CODES[problem.padding_mode],
        x_zero_point=problem.zero_point,
    )


def gemm_arguments(problem: Any, strides: Any, **fields: int) -> GemmArguments:
    """Return GemmArguments, pointers zero; `fields` are those beside `conv`."""
    conv = conv_arguments(problem, strides)
    # A dilation between single taps means nothing; 1 keeps the kernel's products small.
    if problem.r == 1:
        conv.dilation_h = 1
    if problem.s == 1:
        conv.dilation_w = 1
    return GemmArguments(conv=conv, **fields)


def pool_arguments(problem: Any, strides: Any, tiling: dict[str, int]) -> bytes:
    """Return the bytes of PoolArguments, pointers zero; `tiling` holds the fields from log_lanes_c on."""
    sizes = {name: getattr(problem, name) for name in ["n", "h", "w", "c", "r", "s", "p", "q"]}
    window = window_fields(problem)
    # A stride between single outputs and a dilation between single taps mean nothing; 1 keeps the kernel's products small.
    for name, count in (("stride_h", problem.p), ("stride_w", problem.q), ("dilation_h", problem.r), ("dilation_w", problem.s)):
        if count == 1:
            window[name] = 1
    return bytes(
        PoolArguments(
            x_stride=_Strides(*strides.x),
            y_stride=_Strides(*strides.y),
            index_stride=_Strides(*strides.index),
            divisor=problem.divisor or 0.0,
            power=problem.power,
            **sizes,
            **window,
            pad_bottom=problem.pads[1],
            pad_right=problem.pads[3],
            omit_nan=problem.nan == "omit",
            count_include_pad=problem.count_include_pad,
            normalize_full=problem.normalize == "full",
            norm=NORM_CODES["mean_square" if problem.kind == "rms" else NORMS.get(problem.power, "power")],
            index_type=DATA_TYPES[problem.index_dtype],
            **tiling,
        )
    )


def window_fields(problem: Any) -> dict[str, int]:
    """Return the fields of stride, dilation and leading padding."""
    return dict(
        stride_h=problem.stride[0],
        stride_w=problem.stride[1],
        dilation_h=problem.dilation[0],
        dilation_w=problem.dilation[1],
        pad_top=problem.pads[0],
        pad_left=problem.pads[2],
    )
