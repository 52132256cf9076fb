// probe_gemm_sm80: a whole matrix product of cp.async, ldmatrix and mma, in stages, as kernels for sm_80 are built.
//
// Computes  y[i, j] = sum over k of x[i, k] * w[j, k], in float32; in int32 for 8-bit elements. float32 is rounded to
//           the nearest tf32 first.
// Layout    x: [rows, depth], w: [columns, depth], with the same bytes from row to row; y: [rows, columns] dense.
//           size: rows, columns, bytes of depth, bytes from row to row.
// Mapping   A block owns 64 x 64 of y, blockIdx.x = row tile * column tiles + column tile; its 4 warps 32 x 32 each,
//           as 2 x 4 products of 16 x 8. All is counted in bytes of depth: an mma takes 32 of every type.
// Shared    3 stages of 64 + 64 rows of 64 bytes, 24 KB swizzled or 30 KB padded: two steps are under way while one is
//           multiplied, and one barrier a step hands the oldest stage to the copies.
// Requires  x, w and the bytes from row to row are multiples of 16; y is one of 2 sums.
// Cost      2 * rows * columns * depth operations; x is read columns / 64 times and w rows / 64 times, from L2.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/prims/async_copy.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/probes/matrix.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kGemmThreads = 128;
constexpr int kGemmTile = 64;      // rows or columns of a block
constexpr int kGemmWarpTile = 32;  // of a warp
constexpr int kGemmStages = 3;
constexpr int kGemmStep = 4;  // pieces of depth, each of 16 bytes

// Where the pieces of a row lie, so that the 8 rows of a matrix meet all banks: 8 neighbouring rows give the piece of
// one depth 8 different places modulo 128 bytes.
struct SwizzledRows {
  static constexpr int kPitch = kGemmStep;
  static __device__ __forceinline__ int piece(int row, int depth) { return kPitch * row + (depth ^ (row / 2 % 4)); }
  static __device__ __forceinline__ int read_piece(int row, int depth) { return piece(row, depth); }
};

struct PaddedRows {
  static constexpr int kPitch = kGemmStep + 1;
  static __device__ __forceinline__ int piece(int row, int depth) { return kPitch * row + depth; }
  static __device__ __forceinline__ int read_piece(int row, int depth) { return piece(row, depth); }
};

// How a step begins: it waits for the thread's own copies of this step; the barrier stands for those of the others, and
// for the readers of the stage that start_next() overwrites.
struct GemmOrder {
  template <class Start>
  static __device__ __forceinline__ void begin_step(const Start& start_next) {
    prims::wait_copies<kGemmStages - 2>();
    prims::sync_block();
    start_next();
  }
};

template <class Rows>
struct alignas(128) GemmShared {
  uint8 x[kGemmStages][kGemmTile * Rows::kPitch][16];
  uint8 w[kGemmStages][kGemmTile * Rows::kPitch][16];
};

// The part of x or w that a block reads.
struct GemmOperand {
  const uint8* base;  // [rows, pitch] bytes
  int64 pitch;
  int64 first_row;
  int64 rows;
  int depth_bytes;
};

// Starts the copies of a step: zeros stand in for what lies past the rows or the depth.
template <class Rows>
__device__ __forceinline__ void start_gemm_copies(uint8 (*stage)[16], const GemmOperand& operand, int step) {
  const int depth = static_cast<int>(threadIdx.x) % kGemmStep;
  const int offset = (step * kGemmStep + depth) * 16;
  const int left = operand.depth_bytes - offset;
#pragma unroll
  for (int i = 0; i < kGemmTile * kGemmStep / kGemmThreads; ++i) {
    const int row = static_cast<int>(threadIdx.x) / kGemmStep + i * (kGemmThreads / kGemmStep);
    const int64 source_row = operand.first_row + row;
    const int valid = source_row < operand.rows && left > 0 ? min(left, 16) : 0;
    const uint8* source = valid > 0 ? operand.base + source_row * operand.pitch + offset : operand.base;
    prims::copy_async<16>(stage[Rows::piece(row, depth)], source, valid);
  }
}

template <class T>
__device__ __forceinline__ unsigned gemm_operand(unsigned bits) {
  return bits;
}

template <>
__device__ __forceinline__ unsigned gemm_operand<float32>(unsigned bits) {
  return __float_as_uint(prims::round_tf32(__uint_as_float(bits)));
}

