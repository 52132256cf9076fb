// pack_weight: writes weights of any strides into the padded rows that kernels of matrix products read.
//
// Computes  row k: for every chunk of channels, for r, for every run of taps_in_run taps: the run's weights (s, c), c
//           fastest, then zeros up to run_elements; a channel that the last chunk lacks is zero. float32 becomes the
//           nearest tf32, or the two planes that split_weight_tf32 makes of it. Sums of rows wrap.
// Layout    weight: [K, R, S, C/G] through its element strides. packed_weight: [planes, K, row] dense, then the int32
//           sums [K] where they are asked for.
// Mapping   A warp owns a row, or every row_parts-th 32 pieces of it; a lane a piece. A block has 8 neighbouring rows:
//           of weights with K innermost, or with C not innermost, what one load leaves of a sector the next ones find
//           in L1. Weights that are neighbours and aligned are loaded a piece at a time, others one by one.
// Shared    None; the lanes' sums meet in shuffles.
// Requires  packed_weight is a multiple of 16 bytes; a row has fewer than 2^31 elements; row_parts is 1 with sums.
// Cost      Reads the weights once, writes planes * K * row.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/prims/warp.cuh"
#include "atrous/tf32.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kPackThreads = 256;
constexpr int kPackRows = kPackThreads / 32;

// What one of `planes` planes holds of a weight.
template <class T>
__device__ __forceinline__ T plane_of(T value, int, int) {
  return value;
}

// A NaN stays one where its only bits are among those that tf32 drops.
template <>
__device__ __forceinline__ float32 plane_of(float32 value, int plane, int planes) {
  if (planes == 2) {
    const Tf32Pair pair = split_weight_tf32(value);
    return plane == 0 ? pair.high : pair.low;
  }
  const unsigned quiet = value == value ? 0 : 0x00400000u;
  return __uint_as_float((rounded_tf32(value) & kTf32Bits) | quiet);
}

template <class T>
constexpr int kPackElements = 16 / sizeof(T);

// weight: [R, S, C/G], of one k
template <class T>
__device__ __forceinline__ Vec<T, kPackElements<T>> load_packed_piece(const PackArguments& a, const T* weight,
                                                                      int piece) {
  const int first = piece * kPackElements<T>;
  const int run = first / a.run_elements;
  const int within = first - run * a.run_elements;
  const int runs = a.s / a.taps_in_run;  // of a filter row
  const int filter_row = run / runs;
  const int r = filter_row % a.r;
  const int first_channel = filter_row / a.r * a.chunk_channels;
  const int channels = min(a.chunk_channels, a.channels - first_channel);
  const T* source = weight + r * a.weight_stride[1] + (run % runs * a.taps_in_run) * a.weight_stride[2] +
                    first_channel * a.weight_stride[3];
  int tap = within / a.chunk_channels;
  int c = within % a.chunk_channels;
  if (a.weight_stride[3] == 1 && tap < a.taps_in_run && c + kPackElements<T> <= channels) {
    const T* run_of_piece = source + tap * a.weight_stride[2] + c;
    if (is_aligned(run_of_piece, 16)) return load_vec<kPackElements<T>>(run_of_piece);
  }
  Vec<T, kPackElements<T>> values = {};
#pragma unroll
  for (int i = 0; i < kPackElements<T>; ++i) {
    if (tap < a.taps_in_run && c < channels) {
      values.value[i] = source[tap * a.weight_stride[2] + c * a.weight_stride[3]];
    }
    if (++c == a.chunk_channels) {
      c = 0;
      ++tap;
    }
  }
  return values;
}

// sums: [K]; the whole warp
__device__ __forceinline__ void store_row_sum(int32* sums, int64 k, unsigned sum) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += prims::shuffle_xor(sum, lanes);
  if (prims::lane_id() == 0) sums[k] = static_cast<int32>(sum);
}

template <class T>
__global__ void __launch_bounds__(kPackThreads) pack_weight(const __grid_constant__ PackArguments a) {
  constexpr int kElements = kPackElements<T>;
  const int part = static_cast<int>(blockIdx.x % a.row_parts);
  const int64 k = static_cast<int64>(blockIdx.x / a.row_parts) * kPackRows + threadIdx.x / 32;
  if (k >= a.k) return;
  const int chunks = ceil_divide(a.channels, a.chunk_channels);
  const int row = chunks * a.r * (a.s / a.taps_in_run) * a.run_elements;
  const T* weight = static_cast<const T*>(a.weight) + k * a.weight_stride[0];
  T* packed = static_cast<T*>(a.packed_weight);
  unsigned sum = 0;
  for (int piece = part * 32 + prims::lane_id(); piece < row / kElements; piece += a.row_parts * 32) {
    const Vec<T, kElements> values = load_packed_piece(a, weight, piece);
    for (int plane = 0; plane < a.planes; ++plane) {
      Vec<T, kElements> held;
#pragma unroll
      for (int i = 0; i < kElements; ++i) held.value[i] = plane_of(values.value[i], plane, a.planes);
      store_vec(packed + (static_cast<int64>(plane) * a.k + k) * row + piece * kElements, held);
    }
    if constexpr (sizeof(T) == 1) {
#pragma unroll
      for (int i = 0; i < kElements; ++i) sum += static_cast<unsigned>(to_accumulator(values.value[i]));
    }
  }
  if constexpr (sizeof(T) == 1) {
    if (a.with_sums) store_row_sum(reinterpret_cast<int32*>(packed + static_cast<int64>(a.planes) * a.k * row), k, sum);
  }
}

}  // namespace atrous
