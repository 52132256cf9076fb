"""How gemm_k is cut and which tile a cost model picks for the tensor-core convolutions: rules that no estimate may break."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from atrous.kernels import gemm_cost
from atrous.kernels.base import DEVICES
from atrous.kernels.conv_igemm_sm80 import KERNEL
from atrous.problem import parse
from atrous.testing import random_problem

CASES = Path(__file__).resolve().parents[1] / "cases"
LAYERS = sorted(
    {
        word
        for path in CASES.glob("*.txt")
        for word in path.read_text().split()
        if word.startswith("n1c") and "_k" in word and "_g" not in word and "+" not in word
    }
)


@pytest.mark.parametrize("case", [
    ("n1c512h7w7_k512r3s3_pad1_f16", 16, 9),  # 1 x 8 tiles and 144 steps: 16 segments of 9
    ("n1c256h14w14_k256r3s3_pad1_f16", 8, 9),  # 4 x 4 tiles and 72 steps
    ("n1c2048h7w7_k512r1s1_f16", 8, 8),  # 64 steps hold 8 segments of 8
    ("n1c1024h7w7_k64r1s1_i8", 2, 8),  # 16 steps of 64 int8
    ("n1c480h7w7_k64r1s1_f16", 1, 15),  # 15 steps are too short to cut
    ("n1c240h112w112_k64r1s1_f32", 1, 15),  # three products of tf32 are promoted within a step, and cut like the rest
    ("n1c512h65w65_k512r3s3_pad4_dil4_f16", 1, 144),  # 67 x 8 tiles are enough
    ("n1c33h4w4_k8r3s3_f16", 1, 12),  # 9 taps of 33 channels padded to 40: 720 bytes
])  # fmt: skip
def test_gemm_k_is_cut_where_an_image_has_few_tiles(case):
    name, count, steps = case
    problem = parse(name)
    assert gemm_cost.segments_of(problem) == count
    assert gemm_cost.segment_steps(count, -(-gemm_cost.row_bytes(problem) // 64)) == steps


@pytest.mark.parametrize("seed", range(0, 2000, 200))
def test_segments_never_ask_for_the_batch(seed):
    for number in range(seed, seed + 200):
        problem = random_problem(number)
        if hasattr(problem, "k"):
            counts = {gemm_cost.segments_of(dataclasses.replace(problem, n=n)) for n in (1, 2, 31, 1000)}
            assert len(counts) == 1, problem


@pytest.mark.parametrize("steps", [1, 7, 8, 15, 16, 17, 41, 130, 144, 145, 576, 100_003])
@pytest.mark.parametrize("tiles", [1, 3, 8, 60, 64, 65, 128, 1000])
def test_segments_cover_gemm_k_and_none_is_empty(steps, tiles):
    count = gemm_cost.segments(64, 64 * tiles, 1, steps)
    each = gemm_cost.segment_steps(count, steps)
    assert (count - 1) * each < steps <= count * each
    assert count == 1 or (each >= 8 and 2 <= count <= 16 and count * tiles <= 128)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_pick_is_the_least_and_fits(device):
    for case in LAYERS:
        for n in (1, 32, 256):
            shape = gemm_cost.shape_of(dataclasses.replace(parse(case), n=n))
            best = gemm_cost.pick(shape, device)
            assert best.seconds == min(answer.seconds for answer in gemm_cost.picks(shape, device))
            assert gemm_cost.TILES[best.tile].shared_bytes(shape.planes) <= device.shared_per_block
            assert not best.split or shape.segments > 1
            least = 2 * shape.pixels * shape.columns * shape.groups * shape.depth_bytes // shape.element_bytes / getattr(device, shape.rate)
            assert best.seconds >= max(least, shape.moved_bytes / device.bandwidth), "no estimate lies below the floor"


def test_what_any_estimate_must_say():
    """Large layers take the largest tile, whole; a batch of one of deep layers splits; narrow layers take narrow tiles."""
    device = DEVICES["sm_80"]
    large = gemm_cost.pick(gemm_cost.shape_of(parse("n256c256h56w56_k256r3s3_pad1_f16")), device)
    assert (large.tile, large.split) == ("Tile128x128", False) and large.bound in ("tensor cores", "shared memory")
    assert gemm_cost.pick(gemm_cost.shape_of(parse("n1c512h7w7_k512r3s3_pad1_f16")), device).split
    assert not gemm_cost.pick(gemm_cost.shape_of(parse("n256c512h7w7_k512r3s3_pad1_f16")), device).split
    assert gemm_cost.pick(gemm_cost.shape_of(parse("n256c64h56w56_k24r3s3_pad1_f16")), device).tile == "Tile64x32"


def test_a_batch_of_a_layer_in_segments_takes_a_large_tile():
    """Of 16-bit elements alone, for only their sums and the second set of them fit the registers."""
    device = DEVICES["sm_80"]
    for layout in ("", "_nchw"):
        launch = KERNEL.launch(parse(f"n256c512h7w7_k512r3s3_pad1_f16{layout}"), device=device)
        assert launch.name.endswith(" SegmentTile128x128>") and not launch.after and launch.block == (256, 1, 1)
    assert KERNEL.launch(parse("n256c512h7w7_k512r3s3_pad1_f32"), device=device).name.endswith(" Tile64x64>")
    assert KERNEL.launch(parse("n1c512h7w7_k512r3s3_pad1_f16"), device=device).after


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_tile_with_two_sets_of_sums_is_never_estimated_faster_than_with_one(device):
    for n in (1, 32, 256):
        shape = gemm_cost.shape_of(parse(f"n{n}c512h7w7_k512r3s3_pad1_f16"))
        for name, tile in gemm_cost.SEGMENT_TILES.items():
            assert 224 <= tile.registers(1, 2) <= 255
            one = gemm_cost.pick(dataclasses.replace(shape, segments=1), device, (name.removeprefix("Segment"),), split=False)
            two = gemm_cost.pick(shape, device, (name,), split=False)
            assert two.seconds >= one.seconds and two.blocks == one.blocks


def test_more_work_never_takes_less_time():
    for device in DEVICES.values():
        for case in LAYERS[::7]:
            problem = parse(case)
            times = [gemm_cost.pick(gemm_cost.shape_of(dataclasses.replace(problem, n=n)), device).seconds for n in (1, 4, 16, 64, 256)]
            assert times == sorted(times), (device.name, case, times)
