"""What is measured: a probe at the size that is timed, the work that it does, and the small one that is checked before."""

from __future__ import annotations

from dataclasses import dataclass

from atrous.probes import halo, rate_copy, rate_loads, rate_wgmma
from atrous.probes.probe import Probe

#: of an H200, where no device says another; of the timed probes only the grids depend on it
MULTIPROCESSORS = 132
MIB = 1 << 20
SAMPLE_SECONDS = 2e-3  # a sample is about so long, so that starting it does not count
MOST_NODES = 512  # of a graph
POOL_BYTES = 512 * MIB  # of x, and of y: a copy that moves on through it finds nothing in L2
RING_BYTES = 192 * 1024
SHARED_LOAD = 200 * 1024  # of a kernel that does nothing, in the form of one that has a ring


@dataclass(frozen=True)
class Measure:
    """One figure: the probe that is timed, and how its time becomes a rate."""

    group: str
    name: str
    probe: Probe
    check: Probe  # the same kernel, small, on inputs whose result is exact
    bytes: int = 0  # of one launch, read and written, or put into shared memory
    flops: int = 0
    nodes: int = 1  # launches in a graph
    pool: int = 0  # bytes of x and of y through which the launches of a graph move, each at another place
    cycles_at: int | None = None  # byte of y at which the cycles of each block begin
    products: int = 0  # wgmmas of one warpgroup, each of which `flops_of_product` operations
    warpgroups: int = 0  # of a block

    @property
    def y_bytes(self) -> int:
        """Bytes of y, the cycles too."""
        if self.pool:
            return self.pool
        return self.bytes if self.cycles_at is None else self.cycles_at + 8 * self.probe.grid[0]


def nodes_for(seconds: float) -> int:
    """Return how many launches of about `seconds` a graph holds."""
    return min(MOST_NODES, max(4, int(SAMPLE_SECONDS / seconds)))


def copies() -> list[Measure]:
    """Return copies of 1 to 512 MiB that find nothing in L2, and of up to 8 MiB whose x and y stay there, in the half of L2 that is near too."""
    found = []
    for size in (1 << exponent for exponent in range(10)):
        probe, check = rate_copy.copy(size * MIB), rate_copy.PROBES[0]
        words = dict(bytes=2 * size * MIB, nodes=nodes_for(1.5e-6 + 2 * size * MIB / 4e12))
        found.append(Measure("copy", f"copy of {size} MiB, from memory", probe, check, pool=POOL_BYTES, **words))
        if size <= 8:
            found.append(Measure("copy", f"copy of {size} MiB, from L2", probe, check, pool=size * MIB, **words))
    return found


def empties(blocks: int) -> list[Measure]:
    """Return kernels that do nothing: one warp, and a block a multiprocessor in the form of a persistent kernel."""
    check = rate_copy.PROBES[1]
    return [
        Measure("empty", "period of an empty kernel, 1 block of 32 threads", rate_copy.empty(1, 32, 0), check, nodes=MOST_NODES, pool=16),
        Measure(
            "empty", f"period of an empty kernel, a block of 384 threads and {SHARED_LOAD // 1024} KiB on each multiprocessor",
            rate_copy.empty(blocks, 384, SHARED_LOAD), check, nodes=MOST_NODES, pool=16,
        ),
    ]  # fmt: skip


def products(blocks: int) -> list[Measure]:
    """Return wgmmas of 64 x n x 16 on operands in shared memory, by one and by two warpgroups of a block."""
    found = []
    for n in rate_wgmma.SIZES:
        for warpgroups in (1, 2):
            flops = 2 * 64 * warpgroups * n * rate_wgmma.DEPTH  # of a round of one block
            rounds = int(1.5 * SAMPLE_SECONDS * 6e12 / flops)
            probe = rate_wgmma.resident(n, warpgroups, rounds, blocks, cycles=True)
            found.append(
                Measure(
                    "wgmma", f"wgmma n = {n}, {warpgroups} warpgroup" + "s" * (warpgroups > 1), probe, rate_wgmma.resident(n, warpgroups, 2, 2),
                    flops=rounds * flops * blocks, cycles_at=4 * 64 * warpgroups * n * blocks, products=rounds * rate_wgmma.DEPTH // 16, warpgroups=warpgroups,
                )
            )  # fmt: skip
    return found


def columns(blocks: int) -> list[Measure]:
    """Return im2col loads of a 3x3 convolution on 56 x 56 pixels, 12.8 MB of them, in rows as wide as the swizzle."""
    found = []
    for channels, check in zip((16, 32, 64), rate_loads.PROBES):
        stage = rate_loads.TAPS * rate_loads.PIXELS * 2 * channels
        tiles = 1500 * 64 // channels
        probe = rate_loads.im2col(channels, (32 * 64 // channels, 56, 56), tiles, RING_BYTES // stage, blocks, show=False)
        found.append(Measure("im2col", f"im2col loads of {channels} channels", probe, check, bytes=tiles * 3 * stage * blocks, cycles_at=0))
    return found


def tiles(blocks: int) -> list[Measure]:
    """Return loads of 16 KiB tiles of 16 MiB in L2, each for both blocks of a pair, that each block loads whole or in halves for both."""
    blocks -= blocks % 2
    found = []
    for multicast, check in zip((False, True), rate_loads.PROBES[3:]):
        probe = rate_loads.boxes(multicast, 1024 * rate_loads.ROWS, 8000, RING_BYTES // (16 * 1024), blocks, show=False)
        name = "L2 to shared memory, " + ("multicast to 2 blocks" if multicast else "each block for itself")
        found.append(Measure("l2", name, probe, check, bytes=8000 * 16 * 1024 * blocks, cycles_at=0))
    return found


def halos() -> list[Measure]:
    """Return wgmmas that begin at each of the first 23 rows of a halo tile: whether they read the right rows, and how fast."""
    found = []
    for check in halo.PROBES:
        copied, pixels_are_m = "copied" in check.kernel, "<true>" in check.kernel
        rounds = 4096
        probe = halo.halo(copied, pixels_are_m, rounds, cycles=True)
        name = f"wgmma on a halo tile {'of the copy engine' if copied else 'stored by threads'}, pixels on {'m' if pixels_are_m else 'n'}"
        flops = 2 * 64**3 * rounds * halo.SHIFTS
        found.append(Measure("halo", name, probe, check, flops=flops, cycles_at=4 * 64 * 64 * halo.SHIFTS, products=4 * rounds, warpgroups=1))
    return found


def every(blocks: int = MULTIPROCESSORS) -> list[Measure]:
    """Return all measures, for a device of so many multiprocessors."""
    return [*copies(), *empties(blocks), *products(blocks), *columns(blocks), *tiles(blocks), *halos()]


#: groups in the order in which they run, each in a process of its own: what decides most comes first
GROUPS = ("halo", "wgmma", "im2col", "l2", "copy", "empty")
