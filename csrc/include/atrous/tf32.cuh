// float32 for tensor cores that multiply 11 significant bits: rounded once, or split into two parts that hold 22.
#pragma once

#include "atrous/types.cuh"

namespace atrous {

// A tensor core reads the upper 19 bits of a float and ignores the rest (prims/mma.cuh), which truncates it.
constexpr unsigned kTf32Bits = 0xffffe000u;
constexpr unsigned kTf32Half = 0x1000u;  // half of the last bit that is kept, added to the magnitude
// 0x7f7fefff, 2^128 - 2^116 - 2^104: the largest float that does not round to an infinity.
constexpr float32 kLargestRounded = 0x1.ffdffep127f;

struct Tf32Pair {
  float32 high;  // 11 significant bits, the rest zeros
  float32 low;   // what is left; its bits past the eleventh do not count
};

// Bits whose truncation is `value` rounded to the nearest, halves away from zero. What is not finite keeps its bits,
// and what would round to an infinity is truncated.
__device__ __forceinline__ unsigned rounded_tf32(float32 value) {
  const unsigned bits = __float_as_uint(value);
  return fabsf(value) <= kLargestRounded ? bits + kTf32Half : bits;
}

// value = high + low but for 2^-23 of it where it is normal. `high` is always finite: an infinity and a NaN are in
// `low` alone (a product of an infinite `high` with a `low` of zero would be NaN), and the product of `low` has to be
// added before any finite product can overflow to the other infinity.
__device__ __forceinline__ Tf32Pair split_tf32(float32 value) {
  const float32 finite = fminf(fmaxf(value, -kLargestRounded), kLargestRounded);
  const float32 high = __uint_as_float((__float_as_uint(finite) + kTf32Half) & kTf32Bits);
  return {high, value - high};
}

// The same for the other factor, whose `low` is multiplied second: beside an infinity `high` is 1, with which no
// product overflows, and what is too small for tf32 keeps a `high` that is not 0, so that its product with an infinity
// is none of NaN.
__device__ __forceinline__ Tf32Pair split_weight_tf32(float32 weight) {
  Tf32Pair pair = split_tf32(weight);
  pair.low = __uint_as_float(rounded_tf32(pair.low) & kTf32Bits);
  const unsigned sign = __float_as_uint(weight) & 0x80000000u;
  if (fabsf(pair.low) > kLargestRounded) pair.high = __uint_as_float(0x3f800000u | sign);
  if (weight != 0 && pair.high == 0) pair = {__uint_as_float(0x2000u | sign), 0.0f};
  return pair;
}

}  // namespace atrous
