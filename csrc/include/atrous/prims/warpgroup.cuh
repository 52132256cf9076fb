// What warps do among themselves below the block: named barriers, and registers that change hands (setmaxnreg).
#pragma once

#ifdef ATROUS_SIMULATED
#include "atrous_sim/warpgroup.hpp"
#endif

namespace atrous::prims {

constexpr int kWarpgroupThreads = 128;

#ifdef ATROUS_SIMULATED

inline void sync_named(int id, int threads, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::sync_named(id, threads, {file, line});
}

inline void arrive_named(int id, int threads, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::arrive_named(id, threads, {file, line});
}

template <int kCount>
inline void give_registers(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::give_registers(kCount, {file, line});
}

template <int kCount>
inline void take_registers(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::take_registers(kCount, {file, line});
}

#else

// Waits until `threads` threads of the block, whole warps, have come to barrier `id`, 1 to 15, by this or by
// arrive_named; all of them name the same count. What those that came did before is visible to those that wait.
__device__ __forceinline__ void sync_named(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Comes to barrier `id` without waiting.
__device__ __forceinline__ void arrive_named(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Leaves each thread of the warpgroup kCount registers and gives the others to the block's pool; all four warps call
// it, and synchronise before the next of its kind.
template <int kCount>
__device__ __forceinline__ void give_registers() {
  static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0, "a multiple of 8 from 24 to 256");
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

// Waits until the block's pool can raise each thread of the warpgroup to kCount registers.
template <int kCount>
__device__ __forceinline__ void take_registers() {
  static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0, "a multiple of 8 from 24 to 256");
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

#endif

}  // namespace atrous::prims
