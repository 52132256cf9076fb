// A probe of the rate of wgmma: a block multiplies what lies in its shared memory, again and again.
#pragma once

#include "atrous/probes/rate.cuh"
#include "atrous/probes/wgmma.cuh"

namespace atrous {

constexpr int kResidentSlabs = 4;  // of 64 columns, the 128 bytes of a swizzled row

// Computes y: [grid, 64 g, N] float32 = size[0] times a: [64 g, 256] T times the transpose of b: [N, 256] T, for the g
// warpgroups of a block. Layout: x holds the rows of a, then those of b. Mapping: a warpgroup has 64 rows of a; all of
// them share b. Shared: 512 bytes a row and 1024 for the boundary, with g = 2 and N = 256 193 KiB. Requires 128 or 256
// threads. Cost: 2 * 64 g * N * 256 multiply-adds a round, four wgmmas to a group and one group in flight.
template <int kN, class T>
__global__ void __launch_bounds__(256, 1) probe_resident_wgmma(const __grid_constant__ ProbeArguments arguments) {
  unsigned char* slabs = aligned_shared();
  const int rows_a = static_cast<int>(blockDim.x) / 2, rows = rows_a + kN;
  for (int slab = 0; slab < kResidentSlabs; ++slab)
    lay_rows(slabs + slab * rows * 128, static_cast<const unsigned char*>(arguments.x) + slab * 128, rows,
             kResidentSlabs * 128);
  prims::fence_async_proxy();
  prims::sync_block();
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const auto swizzle = prims::MatrixSwizzle::k128Bytes;
  const auto a = prims::make_descriptor(slabs + warpgroup * 64 * 128, 16, 1024, swizzle);
  const auto b = prims::make_descriptor(slabs + rows_a * 128, 16, 1024, swizzle);
  float d[kN / 2] = {};
  const int64 since = prims::clock_cycles();
  for (int round = 0; round < arguments.size[0]; ++round) {
#pragma unroll
    for (int slab = 0; slab < kResidentSlabs; ++slab) {
      prims::pin_registers(d);
      prims::wgmma_fence();
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = slab * rows * 128 + 32 * k;
        prims::wgmma<kN, T>(d, prims::advance(a, at), prims::advance(b, at), true);
      }
      prims::wgmma_commit();
      prims::wgmma_wait<1>();
      prims::pin_registers(d);
    }
  }
  prims::wgmma_wait<0>();
  prims::pin_registers(d);
  prims::sync_block();
  const int64 sums = static_cast<int64>(rows_a) * kN;
  if (threadIdx.x == 0) show_cycles(arguments, gridDim.x * sums * 4, since);
  float* y = static_cast<float*>(arguments.y) + blockIdx.x * sums;
  for (int i = 0; i < kN / 2; ++i) y[sum_index<kN>(i)] = d[i];
}

}  // namespace atrous
