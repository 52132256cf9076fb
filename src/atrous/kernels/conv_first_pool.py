"""conv_first_pool: a convolution of few or odd channels and the pooling of what it gives in one kernel; the sums are conv_first's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, Device, Strides, default_strides
from .conv_first import KERNEL as CONVOLUTION
from .conv_first import TILES, FirstPlan, distinct_plans, tiles_for
from .first_patch import HALO_BYTES, USUAL_PATCH, chunk_channels, halo_of
from .gemm_cost import estimates_of
from .in_two import between_bytes, of_convolution
from .mma_types import HALF_POLICIES, policy_of
from .parameters import BYTES, FirstArguments, FirstPoolArguments, PatchArguments
from .pooled_tile import (
    account_of,
    elements_decline,
    parts_decline,
    patch_arguments,
    patch_extent,
    pooling_arguments,
    pooling_seconds,
    tile_bytes,
    window_cells,
)


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
    return patch_arguments(problem.pool, windows_of(problem, tile))


def plan_of(problem: Any, tile: str, device: Device) -> FirstPlan:
    """Return how a tile runs the convolution of a pair on a device, one patch of windows after the other."""
    return FirstPlan(problem.conv, tile, device, patch_of(problem, tile), tile_bytes(problem, TILES[tile]))


def tiles_of(problem: Any) -> tuple[str, ...]:
    """Return the tiles that take at least one window."""
    return tuple(tile for tile in tiles_for(policy_of(problem)) if windows_of(problem, tile))


class ConvFirstPool:
    """Description of csrc/include/atrous/kernels/conv_first_pool.cuh."""

    name = "conv_first_pool"
    operation = "conv2d_pool2d"
    header = "atrous/kernels/conv_first_pool.cuh"
    #: of the convolution, the kernel whose sums are added in the same order
    adds_like = (CONVOLUTION.name,)

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take both, or None."""
        if reason := elements_decline(problem) or parts_decline(problem, device, CONVOLUTION):
            return reason
        tiles = tiles_of(problem)
        if not tiles:
            return f"one window covers {window_cells(problem.pool)} outputs, more than its tile computes or than its halo holds"
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
        for plan, together in distinct_plans(lambda device: self._plans(problem, device)):
            yield self._launch(problem, strides, plan, together)

    def _plans(self, problem: Any, device: Device) -> list[FirstPlan]:
        plans = [plan_of(problem, tile, device) for tile in tiles_of(problem)]
        return [plan for plan in plans if plan.shared_bytes <= device.shared_per_block]

    def _launch(self, problem: Any, strides: Strides | None, plan: FirstPlan, together: int) -> Launch:
        strides = strides or default_strides(problem)
        conv = CONVOLUTION.launch_of(problem.conv, of_convolution(problem, strides), plan, together)
        first = FirstArguments.from_buffer_copy(conv.parameters)
        first.conv.y_stride[:] = (0, 0, 0, 1)
        arguments = FirstPoolArguments(first=first, pool=pooling_arguments(problem, strides), patch=patch_of(problem, plan.tile))
        return replace(conv, name=f"{self.name}<{policy_of(problem)}, {plan.tile}>", header=self.header, parameters=bytes(arguments))

    def _pick(self, problem: Any, device: Device) -> tuple[float, FirstPlan]:
        """Return the least estimated time, and the plan of the tile that takes it."""
        found = [(self._seconds(problem, plan, device), plan) for plan in self._plans(problem, device)]
        return min(found, key=lambda answer: answer[0])

    def _seconds(self, problem: Any, plan: FirstPlan, device: Device) -> float:
        conv, pool, guess = problem.conv, problem.pool, estimates_of(device)
        written = conv.n * conv.k * pool.p * pool.q * BYTES[problem.dtype]
        pooling = pooling_seconds(problem, plan.patches * plan.shape.pixels, device)
        if conv.layout == "NCHW":  # a warp writes runs of 4 outputs, a quarter of the 32 bytes that L2 takes at a time
            pooling += 4 * written / (guess.l2_share * device.l2_bandwidth)
        return CONVOLUTION.estimate(conv, plan, device, between_bytes(problem) - written)[0] + pooling

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the best tile."""
        return self._pick(problem, device)[0]

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan = self._pick(problem, device)[1]
        return account_of(problem, plan.tile, plan.shape.pixels, patch_of(problem, plan.tile), "patch")

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in HALF_POLICIES.values():
            for tile in tiles_for(policy):
                yield f"{self.name}<{policy}, {tile}>"


KERNEL = ConvFirstPool()
