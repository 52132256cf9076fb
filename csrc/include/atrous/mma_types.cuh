// What tensor cores multiply: of each arithmetic its elements, its sums, and the product of one pair of fragments.
#pragma once

#include "atrous/prims/mma.cuh"
#include "atrous/types.cuh"

namespace atrous {

// Each policy: Element, as x and weight are stored; Sum; kPixelPlanes, kWeightPlanes, the fragments that stand for one
// of x and one of weight; split(), which makes those of x from the bits that were stored; add(), d += x * weight for 16
// pixels, 8 columns and 32 bytes of depth. Registers are those of prims/mma.cuh.
template <class T>
struct PlainMma {
  using Element = T;
  static constexpr int kPixelPlanes = 1, kWeightPlanes = 1;
  static constexpr bool kPromotes = false;
  static __device__ __forceinline__ void split(unsigned (&)[1][4]) {}
};

struct Float16Mma : PlainMma<float16> {
  using Sum = float32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[1][4], const unsigned (&weight)[1][2]) {
    prims::mma_m16n8k16_f16(d, x[0], weight[0]);
  }
};

struct Bfloat16Mma : PlainMma<bfloat16> {
  using Sum = float32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[1][4], const unsigned (&weight)[1][2]) {
    prims::mma_m16n8k16_bf16(d, x[0], weight[0]);
  }
};

struct Int8Mma : PlainMma<int8> {
  using Sum = int32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[1][4], const unsigned (&weight)[1][2]) {
    prims::mma_m16n8k32_s8(d, x[0], weight[0]);
  }
};

struct Uint8Mma : PlainMma<uint8> {
  using Sum = int32;
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[1][4], const unsigned (&weight)[1][2]) {
    prims::mma_m16n8k32_u8(d, x[0], weight[0]);
  }
};

__device__ __forceinline__ unsigned rounded_bits(unsigned bits) {
  return __float_as_uint(prims::round_tf32(__uint_as_float(bits)));
}

// float32 rounded to 10 bits of mantissa: x here, weight when it is packed.
struct Tf32Mma : PlainMma<float32> {
  using Sum = float32;
  static __device__ __forceinline__ void split(unsigned (&x)[1][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[0][i] = rounded_bits(x[0][i]);
  }
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[1][4], const unsigned (&weight)[1][2]) {
    prims::mma_m16n8k8_tf32(d, x[0], weight[0]);
  }
};

// float32 as two tf32, the nearest and the nearest to what is left: three of their four products, smallest first.
struct Tf32x3Mma {
  using Element = float32;
  using Sum = float32;
  static constexpr int kPixelPlanes = 2, kWeightPlanes = 2;
  static constexpr bool kPromotes = true;
  static __device__ __forceinline__ void split(unsigned (&x)[2][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float32 value = __uint_as_float(x[0][i]);
      x[0][i] = rounded_bits(x[0][i]);
      x[1][i] = rounded_bits(__float_as_uint(value - __uint_as_float(x[0][i])));
    }
  }
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[2][4], const unsigned (&weight)[2][2]) {
    prims::mma_m16n8k8_tf32(d, x[1], weight[0]);
    prims::mma_m16n8k8_tf32(d, x[0], weight[1]);
    prims::mma_m16n8k8_tf32(d, x[0], weight[0]);
  }
};

// Elements of 16 bytes, the unit of all copies.
template <class Mma>
constexpr int kPieceElements = 16 / sizeof(typename Mma::Element);

}  // namespace atrous
