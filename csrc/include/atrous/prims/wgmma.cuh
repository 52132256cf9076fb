// Asynchronous products of matrices by a warpgroup (wgmma): operands in shared memory, sums in registers.
#pragma once

#include "atrous/prims/wgmma_descriptor.cuh"
#include "atrous/prims/wgmma_instructions.cuh"

namespace atrous::prims {

// What one Type of elements multiplies to, how many of them are K of one wgmma, and how the simulator calls it.
template <class Sums, int kElements, int kNumber>
struct WgmmaOf {
  using Sum = Sums;
  static constexpr int kDepth = kElements;
  static constexpr int kCode = kNumber;
};

template <class Type>
struct WgmmaElement;
template <>
struct WgmmaElement<float16> : WgmmaOf<float, 16, 0> {};
template <>
struct WgmmaElement<bfloat16> : WgmmaOf<float, 16, 1> {};
template <>
struct WgmmaElement<Tfloat32> : WgmmaOf<float, 8, 2> {};
template <>
struct WgmmaElement<Float8E4m3> : WgmmaOf<float, 32, 3> {};
template <>
struct WgmmaElement<Float8E5m2> : WgmmaOf<float, 32, 4> {};
template <>
struct WgmmaElement<int8> : WgmmaOf<int, 32, 5> {};
template <>
struct WgmmaElement<uint8> : WgmmaOf<int, 32, 6> {};

// All floats take every multiple of 8, integers these (PTX ISA, wgmma.mma_async, shapes).
template <int kN, class Type, Major kMajorA, Major kMajorB>
__host__ __device__ constexpr bool is_wgmma() {
  static_assert(kN == 8 || kN == 24 || (kN % 16 == 0 && kN >= 16 && kN <= 256),
                "the N of wgmma is 8, 24 or a multiple of 16 up to 256");
  static_assert((kMajorA == Major::kK && kMajorB == Major::kK) || WgmmaElement<Type>::kDepth == 16,
                "only 16-bit elements may be MN-major");
  return true;
}

template <class Type>
using WgmmaSum = typename WgmmaElement<Type>::Sum;

// How the four warps of a warpgroup (threads 128 i to 128 i + 127) multiply d[64, N] = a[64, K] b[K, N], or d +=, with
// the same N, Type and descriptors in all of them, every lane of each:
//   wgmma_fence();            // once all of d, and of a in registers, is written, and again after every wait; stores
//                             // of others to shared memory need a fence.proxy.async and a barrier before it
//   wgmma<N, Type>(d, a, b, accumulate); ...
//   wgmma_commit();           // what was issued since the last one is a group
//   wgmma_wait<kPending>();   // returns when at most kPending groups of the warp are not complete
// In between neither d nor a in registers may be touched or go out of scope, nor a and b in shared memory be written.
// Warp w of the warpgroup waits for its own rows alone. Thread t of it, l = t % 32, holds d[64, N] as
//   d[i]: row 16 (t / 32) + l / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (l % 4) + i % 2
// and a[64, K], e elements in a register (2, 1 or 4), as mma does of its warp's 16 rows:
//   a[i]: row 16 (t / 32) + l / 4 + 8 (i % 2), columns (K / 2) (i / 2) + e (l % 4) to + e - 1
#ifdef ATROUS_SIMULATED

template <int kN, class Type, Major kMajorA = Major::kK, Major kMajorB = Major::kK>
inline void wgmma(WgmmaSum<Type> (&d)[kN / 2], MatrixDescriptor a, MatrixDescriptor b, bool accumulate,
                  const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(is_wgmma<kN, Type, kMajorA, kMajorB>(), "");
  constexpr sim::WgmmaShape kShape{kN, static_cast<sim::MatrixElement>(WgmmaElement<Type>::kCode),
                                   kMajorA == Major::kMn, kMajorB == Major::kMn};
  sim::wgmma(kShape, d, a.bits, nullptr, b.bits, accumulate, {file, line});
}

template <int kN, class Type, Major kMajorB = Major::kK>
inline void wgmma(WgmmaSum<Type> (&d)[kN / 2], const unsigned (&a)[4], MatrixDescriptor b, bool accumulate,
                  const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(is_wgmma<kN, Type, Major::kK, kMajorB>(), "");
  constexpr sim::WgmmaShape kShape{kN, static_cast<sim::MatrixElement>(WgmmaElement<Type>::kCode), false,
                                   kMajorB == Major::kMn};
  sim::wgmma(kShape, d, 0, a, b.bits, accumulate, {file, line});
}

inline void wgmma_fence(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::wgmma_fence({file, line});
}

inline void wgmma_commit(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::wgmma_commit({file, line});
}

template <int kPending>
inline void wgmma_wait(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(kPending >= 0 && kPending <= 7, "wgmma waits until 0 to 7 groups are pending");
  sim::wgmma_wait(kPending, {file, line});
}

template <class Register, int kCount>
inline void pin_registers(Register (&)[kCount]) {}

#else

template <int kN, class Type, Major kMajorA = Major::kK, Major kMajorB = Major::kK>
__device__ __forceinline__ void wgmma(WgmmaSum<Type> (&d)[kN / 2], MatrixDescriptor a, MatrixDescriptor b,
                                      bool accumulate) {
  static_assert(is_wgmma<kN, Type, kMajorA, kMajorB>(), "");
  Wgmma<kN, Type>::template from_shared<static_cast<int>(kMajorA), static_cast<int>(kMajorB)>(d, a.bits, b.bits,
                                                                                              accumulate);
}

// The same with a in registers.
template <int kN, class Type, Major kMajorB = Major::kK>
__device__ __forceinline__ void wgmma(WgmmaSum<Type> (&d)[kN / 2], const unsigned (&a)[4], MatrixDescriptor b,
                                      bool accumulate) {
  static_assert(is_wgmma<kN, Type, Major::kK, kMajorB>(), "");
  Wgmma<kN, Type>::template from_registers<static_cast<int>(kMajorB)>(d, a, b.bits, accumulate);
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  static_assert(kPending >= 0 && kPending <= 7, "wgmma waits until 0 to 7 groups are pending");
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// To the compiler d is an output of each wgmma and nothing ties it to the wait, so that it may move uses of d before
// the wait, and writes past the fence. This keeps both on their side: call it on d before a fence and after a wait.
template <int kCount>
__device__ __forceinline__ void pin_registers(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

template <int kCount>
__device__ __forceinline__ void pin_registers(int (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

template <int kCount>
__device__ __forceinline__ void pin_registers(unsigned (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

#endif

}  // namespace atrous::prims
