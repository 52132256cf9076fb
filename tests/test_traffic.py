"""The counting of traffic: sectors, bytes, footprints and bank conflicts of kernels of which all is known by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import builds
import traffic

#: kernel(stride, shift, count, variant) of one warp, unless blocks and threads say otherwise -> what it moves beside its
#: result, a word a thread. Shared memory is filled by 33 stores of a warp where the comment says "33 +".
GLOBAL = "global_read_bytes", "global_read_sectors", "read_footprint"
SHARED = "shared_instructions", "shared_conflicts"
CASES = {
    # words 0 to 31; 1 to 32; every second; every eighth, a sector each; every ninth; one word for all
    ("traffic_global", (1, 0, 0, 0)): (128, 4, 4, 0, 0),
    ("traffic_global", (1, 1, 0, 0)): (128, 5, 5, 0, 0),
    ("traffic_global", (2, 0, 0, 0)): (128, 8, 8, 0, 0),
    ("traffic_global", (8, 0, 0, 0)): (128, 32, 32, 0, 0),
    ("traffic_global", (9, 0, 0, 0)): (128, 32, 32, 0, 0),
    ("traffic_global", (0, 5, 0, 0)): (128, 1, 1, 0, 0),
    # descending words are the same sectors
    ("traffic_global", (-1, 31, 0, 0)): (128, 4, 4, 0, 0),
    # 16 bytes a lane: 512 in one instruction. 32 bytes a lane: two, each of which touches every sector of 1024.
    ("traffic_wide<4>", (4, 0, 0, 0)): (512, 16, 16, 0, 0),
    ("traffic_wide<4>", (8, 0, 0, 0)): (512, 32, 32, 0, 0),
    ("traffic_wide<8>", (8, 0, 0, 0)): (1024, 64, 32, 0, 0),
    # 16 lanes and 16 lanes, each over 4 sectors
    ("traffic_divergent", (0, 0, 0, 0)): (128, 8, 8, 0, 0),
    # 8, 16, 24 and 32 lanes of a row of 4 sectors; and of words 24-31, 49-64, 74-97 and 99-130: sectors 3, 6-8, 9-12 and 12-16
    ("traffic_late", (32, 0, 4, 0)): (320, 10, 10, 0, 0),
    ("traffic_late", (32, 0, 4, 1)): (320, 10, 10, 0, 0),
    ("traffic_late", (33, 0, 4, 0)): (320, 1 + 3 + 4 + 5, 12, 0, 0),
    # 33 + one load: word i * stride lies in bank i * stride % 32
    **{("traffic_shared<1>", (stride, 0, 0, 0)): (0, 0, 0, 34, ways - 1) for stride, ways in ((0, 1), (1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (32, 32))},
    **{("traffic_shared<1>", (stride, 0, 0, 0)): (0, 0, 0, 34, ways - 1) for stride, ways in ((3, 1), (6, 2), (12, 4), (24, 8), (31, 1), (33, 1))},
    # of 8 bytes, by halves: 16 lanes 2 words apart are 32 words; 4 apart, two to a bank; 32 apart, 16 to a bank
    **{("traffic_shared<2>", (stride, 0, 0, 0)): (0, 0, 0, 34, 2 * (ways - 1)) for stride, ways in ((0, 1), (2, 1), (4, 2), (8, 4), (32, 16))},
    # of 16 bytes, by quarters: 8 lanes 4 words apart are 32 words; 8 apart, two to a bank; 32 apart, 8; 20 apart, none twice
    **{("traffic_shared<4>", (stride, 0, 0, 0)): (0, 0, 0, 34, 4 * (ways - 1)) for stride, ways in ((0, 1), (4, 1), (8, 2), (16, 4), (32, 8), (20, 1))},
    # four lanes share a word; every lane has a word of its own, two to a bank
    ("traffic_bytes", (1, 0, 0, 0)): (0, 0, 0, 34, 0),
    ("traffic_bytes", (8, 0, 0, 0)): (0, 0, 0, 34, 1),
    # a copy that writes 16 bytes a lane, and a load of its first word: 4 apart 4 to a bank; 32 apart 8 in a quarter, and 32
    ("traffic_copy", (4, 0, 32, 0)): (512, 16, 16, 2, 3),
    ("traffic_copy", (4, 0, 10, 0)): (160, 5, 5, 2, 3),
    ("traffic_copy", (32, 0, 32, 0)): (512, 16, 16, 2, 4 * 7 + 31),
    # 33 + one: 8 rows of 16 bytes a phase, side by side; 48 bytes apart; two, and all, in the same banks
    **{("traffic_matrix<4>", (stride, 0, 0, v)): (0, 0, 0, 34, 4 * (ways - 1)) for v in (0, 1) for stride, ways in ((4, 1), (12, 1), (8, 2), (32, 8))},
    **{("traffic_matrix<1>", (stride, 0, 0, v)): (0, 0, 0, 34, ways - 1) for v in (0, 1) for stride, ways in ((4, 1), (12, 1), (8, 2), (32, 8))},
    # 1024 bytes as one request, and a load of a word
    ("traffic_bulk", (0, 0, 1024, 0)): (1024, 32, 32, 1, 0),
}
#: the same kernels under any schedule
SCHEDULES = [("in-order", 0), ("reverse", 0), ("greedy", 3), ("random", 1), ("random", 2)]
#: (kernel, arguments, blocks, threads) -> (sectors read, sectors written, their footprints)
SHAPES = {
    # a warp and a quarter: 4 and 1 sectors
    ("traffic_global", (1, 0, 0, 0), 1, 40): (5, 5, 5, 5),
    # three lanes
    ("traffic_global", (1, 0, 0, 0), 1, 3): (1, 1, 1, 1),
    # two blocks read the same words, and write their own; blocks of 4 threads each write half a sector
    ("traffic_global", (1, 0, 0, 0), 2, 32): (8, 8, 4, 8),
    ("traffic_global", (1, 0, 0, 0), 6, 4): (6, 6, 1, 3),
}


def launch(cases):
    """Run (kernel, arguments, blocks, threads, schedule) cases on the race build in a process of its own; return what each moved."""
    arguments, environment = builds.command("race")
    done = subprocess.run([*arguments, __file__], env=environment, input=repr(list(cases)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return eval(done.stdout)


def aligned(words):
    """Return int32 zeros that begin at a multiple of 256 bytes, as a device's memory does."""
    import numpy as np

    raw = np.zeros(words + 64, np.int32)
    start = -raw.ctypes.data % 256 // 4
    return raw[start : start + words]


