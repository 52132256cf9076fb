// The instruction wgmma.mma_async for every N and element type, from shared memory and from registers.
#pragma once

#include "atrous/prims/wgmma_registers.cuh"
#include "atrous/types.cuh"

namespace atrous::prims {

// Element types that C++ has no word for: floats of which the low 13 bits do not count, and the two 8-bit floats.
struct Tfloat32;
struct Float8E4m3;
struct Float8E5m2;

#ifndef ATROUS_SIMULATED

// Wgmma<N, Type>::from_shared<a is MN-major, b is MN-major>(d, a, b, accumulate), from_registers<b is MN-major>
template <int kN, class Type>
struct Wgmma;

// p0 to p6: the operands after the sums, in the order of the instruction's arguments. Only 16-bit elements have the two
// last ones, which choose the majors; integers have no signs (1, 1) of the operands either. Names of instructions are
// reserved in PTX, so that the predicate is not called add.
#define ATROUS_WGMMA_START(N, words, p)         \
  "{\n.reg .pred sums;\nsetp.ne.b32 sums, %" #p \
  ", 0;\n"                                      \
  "wgmma.mma_async.sync.aligned.m64n" #N words " {" ATROUS_WGMMA_NAMES_##N "}, "

#define ATROUS_WGMMA_16_BITS(N, p0, p1, p2, p3, p4, p5, p6, Type, words)                                              \
  template <>                                                                                                         \
  struct Wgmma<N, Type> {                                                                                             \
    template <int kAcrossA, int kAcrossB>                                                                             \
    static __device__ __forceinline__ void from_shared(float (&d)[N / 2], unsigned long long a, unsigned long long b, \
                                                       int accumulate) {                                              \
      asm volatile(ATROUS_WGMMA_START(N, words, p2) "%" #p0 ", %" #p1 ", sums, 1, 1, %" #p3 ", %" #p4 ";\n}"          \
                   : ATROUS_WGMMA_SUMS_##N("f")                                                                       \
                   : "l"(a), "l"(b), "r"(accumulate), "n"(kAcrossA), "n"(kAcrossB));                                  \
    }                                                                                                                 \
    template <int kAcrossB>                                                                                           \
    static __device__ __forceinline__ void from_registers(float (&d)[N / 2], const unsigned (&a)[4],                  \
                                                          unsigned long long b, int accumulate) {                     \
      asm volatile(ATROUS_WGMMA_START(N, words, p5) "{%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4                 \
                                                    ", sums, 1, 1, %" #p6 ";\n}"                                      \
                   : ATROUS_WGMMA_SUMS_##N("f")                                                                       \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kAcrossB));             \
    }                                                                                                                 \
  };

#define ATROUS_WGMMA_K_MAJOR(N, p0, p1, p2, p3, p4, p5, p6, Type, Sum, letter, signs, words)                         \
  template <>                                                                                                        \
  struct Wgmma<N, Type> {                                                                                            \
    template <int kAcrossA, int kAcrossB>                                                                            \
    static __device__ __forceinline__ void from_shared(Sum (&d)[N / 2], unsigned long long a, unsigned long long b,  \
                                                       int accumulate) {                                             \
      asm volatile(ATROUS_WGMMA_START(N, words, p2) "%" #p0 ", %" #p1 ", sums" signs ";\n}"                          \
                   : ATROUS_WGMMA_SUMS_##N(letter)                                                                   \
                   : "l"(a), "l"(b), "r"(accumulate));                                                               \
    }                                                                                                                \
    template <int kAcrossB>                                                                                          \
    static __device__ __forceinline__ void from_registers(Sum (&d)[N / 2], const unsigned (&a)[4],                   \
                                                          unsigned long long b, int accumulate) {                    \
      asm volatile(ATROUS_WGMMA_START(N, words, p5) "{%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", sums" signs \
                                                    ";\n}"                                                           \
                   : ATROUS_WGMMA_SUMS_##N(letter)                                                                   \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                           \
    }                                                                                                                \
  };

ATROUS_WGMMA_SIZES(ATROUS_WGMMA_16_BITS, float16, "k16.f32.f16.f16")
ATROUS_WGMMA_SIZES(ATROUS_WGMMA_16_BITS, bfloat16, "k16.f32.bf16.bf16")
ATROUS_WGMMA_SIZES(ATROUS_WGMMA_K_MAJOR, Tfloat32, float, "f", ", 1, 1", "k8.f32.tf32.tf32")
ATROUS_WGMMA_SIZES(ATROUS_WGMMA_K_MAJOR, Float8E4m3, float, "f", ", 1, 1", "k32.f32.e4m3.e4m3")
ATROUS_WGMMA_SIZES(ATROUS_WGMMA_K_MAJOR, Float8E5m2, float, "f", ", 1, 1", "k32.f32.e5m2.e5m2")
ATROUS_WGMMA_SIZES(ATROUS_WGMMA_K_MAJOR, int8, int, "r", "", "k32.s32.s8.s8")
ATROUS_WGMMA_SIZES(ATROUS_WGMMA_K_MAJOR, uint8, int, "r", "", "k32.s32.u8.u8")

#undef ATROUS_WGMMA_K_MAJOR
#undef ATROUS_WGMMA_16_BITS
#undef ATROUS_WGMMA_START

#endif

}  // namespace atrous::prims
