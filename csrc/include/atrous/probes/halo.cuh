// Probes of wgmma on a halo tile: a filter tap is the same bytes of shared memory from another row on.
#pragma once

#include "atrous/prims/mbarrier.cuh"
#include "atrous/probes/rate.cuh"
#include "atrous/probes/tensor_tile.cuh"
#include "atrous/probes/wgmma.cuh"

namespace atrous {

// The maps of the halo's image and of the weights.
struct HaloArguments {
  ProbeArguments probe;
  TensorMap x;  // [1, 8, 8, 64], boxes of 64 channels by 10 by 10 pixels, swizzle of 128 bytes
  TensorMap w;  // [64, 64], one box, swizzle of 128 bytes
};

namespace halo {

constexpr int kPitch = 10;            // pixels from a row of the tile to the next
constexpr int kPixels = kPitch * 10;  // of 64 channels, 128 bytes each
constexpr int kWeights = 13 * 1024;   // byte at which they begin, past the 12,800 of the tile
constexpr int kWeightBytes = 64 * 128;

// Computes y: [grid, 64, 64] float32, of block b with s = size[0] + b, size[1] times
//   sum over c of tile[s + kPitch * (m / 8) + m % 8][c] * w[k][c]
// as y[m][k] where the pixels m are the rows of the product, else as y[k][m]. Layout: pixels and weights are rows of 64
// channels, swizzled. Mapping: one warpgroup. The groups of 8 rows of the pixels are kPitch * 128 bytes apart, which is
// no multiple of the swizzle's 1024, and begin at any row of its pattern.
template <bool kPixelsAreM>
__device__ __forceinline__ void multiply(const ProbeArguments& arguments, const unsigned char* image) {
  const auto swizzle = prims::MatrixSwizzle::k128Bytes;
  const int shift = arguments.size[0] + static_cast<int>(blockIdx.x);
  const auto pixels = prims::advance(prims::make_descriptor(image, 16, kPitch * 128, swizzle), shift * 128);
  const auto weights = prims::make_descriptor(image + kWeights, 16, 1024, swizzle);
  const auto a = kPixelsAreM ? pixels : weights, b = kPixelsAreM ? weights : pixels;
  float d[32] = {};
  const int64 since = prims::clock_cycles();
  for (int round = 0; round < arguments.size[1]; ++round) {
    prims::pin_registers(d);
    prims::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      prims::wgmma<64, bfloat16>(d, prims::advance(a, 32 * k), prims::advance(b, 32 * k), true);
    prims::wgmma_commit();
    prims::wgmma_wait<1>();
    prims::pin_registers(d);
  }
  prims::wgmma_wait<0>();
  prims::pin_registers(d);
  if (threadIdx.x == 0) show_cycles(arguments, static_cast<int64>(gridDim.x) * 64 * 64 * 4, since);
  float* y = static_cast<float*>(arguments.y) + static_cast<int64>(blockIdx.x) * (64 * 64);
  for (int i = 0; i < 32; ++i) y[sum_index<64>(i)] = d[i];
}

}  // namespace halo

// x: [kPixels, 64] bfloat16, the tile itself; w: [64, 64] bfloat16. Both are stored by threads. 128 threads.
template <bool kPixelsAreM>
__global__ void __launch_bounds__(128) probe_halo_stored(const __grid_constant__ ProbeArguments a) {
  unsigned char* image = aligned_shared();
  lay_rows(image, a.x, halo::kPixels, 128);
  lay_rows(image + halo::kWeights, a.w, 64, 128);
  prims::fence_async_proxy();
  prims::sync_block();
  halo::multiply<kPixelsAreM>(a, image);
}

// x: [1, 8, 8, 64] bfloat16; the tile is the image and the zeros around it, as the copy engine brings both. 128
// threads.
template <bool kPixelsAreM>
__global__ void __launch_bounds__(128) probe_halo_copied(const __grid_constant__ HaloArguments a) {
  prims::Barrier* barrier = begin_probe_barrier();
  unsigned char* image = aligned_shared();
  if (threadIdx.x == 0) {
    prims::arrive_expect(barrier, halo::kPixels * 128 + halo::kWeightBytes);
    prims::load_tile(image, &a.x, barrier, 0, -1, -1, 0);
    prims::load_tile(image + halo::kWeights, &a.w, barrier, 0, 0);
  }
  prims::wait(barrier, 0);
  prims::sync_block();  // warps whose lanes waited apart come together, as wgmma needs them
  halo::multiply<kPixelsAreM>(a.probe, image);
}

}  // namespace atrous