def answer():
    """Be that process."""
    import struct

    import atrous._sim as sim

    found = []
    for kernel, arguments, blocks, threads, schedule in eval(sys.stdin.read()):
        sim.set_schedule(*schedule)
        x, y = aligned(2048), aligned(2048)
        prepared = sim.Prepared(kernel, (blocks, 1, 1), (threads, 1, 1), (1, 1, 1), 0, struct.pack("=QQiiii", 0, 0, *arguments), 2)
        prepared.run((x.ctypes.data, y.ctypes.data), 0)  # not counted
        with traffic.counted() as moved:
            prepared.run((x.ctypes.data, y.ctypes.data), 0)
        found.append({**moved.figures, "places": moved.places()})
    print(found)


@pytest.fixture(scope="module")
def moved():
    """(kernel, arguments, blocks, threads, schedule) -> what it moved"""
    cases = [(*case, 1, 32, schedule) for case in CASES for schedule in SCHEDULES]
    cases += [(*case, schedule) for case in SHAPES for schedule in SCHEDULES]
    return dict(zip(cases, launch(cases)))


@pytest.mark.parametrize(("kernel", "arguments"), CASES)
def test_a_warp_moves_what_is_known_by_hand(moved, kernel, arguments):
    for schedule in SCHEDULES:
        found = moved[kernel, arguments, 1, 32, schedule]
        assert tuple(found[key] for key in (*GLOBAL, *SHARED)) == CASES[kernel, arguments], schedule
        assert (found["launches"], found["global_write_bytes"], found["global_write_sectors"]) == (1, 128, 8 if kernel == "traffic_divergent" else 4), schedule


