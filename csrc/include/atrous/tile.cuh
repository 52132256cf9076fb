// The output tile of a block of 256 threads: who sums which outputs, the multiply-add from shared memory, the way out.
#pragma once

#include "atrous/epilogue.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kThreads = 256;

// 8 x 4 outputs a thread: 12 values read from shared memory feed 32 multiply-adds. A warp of 4 x 8 threads reads 128
// bytes of weights and 4 separate 16-byte pieces of x at a time: one pass through the banks each.
struct WideTile {
  static constexpr int kPixels = 128, kColumns = 64;           // of a block
  static constexpr int kThreadPixels = 8, kThreadColumns = 4;  // of a thread
  static constexpr int kLaneColumns = 8;                       // lanes of a warp that lie along the columns
};

// For few output channels a group: a lane is a column, so that 32 channels fill a warp whatever groups they belong to.
struct NarrowTile {
  static constexpr int kPixels = 64, kColumns = 32;
  static constexpr int kThreadPixels = 8, kThreadColumns = 1;
  static constexpr int kLaneColumns = 32;
};

// Offsets of a pixel's channel 0, which its place in a table saves every one of its channels from deriving.
template <class Index>
struct OutputPixel {
  Index y, residual;
};

// Elements added to the rows of shared memory: rows still start on 16 bytes, and 8 neighbouring rows on 8 different
// groups of 4 banks.
template <class Sum>
constexpr int kRowPadding = 16 / sizeof(Sum);

template <class Tile>
__device__ __forceinline__ int column_group() {
  constexpr int kWarpColumns = Tile::kColumns / (Tile::kLaneColumns * Tile::kThreadColumns);
  return threadIdx.x / 32 % kWarpColumns * Tile::kLaneColumns + threadIdx.x % Tile::kLaneColumns;
}

template <class Tile>
__device__ __forceinline__ int pixel_group() {
  constexpr int kWarpColumns = Tile::kColumns / (Tile::kLaneColumns * Tile::kThreadColumns);
  return threadIdx.x / 32 / kWarpColumns * (32 / Tile::kLaneColumns) + threadIdx.x % 32 / Tile::kLaneColumns;
}

template <class Tile>
__device__ __forceinline__ int thread_column() {
  return column_group<Tile>() * Tile::kThreadColumns;
}

template <class Tile>
__device__ __forceinline__ int thread_pixel() {
  return pixel_group<Tile>() * Tile::kThreadPixels;
}

// source: [kCount] in shared memory, aligned to its pieces
template <int kCount, class Sum>
__device__ __forceinline__ void load_fragment(const Sum* source, Sum (&fragment)[kCount]) {
  constexpr int kPiece = kCount < kRowPadding<Sum> ? kCount : kRowPadding<Sum>;
#pragma unroll
  for (int first = 0; first < kCount; first += kPiece) {
    const Vec<Sum, kPiece> piece = load_vec<kPiece>(source + first);
#pragma unroll
    for (int i = 0; i < kPiece; ++i) fragment[first + i] = piece.value[i];
  }
}

// The sums of one thread, added to in the order of gemm_k: an output's bits depend on nothing but its own window.
template <class Tile, class Sum>
struct ThreadSums {
  Sum value[Tile::kThreadPixels][Tile::kThreadColumns];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < Tile::kThreadPixels; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) value[i][j] = Sum(0);
    }
  }

  // One gemm_k. x: [kThreadPixels], weight: [kThreadColumns], both in shared memory
  __device__ __forceinline__ void multiply_add(const Sum* x, const Sum* weight) {
    Sum x_fragment[Tile::kThreadPixels], weight_fragment[Tile::kThreadColumns];
    load_fragment(x, x_fragment);
    load_fragment(weight, weight_fragment);
#pragma unroll
    for (int i = 0; i < Tile::kThreadPixels; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kThreadColumns; ++j) value[i][j] += x_fragment[i] * weight_fragment[j];
    }
  }
};

// The sums cross shared memory on their way out, so that neighbouring threads write neighbouring addresses: of each
// thread one pixel at a time where channels are contiguous, one column at a time where pixels are.
template <class Layout, class Tile>
struct Stage {
  static constexpr int kPasses = Layout::kChannelsLast ? Tile::kThreadPixels : Tile::kThreadColumns;
  static constexpr int kLength = Layout::kChannelsLast ? Tile::kColumns : Tile::kPixels;  // of a row
  static constexpr int kElements = Tile::kPixels * Tile::kColumns / kPasses;
  static constexpr int kRow = kLength + 1;  // an odd row lets the 32 lanes of a warp write to 32 banks
  static constexpr int kSize = kElements / kLength * kRow;
};

template <class Layout, class Tile, class Sum>
__device__ __forceinline__ void stage_pass(const ThreadSums<Tile, Sum>& sums, int pass, Sum* stage) {
  using Rows = Stage<Layout, Tile>;
#pragma unroll
  for (int i = 0; i < Tile::kThreadPixels; ++i) {
    if (Layout::kChannelsLast && i != pass) continue;
#pragma unroll
    for (int j = 0; j < Tile::kThreadColumns; ++j) {
      if (Layout::kChannelsLast) {
        stage[pixel_group<Tile>() * Rows::kRow + thread_column<Tile>() + j] = sums.value[i][j];
      } else if (j == pass) {
        stage[column_group<Tile>() * Rows::kRow + thread_pixel<Tile>() + i] = sums.value[i][j];
      }
    }
  }
}

// stage: [Stage::kSize], shared, free to overwrite after a barrier; output: [kPixels], shared, its first `pixels` in
// use. Columns are output channels from first_column up to, and without, column_end.
template <class Layout, class Tile, class Sum, class Index>
__device__ __forceinline__ void write_tile(const ConvArguments& a, const ThreadSums<Tile, Sum>& sums, Sum* stage,
                                           const OutputPixel<Index>* output, int pixels, int first_column,
                                           int column_end) {
  using Rows = Stage<Layout, Tile>;
  const Index y_step = static_cast<Index>(a.y_stride[3]);
  const Index residual_step = static_cast<Index>(a.residual_stride[3]);
#pragma unroll 1
  for (int pass = 0; pass < Rows::kPasses; ++pass) {
    prims::sync_block();
    stage_pass<Layout>(sums, pass, stage);
    prims::sync_block();
#pragma unroll 1
    for (int element = threadIdx.x; element < Rows::kElements; element += kThreads) {
      const int row = element / Rows::kLength, position = element % Rows::kLength;
      const int pixel = Layout::kChannelsLast ? row * Tile::kThreadPixels + pass : position;
      const int k = first_column + (Layout::kChannelsLast ? position : row * Tile::kThreadColumns + pass);
      if (pixel >= pixels || k >= column_end) continue;
      finish_output(a, stage[row * Rows::kRow + position], k, output[pixel].y + k * y_step,
                    output[pixel].residual + k * residual_step);
    }
  }
}

}  // namespace atrous
