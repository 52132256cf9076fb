// What tensor cores make of elements: their values, and the one rule by which sums of products are rounded.
#pragma once

#include <cstdint>

#include "atrous_sim/cuda_words.hpp"

namespace atrous::sim::tensor_core {

constexpr int kColumns = 8;  // that are summed at a time

// The columns of a row of b or of the sums, as vectors of the compiler.
using DoubleRow = double __attribute__((vector_size(kColumns * sizeof(double))));
using FloatRow = float __attribute__((vector_size(kColumns * sizeof(float))));

// ---- element types: Bits in registers, Real that multiplies exactly, Row of sums

// A select and no branch, so that a loop over elements becomes vector code.
struct Float16 {
  using Bits = std::uint16_t;
  using Real = double;
  using Row = DoubleRow;
  using Sum = float;
  static Real real(Bits bits) {
    const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fffu) << 13;
    // As a float, `magnitude` lies 2^(127 - 15) below the value, subnormals included.
    float value = reinterpret_bits<float>(magnitude) * 0x1p112f;
    const std::uint32_t special = magnitude >= 0x7c00u << 13 ? magnitude | 0x7f800000u : 0;
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    return reinterpret_bits<float>((special != 0 ? special : reinterpret_bits<std::uint32_t>(value)) | sign);
  }
};

struct Bfloat16 {
  using Bits = std::uint16_t;
  using Real = double;
  using Row = DoubleRow;
  using Sum = float;
  static Real real(Bits bits) { return reinterpret_bits<float>(static_cast<std::uint32_t>(bits) << 16); }
};

// The PTX ISA leaves the layout of tf32 to the implementation. CUTLASS (numeric_conversion.h) hands over floats with
// whatever stands in the low 13 bits, after round_half_ulp_trunc_dontcare or with no rounding: they do not count.
struct Tfloat32 {
  using Bits = std::uint32_t;
  using Real = double;
  using Row = DoubleRow;
  using Sum = float;
  static Real real(Bits bits) { return reinterpret_bits<float>(bits & 0xffffe000u); }
};

// 32 products of 8-bit integers are below 2^21: a float holds every sum of them.
template <class Integer>
struct Integer8 {
  using Bits = Integer;
  using Real = float;
  using Row = FloatRow;
  using Sum = int;
  static Real real(Bits bits) { return bits; }
};
using Int8 = Integer8<std::int8_t>;
using Uint8 = Integer8<std::uint8_t>;

// The upper byte of a binary16.
struct Float8E5m2 {
  using Bits = std::uint8_t;
  using Real = double;
  using Row = DoubleRow;
  using Sum = float;
  static Real real(Bits bits) { return Float16::real(static_cast<std::uint16_t>(bits << 8)); }
};

// Bias 7, no infinity, NaN only where all bits below the sign are ones (OCP 8-bit floating point).
struct Float8E4m3 {
  using Bits = std::uint8_t;
  using Real = double;
  using Row = DoubleRow;
  using Sum = float;
  static Real real(Bits bits) {
    const auto magnitude = static_cast<std::uint16_t>((bits & 0x7f) << 7);
    // As a binary16, `magnitude` lies 2^(15 - 7) below the value, and the largest exponent is a number's.
    const double value = Float16::real(magnitude) * 0x1p8;
    const double finite = (bits & 0x7f) == 0x7f ? static_cast<double>(reinterpret_bits<float>(0x7fffffffu)) : value;
    return (bits & 0x80) != 0 ? -finite : finite;
  }
};

// ---- how sums are rounded: the only place

// d: [8]; a: [depth]; b: [depth]. Products are exact in double, their sum with d is rounded to double at each step,
// k ascending, and to float once. A tensor core aligns the terms to the largest and truncates; which bits it keeps is
// for recorded vectors to say. Subnormals are kept; every NaN is 0x7fffffff.
template <class Row, class Real>
inline void add_products(float* d, const Real* a, const Row* b, int depth) {
  Row sum;
  for (int n = 0; n < kColumns; ++n) sum[n] = d[n];
  for (int k = 0; k < depth; ++k) sum += a[k] * b[k];
  for (int n = 0; n < kColumns; ++n) {
    const float rounded = static_cast<float>(sum[n]);
    d[n] = rounded == rounded ? rounded : reinterpret_bits<float>(0x7fffffffu);
  }
}

// Without .satfinite a sum wraps (PTX ISA, mma).
template <class Row, class Real>
inline void add_products(int* d, const Real* a, const Row* b, int depth) {
  Row sum{};
  for (int k = 0; k < depth; ++k) sum += a[k] * b[k];
  for (int n = 0; n < kColumns; ++n)
    d[n] = static_cast<int>(static_cast<unsigned>(d[n]) + static_cast<unsigned>(static_cast<int>(sum[n])));
}

}  // namespace atrous::sim::tensor_core
