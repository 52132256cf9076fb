// Products of small matrices that a warp holds in its registers (mma.sync), added to float or int sums.
#pragma once

#ifdef ATROUS_SIMULATED
#include "atrous_sim/mma.hpp"
#endif

namespace atrous::prims {

// d[16, 8] += a[16, K] b[K, 8] by every lane of a warp, K elements being 32 bytes. Lane l holds, with e the elements in
// a register (2, 1 or 4), g = l / 4 and t = l % 4, the first element in the lowest bits:
//   a[i]: row g + 8 (i % 2), columns (K / 2) (i / 2) + e t to + e - 1
//   b[i]: rows (K / 2) i + e t to + e - 1 of column g
//   d[i]: row g + 8 (i / 2), column 2 t + i % 2
#ifdef ATROUS_SIMULATED

inline void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                             const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::mma_f16(d, a, b, {file, line});
}

inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                              const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::mma_bf16(d, a, b, {file, line});
}

inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                             const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::mma_tf32(d, a, b, {file, line});
}

inline void mma_m16n8k32_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                            const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::mma_s8(d, a, b, {file, line});
}

inline void mma_m16n8k32_u8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                            const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::mma_u8(d, a, b, {file, line});
}

inline float round_tf32(float value) { return sim::round_tf32(value); }

#else

// volatile: the compiler may not move one into a branch that not every lane takes.
#define ATROUS_MMA(name, Sum, letter, words)                                                         \
  __device__ __forceinline__ void name(Sum(&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { \
    asm volatile("mma.sync.aligned." words                                                           \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "                                   \
                 "{%0, %1, %2, %3};"                                                                 \
                 : "+" letter(d[0]), "+" letter(d[1]), "+" letter(d[2]), "+" letter(d[3])            \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                \
  }

ATROUS_MMA(mma_m16n8k16_f16, float, "f", "m16n8k16.row.col.f32.f16.f16.f32")
ATROUS_MMA(mma_m16n8k16_bf16, float, "f", "m16n8k16.row.col.f32.bf16.bf16.f32")
// Elements are bits of floats whose low 13 bits do not count: what is not rounded first is truncated.
ATROUS_MMA(mma_m16n8k8_tf32, float, "f", "m16n8k8.row.col.f32.tf32.tf32.f32")
// Sums wrap.
ATROUS_MMA(mma_m16n8k32_s8, int, "r", "m16n8k32.row.col.s32.s8.s8.s32")
ATROUS_MMA(mma_m16n8k32_u8, int, "r", "m16n8k32.row.col.s32.u8.u8.s32")

#undef ATROUS_MMA

// To the nearest tf32, 10 bits of mantissa; halfway cases away from zero. A NaN keeps its upper 19 bits: one with bits
// among the low 13 alone, which no arithmetic makes, becomes an infinity.
__device__ __forceinline__ float round_tf32(float value) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
}

#endif

}  // namespace atrous::prims
