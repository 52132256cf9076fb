// finish_splits: adds the partial sums that a convolution left segment by segment, and applies its epilogue.
//
// Computes  y[n, p, q, k] = epilogue((0 + sum[0]) + sum[1] + ... over the segments of gemm_k, in this order).
// Layout    partial sums [segments][gemm_m][row] dense, gemm_m = N*P*Q, row = K rounded up to a multiple of 4, so that
//           every row starts on 16 bytes; what a row holds beyond K is read and dropped. y and residual through their
//           strides; Nhwc and Nchw say whether neighbouring threads write neighbouring channels or pixels.
// Mapping   A block owns 32 pixels times 32 output channels, a thread 4 channels of one pixel. The channel tiles of the
//           same pixels are neighbours in the grid.
// Shared    The tile on its way to y, at most 32 x 33 sums, and the offsets of 32 pixels: 4.8 KB.
// Requires  Partial sums on 16 bytes; fewer than 2^31 blocks.
// Cost      gemm_m * K * (segments - 1) additions; every partial sum is read once.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/layout.cuh"
#include "atrous/tile.cuh"

namespace atrous {

struct FinishTile {
  static constexpr int kPixels = 32, kColumns = 32;
  static constexpr int kThreadPixels = 1, kThreadColumns = 4;
  static constexpr int kLaneColumns = 8;
};

template <class Sum, class Layout>
struct FinishShared {
  Sum stage[Stage<Layout, FinishTile>::kSize];
  OutputPixel<int64> output[FinishTile::kPixels];
};

// Partial sums of integers may pass 2^31 on the way to a total that does not.
__device__ __forceinline__ float32 sum_of(float32 a, float32 b) { return a + b; }
__device__ __forceinline__ int32 sum_of(int32 a, int32 b) {
  return static_cast<int32>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
}

// partial: of segment 0; plane: sums from one segment to the next; total: zeros, as where one block adds all segments
template <class Sum>
__device__ __forceinline__ void add_segments(const Sum* partial, int64 plane, int segments, Sum (&total)[4]) {
#pragma unroll 4
  for (int segment = 0; segment < segments; ++segment) {
    const Vec<Sum, 4> next = load_vec<4>(partial + segment * plane);
#pragma unroll
    for (int j = 0; j < 4; ++j) total[j] = sum_of(total[j], next.value[j]);
  }
}

template <class Sum, class Layout>
__global__ void __launch_bounds__(kThreads, 4) finish_splits(const __grid_constant__ FinishArguments a) {
  using Shared = FinishShared<Sum, Layout>;
  Shared& shared = prims::shared<Shared>();
  const ConvArguments& conv = a.conv;
  const int column_tiles = ceil_divide(conv.k, FinishTile::kColumns);
  const int first_column = static_cast<int>(blockIdx.x % column_tiles) * FinishTile::kColumns;
  const int64 first_pixel = static_cast<int64>(blockIdx.x / column_tiles) * FinishTile::kPixels;
  const int64 gemm_m = static_cast<int64>(conv.n) * conv.p * conv.q;
  const int pixels =
      gemm_m - first_pixel < FinishTile::kPixels ? static_cast<int>(gemm_m - first_pixel) : FinishTile::kPixels;
  if (static_cast<int>(threadIdx.x) < pixels) {
    const int64 pixel = first_pixel + threadIdx.x, image_row = pixel / conv.q, n = image_row / conv.p;
    const int64 p = image_row % conv.p, q = pixel % conv.q;
    const auto offset = [&](const int64(&stride)[4]) { return n * stride[0] + p * stride[1] + q * stride[2]; };
    shared.output[threadIdx.x] = {offset(conv.y_stride), offset(conv.residual_stride)};
  }
  const int row = ceil_divide(conv.k, 4) * 4;
  const int pixel = thread_pixel<FinishTile>(), column = first_column + thread_column<FinishTile>();
  ThreadSums<FinishTile, Sum> sums;
  sums.clear();
  if (pixel < pixels && column < row) {
    const Sum* partial = static_cast<const Sum*>(conv.x);  // [segments, gemm_m, row]
    add_segments(partial + (first_pixel + pixel) * row + column, gemm_m * row, a.segments, sums.value[0]);
  }
  write_tile<Layout>(conv, sums, shared.stage, shared.output, pixels, first_column, conv.k);
}

}  // namespace atrous
