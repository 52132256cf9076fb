// Barriers in shared memory that count arrivals and bytes (mbarrier): phases, waits by parity, transactions.
#pragma once

#include "atrous/prims/address.cuh"

#ifdef ATROUS_SIMULATED
#include "atrous_sim/mbarrier.hpp"
#endif

namespace atrous::prims {

// Lies in shared memory; only the functions below may touch it. Its phases are numbered from 0, and the parity of a
// phase is its number % 2. A phase completes when all arrivals of `count` have come and the bytes that were expected
// and those that were delivered cancel; the next one then begins with `count` arrivals to come and no bytes.
struct alignas(8) Barrier {
  unsigned long long state;
};

#ifdef ATROUS_SIMULATED

inline void init_barrier(Barrier* barrier, int count, const char* file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
  sim::init_barrier(barrier, count, {file, line});
}

inline void fence_barrier_init() { sim::publish_barriers(); }

inline void arrive(Barrier* barrier, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::arrive(barrier, {file, line});
}

inline void arrive_expect(Barrier* barrier, int bytes, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
  sim::arrive_expect(barrier, bytes, {file, line});
}

inline void expect_bytes(Barrier* barrier, int bytes, const char* file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
  sim::expect_bytes(barrier, bytes, {file, line});
}

inline void arrive_remote(Barrier* barrier, int rank, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
  sim::arrive_remote(barrier, rank, {file, line});
}

inline void arrive_remote_after_reads(Barrier* barrier, int rank, const char* file = __builtin_FILE(),
                                      int line = __builtin_LINE()) {
  sim::arrive_remote_after_reads(barrier, rank, {file, line});
}

inline bool is_complete(Barrier* barrier, int parity, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
  return sim::is_complete(barrier, parity, {file, line});
}

inline void wait(Barrier* barrier, int parity, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::wait(barrier, parity, {file, line});
}

inline void wait_remote(Barrier* barrier, int parity, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
  sim::wait_remote(barrier, parity, {file, line});
}

inline void invalidate(Barrier* barrier, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::invalidate(barrier, {file, line});
}

#else

// count: 1 to 2^20 - 1 arrivals a phase. By one thread; others use it past a barrier.
__device__ __forceinline__ void init_barrier(Barrier* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

// Makes barriers that the thread has initialised visible to the asynchronous proxy and to the other blocks of the
// cluster. sm_90.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// One arrival. What the thread wrote before is seen by those whose wait for this phase returns.
__device__ __forceinline__ void arrive(Barrier* barrier) {
  asm volatile(
      "{\n"
      ".reg .b64 state;\n"
      "mbarrier.arrive.shared::cta.b64 state, [%0];\n"
      "}" ::"r"(shared_address(barrier))
      : "memory");
}

// Expects `bytes` more in this phase, then arrives once. sm_90.
__device__ __forceinline__ void arrive_expect(Barrier* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// Expects `bytes` more in this phase; no arrival. sm_90.
__device__ __forceinline__ void expect_bytes(Barrier* barrier, int bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// One arrival at the barrier that lies at the same place in block `rank` of the cluster. What the thread wrote before,
// in any shared memory of the cluster too, is seen by those whose wait_remote for this phase returns. sm_90.
__device__ __forceinline__ void arrive_remote(Barrier* barrier, int rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

// The same where all that must come before it are reads, as of a consumer that gives a buffer back: writes of the
// thread are not ordered for other blocks. ptxas puts two memory barriers, one of them for the whole device, before the
// arrival of arrive_remote, and none before this one. sm_90.
__device__ __forceinline__ void arrive_remote_after_reads(Barrier* barrier, int rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

// Whether the phase of that parity has completed: asks once. Only the current phase and the one before it can be told
// apart, so a phase is waited for before the next one but one begins.
__device__ __forceinline__ bool is_complete(Barrier* barrier, int parity) {
  unsigned complete;
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
      "selp.b32 %0, 1, 0, complete;\n"
      "}"
      : "=r"(complete)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return complete != 0;
}

// Waits for the phase of that parity; the hardware suspends the thread a while at each try. sm_90.
__device__ __forceinline__ void wait(Barrier* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%0], %1;\n"
      "@complete bra done;\n"
      "bra again;\n"
      "done:\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// The same for a phase that arrive_remote may complete: sees what those threads wrote. It empties the first-level cache
// too. sm_90.
__device__ __forceinline__ void wait_remote(Barrier* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "again:\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 complete, [%0], %1;\n"
      "@complete bra done;\n"
      "bra again;\n"
      "done:\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Gives the eight bytes back to other use.
__device__ __forceinline__ void invalidate(Barrier* barrier) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

#endif

}  // namespace atrous::prims
