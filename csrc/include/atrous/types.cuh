// The element types of the kernels, what they accumulate in, and loads and stores of a type known only at run time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "atrous/problem.hpp"

namespace atrous {

using float16 = __half;
using bfloat16 = __nv_bfloat16;

template <class T>
struct Accumulator {
  using type = float32;
};
template <>
struct Accumulator<float64> {
  using type = float64;
};
template <>
struct Accumulator<int8> {
  using type = int32;
};
template <>
struct Accumulator<uint8> {
  using type = int32;
};

__device__ __forceinline__ float32 to_accumulator(float32 value) { return value; }
__device__ __forceinline__ float32 to_accumulator(float16 value) { return __half2float(value); }
__device__ __forceinline__ float32 to_accumulator(bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float64 to_accumulator(float64 value) { return value; }
__device__ __forceinline__ int32 to_accumulator(int8 value) { return value; }
__device__ __forceinline__ int32 to_accumulator(uint8 value) { return value; }

// Casts that round once, to nearest even.
__device__ __forceinline__ float16 to_float16(float32 value) { return __float2half_rn(value); }
__device__ __forceinline__ float16 to_float16(float64 value) { return __double2half(value); }
__device__ __forceinline__ bfloat16 to_bfloat16(float32 value) { return __float2bfloat16_rn(value); }
__device__ __forceinline__ bfloat16 to_bfloat16(float64 value) { return __double2bfloat16(value); }

__device__ __forceinline__ float32 round_half_even(float32 value) { return rintf(value); }
__device__ __forceinline__ float64 round_half_even(float64 value) { return rint(value); }

// Rounds half to even and saturates to [kLowest, kHighest]; NaN gives 0. Both ends of the open range (kLowest - 1,
// kHighest + 1) are kept exact: kLowest and kHighest + 1 are powers of two or 0, which every Real holds.
template <class Integer, int64 kLowest, int64 kHighest, class Real>
__device__ __forceinline__ Integer to_integer(Real value) {
  const Real rounded = round_half_even(value);
  if (!(rounded == rounded)) return 0;
  if (rounded <= static_cast<Real>(kLowest)) return static_cast<Integer>(kLowest);
  if (rounded >= static_cast<Real>(kHighest / 2 + 1) * 2) return static_cast<Integer>(kHighest);
  return static_cast<Integer>(rounded);
}

// base: an array of `type`; offset in elements.
template <class Real>
__device__ __forceinline__ Real load_real(const void* base, DataType type, int64 offset) {
  switch (type) {
    case DataType::kFloat32:
      return static_cast<Real>(static_cast<const float32*>(base)[offset]);
    case DataType::kFloat16:
      return static_cast<Real>(__half2float(static_cast<const float16*>(base)[offset]));
    case DataType::kBfloat16:
      return static_cast<Real>(__bfloat162float(static_cast<const bfloat16*>(base)[offset]));
    case DataType::kFloat64:
      return static_cast<Real>(static_cast<const float64*>(base)[offset]);
    case DataType::kInt8:
      return static_cast<Real>(static_cast<const int8*>(base)[offset]);
    case DataType::kUint8:
      return static_cast<Real>(static_cast<const uint8*>(base)[offset]);
    case DataType::kInt32:
      return static_cast<Real>(static_cast<const int32*>(base)[offset]);
    case DataType::kInt64:
      return static_cast<Real>(static_cast<const int64*>(base)[offset]);
  }
  return Real(0);
}

// base: an array of `type`; offset in elements. Real is float32 or float64.
template <class Real>
__device__ __forceinline__ void store_real(void* base, DataType type, int64 offset, Real value) {
  constexpr int64 kInt32Highest = 2147483647;
  constexpr int64 kInt64Highest = 9223372036854775807;
  switch (type) {
    case DataType::kFloat32:
      static_cast<float32*>(base)[offset] = static_cast<float32>(value);
      return;
    case DataType::kFloat16:
      static_cast<float16*>(base)[offset] = to_float16(value);
      return;
    case DataType::kBfloat16:
      static_cast<bfloat16*>(base)[offset] = to_bfloat16(value);
      return;
    case DataType::kFloat64:
      static_cast<float64*>(base)[offset] = static_cast<float64>(value);
      return;
    case DataType::kInt8:
      static_cast<int8*>(base)[offset] = to_integer<int8, -128, 127>(value);
      return;
    case DataType::kUint8:
      static_cast<uint8*>(base)[offset] = to_integer<uint8, 0, 255>(value);
      return;
    case DataType::kInt32:
      static_cast<int32*>(base)[offset] = to_integer<int32, -kInt32Highest - 1, kInt32Highest>(value);
      return;
    case DataType::kInt64:
      static_cast<int64*>(base)[offset] = to_integer<int64, -kInt64Highest - 1, kInt64Highest>(value);
      return;
  }
}

}  // namespace atrous
