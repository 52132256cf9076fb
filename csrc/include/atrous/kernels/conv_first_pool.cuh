// conv_first_pool: convolution of few or odd channels on tensor cores, and the pooling of what it gives, together.
//
// Computes  y[n, i, j, k] = pool over the window (i, j) of T(epilogue(sum over r, s, c of x * weight)): the sums are
//           those of conv_first in its order, T the element type of y, and the pooling that of reductions.cuh over the
//           rounded values, its taps in row-major order. So the bits are those of the two kernels.
// Layout    That of conv_first: x and y through strides, NHWC, NCHW and views alike; weight packed.
// Mapping   That of conv_first, but for the patches: one is all outputs of the convolution under window_rows x
//           window_columns windows, at most kPixels, as far as they lie in the image. Windows that overlap make
//           neighbouring patches overlap: the outputs in both are computed twice, 119 for the 96 that 3 x 8 windows of
//           3 x 3 with stride 2 need.
// Shared    That of conv_first; in the halo's memory, when a patch is summed, lies behind the stages of the warps the
//           tile of rounded outputs, kPixels x (kColumns * size + 16) bytes.
// Requires  What conv_first does; x and y of one 16-bit type; one window's outputs fit kPixels; fewer than 16 taps a
//           window; padded extents below 2^30.
// Cost      2 * outputs * K * depth operations for the outputs of all patches, as conv_first counts them. Neither
//           written nor read again are the N*P*Q*K elements between the two.
#pragma once

#include "atrous/kernels/conv_first.cuh"
#include "atrous/pooled_tile.cuh"

namespace atrous {

// What a block has in dynamic shared memory beside FirstShared, in the memory of its halo.
template <class Mma, class Tile>
struct FirstPoolShared {
  using T = typename Mma::Element;
  static constexpr int kPitch = tile_pitch<T>(Tile::kColumns);
  typename Mma::Sum* stage;  // [kWarps][kWarpStage]
  T* tile;                   // [kPixels][kPitch]

  __device__ __forceinline__ explicit FirstPoolShared(const FirstShared<Mma, Tile>& first)
      : stage(reinterpret_cast<typename Mma::Sum*>(first.halo)),
        tile(reinterpret_cast<T*>(stage + Tile::kWarps * FirstShared<Mma, Tile>::kWarpStage)) {}
};

// The outputs under the windows of a patch that the convolution has. Where it has none, windows being all padding, one
// output that no window holds.
__device__ __forceinline__ Patch patch_in_image(const FirstPoolArguments& a, const PooledPatch& place) {
  const ConvArguments& conv = a.first.conv;
  const int p = min(max(place.first_p, 0), conv.p - 1), q = min(max(place.first_q, 0), conv.q - 1);
  return {place.image, p, q, max(1, min(place.first_p + a.patch.rows, conv.p) - p),
          max(1, min(place.first_q + a.patch.columns, conv.q) - q)};
}

// How many outputs of it some window holds: all or none.
__device__ __forceinline__ int pooled_pixels(const FirstPoolArguments& a, const PooledPatch& place,
                                             const Patch& patch) {
  const int row = patch.first_p - place.first_p, column = patch.first_q - place.first_q;
  const bool held = row >= 0 && row < a.patch.rows && column >= 0 && column < a.patch.columns;
  return held ? patch.rows * patch.columns : 0;
}

// Where an output goes in the tile, and where its residual is.
// pitch: of the tile; first_column: of its channels
__device__ __forceinline__ OutputPlace place_in_tile(const FirstPoolArguments& a, const PooledPatch& place,
                                                     const Patch& patch, int pixel, int pitch, int first_column) {
  const int inside = min(pixel, patch.rows * patch.columns - 1), row = inside / patch.columns;
  const int p = patch.first_p + row, q = patch.first_q + inside - row * patch.columns;
  const int64 cell = (p - place.first_p) * a.patch.columns + q - place.first_q;
  const int64(&stride)[4] = a.first.conv.residual_stride;
  return {cell * pitch - first_column, patch.image * stride[0] + p * stride[1] + q * stride[2]};
}

template <class Mma, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, kFirstBlocks<Mma, Tile>)
    conv_first_pool(const __grid_constant__ FirstPoolArguments a) {
  using T = typename Mma::Element;
  constexpr int kPitch = FirstPoolShared<Mma, Tile>::kPitch;
  const ConvArguments& conv = a.first.conv;
  const FirstShared<Mma, Tile> shared(a.first);
  const FirstPoolShared<Mma, Tile> after(shared);
  const int column_tiles = ceil_divide(conv.k, Tile::kColumns);
  const int first_column = blockIdx.x % column_tiles * Tile::kColumns;
  const unsigned together = gridDim.x / column_tiles;  // patches that are under way
  clear_halo<Tile::kThreads>(a.first, shared.halo);
#pragma unroll 1
  for (unsigned index = blockIdx.x / column_tiles; index < a.first.patches; index += together) {
    if (index >= together) prims::sync_block();  // the tile is pooled, the slots are read
    const PooledPatch place(a.pool, a.patch, index);
    const Patch patch = patch_in_image(a, place);
    if (threadIdx.x < Tile::kPixels)
      shared.place[threadIdx.x] = place_in_tile(a, place, patch, threadIdx.x, kPitch, first_column);
    WarpSums<Mma, Tile> sums;
    sum_patch<Mma, Tile>(a.first, shared, patch,
                         WeightSteps<Mma, Tile>(a.first, shared, first_column, index < together), sums);
    prims::sync_block();  // the halo is read: its memory becomes the stages of the warps, and the tile
    ConvArguments to_tile = conv;
    to_tile.y = after.tile;
    const int first_pixel = warp_pixel<Tile>(), column_end = min(first_column + Tile::kColumns, conv.k);
    const int pixels = max(0, min(pooled_pixels(a, place, patch) - first_pixel, Tile::kWarpPixels));
    write_warp_sums<Tile::kM, Tile::kN>(
        to_tile, sums.value, after.stage + static_cast<int>(threadIdx.x) / 32 * FirstShared<Mma, Tile>::kWarpStage,
        shared.place + first_pixel, pixels, first_column + warp_column<Tile>(), column_end);
    prims::sync_block();
    T* y = static_cast<T*>(conv.y);  // [N, P, Q, K] of the pooling, by its y_stride
    if (a.patch.is_average) {
      TilePooling<T, AverageReduction, Tile::kThreads>{a.pool, a.patch,      place,     after.tile,
                                                       kPitch, first_column, column_end}
          .run(y);
    } else {
      TilePooling<T, MaxReduction, Tile::kThreads>{a.pool, a.patch, place, after.tile, kPitch, first_column, column_end}
          .run(y);
    }
  }
}

}  // namespace atrous
