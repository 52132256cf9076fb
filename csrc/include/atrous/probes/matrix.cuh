// Probes of what moves and multiplies small matrices in a warp's registers: ldmatrix, stmatrix, mma, cvt to tf32.
#pragma once

#include "atrous/prims/block.cuh"
#include "atrous/prims/matrix.cuh"
#include "atrous/prims/mma.cuh"
#include "atrous/probes/probe.hpp"
#include "atrous/tf32.cuh"
#include "atrous/types.cuh"

namespace atrous {

// mma by the type of the elements of a and b, which fill 32 bytes of depth.
template <class T>
struct Multiply;

template <>
struct Multiply<float16> {
  using Sum = float32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    prims::mma_m16n8k16_f16(d, a, b);
  }
};

template <>
struct Multiply<bfloat16> {
  using Sum = float32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    prims::mma_m16n8k16_bf16(d, a, b);
  }
};

// As tf32.
template <>
struct Multiply<float32> {
  using Sum = float32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    prims::mma_m16n8k8_tf32(d, a, b);
  }
};

template <>
struct Multiply<int8> {
  using Sum = int32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    prims::mma_m16n8k32_s8(d, a, b);
  }
};

template <>
struct Multiply<uint8> {
  using Sum = int32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    prims::mma_m16n8k32_u8(d, a, b);
  }
};

// x: [threads, 4] registers of a; w: [threads, 6] registers of b, then of the sums; y: [threads, 4] the sums after
// `count` multiplications. Each warp has its own.
template <class T>
__global__ void probe_mma(const __grid_constant__ ProbeArguments a) {
  using Sum = typename Multiply<T>::Sum;
  const int me = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const unsigned* x = static_cast<const unsigned*>(a.x) + 4 * me;
  const unsigned* w = static_cast<const unsigned*>(a.w) + 6 * me;
  const unsigned a_bits[4] = {x[0], x[1], x[2], x[3]};
  const unsigned b_bits[2] = {w[0], w[1]};
  const Sum* start = static_cast<const Sum*>(a.w) + 6 * me + 2;
  Sum d[4] = {start[0], start[1], start[2], start[3]};
#pragma unroll 1
  for (int64 i = 0; i < a.count; ++i) Multiply<T>::add(d, a_bits, b_bits);
  Sum* y = static_cast<Sum*>(a.y) + 4 * me;
  for (int i = 0; i < 4; ++i) y[i] = d[i];
}

// x: [count] Real, which is float32; y: [count] Real, rounded to tf32
template <class Real>
__global__ void probe_round_tf32(const __grid_constant__ ProbeArguments a) {
  const int64 i = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < a.count) static_cast<Real*>(a.y)[i] = prims::round_tf32(static_cast<const Real*>(a.x)[i]);
}

// x: [count] Real, which is float32; y: [count, 5] unsigned: the bits of x rounded, of its two parts, and of its two
// parts as a weight
template <class Real>
__global__ void probe_split_tf32(const __grid_constant__ ProbeArguments a) {
  const int64 i = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= a.count) return;
  const Real value = static_cast<const Real*>(a.x)[i];
  const Tf32Pair pair = split_tf32(value), weight = split_weight_tf32(value);
  unsigned* y = static_cast<unsigned*>(a.y) + 5 * i;
  y[0] = rounded_tf32(value);
  y[1] = __float_as_uint(pair.high);
  y[2] = __float_as_uint(pair.low);
  y[3] = __float_as_uint(weight.high);
  y[4] = __float_as_uint(weight.low);
}

constexpr int kProbeRows = 64;  // in shared memory, of 16 bytes

struct alignas(16) ProbeRows {
  uint8 byte[kProbeRows][16];
};

// x: [64, 8] 16-bit elements, the rows in shared memory; w: [threads] int32, the row that a lane names; y: [threads,
// kCount] registers. One block.
template <int kCount, bool kTransposed>
__global__ void probe_load_matrix(const __grid_constant__ ProbeArguments a) {
  ProbeRows& rows = prims::shared<ProbeRows>();
  const int me = static_cast<int>(threadIdx.x);
  const int bytes = static_cast<int>(sizeof rows.byte);
  for (int i = me; i < bytes; i += blockDim.x) rows.byte[i / 16][i % 16] = static_cast<const uint8*>(a.x)[i];
  prims::sync_block();
  unsigned r[kCount];
  const uint8* row = rows.byte[static_cast<const int*>(a.w)[me]];
  if constexpr (kTransposed) {
    prims::load_matrix_transposed(r, row);
  } else {
    prims::load_matrix(r, row);
  }
  for (int i = 0; i < kCount; ++i) static_cast<unsigned*>(a.y)[kCount * me + i] = r[i];
}

// x: [threads, kCount] registers; w: [threads] int32, the row that a lane names; y: [64, 8] 16-bit elements, the rows
// in shared memory, of zeros at first. One block; needs sm_90.
template <int kCount, bool kTransposed>
__global__ void probe_store_matrix(const __grid_constant__ ProbeArguments a) {
  ProbeRows& rows = prims::shared<ProbeRows>();
  const int me = static_cast<int>(threadIdx.x);
  const int bytes = static_cast<int>(sizeof rows.byte);
  for (int i = me; i < bytes; i += blockDim.x) rows.byte[i / 16][i % 16] = 0;
  prims::sync_block();
  unsigned r[kCount];
  for (int i = 0; i < kCount; ++i) r[i] = static_cast<const unsigned*>(a.x)[kCount * me + i];
  uint8* row = rows.byte[static_cast<const int*>(a.w)[me]];
  if constexpr (kTransposed) {
    prims::store_matrix_transposed(row, r);
  } else {
    prims::store_matrix(row, r);
  }
  prims::sync_block();
  for (int i = me; i < bytes; i += blockDim.x) static_cast<uint8*>(a.y)[i] = rows.byte[i / 16][i % 16];
}

}  // namespace atrous
