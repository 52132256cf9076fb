// Rounds a double once, to nearest even, to a 16-bit float format.
#pragma once

#include <cstdint>
#include <cstring>

namespace atrous::sim {

// kExponentBits, kMantissaBits: 5, 10 for binary16; 8, 7 for bfloat16. Every NaN becomes 0x7fff, as on the device.
template <int kExponentBits, int kMantissaBits>
inline std::uint16_t round_to_small_float(double value) {
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr int kSmallestExponent = 1 - kBias;  // of a normal number
  constexpr unsigned kInfinity = ((1u << kExponentBits) - 1) << kMantissaBits;
  std::uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  const unsigned sign = static_cast<unsigned>(bits >> 63) << 15;
  const int biased_exponent = static_cast<int>(bits >> 52) & 0x7ff;
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  if (biased_exponent == 0x7ff) return static_cast<std::uint16_t>(fraction != 0 ? 0x7fff : sign | kInfinity);
  const int exponent = biased_exponent - 1023;
  if (exponent > kBias) return static_cast<std::uint16_t>(sign | kInfinity);
  const int result_exponent = exponent < kSmallestExponent ? kSmallestExponent : exponent;
  const int shift = 52 - kMantissaBits + (result_exponent - exponent);
  // From 54 on the 53-bit significand is below half of the smallest subnormal; a subnormal double is far below.
  if (shift > 53) return static_cast<std::uint16_t>(sign);
  const std::uint64_t significand = fraction | std::uint64_t{1} << 52;
  const std::uint64_t rest = significand & ((std::uint64_t{1} << shift) - 1);
  const std::uint64_t half = std::uint64_t{1} << (shift - 1);
  unsigned kept = static_cast<unsigned>(significand >> shift);
  kept += rest > half || (rest == half && (kept & 1u) != 0);
  // The leading one of a normal `kept` adds the 1 that its exponent field lacks, and a carry moves up by itself, to
  // infinity at the end of the range.
  const unsigned magnitude = (static_cast<unsigned>(result_exponent - kSmallestExponent) << kMantissaBits) + kept;
  return static_cast<std::uint16_t>(sign | magnitude);
}

}  // namespace atrous::sim
