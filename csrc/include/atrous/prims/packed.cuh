// The larger of two 32-bit words, element by element: two 16-bit floats, four 8-bit integers, or one float32.
#pragma once

#include "atrous/types.cuh"

namespace atrous::prims {

// packed_max keeps a NaN of either word, as the format's canonical NaN; packed_max_number takes the number where one of
// two is NaN. +0 is above -0. Integers have no NaN, and both are the same.
#ifdef ATROUS_SIMULATED

// One float of kBits: 16 with a mantissa of kMantissa bits, or 32.
template <int kBits, int kMantissa>
inline unsigned larger_float(unsigned a, unsigned b, bool keep_nan) {
  constexpr unsigned kSign = 1u << (kBits - 1), kCanonical = kSign - 1;
  constexpr unsigned kInfinity = kCanonical >> kMantissa << kMantissa;
  const bool a_is_nan = (a & kCanonical) > kInfinity, b_is_nan = (b & kCanonical) > kInfinity;
  if (a_is_nan && b_is_nan) return kCanonical;
  if (a_is_nan || b_is_nan) return keep_nan ? kCanonical : a_is_nan ? b : a;
  const bool a_is_below = (a & kSign) != (b & kSign) ? (a & kSign) != 0 : (a & kSign) != 0 ? a > b : a < b;
  return a_is_below ? b : a;
}

template <int kMantissa>
inline unsigned larger_halves(unsigned a, unsigned b, bool keep_nan) {
  return larger_float<16, kMantissa>(a & 0xffffu, b & 0xffffu, keep_nan) |
         larger_float<16, kMantissa>(a >> 16, b >> 16, keep_nan) << 16;
}

template <class Integer>
inline unsigned larger_bytes(unsigned a, unsigned b) {
  unsigned word = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    const Integer x = static_cast<Integer>(a >> shift), y = static_cast<Integer>(b >> shift);
    word |= static_cast<unsigned>(static_cast<unsigned char>(x > y ? x : y)) << shift;
  }
  return word;
}

inline unsigned packed_max(Element<float16>, unsigned a, unsigned b) { return larger_halves<10>(a, b, true); }
inline unsigned packed_max(Element<bfloat16>, unsigned a, unsigned b) { return larger_halves<7>(a, b, true); }
inline unsigned packed_max(Element<float32>, unsigned a, unsigned b) { return larger_float<32, 23>(a, b, true); }
inline unsigned packed_max(Element<int8>, unsigned a, unsigned b) { return larger_bytes<int8>(a, b); }
inline unsigned packed_max(Element<uint8>, unsigned a, unsigned b) { return larger_bytes<uint8>(a, b); }
inline unsigned packed_max_number(Element<float16>, unsigned a, unsigned b) { return larger_halves<10>(a, b, false); }
inline unsigned packed_max_number(Element<bfloat16>, unsigned a, unsigned b) { return larger_halves<7>(a, b, false); }
inline unsigned packed_max_number(Element<float32>, unsigned a, unsigned b) {
  return larger_float<32, 23>(a, b, false);
}

#else

#define ATROUS_PACKED_MAX(name, type, instruction)                                  \
  __device__ __forceinline__ unsigned name(Element<type>, unsigned a, unsigned b) { \
    unsigned word;                                                                  \
    asm(instruction " %0, %1, %2;" : "=r"(word) : "r"(a), "r"(b));                  \
    return word;                                                                    \
  }
ATROUS_PACKED_MAX(packed_max, float16, "max.NaN.f16x2")
ATROUS_PACKED_MAX(packed_max, bfloat16, "max.NaN.bf16x2")
ATROUS_PACKED_MAX(packed_max_number, float16, "max.f16x2")
ATROUS_PACKED_MAX(packed_max_number, bfloat16, "max.bf16x2")
#undef ATROUS_PACKED_MAX

__device__ __forceinline__ unsigned packed_max(Element<float32>, unsigned a, unsigned b) {
  float32 larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(__uint_as_float(a)), "f"(__uint_as_float(b)));
  return __float_as_uint(larger);
}
__device__ __forceinline__ unsigned packed_max_number(Element<float32>, unsigned a, unsigned b) {
  return __float_as_uint(fmaxf(__uint_as_float(a), __uint_as_float(b)));
}
__device__ __forceinline__ unsigned packed_max(Element<int8>, unsigned a, unsigned b) { return __vmaxs4(a, b); }
__device__ __forceinline__ unsigned packed_max(Element<uint8>, unsigned a, unsigned b) { return __vmaxu4(a, b); }

#endif

template <class Integer>
__device__ __forceinline__ unsigned packed_max_number(Element<Integer> element, unsigned a, unsigned b) {
  return packed_max(element, a, b);
}

}  // namespace atrous::prims
