"""conv_first_pool on the simulator: to the bit conv_first and then pool, with every tile, in every order; what it declines."""

from __future__ import annotations

import pytest
from test_conv_pool import apart, fused, same_bits
from test_conv_pool_kernel import special

from atrous import choose, kernels, routes, testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_direct, conv_first, conv_first_pool, pool
from atrous.kernels.base import DEVICES
from atrous.problem import parse
from atrous.sampling import random_pair
from cases import FOLDER, read_cases

REASON = simulated.available()
needs_simulator = pytest.mark.skipif(REASON is not None, reason=str(REASON))
#: what is special -> the case
EDGES = {
    "the first layer": "n2c3h40w37_k64r7s7_pad3_stride2_f16_bias_relu+max_r3s3_pad1_stride2",
    "ceil overhang": "n1c3h31w33_k24r5s5_pad2_stride2_bf16_bias_relu+max_r3s3_stride2_ceil",
    "windows side by side": "n2c1h20w18_k6r5s5_f16_bias_relu+avg_r2s2",
    "asymmetric pads": "n1c3h12w9_k16r3s2_pad2:0:1:1_f16+max_r3s2_pad1:0:0:1_stride2x1",
    "cropped": "n1c3h14w13_k16r1s1_f16+max_r2s2_pad-1:0:0:-2",
    "dilated windows": "n1c2h19w17_k16r3s3_bf16+max_r2s3_dil3x2_stride2",
    "stride over the window": "n1c4h17w19_k8r3s3_f16+max_r2s2_stride3x4",
    "tail of channels": "n2c3h9w9_k70r3s3_pad1_f16_biasf32_silu+max_r2s2",
    "residual": "n2c3h10w11_k40r3s3_pad1_f16_bias_residual_relu+max_r3s3_pad1_stride2",
    "one output channel": "n1c3h11w12_k1r3s3_pad1_bf16+max_r2s2",
    "mirrored x": "n1c3h9w10_k16r3s3_pad2:1:1:2_reflect_f16+max_r3s3_pad1_stride2",
    "wrapped x, dilated": "n1c3h9w10_k16r3s3_pad2_circular_dil2_f16+avg_r2s2",
    "channels in chunks": "n1c341h9w10_k16r3s3_pad1_f16+max_r2s2",
    "channels first": "n2c3h21w19_k40r3s3_pad1_f16_nchw_bias_residual_relu+max_r3s3_pad1_stride2",
    "means with padding counted": "n1c3h13w12_k24r3s3_pad1_bf16+avg_r3s3_pad1_stride2_ceil_includepad",
    "windows of padding alone": "n1c3h9w9_k8r3s3_f16+avg_r2s2_pad7:6:5:8_includepad",
    "omitted NaN": "n1c3h12w12_k24r1s1_f16+max_r2s2_omit",
}


@pytest.fixture
def only(monkeypatch):
    """Offer conv_first alone among what uses tensor cores, so that every pair of the tests is its."""
    order = (conv_first.KERNEL, conv_direct.KERNEL, pool.KERNEL, conv_first_pool.KERNEL)
    monkeypatch.setattr(kernels, "ORDER", order)
    monkeypatch.setattr(verify, "ORDER", order)
    monkeypatch.setattr(conv_direct.ConvDirect, "seconds", lambda self, problem, device: 1.0)
    routes.route.cache_clear()
    yield order
    routes.route.cache_clear()


def each_tile_equals_the_two(problem, inputs, monkeypatch):
    """Run every tile that serves; return their names."""
    expected = apart(problem, inputs, engine="simulated", kernel="conv_first")
    for tile in conv_first_pool.tiles_of(problem):
        monkeypatch.setattr(conv_first_pool, "tiles_of", lambda problem, tile=tile: (tile,))
        routes.route.cache_clear()
        assert conv_first_pool.KERNEL.launch(problem).name.endswith(f", {tile}>")
        same_bits(fused(problem, inputs, engine="simulated", kernel="conv_first_pool"), expected)
        monkeypatch.undo()
    return conv_first_pool.tiles_of(problem)


@needs_simulator
@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_edges_to_the_bit(case, only):
    problem = parse(case)
    assert conv_first_pool.KERNEL.declines(problem, DEVICES["simulated"]) is None
    with pytest.MonkeyPatch.context() as patch:
        assert each_tile_equals_the_two(problem, special(testing.random_inputs(problem, 1), 2), patch)


