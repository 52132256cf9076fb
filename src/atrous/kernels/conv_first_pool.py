"""conv_first_pool: a convolution of few or odd channels and the pooling of what it gives in one kernel; the sums are conv_first's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, Device, Strides, default_strides
from .conv_first import KERNEL as CONVOLUTION
from .conv_first import TILES, FirstPlan, tiles_for
from .conv_pool import POLICIES, patch_extent
from .first_patch import HALO_BYTES, USUAL_PATCH, chunk_channels, halo_of
from .gemm_cost import estimates_of
from .in_two import between_bytes
from .parameters import BYTES, FirstArguments, FirstPoolArguments, PatchArguments, PoolArguments, pool_arguments
from .pool import EXTENT_LIMIT, TAPS_WORTH_SPLITTING
from .pool import KERNEL as POOLING


@lru_cache(maxsize=4096)
def windows_of(problem: Any, tile: str) -> tuple[int, int] | None:
    """Return the rows and columns of windows of a block: of the fewest patches, then the smallest halo; None where not even one fits."""
    conv, pool, pixels = problem.conv, problem.pool, TILES[tile].pixels
    channels = chunk_channels(conv)
    limit = max(HALO_BYTES, halo_of(conv, *USUAL_PATCH, channels).bytes)
    best, found = None, None
    for rows in range(1, min(pool.p, pixels) + 1):
        height = patch_extent(rows, pool.r, pool.stride[0], pool.dilation[0])
        for columns in range(min(pool.q, pixels), 0, -1):
            width = patch_extent(columns, pool.s, pool.stride[1], pool.dilation[1])
            if height * width > pixels or (halo := halo_of(conv, height, width, channels).bytes) > limit:
                continue
            cost = -(-pool.p // rows) * -(-pool.q // columns), halo
            if best is None or cost < best:
                best, found = cost, (rows, columns)
            break
    return found


def patch_of(problem: Any, tile: str) -> PatchArguments:
    """Return the patches of a tile."""
    pool, windows = problem.pool, windows_of(problem, tile)
    assert windows is not None
    rows, columns = windows
    return PatchArguments(
        window_rows=rows,
        window_columns=columns,
        row_patches=-(-pool.p // rows),
        column_patches=-(-pool.q // columns),
        rows=patch_extent(rows, pool.r, pool.stride[0], pool.dilation[0]),
        columns=patch_extent(columns, pool.s, pool.stride[1], pool.dilation[1]),
        is_average=pool.kind == "avg",
    )


def plan_of(problem: Any, tile: str, device: Device) -> FirstPlan:
    """Return how a tile runs the convolution of a pair on a device, one patch of windows after the other."""
    size = BYTES[problem.dtype]
    return FirstPlan(problem.conv, tile, device, patch_of(problem, tile), TILES[tile].pixels * (TILES[tile].columns * size + 16))


def tiles_of(problem: Any) -> tuple[str, ...]:
    """Return the tiles that take at least one window."""
    return tuple(tile for tile in tiles_for(POLICIES[problem.dtype]) if windows_of(problem, tile))


class ConvFirstPool:
    """Description of csrc/include/atrous/kernels/conv_first_pool.cuh."""

    name = "conv_first_pool"
    operation = "conv2d_pool2d"
    header = "atrous/kernels/conv_first_pool.cuh"
    #: kernels whose sums are added in the same order
    adds_like = (CONVOLUTION.name,)

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take both, or None."""
        conv, pool = problem.conv, problem.pool
        if conv.dtype not in POLICIES:
            return f"x is {conv.dtype}, and it takes {', '.join(POLICIES)}"
        if conv.out_dtype != conv.dtype:
            return f"the convolution of {conv.dtype} gives {conv.out_dtype}, and it pools elements of x's dtype"
        if pool.r * pool.s >= TAPS_WORTH_SPLITTING:
            return f"the window has {pool.r * pool.s} taps, and from {TAPS_WORTH_SPLITTING} on a pooling adds them in another order"
        for letter, size, pads in (("H", conv.h, conv.pads[:2]), ("W", conv.w, conv.pads[2:])):
            if size + abs(pads[0]) + abs(pads[1]) >= EXTENT_LIMIT:
                return f"{letter} = {size} with padding {pads} reaches 2^30, and it adds two coordinates in 32 bits"
        for kernel, part in ((CONVOLUTION, conv), (POOLING, pool)):
            if (reason := kernel.declines(part, device)) is not None:
                return reason
        tiles = tiles_of(problem)
        if not tiles:
            cells = patch_extent(1, pool.r, 1, pool.dilation[0]) * patch_extent(1, pool.s, 1, pool.dilation[1])
            return f"one window covers {cells} outputs, more than its tile computes or than its halo holds"
        plans = [plan_of(problem, tile, device) for tile in tiles]
        if (least := min(plan.shared_bytes for plan in plans)) > device.shared_per_block:
            return f"a block takes {least} bytes of shared memory, and {device.name} has {device.shared_per_block}"
        if max(plan.patches * plan.column_tiles for plan in plans) > GRID_LIMIT:
            return f"its blocks are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous), with the tile of the least estimated time."""
        device = device or DEVICES["simulated"]
        plan = self._pick(problem, device)[1]
        return self._launch(problem, strides, plan, plan.together(device))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches of all tiles, with the blocks that each device is given and with one for each patch: all give the same bits."""
        found: dict[tuple[str, int], FirstPlan] = {}
        for device in DEVICES.values():
            for plan in self._plans(problem, device):
                for together in (plan.together(device), plan.patches):
                    found.setdefault((plan.tile, together), plan)
        for (_, together), plan in found.items():
            yield self._launch(problem, strides, plan, together)

    def _plans(self, problem: Any, device: Device) -> list[FirstPlan]:
        plans = [plan_of(problem, tile, device) for tile in tiles_of(problem)]
        return [plan for plan in plans if plan.shared_bytes <= device.shared_per_block]

    def _launch(self, problem: Any, strides: Strides | None, plan: FirstPlan, together: int) -> Launch:
        strides = strides or default_strides(problem)
        of_conv = replace(strides, y=default_strides(problem.conv).y, index=(0, 0, 0, 0))
        conv = CONVOLUTION.launch_of(problem.conv, of_conv, plan, together)
        first = FirstArguments.from_buffer_copy(conv.parameters)
        first.conv.y_stride[:] = (0, 0, 0, 1)
        pool = PoolArguments.from_buffer_copy(pool_arguments(problem.pool, Strides(x=(0, 0, 0, 0), y=strides.y), {}))
        return replace(
            conv,
            name=f"{self.name}<{POLICIES[problem.dtype]}, {plan.tile}>",
            header=self.header,
            parameters=bytes(FirstPoolArguments(first=first, pool=pool, patch=patch_of(problem, plan.tile))),
        )

    def _pick(self, problem: Any, device: Device) -> tuple[float, FirstPlan]:
        """Return the least estimated time, and the plan of the tile that takes it."""
        found = [(self._seconds(problem, plan, device), plan) for plan in self._plans(problem, device)]
        return min(found, key=lambda answer: answer[0])

    def _seconds(self, problem: Any, plan: FirstPlan, device: Device) -> float:
        conv, pool, size = problem.conv, problem.pool, BYTES[problem.dtype]
        guess, written = estimates_of(device), conv.n * conv.k * pool.p * pool.q * size
        # The tile is written once, and every tap of every window read, through the ports of shared memory.
        through = size * conv.k * (plan.patches * plan.shape.pixels + conv.n * pool.p * pool.q * pool.r * pool.s)
        pooling = through / (guess.shared_share * 128 * device.clock * device.multiprocessors)
        if conv.layout == "NCHW":  # a warp writes runs of 4 outputs, a quarter of the 32 bytes that L2 takes at a time
            pooling += 4 * written / (guess.l2_share * device.l2_bandwidth)
        return CONVOLUTION.seconds_of(conv, plan, device, between_bytes(problem) - written) + pooling

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the best tile."""
        return self._pick(problem, device)[0]

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on: the tile, its windows, the outputs that it computes for those that there are."""
        plan = self._pick(problem, device)[1]
        patch, conv = patch_of(problem, plan.tile), problem.conv
        share = plan.row_patches * plan.column_patches * plan.shape.pixels / (conv.p * conv.q)
        windows = f"{patch.window_rows} x {patch.window_columns} windows a patch"
        return f"tensor cores with {plan.tile}, {windows}, {share:.2f} times the convolution's outputs"

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in POLICIES.values():
            for tile in tiles_for(policy):
                yield f"{self.name}<{policy}, {tile}>"


KERNEL = ConvFirstPool()
