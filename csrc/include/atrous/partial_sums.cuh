// Where the sums of one segment of gemm_k go, for finish_splits to add them up.
#pragma once

#include "atrous/gemm_loader.cuh"

namespace atrous {

// Which steps a block sums: all, or those of the segment that its number in the grid says.
struct GemmShare {
  unsigned number;  // of the block, among those of one segment
  int segment;
  int first_step, end_step;
};

__device__ __forceinline__ GemmShare gemm_share(const GemmArguments& a, int steps) {
  if (a.segment_blocks == 0) return {blockIdx.x, 0, 0, steps};
  const int segment = static_cast<int>(blockIdx.x / a.segment_blocks), first_step = segment * a.segment_steps;
  return {blockIdx.x % a.segment_blocks, segment, first_step, min(first_step + a.segment_steps, steps)};
}

// Stores a warp's sums as mma leaves them: the 4 lanes of a pixel write 32 neighbouring bytes. a.y: the partial sums,
// [segments][gemm_m][row], row = K rounded up to a multiple of 4.
template <class Mma, class Tile>
__device__ __forceinline__ void store_partial_sums(const ConvArguments& a, const GemmBlock& block, int segment,
                                                   const WarpSums<Mma, Tile>& sums) {
  using Sum = typename Mma::Sum;
  const int row = ceil_divide(a.k, 4) * 4, lane = prims::lane_id();
  const int64 gemm_m = static_cast<int64>(a.n) * a.p * a.q;
  const int64 first = (static_cast<int64>(block.first.n) * a.p + block.first.p) * a.q + block.first.q;
  const int first_pixel = warp_pixel<Tile>() + lane / 4;
  const int first_column = block.first_column + warp_column<Tile>() + 2 * (lane % 4);
  const bool in_pairs = block.first_column % 2 == 0;  // a group may start on an odd channel
#pragma unroll
  for (int i = 0; i < 2 * Tile::kM; ++i) {
    const int pixel = first_pixel + 8 * i;
    if (pixel >= block.pixels) continue;
    Sum* target = static_cast<Sum*>(a.y) + (segment * gemm_m + first + pixel) * row + first_column;
#pragma unroll
    for (int j = 0; j < Tile::kN; ++j) {
      const int left = block.column_end - first_column - 8 * j;
      const Vec<Sum, 2> pair = {sums.value[i / 2][j][2 * (i % 2)], sums.value[i / 2][j][2 * (i % 2) + 1]};
      if (left > 1 && in_pairs) {
        store_vec(target + 8 * j, pair);
      } else {
        if (left > 0) target[8 * j] = pair.value[0];
        if (left > 1) target[8 * j + 1] = pair.value[1];
      }
    }
  }
}

}  // namespace atrous
