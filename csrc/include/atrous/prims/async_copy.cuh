// Copies from global to shared memory that a thread starts and waits for later (cp.async), in groups it commits.
#pragma once

#include "atrous/prims/address.cuh"
#include "atrous/prims/mbarrier.cuh"

#ifdef ATROUS_SIMULATED
#include "atrous_sim/async_copy.hpp"
#endif

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

template <int kBytes>
inline void copy_async(void* shared, const void* global, int valid_bytes = kBytes, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  sim::copy_async(shared, global, kBytes, valid_bytes, {file, line});
}

inline void commit_copies() { sim::commit_copies(); }

template <int kPending>
inline void wait_copies() {
  static_assert(kPending >= 0, "a number of groups");
  sim::wait_copies(kPending);
}

inline void arrive_after_copies(Barrier* barrier, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::arrive_after_copies(barrier, {file, line});
}

#else

// Starts to copy valid_bytes (0 to kBytes) from `global`, and zeros up to kBytes, to `shared`; both are multiples of
// kBytes. With valid_bytes 0 nothing is read, so that `global` may be any aligned pointer.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid_bytes = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  const unsigned target = shared_address(shared);
  const unsigned long long source = __cvta_generic_to_global(global);
  // 16 bytes go past L1 (.cg), which takes no others.
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared::cta.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(valid_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared::cta.global [%0], [%1], %2, %3;" ::"r"(target), "l"(source), "n"(kBytes),
                 "r"(valid_bytes)
                 : "memory");
  }
}

// Ends a group: all copies that the thread has started since the last one, perhaps none.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of the thread's youngest groups are under way. The thread then sees what it copied;
// others see it past a barrier.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// One arrival at the barrier, which counts it, once all copies that the thread has started so far have landed.
__device__ __forceinline__ void arrive_after_copies(Barrier* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

#endif

}  // namespace atrous::prims