// Adds the products of one step to the sums of a warp's tile.
template <class T, class Rows>
__device__ __forceinline__ void multiply_gemm_step(typename Multiply<T>::Sum (&sum)[2][4][4], const uint8 (*x)[16],
                                                   const uint8 (*w)[16], int first_row, int first_column) {
  const int lane = prims::lane_id();
#pragma unroll
  for (int half = 0; half < kGemmStep / 2; ++half) {
    unsigned a[2][4], b[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      // Matrices 0 and 1: rows 0 to 15, the first 16 bytes; 2 and 3: the next 16 bytes.
      const int row = first_row + 16 * i + lane % 16;
      prims::load_matrix(a[i], x[Rows::read_piece(row, 2 * half + lane / 16)]);
      // Matrices 0 and 1: columns 0 to 7, both halves of the depth; 2 and 3: columns 8 to 15.
      const int column = first_column + 16 * i + lane / 16 * 8 + lane % 8;
      prims::load_matrix(b[i], w[Rows::read_piece(column, 2 * half + lane / 8 % 2)]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        a[i][j] = gemm_operand<T>(a[i][j]);
        b[i][j] = gemm_operand<T>(b[i][j]);
      }
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const unsigned columns[2] = {b[j / 2][2 * (j % 2)], b[j / 2][2 * (j % 2) + 1]};
        Multiply<T>::add(sum[i][j], a[i], columns);
      }
    }
  }
}

// y: [rows, columns] Sum; the tile of the warp starts at (first_row, first_column)
template <class Sum>
__device__ __forceinline__ void store_gemm_tile(Sum* y, const Sum (&sum)[2][4][4], int64 rows, int64 columns,
                                                int64 first_row, int64 first_column) {
  const int lane = prims::lane_id();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64 row = first_row + 8 * i + lane / 4;
    if (row >= rows) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64 column = first_column + 8 * j + 2 * (lane % 4);
      const Vec<Sum, 2> pair = {sum[i / 2][j][2 * (i % 2)], sum[i / 2][j][2 * (i % 2) + 1]};
      Sum* target = y + row * columns + column;
      if (column + 1 < columns && columns % 2 == 0) {
        store_vec(target, pair);
      } else {
        if (column < columns) target[0] = pair.value[0];
        if (column + 1 < columns) target[1] = pair.value[1];
      }
    }
  }
}

template <class T, class Rows, class Order = GemmOrder>
__global__ void __launch_bounds__(kGemmThreads, 4) probe_gemm_sm80(const __grid_constant__ ProbeArguments a) {
  GemmShared<Rows>& shared = prims::shared<GemmShared<Rows>>();
  const int column_tiles = ceil_divide(a.size[1], kGemmTile);
  const int64 first_row = static_cast<int64>(blockIdx.x / column_tiles) * kGemmTile;
  const int64 first_column = static_cast<int64>(blockIdx.x % column_tiles) * kGemmTile;
  const GemmOperand x = {static_cast<const uint8*>(a.x), a.size[3], first_row, a.size[0], a.size[2]};
  const GemmOperand w = {static_cast<const uint8*>(a.w), a.size[3], first_column, a.size[1], a.size[2]};
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 2 * kGemmWarpTile;
  const int warp_column = warp % 2 * kGemmWarpTile;
  const int steps = ceil_divide(a.size[2], kGemmStep * 16);
  // A group for every step, with copies or without, so that the number to wait for never changes.
  const auto start = [&](int step) {
    if (step < steps) {
      start_gemm_copies<Rows>(shared.x[step % kGemmStages], x, step);
      start_gemm_copies<Rows>(shared.w[step % kGemmStages], w, step);
    }
    prims::commit_copies();
  };
  typename Multiply<T>::Sum sum[2][4][4] = {};
  for (int step = 0; step < kGemmStages - 1; ++step) start(step);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    Order::begin_step([&] { start(step + kGemmStages - 1); });
    multiply_gemm_step<T, Rows>(sum, shared.x[step % kGemmStages], shared.w[step % kGemmStages], warp_row, warp_column);
  }
  using Sum = typename Multiply<T>::Sum;
  store_gemm_tile(static_cast<Sum*>(a.y), sum, a.size[0], a.size[1], first_row + warp_row, first_column + warp_column);
}

}  // namespace atrous