@needs_simulator
def test_random_pairs_to_the_bit(only):
    ran = []
    for seed in range(300):
        problem = random_pair(seed)
        if conv_first_pool.KERNEL.declines(problem, DEVICES["simulated"]) is None:
            inputs = testing.random_inputs(problem, seed)
            with pytest.MonkeyPatch.context() as patch:
                ran += each_tile_equals_the_two(problem, special(inputs, seed) if seed % 3 == 0 else inputs, patch)
    assert all(ran.count(tile) >= 5 for tile in conv_first.TILES), ran


@needs_simulator
@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_edges_between_red_zones_in_every_order(case, only):
    prover = verify.Prover("simulated", kernel="conv_first_pool")
    schedules = [verify.schedule_number(number) for number in range(6)]
    prover.prove(parse(case), 4, schedules, random_too=True)
    assert not prover.ledger.failures, prover.ledger.failures[:1]
    assert prover.ledger.runs >= 6


@needs_simulator
@pytest.mark.parametrize("case", ["c3h13w11_k24r3s3_pad1_f16_bias_relu+max_r3s3_pad1_stride2", "c5h9w12_k9r2s3_bf16+avg_r2s2"])
def test_an_image_has_the_same_bits_alone_and_in_a_batch(case, only):
    inputs = testing.random_inputs(parse(f"n5{case}"), 6)
    together = fused(parse(f"n5{case}"), inputs, engine="simulated", kernel="conv_first_pool")
    for image in range(5):
        lone = {**inputs, "x": inputs["x"][image : image + 1].copy()}
        same_bits(fused(parse(f"n1{case}"), lone, engine="simulated", kernel="conv_first_pool"), together[image : image + 1])


DECLINED = {
    "n1c3h9w9_k8r3s3_f32+max_r2s2": "x is float32",
    "n1c3h9w9_k8r3s3_f16_outf32+max_r2s2": "gives float32",
    "n1c4h9w9_k8r3s3_g2_f16+max_r2s2": "there are 2 groups",
    "n1c8h9w9_k8r3s3_f16+max_r2s2": "C = 8 fills whole pieces",
    "n1c3h9w9_k8r3s3_f16+max_r4s4": "the window has 16 taps",
    "n1c3h99w99_k8r1s1_f16+max_r2s2_dil40": "one window covers 1681 outputs",
}


@pytest.mark.parametrize("case", DECLINED)
def test_declines_in_a_sentence(case):
    assert DECLINED[case] in conv_first_pool.KERNEL.declines(parse(case), DEVICES["sm_80"])


@pytest.mark.parametrize("tile", conv_first.TILES)
def test_patches_cover_every_window_and_fit_the_tile(tile):
    for case in [*EDGES.values(), *(case.text for case in read_cases(FOLDER / "pooled.txt") if "c3h224" in case.text)]:
        problem = parse(case)
        patch, pooling = conv_first_pool.patch_of(problem, tile), problem.pool
        assert patch.rows * patch.columns <= conv_first.TILES[tile].pixels
        for windows, count, of_all, cells, stride, taps, dilation in (
            (patch.window_rows, patch.row_patches, pooling.p, patch.rows, pooling.stride[0], pooling.r, pooling.dilation[0]),
            (patch.window_columns, patch.column_patches, pooling.q, patch.columns, pooling.stride[1], pooling.s, pooling.dilation[1]),
        ):
            assert windows * count >= of_all > windows * (count - 1)
            assert (windows - 1) * stride + (taps - 1) * dilation == cells - 1


@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_89", "sm_90"])
def test_the_first_layers_of_nets_are_fused(architecture):
    for case in read_cases(FOLDER / "pooled.txt"):
        if "c3h224" in case.text:
            for n in (1, 32):
                text = choose.explain_problem(choose.at_batch(parse(case.text), n), DEVICES[architecture])
                rows = {row["kernel"]: row for row in text.rows}
                assert rows["conv_first_pool"]["chosen"], text
                assert rows["conv_first_pool"]["ranked_microseconds"] < rows["conv_first, then pool_stream"]["ranked_microseconds"]
                assert f"fused: the {n * 112 * 112 * 64 * 2:,} bytes" in text and "windows a patch" in rows["conv_first_pool"]["account"]
