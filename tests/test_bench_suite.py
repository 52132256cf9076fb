"""The suite of `atrous bench`: case files, problems at other batches, dtypes and layouts, and families."""

from __future__ import annotations

import pytest

from atrous import ProblemError, parse
from atrous.bench import suite
from cases import all_cases


def test_every_network_reads_as_the_tests_read_it():
    expected = {case.name: (case.text, case.count) for case in all_cases()}
    found = {layer.name: (layer.case, layer.count) for name in suite.networks() for layer in suite.read(name)}
    assert len(suite.networks()) == 12 and len(found) > 220
    assert found == {name: expected[name] for name in found}
    assert set(expected) - set(found) == {name for name in expected if name.partition("/")[0] in suite.NOT_NETWORKS}


def test_a_network_is_found_by_its_name_its_word_and_its_path(tmp_path):
    assert suite.read("net_resnet50") == suite.read("resnet50") == suite.read(suite.folder() / "resnet50.txt")
    own = tmp_path / "mine.txt"
    own.write_text("# mine\none  n1c8h9w9_k8r3s3_f32  x2  # why\n")
    (layer,) = suite.read(own)
    assert (layer.name, layer.net, layer.count, str(layer.problem)) == ("mine/one", "mine", 2, "n1c8h9w9_k8r3s3_f32")


@pytest.mark.parametrize("line", ["one", "one n1c8h9w9_k8r3s3_f32 2", "one n1c8h9w9_k8r3s3_f32 xx", "one n1c8h9w9_k8r3s3_f32 x1 x2"])
def test_a_line_that_is_no_case_is_refused(tmp_path, line):
    own = tmp_path / "mine.txt"
    own.write_text(f"{line}\n")
    with pytest.raises(ProblemError, match=r"mine.txt:1"):
        suite.read(own)


def test_a_network_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ProblemError, match="net_resnet50"):
        suite.read("net_resnet5")


@pytest.mark.parametrize(
    ("case", "words", "expected"),
    [
        ("n1c64h9w9_k8r3s3_pad1_f16_bias_residual_relu", dict(batch=8), "n8c64h9w9_k8r3s3_pad1_f16_bias_residual_relu"),
        ("n1c64h9w9_k8r3s3_pad1_f16_bias_residual_relu", dict(dtype="f32"), "n1c64h9w9_k8r3s3_pad1_f32_bias_residual_relu"),
        ("n1c64h9w9_k8r3s3_pad1_f16_bias_relu", dict(dtype="bfloat16", plain=True), "n1c64h9w9_k8r3s3_pad1_bf16"),
        ("n1c64h9w9_k8r3s3_f16_bias_relu", dict(layout="NCHW"), "n1c64h9w9_k8r3s3_f16_nchw_bias_relu"),
        ("n1c64h9w9_k8r3s3_f16_bias_relu", dict(dtype="i8"), "n1c64h9w9_k8r3s3_i8_outi8_scalef32_biasi32_relu"),
        ("n1c64h9w9_k8r3s3_i8_outi8_scalef32_biasi32_relu", dict(dtype="f16"), "n1c64h9w9_k8r3s3_f16_bias_relu"),
        ("n1c64h9w9_k8r3s3_f16_bias_relu", dict(dtype="u8", plain=True), "n1c64h9w9_k8r3s3_u8"),
        ("n1c64h9w9_k8r3s3_f32_tf32", dict(dtype="f16"), "n1c64h9w9_k8r3s3_f16"),
        ("n1c64h9w9_max_r3s3_f16", dict(batch=4, dtype="f32", layout="NCHW", plain=True), "n4c64h9w9_max_r3s3_f32_nchw"),
        ("n1c64h9w9_k8r3s3_pad1_f16_bias_relu+max_r3s3", dict(batch=4, dtype="bf16"), "n4c64h9w9_k8r3s3_pad1_bf16_bias_relu+max_r3s3"),
    ],
)
def test_a_problem_at_another_batch_dtype_or_layout(case, words, expected):
    problem = suite.at(parse(case), **words)
    assert problem == parse(expected)


@pytest.mark.parametrize("layer", [layer for name in suite.networks() for layer in suite.read(name)], ids=lambda layer: layer.name)
def test_every_layer_has_a_family_and_every_batch(layer):
    problem = suite.at(layer.problem, batch=256, dtype="f32", plain=True)
    assert suite.family(problem) == suite.family(layer.problem) != "conv_pool"
    assert suite.family(problem) in suite.FAMILIES
    assert parse(str(problem)) == problem and problem.n == 256


@pytest.mark.parametrize(
    ("case", "family"),
    [
        ("n1c3h224w224_k64r7s7_pad3_stride2_f16", "first_layer"),
        ("n1c64h56w56_k64r3s3_pad1_f16", "conv3x3"),
        ("n1c64h56w56_k64r1s1_f16", "conv1x1"),
        ("n1c64h56w56_k64r1s1_stride2_f16", "conv1x1_strided"),
        ("n1c64h56w56_k64r3s3_pad1_stride2_f16", "conv_strided"),
        ("n1c64h56w56_k64r3s3_pad2_dil2_f16", "dilated"),
        ("n1c64h56w56_k64r5s5_pad2_f16", "conv_other"),
        ("n1c64h56w56_k64r3s3_pad1_g64_f16", "depthwise"),
        ("n1c64h56w56_k64r5s5_pad2_g64_f16", "depthwise"),
        ("n1c64h56w56_k64r7s7_pad3_g64_f16", "depthwise_7x7"),
        ("n1c64h56w56_k64r31s31_pad15_g64_f16", "depthwise_large"),
        ("n1c64h56w56_k64r3s3_pad1_g32_f16", "grouped"),
        ("n1c64h56w56_k64r3s3_pad1_f16+max_r2s2", "conv_pool"),
        ("n1c64h56w56_max_r3s3_f16", "pool_max"),
        ("n1c64h56w56_avg_r3s3_f16", "pool_avg"),
        ("n1c64h7w7_avg_r7s7_f16", "pool_global"),
        ("n1c64h7w7_lp2_r2s2_f16", "pool_lp"),
        ("n1c64h7w7_rms_r2s2_f16", "pool_lp"),
        ("n1c64h7w7_gaussian_r3s3_f16", "pool_weighted"),
    ],
)
def test_families(case, family):
    assert suite.family(parse(case)) == family


@pytest.mark.parametrize("case", ["n1c8h4w4_add_relu_f16", "n1c8h4w4_k8r3s3_g8_f16+k16r1s1"])
def test_what_moves_single_elements_and_what_is_two_convolutions_is_no_layer(case):
    with pytest.raises(ProblemError, match="one convolution or a pooling, or both"):
        suite.Layer("mine/join", case, 1).problem  # noqa: B018