@pytest.mark.parametrize("shape", SHAPES)
def test_partial_warps_and_several_blocks(moved, shape):
    keys = "global_read_sectors", "global_write_sectors", "read_footprint", "write_footprint"
    for schedule in SCHEDULES:
        found = moved[(*shape, schedule)]
        assert tuple(found[key] for key in keys) == SHAPES[shape], schedule


def test_conflicts_have_a_line(moved):
    found = moved["traffic_shared<4>", (32, 0, 0, 0), 1, 32, ("in-order", 0)]["places"]
    text = (builds.ROOT / "csrc" / "sim" / "test_kernels_traffic.cpp").read_text().splitlines()
    number = next(number for number, line in enumerate(text, 1) if "load_vec<kWords>(word +" in line)
    (place,) = [place for place, sums in found.items() if sums["shared_conflicts"]]
    assert place.startswith("vec.cuh:") and place.endswith(f" in test_kernels_traffic.cpp:{number}")
    assert found[place]["shared_conflicts"] == 28
    (bulk,) = [place for place in moved["traffic_bulk", (0, 0, 1024, 0), 1, 32, ("in-order", 0)]["places"] if "cuh" not in place][:1]
    assert bulk.startswith("test_kernels_traffic.cpp:")


def test_a_place_without_a_line_is_an_address_with_a_reason(tmp_path):
    (tmp_path / "nothing").write_bytes(b"no object")
    assert traffic.lines_of(str(tmp_path / "nothing"), [16])[16].startswith("0x10 of the extension (")


def test_a_build_without_hooks_says_so():
    extension = pytest.importorskip("atrous._sim", reason="the simulator is not built here")
    if extension.build_info()["sanitizer"] == "race":
        pytest.skip("this is the build with hooks")
    with pytest.raises(RuntimeError, match="this build counts no traffic; expected one with the hooks of the race check"):
        extension.start_traffic()
    assert extension.stop_traffic()["launches"] == 0


def test_a_pool_without_overlap_touches_every_sector_once():
    (found,) = traffic.records_of(["n1c64h16w16_max_r2s2_stride2_f16_nhwc"])
    assert (found["read_footprint"], found["write_footprint"]) == (16 * 16 * 64 * 2 // 32, 8 * 8 * 64 * 2 // 32)
    assert found["footprint_ratio"] == 1 and found["ratio"] >= 1
    assert traffic.figures_of([found])["traffic_pool"] == found["ratio"]


#: ResNeXt-50's layers of fewer than 32 channels a group, of stride 1 and 2
GROUPED = (
    "n1c128h56w56_k128r3s3_pad1_g32_f16_bias_relu", "n1c256h28w28_k256r3s3_pad1_g32_f16_bias_relu", "n1c512h14w14_k512r3s3_pad1_g32_f16_bias_relu",
    "n1c256h56w56_k256r3s3_pad1_stride2_g32_f16_bias_relu", "n1c512h28w28_k512r3s3_pad1_stride2_g32_f16_bias_relu",
)  # fmt: skip


def test_grouped_layers_move_each_byte_once():
    """Within a tenth of the least, and no two lanes of the main loop meet in a bank, but where copies go on from even cells to odd ones."""
    for found in traffic.records_of(list(GROUPED), kernel="conv_grouped"):
        assert found["ratio"] <= 1.10, (found["case"], found["ratio"])
        assert found["main_loop_conflicts"] <= (0.1 if "stride2" in found["case"] else 0), (found["case"], found["places"])


def test_layers_are_of_every_class():
    assert {traffic.class_of(problem) for _, problem in traffic.layers()} >= {key for key, figure in traffic.FIGURES.items() if figure}


def test_fewer_channels_where_a_layer_is_long():
    from atrous.problem import parse

    short = parse("n1c96h56w56_k96r3s3_pad1_g96_f16")
    assert traffic.affordable(short) is short
    assert str(traffic.affordable(parse("n1c128h56w56_k128r31s31_pad15_g128_f16_bias_relu"))).startswith("n1c32h56w56_k32r31s31")


if __name__ == "__main__":
    answer()
