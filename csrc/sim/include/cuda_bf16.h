// The type __nv_bfloat16 and its conversions for the simulator, named as in CUDA's header of this name.
#pragma once

#include "atrous_sim/small_floats.hpp"

struct alignas(2) __nv_bfloat16 {
  unsigned short bits;
};

inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return __nv_bfloat16{bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }

inline float __bfloat162float(__nv_bfloat16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

inline __nv_bfloat16 __double2bfloat16(double value) {
  return __nv_bfloat16{atrous::sim::round_to_small_float<8, 7>(value)};
}
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return __double2bfloat16(static_cast<double>(value)); }
inline __nv_bfloat16 __float2bfloat16(float value) { return __float2bfloat16_rn(value); }
