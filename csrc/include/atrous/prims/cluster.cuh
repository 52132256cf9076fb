// Blocks that run together as a cluster: their ranks, their barrier, and pointers into each other's shared memory.
#pragma once

#ifdef ATROUS_SIMULATED
#include "atrous_sim/cluster.hpp"
#endif

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

inline int cluster_rank() { return sim::block_rank(); }

inline int cluster_blocks() { return sim::cluster_blocks(); }

inline void arrive_cluster(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::arrive_cluster({file, line});
}

inline void wait_cluster(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::wait_cluster({file, line});
}

template <class T>
inline T* map_shared(T* pointer, int rank, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return static_cast<T*>(sim::map_shared(pointer, rank, {file, line}));
}

inline void sync_cluster(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  arrive_cluster(file, line);
  wait_cluster(file, line);
}

#else

// Of the running block in its cluster, x fastest.
__device__ __forceinline__ int cluster_rank() {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ int cluster_blocks() {
  int blocks;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
  return blocks;
}

// Tells the cluster that this thread has come; a wait_cluster follows before the next arrival. Its writes so far are
// visible to whoever has waited.
__device__ __forceinline__ void arrive_cluster() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }

// Waits until every thread of the cluster has arrived.
__device__ __forceinline__ void wait_cluster() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }

// No block of a cluster exits before the others have used its shared memory for the last time: this stands at the end.
__device__ __forceinline__ void sync_cluster() {
  arrive_cluster();
  wait_cluster();
}

// The object at the same place in the shared memory of block `rank` of the cluster; `pointer` is the own one.
template <class T>
__device__ __forceinline__ T* map_shared(T* pointer, int rank) {
  unsigned long long mapped;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(pointer), "r"(rank));
  return reinterpret_cast<T*>(mapped);
}

#endif

}  // namespace atrous::prims
