// The tile of a block of an implicit GEMM on tensor cores: its warps, its stages in shared memory, its multiplication.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/mma_types.cuh"
#include "atrous/prims/matrix.cuh"
#include "atrous/prims/warp.cuh"

namespace atrous {

// kPixels x kColumns outputs of a block, kWarpPixels x kWarpColumns of each of its warps. kBlocks: so many share a
// multiprocessor, which bounds the registers of a thread: 128, 168, 128 and 96 of the first tiles below, 255 of the
// segment tiles. kSegments: whether those hold a second set of sums beside the first.
template <int kPixels_, int kColumns_, int kWarpPixels_, int kWarpColumns_, int kBlocks_,
          bool kSegments_ = kWarpPixels_ * kWarpColumns_ <= 1024>
struct GemmTile {
  static constexpr int kPixels = kPixels_, kColumns = kColumns_;
  static constexpr int kWarpPixels = kWarpPixels_, kWarpColumns = kWarpColumns_;
  static constexpr int kWarpsAcross = kColumns / kWarpColumns;
  static constexpr int kWarps = kPixels / kWarpPixels * kWarpsAcross;
  static constexpr int kThreads = 32 * kWarps, kBlocks = kBlocks_;
  static constexpr int kM = kWarpPixels / 16, kN = kWarpColumns / 8;  // products of an mma, per warp
  static constexpr bool kSegments = kSegments_;
};
// A warp of 64 x 32 reads 3 KB from shared memory for 32 KB multiply-adds of 16-bit depth 16, one of 32 x 32 2 KB for
// 16 KB: the larger the tile, the further the port to shared memory is from being the limit.
using Tile128x128 = GemmTile<128, 128, 64, 32, 2>;
using Tile128x64 = GemmTile<128, 64, 64, 32, 3>;
using Tile64x64 = GemmTile<64, 64, 32, 32, 4>;
using Tile64x32 = GemmTile<64, 32, 32, 16, 5>;
// The large tiles with a block less on a multiprocessor, for sums of 16-bit elements whose depth is cut into segments.
using SegmentTile128x128 = GemmTile<128, 128, 64, 32, 1, true>;
using SegmentTile128x64 = GemmTile<128, 64, 64, 32, 2, true>;

// Two planes of weights, and the second set of sums that goes with them, take twice the registers.
template <class Mma, class Tile>
constexpr int kGemmBlocks = ceil_divide(Tile::kBlocks, Mma::kWeightPlanes);

// A step of the main loop is 64 bytes of depth, in pieces of 16.
constexpr int kStepPieces = 4;
using Piece = uint8[16];

// Where a piece of a row lies. The 8 rows that an ldmatrix reads at one depth fall on 8 different places modulo 128
// bytes, and so do the pieces of two rows that 8 neighbouring threads write.
__device__ __forceinline__ int piece_place(int row, int depth) { return kStepPieces * row + (depth ^ (row / 2 % 4)); }

template <class Mma, class Tile>
struct GemmStage {
  Piece x[Tile::kPixels * kStepPieces];
  Piece weight[Mma::kWeightPlanes][Tile::kColumns * kStepPieces];
};

// As many stages as 48 KB hold, 3 or 4: what a block has without asking, and two blocks fit on every multiprocessor.
template <class Mma, class Tile>
constexpr int kGemmStages = 4 * sizeof(GemmStage<Mma, Tile>) <= 49152 ? 4 : 3;

template <class Tile>
__device__ __forceinline__ int warp_pixel() {
  return static_cast<int>(threadIdx.x) / 32 / Tile::kWarpsAcross * Tile::kWarpPixels;
}

template <class Tile>
__device__ __forceinline__ int warp_column() {
  return static_cast<int>(threadIdx.x) / 32 % Tile::kWarpsAcross * Tile::kWarpColumns;
}

// The sums of one warp, as mma leaves them: element e of (i, j) is pixel 16 i + lane/4 + 8 (e/2) and column 8 j +
// 2 (lane%4) + e%2 of the warp's tile.
template <class Mma, class Tile>
struct WarpSums {
  using Sum = typename Mma::Sum;
  // Two planes of x take three mma for one: enough to hide a half's loads, and both halves at once would spill.
  static constexpr int kHalvesAtOnce = Mma::kPixelPlanes == 1 ? kStepPieces / 2 : 1;
  Sum value[Tile::kM][Tile::kN][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < Tile::kM; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kN; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) value[i][j][e] = Sum(0);
      }
    }
  }

  __device__ __forceinline__ void add(const WarpSums& other) {
#pragma unroll
    for (int i = 0; i < Tile::kM; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kN; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) value[i][j][e] += other.value[i][j][e];
      }
    }
  }

  // Adds the products of one step, in ascending order of depth.
  __device__ __forceinline__ void multiply(const GemmStage<Mma, Tile>& stage) {
    const int lane = prims::lane_id();
#pragma unroll kHalvesAtOnce
    for (int half = 0; half < kStepPieces / 2; ++half) {
      unsigned weight[Tile::kN / 2][Mma::kWeightPlanes][4];
#pragma unroll
      for (int j = 0; j < Tile::kN / 2; ++j) {
        // Matrices 0 and 1: columns 0 to 7, both pieces of the depth; 2 and 3: columns 8 to 15.
        const int column = warp_column<Tile>() + 16 * j + lane / 16 * 8 + lane % 8;
#pragma unroll
        for (int plane = 0; plane < Mma::kWeightPlanes; ++plane)
          prims::load_matrix(weight[j][plane], stage.weight[plane][piece_place(column, 2 * half + lane / 8 % 2)]);
      }
#pragma unroll
      for (int i = 0; i < Tile::kM; ++i) {
        // Matrices 0 and 1: pixels 0 to 15, the first piece of the depth; 2 and 3: the second.
        const int pixel = warp_pixel<Tile>() + 16 * i + lane % 16;
        unsigned x[Mma::kPixelPlanes][4];
        prims::load_matrix(x[0], stage.x[piece_place(pixel, 2 * half + lane / 16)]);
        Mma::split(x);
#pragma unroll
        for (int j = 0; j < Tile::kN; ++j) {
          unsigned columns[Mma::kWeightPlanes][2];
#pragma unroll
          for (int plane = 0; plane < Mma::kWeightPlanes; ++plane) {
            columns[plane][0] = weight[j / 2][plane][j % 2 * 2];
            columns[plane][1] = weight[j / 2][plane][j % 2 * 2 + 1];
          }
          Mma::add(value[i][j], x, columns);
        }
      }
    }
  }
};

}  // namespace atrous
