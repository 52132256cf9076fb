"""The cases that the onnx package ships for convolution and pooling, as plain records, and those that atrous declines."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OPERATORS = ("Conv", "ConvInteger", "MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
#: op_types that may stand beside one of OPERATORS in a model: they only move axes
SHAPERS = ("Unsqueeze", "Squeeze")

_3D = ("atrous has no operation with three spatial axes", "3 spatial axes; expected one or two")
_ZERO = ("atrous has no zero point of weights", "w_zero_point is not 0; expected weights whose zero is 0")
#: case -> why atrous does not take it, and the words with which it says so
EXCEPTIONS = {
    "test_convinteger_with_padding": _ZERO,
    **dict.fromkeys(
        (
            "test_averagepool_3d_default",
            "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
            "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
            "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
            "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
            "test_averagepool_3d_dilations_small",
            "test_lppool_3d_default",
            "test_maxpool_3d_default",
            "test_maxpool_3d_dilations",
            "test_maxpool_3d_dilations_use_ref_impl",
            "test_maxpool_3d_dilations_use_ref_impl_large",
            "test_AvgPool3d",
            "test_AvgPool3d_stride",
            "test_AvgPool3d_stride1_pad0_gpu_input",
            "test_Conv3d",
            "test_Conv3d_dilated",
            "test_Conv3d_dilated_strided",
            "test_Conv3d_groups",
            "test_Conv3d_no_bias",
            "test_Conv3d_stride",
            "test_Conv3d_stride_padding",
            "test_MaxPool3d",
            "test_MaxPool3d_stride",
            "test_MaxPool3d_stride_padding",
        ),
        _3D,
    ),
}


@dataclass(frozen=True)
class Node:
    """One node of a model: its attributes as Python values, its inputs and outputs as names."""

    operator: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One model with inputs and expected outputs."""

    name: str
    suite: str
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    data_sets: tuple[tuple[dict[str, np.ndarray], list[np.ndarray]], ...]
    output_names: tuple[str, ...]
    rtol: float
    atol: float

    @property
    def operator(self) -> str:
        return next(node.operator for node in self.nodes if node.operator in OPERATORS)


def _case(name: str, suite: str, model: Any, data_sets: Any, rtol: float, atol: float) -> Case | None:
    from onnx import helper, numpy_helper

    operators = [node.op_type for node in model.graph.node]
    if not any(operator in OPERATORS for operator in operators) or not all(operator in OPERATORS + SHAPERS for operator in operators):
        return None
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    free = [entry.name for entry in model.graph.input if entry.name not in constants]
    nodes = tuple(
        Node(node.op_type, {a.name: helper.get_attribute_value(a) for a in node.attribute}, tuple(node.input), tuple(node.output)) for node in model.graph.node
    )
    sets = tuple((dict(zip(free, inputs)), list(outputs)) for inputs, outputs in data_sets)
    return Case(name, suite, nodes, constants, sets, tuple(entry.name for entry in model.graph.output), rtol, atol)


def _stored(folder: Path, model: Any) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Return the data sets that lie beside a stored model."""
    import onnx
    from onnx import numpy_helper

    def tensors(place: Path, kind: str) -> list[np.ndarray]:
        paths = sorted(place.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
        return [numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in paths]

    constants = {tensor.name for tensor in model.graph.initializer}
    free = [place for place, entry in enumerate(model.graph.input) if entry.name not in constants]
    sets = []
    for place in sorted(folder.glob("test_data_set_*")):
        inputs = tensors(place, "input")
        sets.append(([inputs[i] for i in free] if len(inputs) > len(free) else inputs, tensors(place, "output")))
    return sets


def collect() -> list[Case]:
    """Return every case of the onnx package's node, pytorch-converted and pytorch-operator suites that is one of OPERATORS."""
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = os.environ.get("ONNX_HOME")
        os.environ["ONNX_HOME"] = home
        try:
            return _collect()
        finally:
            if before is None:
                del os.environ["ONNX_HOME"]
            else:
                os.environ["ONNX_HOME"] = before


def _collect() -> list[Case]:
    import onnx
    from onnx.backend.test.case import node as node_cases
    from onnx.backend.test.loader import load_model_tests

    found = [_case(case.name, "node", case.model, case.data_sets, case.rtol, case.atol) for case in node_cases.collect_testcases(None)]
    for suite in ("pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=suite):
            folder = Path(case.model_dir)
            model = onnx.load(str(folder / "model.onnx"))
            found.append(_case(case.name, suite, model, _stored(folder, model), case.rtol, case.atol))
    return sorted((case for case in found if case is not None), key=lambda case: (case.suite, case.name))
