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

// A padding cell: 0, which for an integer x is its zero point.
template <class T>
__device__ __forceinline__ T padding_cell(int) {
  return T{};
}
template <>
__device__ __forceinline__ int8 padding_cell<int8>(int zero_point) {
  return static_cast<int8>(zero_point);
}
template <>
__device__ __forceinline__ uint8 padding_cell<uint8>(int zero_point) {
  return static_cast<uint8>(zero_point);
}

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

// An element as the arithmetic of the epilogue, float32 or float64, takes it.
template <class Real, class T>
__device__ __forceinline__ Real to_real(T value) {
  return static_cast<Real>(value);
}
template <class Real>
__device__ __forceinline__ Real to_real(float16 value) {
  return static_cast<Real>(__half2float(value));
}
template <class Real>
__device__ __forceinline__ Real to_real(bfloat16 value) {
  return static_cast<Real>(__bfloat162float(value));
}

// A type as a value: visit_type() hands over Element<T>{}.
template <class T>
struct Element {
  using type = T;

  template <class Real>
  __device__ __forceinline__ static T from_real(Real value) {
    return static_cast<T>(value);
  }
};
template <>
template <class Real>
__device__ __forceinline__ float16 Element<float16>::from_real(Real value) {
  return to_float16(value);
}
template <>
template <class Real>
__device__ __forceinline__ bfloat16 Element<bfloat16>::from_real(Real value) {
  return to_bfloat16(value);
}
template <>
template <class Real>
__device__ __forceinline__ int8 Element<int8>::from_real(Real value) {
  return to_integer<int8, -128, 127>(value);
}
template <>
template <class Real>
__device__ __forceinline__ uint8 Element<uint8>::from_real(Real value) {
  return to_integer<uint8, 0, 255>(value);
}
template <>
template <class Real>
__device__ __forceinline__ int32 Element<int32>::from_real(Real value) {
  constexpr int64 kHighest = 2147483647;
  return to_integer<int32, -kHighest - 1, kHighest>(value);
}
template <>
template <class Real>
__device__ __forceinline__ int64 Element<int64>::from_real(Real value) {
  constexpr int64 kHighest = 9223372036854775807;
  return to_integer<int64, -kHighest - 1, kHighest>(value);
}

// Calls visit(Element<T>{}) with the T that `type` stands for.
template <class Visit>
__device__ __forceinline__ void visit_type(DataType type, const Visit& visit) {
  switch (type) {
    case DataType::kFloat32:
      return visit(Element<float32>{});
    case DataType::kFloat16:
      return visit(Element<float16>{});
    case DataType::kBfloat16:
      return visit(Element<bfloat16>{});
    case DataType::kFloat64:
      return visit(Element<float64>{});
    case DataType::kInt8:
      return visit(Element<int8>{});
    case DataType::kUint8:
      return visit(Element<uint8>{});
    case DataType::kInt32:
      return visit(Element<int32>{});
    case DataType::kInt64:
      return visit(Element<int64>{});
  }
}

// What visit_type() calls. Functions with a name, since NVRTC takes a generic lambda for one of the host.
template <class Real>
struct LoadReal {
  const void* base;
  int64 offset;
  Real& value;

  template <class T>
  __device__ __forceinline__ void operator()(Element<T>) const {
    value = to_real<Real>(static_cast<const T*>(base)[offset]);
  }
};

template <class Real>
struct StoreReal {
  void* base;
  int64 offset;
  Real value;

  template <class T>
  __device__ __forceinline__ void operator()(Element<T> element) const {
    static_cast<T*>(base)[offset] = element.from_real(value);
  }
};

struct CountBytes {
  int& bytes;

  template <class T>
  __device__ __forceinline__ void operator()(Element<T>) const {
    bytes = sizeof(T);
  }
};

// base: an array of `type`; offset in elements.
template <class Real>
__device__ __forceinline__ Real load_real(const void* base, DataType type, int64 offset) {
  Real value = Real(0);
  visit_type(type, LoadReal<Real>{base, offset, value});
  return value;
}

// base: an array of `type`; offset in elements. Real is float32 or float64.
template <class Real>
__device__ __forceinline__ void store_real(void* base, DataType type, int64 offset, Real value) {
  visit_type(type, StoreReal<Real>{base, offset, value});
}

__device__ __forceinline__ int bytes_of(DataType type) {
  int bytes = 0;
  visit_type(type, CountBytes{bytes});
  return bytes;
}

}  // namespace atrous
