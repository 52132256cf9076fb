"""The rivals of a measurement: what each gives is right wherever it takes a problem, what it does not take it says, and an absent one says why."""

from __future__ import annotations

import numpy as np
import pytest

from atrous.bench import check, contest, rivals
from atrous.bench.contest import Unsupported
from atrous.bench.rivals import cudnn_graph, cupy_im2col, jax_jit, onnxruntime_session, shared
from atrous.problem import parse
from cases import all_cases

PLUG_INS = [rivals.module(name) for name in rivals.ORDER]
MORE = (
    "n2c8h9w11_k12r3s2_pad1:0:2:1_stride2x1_f32_bias_residual_relu",
    "n2c8h15w11_k12r3s3_pad2_stride2_dil2_f32_scale_bias_silu",
    "n2c8h9w11_k8r3s3_pad1_g8_f32_bias_relu6",
    "n2c8h9w11_k12r3s3_pad1_g4_f16_nchw_bias_residual",
    "n1c3h33w31_k16r7s7_pad3_stride2_f16_bias_relu",
    "n2c16h8w8_k24r1s1_bf16_bias_hardswish",
    "n2c16h8w8_k24r1s1_f32_gelu_tanh",
    "n2c16h8w8_k24r1s1_f32_leaky_relu",
    "n2c16h8w8_k24r1s1_f32_clip-0.5:0.75",
    "n2c8h12w11_max_r3s3_stride2_ceil_f16",
    "n2c8h12w11_avg_r3s3_pad1_stride2_ceil_f16",
    "n2c8h12w11_avg_r3s3_pad1_stride2_includepad_f32_nchw",
    "n2c8h7w7_avg_global_f16",
    "n2c8h7w7_max_global_f32_nchw",
    "n1c3h32w32_k8r5s5_f32_bias_relu+max_r2s2",
)
#: asymmetric and negative padding, unequal strides and dilations, groups, both layouts, every word of a pooling
CASES = [*MORE, *(case.text for case in all_cases() if case.name.startswith("traps/"))]
#: torch.compile takes seconds to compile each, and computes what torch_eager wrote
FEW = {"torch_compile": CASES[:2]}
#: of CASES, at least so many a rival takes where it is here
LEAST = {"torch_eager": 30, "jax_jit": 30, "onnxruntime_session": 25, "tensorflow_jit": 20, "torch_compile": 2, "atrous_plans": 40}


def name_of(rival):
    return rival.__name__.rpartition(".")[2]


@pytest.mark.parametrize("rival", PLUG_INS, ids=name_of)
@pytest.mark.filterwarnings("ignore")  # other libraries' own
def test_what_a_rival_gives_is_right(rival):
    if reason := rival.available("cpu"):
        pytest.skip(f"{rival.NAME}: {reason}")
    taken = 0
    for case in FEW.get(name_of(rival), CASES):
        problem = parse(case)
        inputs = contest.inputs_of(problem)
        try:
            found = rival.contestants(problem, inputs, "cpu")
        except Unsupported as refusal:
            assert len(str(refusal).split()) >= 4, refusal
            continue
        for contestant in found:
            contestant.call()
            contestant.wait()
            check.worst_error(problem, inputs, contestant.output(), unfused=contestant.unfused, precision=contestant.precision)
        taken += 1
    assert taken >= LEAST[name_of(rival)]


@pytest.mark.parametrize("rival", PLUG_INS, ids=name_of)
def test_what_is_not_here_says_so(rival):
    assert rival.NAME and callable(rival.version)
    for device in ("cpu", "cuda"):
        reason = rival.available(device)
        assert reason is None or len(reason.split()) >= 3, reason
    assert cudnn_graph.available("cpu") and cupy_im2col.available("cpu")


def test_a_package_that_fails_to_load_says_why(tmp_path, monkeypatch):
    (tmp_path / "breaks_at_import.py").write_text("import no_such_library_of_it\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert shared.why_not("breaks_at_import").startswith("breaks_at_import is installed but failed to load, because No module named")
    assert shared.why_not("no_such_package_at_all") == "no_such_package_at_all is not installed"


def test_im2col_is_right_on_numpy_arrays():
    """CuPy's functions of these names are NumPy's, so that what a GPU will run is proved without one."""
    taken = 0
    for case in CASES:
        problem = parse(case)
        inputs = contest.inputs_of(problem)
        try:
            compute = cupy_im2col.operation(np, problem)
        except Unsupported:
            continue
        operands = {name: shared.transposed(array, problem.weight_layout, "KRSC") if name == "weight" else array for name, array in inputs.items()}
        check.worst_error(problem, inputs, compute(**operands), unfused=True)
        taken += 1
    assert taken >= 25


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_models_for_onnxruntime_are_valid(layout):
    """One node, and as many as a GPU's graph holds; onnx checks each model as it is made."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    made = 0
    for case in CASES:
        problem = parse(case)
        inputs = contest.inputs_of(problem)
        for count in (1, 3):
            try:
                made += len(onnxruntime_session.model_of(problem, inputs, layout, count)) > 0
            except Unsupported:
                continue
    assert made >= 50


def test_several_nodes_of_a_model_give_what_one_gives():
    if reason := onnxruntime_session.available("cpu"):
        pytest.skip(f"onnxruntime: {reason}")
    for case in MORE[:3]:
        problem = parse(case)
        inputs = contest.inputs_of(problem)
        model = onnxruntime_session.model_of(problem, inputs, problem.layout, 3)
        session = onnxruntime_session.Session(model, problem, inputs, problem.layout, "cpu", 3)
        session.run()
        check.worst_error(problem, inputs, session.output(), unfused=True)


def test_jax_has_no_graph_to_replay_on_a_gpu_and_says_so(monkeypatch):
    if reason := jax_jit.available("cpu"):
        pytest.skip(f"jax: {reason}")
    import jax

    places = jax.devices("cpu")
    monkeypatch.setattr(jax, "devices", lambda name: places)
    problem = parse(MORE[0])
    inputs = contest.inputs_of(problem)
    found = jax_jit.contestants(problem, inputs, "cuda")
    outcome = contest.run(problem, inputs, found, contest.Options("cuda", rounds=1, metrics=("kernel", "wall"), turn_seconds=0.0))
    assert {row["metric"] for row in outcome.rows} == {"wall"}
    assert [(skip["contestant"], skip["reason"]) for skip in outcome.skipped] == [(f"{each.name}, kernel", jax_jit.UNCAPTURED) for each in found]


def test_graphs_for_cudnn_name_every_operand():
    said = []

    class Graph:
        """Takes every word that the frontend's graph has, and records it."""

        def __init__(self, **words):
            said.append("graph")

        def __getattr__(self, name):
            return lambda *values, **words: said.append(name) or self

    class Module:
        data_type = type("Kinds", (), dict(FLOAT=0, HALF=1, BFLOAT16=2))
        pygraph = Graph

    problem = parse("n2c8h9w11_k12r3s3_pad1:0:2:1_f16_scale_bias_residual_relu")
    tensors = {name: ([1], [1]) for name in ("x", "weight", "scale", "bias", "residual", "y")}
    _, nodes = cudnn_graph.graph_of(Module, problem, tensors)
    assert set(nodes) == set(tensors)
    assert said == ["graph", *["tensor"] * 5, "conv_fprop", "mul", "bias", "add", "relu", "set_output", "set_data_type", "set_dim", "set_stride"]
