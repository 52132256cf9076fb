// The model of mma.sync: gathers the fragments of a warp, multiplies, and hands each lane its sums.
#include "atrous_sim/mma.hpp"

#include "services.hpp"

namespace atrous::sim {

namespace {

constexpr int kRows = 16;
constexpr int kColumns = 8;

struct Lane {
  void* d;            // [4] float or int
  const unsigned* a;  // [4]
  const unsigned* b;  // [2]
};

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
struct Int8 {
  using Bits = std::int8_t;
  using Real = float;
  using Row = FloatRow;
  using Sum = int;
  static Real real(Bits bits) { return bits; }
};

struct Uint8 {
  using Bits = std::uint8_t;
  using Real = float;
  using Row = FloatRow;
  using Sum = int;
  static Real real(Bits bits) { return bits; }
};

// ---- how sums are rounded: the only place

// d: [8]; a: [depth]; b: [depth]. Products are exact in double, their sum with d is rounded to double at each step,
// k ascending, and to float once. A tensor core aligns the terms to the largest and truncates; which bits it keeps is
// for recorded vectors to say. Subnormals are kept; every NaN is 0x7fffffff.
template <class Row, class Real>
void add_products(float* d, const Real* a, const Row* b, int depth) {
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
void add_products(int* d, const Real* a, const Row* b, int depth) {
  Row sum{};
  for (int k = 0; k < depth; ++k) sum += a[k] * b[k];
  for (int n = 0; n < kColumns; ++n)
    d[n] = static_cast<int>(static_cast<unsigned>(d[n]) + static_cast<unsigned>(static_cast<int>(sum[n])));
}

// ---- fragments: PTX ISA, "Matrix Fragments for mma" of m16n8k16, m16n8k8 and m16n8k32, which are one map in bytes

template <class Element>
void multiply(void* const* left) {
  using Bits = typename Element::Bits;
  using Real = typename Element::Real;
  using Sum = typename Element::Sum;
  constexpr int kDepth = 32 / sizeof(Bits);
  constexpr int kInRegister = 4 / sizeof(Bits);
  Bits a_bits[kRows][kDepth], b_bits[kColumns][kDepth];
  Sum d[kRows][kColumns];
  for (int number = 0; number < 32; ++number) {
    const Lane& lane = *static_cast<const Lane*>(left[number]);
    const int group = number / 4, member = number % 4;
    for (int i = 0; i < 4; ++i)
      std::memcpy(&a_bits[group + 8 * (i % 2)][kDepth / 2 * (i / 2) + kInRegister * member], &lane.a[i], 4);
    for (int i = 0; i < 2; ++i) std::memcpy(&b_bits[group][kDepth / 2 * i + kInRegister * member], &lane.b[i], 4);
    for (int i = 0; i < 2; ++i)
      std::memcpy(&d[group + 8 * i][2 * member], static_cast<const Sum*>(lane.d) + 2 * i, 2 * sizeof(Sum));
  }
  Real a[kRows][kDepth];
  for (int m = 0; m < kRows; ++m)
    for (int k = 0; k < kDepth; ++k) a[m][k] = Element::real(a_bits[m][k]);
  typename Element::Row b[kDepth];
  for (int n = 0; n < kColumns; ++n)
    for (int k = 0; k < kDepth; ++k) b[k][n] = Element::real(b_bits[n][k]);
  for (int m = 0; m < kRows; ++m) add_products(d[m], a[m], b, kDepth);
  for (int number = 0; number < 32; ++number) {
    const Lane& lane = *static_cast<const Lane*>(left[number]);
    for (int i = 0; i < 2; ++i)
      std::memcpy(static_cast<Sum*>(lane.d) + 2 * i, &d[number / 4 + 8 * i][2 * (number % 4)], 2 * sizeof(Sum));
  }
}

template <class Element>
void collective_multiply(const char* name, void* d, const unsigned* a, const unsigned* b, Site site) {
  Lane lane{d, a, b};
  warp_collective(name, 0xffffffffu, &lane, &multiply<Element>, site);
}

}  // namespace

void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<Float16>("mma_m16n8k16_f16", d, a, b, site);
}

void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<Bfloat16>("mma_m16n8k16_bf16", d, a, b, site);
}

void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<Tfloat32>("mma_m16n8k8_tf32", d, a, b, site);
}

void mma_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<Int8>("mma_m16n8k32_s8", d, a, b, site);
}

void mma_u8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<Uint8>("mma_m16n8k32_u8", d, a, b, site);
}

// Half of the last kept bit is added to the magnitude; a carry moves into the exponent, up to infinity.
float round_tf32(float value) {
  const std::uint32_t bits = reinterpret_bits<std::uint32_t>(value);
  if (value != value) return reinterpret_bits<float>(0x7fffffffu);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return reinterpret_bits<float>((bits + 0x1000u) & 0xffffe000u);
}

}  // namespace atrous::sim
