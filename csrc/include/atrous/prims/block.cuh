// Block-wide primitives: the barrier, and static and dynamic shared memory.
#pragma once

#ifdef ATROUS_SIMULATED
#include "atrous_sim/primitives.hpp"
#endif

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

// The defaults name the place of the call, so that a divergent barrier can be told by its sites.
inline void sync_block(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::block_barrier({file, line});
}

template <class T>
inline T& shared() {
  static_assert(__is_trivial(T), "shared memory is never constructed");
  static const char key = 0;
  return *static_cast<T*>(sim::static_shared(&key, sizeof(T), alignof(T), __PRETTY_FUNCTION__));
}

inline unsigned char* dynamic_shared() { return sim::dynamic_shared(); }

// A misaligned vector access stops a device; here it is named.
inline void require_aligned(const void* pointer, int bytes) { sim::require_aligned(pointer, bytes); }

// Loads and stores that a device makes by one instruction: with hooks each is one access, as a call of memcpy. An
// assignment the compiler would take apart into those of the elements.
template <class T>
inline T load_whole(const T* pointer) {
  T value;
  memcpy(static_cast<void*>(&value), pointer, sizeof value);
  return value;
}

template <class T>
inline void store_whole(T* pointer, const T& value) {
  memcpy(static_cast<void*>(pointer), &value, sizeof value);
}

#else

__device__ __forceinline__ void sync_block() { __syncthreads(); }

// The one object of type T that a block has in static shared memory; T is a struct with trivial construction.
template <class T>
__device__ __forceinline__ T& shared() {
  __shared__ T object;
  return object;
}

// Start of the launch's dynamic shared memory.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char atrous_dynamic_shared[];
  return atrous_dynamic_shared;
}

__device__ __forceinline__ void require_aligned(const void*, int) {}

template <class T>
__device__ __forceinline__ T load_whole(const T* pointer) {
  return *pointer;
}

template <class T>
__device__ __forceinline__ void store_whole(T* pointer, const T& value) {
  *pointer = value;
}

#endif

}  // namespace atrous::prims
