// conv_pool: convolution as an implicit GEMM on tensor cores, and the pooling of what it gives, in one kernel.
//
// Computes  y[n, i, j, k] = pool over the window (i, j) of T(epilogue(sum over r, s, c of x * weight)): the sums are
//           those of conv_igemm_sm80 in its order, T the element type of y, and the pooling that of reductions.cuh over
//           the rounded values, its taps in row-major order. So the bits are those of the two kernels.
// Layout    x, residual and y through their element strides; weight as rows of pieces, [planes][K][R*S*C/G]. Pieces: x
//           has dense channels, and every pixel of a group starts on 16 bytes.
// Mapping   A block owns window_rows x window_columns windows times kColumns output channels of a group. The rows of
//           its GEMM tile are the patch of convolution outputs that those windows cover, at most kPixels; outputs
//           outside the image are masked, and so read nothing. Windows that overlap make neighbouring patches overlap:
//           the outputs in both are computed twice, 121 for the 100 that 5 x 5 windows of 3 x 3 with stride 2 need.
// Shared    The stages of conv_igemm_sm80 while it sums; then a place for every pixel, the staging of every warp, and
//           the tile of rounded outputs, kPixels x (kColumns * size + 16) bytes: at most 48 KB.
// Requires  What conv_igemm_sm80 does with Pieces; a y of x's floating type; one window's outputs fit kPixels; fewer
//           than 16 taps a window; padded extents below 2^30.
// Cost      2 * outputs * K * R*S*C/G operations for the outputs of all patches. Neither written nor read again are the
//           N*P*Q*K elements between the two.
#pragma once

#include "atrous/kernels/conv_igemm_sm80.cuh"
#include "atrous/pooled_tile.cuh"

namespace atrous {

// The share of one block: the patch of outputs under its windows, kColumns output channels of one group.
struct PatchBlock {
  PooledPatch place_of;
  int pixels, patch_columns;
  int first_column, column_end;
  int first_channel;  // of x

  template <class Tile>
  __device__ __forceinline__ static PatchBlock of(const ConvPoolArguments& a, unsigned number, Tile) {
    const ConvArguments& conv = a.gemm.conv;
    const int group_columns = conv.k / conv.groups;
    const int group_tiles = ceil_divide(group_columns, Tile::kColumns);
    const unsigned tiles = static_cast<unsigned>(group_tiles) * conv.groups;
    const int tile = static_cast<int>(number % tiles), group = tile / group_tiles;
    const PooledPatch place(a.pool, a.patch, number / tiles);
    PatchBlock block = {place, a.patch.rows * a.patch.columns, a.patch.columns, 0, 0, 0};
    block.first_column = group * group_columns + tile % group_tiles * Tile::kColumns;
    block.column_end = min(block.first_column + Tile::kColumns, (group + 1) * group_columns);
    block.first_channel = group * (conv.c / conv.groups);
    return block;
  }

  __device__ __forceinline__ OutputPixelPlace place(const ConvArguments&, int pixel) const {
    const int row = pixel / patch_columns;
    return {place_of.image, place_of.first_p + row, place_of.first_q + pixel - row * patch_columns};
  }

  // Whether the convolution has that output.
  __device__ __forceinline__ bool has(const ConvArguments& a, int pixel) const {
    const OutputPixelPlace at = place(a, pixel);
    return pixel < pixels && static_cast<unsigned>(at.p) < static_cast<unsigned>(a.p) &&
           static_cast<unsigned>(at.q) < static_cast<unsigned>(a.q);
  }
};

template <class Mma, class Tile>
struct ConvPoolShared {
  using T = typename Mma::Element;
  static constexpr int kPitch = tile_pitch<T>(Tile::kColumns);
  struct alignas(16) Output {
    OutputPlace place[Tile::kPixels];
    typename Mma::Sum stage[Tile::kWarps][kWarpStageElements<Tile::kM, Tile::kN>];
    T tile[Tile::kPixels * kPitch];
  };
  union {
    GemmShared<Mma, Tile> gemm;
    Output output;
  };
};

// Where each output of the patch goes in the tile, and where its residual is; for an output that is none, that of its
// nearest neighbour, which is read and then never used.
template <class Mma, class Tile>
__device__ __forceinline__ void set_places(const ConvArguments& a, const PatchBlock& block,
                                           typename ConvPoolShared<Mma, Tile>::Output& output) {
  for (int pixel = threadIdx.x; pixel < block.pixels; pixel += Tile::kThreads) {
    const OutputPixelPlace at = block.place(a, pixel);
    const int p = min(max(at.p, 0), a.p - 1), q = min(max(at.q, 0), a.q - 1);
    output.place[pixel] = {
        pixel * ConvPoolShared<Mma, Tile>::kPitch - block.first_column,
        at.n * a.residual_stride[0] + p * a.residual_stride[1] + q * a.residual_stride[2],
    };
  }
}

template <class T, template <class> class Reduction, class Tile, class Shared>
__device__ __forceinline__ void pool_tile(const ConvPoolArguments& a, const PatchBlock& block, const Shared& shared) {
  const TilePooling<T, Reduction, Tile::kThreads> pooling = {
      a.pool, a.patch, block.place_of, shared.output.tile, Shared::kPitch, block.first_column, block.column_end};
  pooling.run(static_cast<T*>(a.gemm.conv.y));
}

template <class Mma, class Loader, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, kGemmBlocks<Mma, Tile>)
    conv_pool(const __grid_constant__ ConvPoolArguments a) {
  using Shared = ConvPoolShared<Mma, Tile>;
  using T = typename Mma::Element;
  const ConvArguments& conv = a.gemm.conv;
  Shared& shared = *reinterpret_cast<Shared*>(prims::dynamic_shared());
  const PatchBlock block = PatchBlock::of(a, blockIdx.x, Tile{});
  const int steps = ceil_divide(conv.r * conv.s * a.gemm.tap_pieces, kStepPieces);
  const WarpSums<Mma, Tile> sums = sum_steps<Mma, Loader, Tile>(a.gemm, block, shared.gemm, 0, steps);
  prims::wait_copies<0>();
  prims::sync_block();  // every warp has read the last stage
  set_places<Mma, Tile>(conv, block, shared.output);
  prims::sync_block();
  ConvArguments to_tile = conv;
  to_tile.y = shared.output.tile;
  const int pixel = warp_pixel<Tile>();
  write_warp_sums<Tile::kM, Tile::kN>(to_tile, sums.value, shared.output.stage[threadIdx.x / 32],
                                      shared.output.place + pixel, block.pixels - pixel,
                                      block.first_column + warp_column<Tile>(), block.column_end);
  prims::sync_block();
  if (a.patch.is_average) {
    pool_tile<T, AverageReduction, Tile>(a, block, shared);
  } else {
    pool_tile<T, MaxReduction, Tile>(a, block, shared);
  }
}

}  // namespace atrous
