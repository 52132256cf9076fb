// What all bulk copies share: groups of stores, the fence of the proxies and plain runs of bytes.
#pragma once

#include "atrous/prims/address.cuh"
#include "atrous/prims/mbarrier.cuh"
#include "atrous/tensor_map.hpp"

#ifdef ATROUS_SIMULATED
#include "atrous_sim/tensor_copy.hpp"
#endif

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

// This thread's writes to shared memory, and those it has seen at a barrier, come before the copy engine's accesses.
inline void fence_async_proxy() { sim::fence_async_proxy(); }

inline void prefetch_map(const TensorMap* map, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::prefetch_map(map, {file, line});
}

// Closes the group of the stores that this thread has issued since the last one.
inline void commit_stores() { sim::commit_stores(); }

// Waits until at most kPending of this thread's groups still read their source.
template <int kPending>
inline void wait_store_reads() {
  sim::wait_stores(kPending, true);
}

// Waits until at most kPending of this thread's groups have not arrived in global memory.
template <int kPending>
inline void wait_stores() {
  sim::wait_stores(kPending, false);
}

// `bytes`, a multiple of 16, from global to shared memory, both multiples of 16; they complete on `barrier`.
inline void copy_bulk(void* destination, const void* source, unsigned bytes, Barrier* barrier,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::copy_bulk(destination, source, bytes, barrier, {file, line});
}

// The other way; belongs to the groups of stores.
inline void copy_bulk_out(void* destination, const void* source, unsigned bytes, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
  sim::copy_bulk_out(destination, source, bytes, {file, line});
}

#else

// This thread's writes to shared memory, and those it has seen at a barrier, come before the copy engine's accesses.
__device__ __forceinline__ void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ __forceinline__ void prefetch_map(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" : : "l"(map) : "memory");
}

// Closes the group of the stores that this thread has issued since the last one.
__device__ __forceinline__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until at most kPending of this thread's groups still read their source.
template <int kPending>
__device__ __forceinline__ void wait_store_reads() {
  asm volatile("cp.async.bulk.wait_group.read %0;" : : "n"(kPending) : "memory");
}

// Waits until at most kPending of this thread's groups have not arrived in global memory.
template <int kPending>
__device__ __forceinline__ void wait_stores() {
  asm volatile("cp.async.bulk.wait_group %0;" : : "n"(kPending) : "memory");
}

// `bytes`, a multiple of 16, from global to shared memory, both multiples of 16; they complete on `barrier`.
__device__ __forceinline__ void copy_bulk(void* destination, const void* source, unsigned bytes, Barrier* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
               :
               : "r"(shared_address(destination)), "l"(source), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}

// The other way; belongs to the groups of stores.
__device__ __forceinline__ void copy_bulk_out(void* destination, const void* source, unsigned bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;"
               :
               : "l"(destination), "r"(shared_address(source)), "r"(bytes)
               : "memory");
}

#endif

}  // namespace atrous::prims
