// The model of mma.sync: gathers the fragments of a warp, multiplies, and hands each lane its sums.
#include "atrous_sim/mma.hpp"

#include "services.hpp"
#include "tensor_core.hpp"

namespace atrous::sim {

namespace {

constexpr int kRows = 16;
constexpr int kColumns = tensor_core::kColumns;

struct Lane {
  void* d;            // [4] float or int
  const unsigned* a;  // [4]
  const unsigned* b;  // [2]
};

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
  for (int m = 0; m < kRows; ++m) tensor_core::add_products(d[m], a[m], b, kDepth);
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
  collective_multiply<tensor_core::Float16>("mma_m16n8k16_f16", d, a, b, site);
}

void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<tensor_core::Bfloat16>("mma_m16n8k16_bf16", d, a, b, site);
}

void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<tensor_core::Tfloat32>("mma_m16n8k8_tf32", d, a, b, site);
}

void mma_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<tensor_core::Int8>("mma_m16n8k32_s8", d, a, b, site);
}

void mma_u8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site) {
  collective_multiply<tensor_core::Uint8>("mma_m16n8k32_u8", d, a, b, site);
}

// Half of the last kept bit is added to the magnitude; a carry moves into the exponent, up to infinity. What is not
// finite loses its low bits alone: no architecture from sm_80 to sm_120 has an instruction for cvt.rna.tf32, and ptxas
// 13.0 makes it of FSETP.GEU |x|, +INF (true of NaN), an addition of 0x1000 where that is false, and LOP3 0xffffe000.
float round_tf32(float value) {
  const std::uint32_t bits = reinterpret_bits<std::uint32_t>(value);
  const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
  return reinterpret_bits<float>((is_finite ? bits + 0x1000u : bits) & 0xffffe000u);
}

}  // namespace atrous::sim
