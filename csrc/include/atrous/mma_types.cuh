// What tensor cores multiply: of each arithmetic its elements, its sums, and the product of one pair of fragments.
#pragma once

#include "atrous/prims/mma.cuh"
#include "atrous/tf32.cuh"

namespace atrous {

// Each policy: Element, as x and weight are stored; Sum; kPixelPlanes, kWeightPlanes, the fragments that stand for one
// of x and one of weight; split(), which makes those of x from the bits that were stored; add(), d += x * weight for 16
// pixels, 8 columns and 32 bytes of depth. Registers are those of prims/mma.cuh.
template <class T>
struct PlainMma {
  using Element = T;
  static constexpr int kPixelPlanes = 1, kWeightPlanes = 1;
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

// float32 rounded to 11 significant bits: x here, weight when it is packed.
struct Tf32Mma : PlainMma<float32> {
  using Sum = float32;
  static __device__ __forceinline__ void split(unsigned (&x)[1][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[0][i] = rounded_tf32(__uint_as_float(x[0][i]));
  }
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[1][4], const unsigned (&weight)[1][2]) {
    prims::mma_m16n8k8_tf32(d, x[0], weight[0]);
  }
};

// float32 as two tf32 (tf32.cuh) and three of their four products. A tensor core cuts every term below the last bit of
// the largest, and its sum toward zero. So each 8 of depth are summed from 0, the products with a low part first, whose
// sum is too small for its cuts to count, and the sum is added to the others' by float32's own rounding: no error grows
// with the depth as in a sum that stays in the tensor core. With u = 2^-24, terms cut 24 bits below the largest and 4
// products at a time (docs/float32.md), in units of u * the sum of |x| |weight| of n products, the error is at most
//   8           the split: 2 for each low part, 4 for the product of the low parts, which is left out
//   12          2 cuts of 4 terms and of their sum, 4 + 2 each
//   0.1         the cuts of the small products
//   n / 8       the additions in float32
// in all n / 8 + 20.1, where sequential float32 has n.
struct Tf32x3Mma {
  using Element = float32;
  using Sum = float32;
  static constexpr int kPixelPlanes = 2, kWeightPlanes = 2;
  static __device__ __forceinline__ void split(unsigned (&x)[2][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Tf32Pair pair = split_tf32(__uint_as_float(x[0][i]));
      x[0][i] = __float_as_uint(pair.high);
      x[1][i] = __float_as_uint(pair.low);
    }
  }
  // The low part of x comes first: it may be infinite beside a high part whose finite products can overflow.
  static __device__ __forceinline__ void add(Sum (&d)[4], const unsigned (&x)[2][4], const unsigned (&weight)[2][2]) {
    Sum sum[4] = {};
    prims::mma_m16n8k8_tf32(sum, x[1], weight[0]);
    prims::mma_m16n8k8_tf32(sum, x[0], weight[1]);
    prims::mma_m16n8k8_tf32(sum, x[0], weight[0]);
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] += sum[i];
  }
};

// Elements of 16 bytes, the unit of all copies.
template <class Mma>
constexpr int kPieceElements = 16 / sizeof(typename Mma::Element);

}  // namespace atrous
