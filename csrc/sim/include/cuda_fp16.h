// The type __half and its conversions for the simulator, named as in CUDA's header of this name.
#pragma once

#include "atrous_sim/small_floats.hpp"

struct alignas(2) __half {
  unsigned short bits;
};

inline __half __ushort_as_half(unsigned short bits) { return __half{bits}; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }

inline float __half2float(__half value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(value.bits & 0x7fffu) << 13;
  std::uint32_t bits;
  if (magnitude >= 0x7c00u << 13) {
    bits = magnitude | 0x7f800000u;
  } else {
    // As a float, `magnitude` lies 2^(127 - 15) below the value, subnormals included: a multiplication is exact.
    float scaled;
    __builtin_memcpy(&scaled, &magnitude, sizeof scaled);
    scaled *= 0x1p112f;
    __builtin_memcpy(&bits, &scaled, sizeof bits);
  }
  bits |= sign;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

inline __half __double2half(double value) { return __half{atrous::sim::round_to_small_float<5, 10>(value)}; }
inline __half __float2half_rn(float value) { return __double2half(static_cast<double>(value)); }
inline __half __float2half(float value) { return __float2half_rn(value); }
