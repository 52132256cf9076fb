// Stores of tiles: the copy engine writes a box of shared memory into a tensor in global memory.
#pragma once

#include "atrous/prims/tensor_copy_groups.cuh"

namespace atrous::prims {

// store_tile(map, source, c0, c1 ...): the box at `source`, a multiple of 128, goes to these coordinates; what would
// fall outside the tensor is not written. Threads that wrote the box call fence_async_proxy() and meet at a barrier
// first. Where another block of the cluster wrote into the box, a thread of the storing block calls fence_async_proxy()
// after their meeting: a fence counts in the block that executes it.

#ifdef ATROUS_SIMULATED

inline void store_tile(const TensorMap* map, const void* source, int c0, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  const int coordinates[] = {c0};
  sim::store_tile(map, source, coordinates, 1, {file, line});
}

inline void store_tile(const TensorMap* map, const void* source, int c0, int c1, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1};
  sim::store_tile(map, source, coordinates, 2, {file, line});
}

inline void store_tile(const TensorMap* map, const void* source, int c0, int c1, int c2,
                       const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2};
  sim::store_tile(map, source, coordinates, 3, {file, line});
}

inline void store_tile(const TensorMap* map, const void* source, int c0, int c1, int c2, int c3,
                       const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2, c3};
  sim::store_tile(map, source, coordinates, 4, {file, line});
}

inline void store_tile(const TensorMap* map, const void* source, int c0, int c1, int c2, int c3, int c4,
                       const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2, c3, c4};
  sim::store_tile(map, source, coordinates, 5, {file, line});
}

#else

__device__ __forceinline__ void store_tile(const TensorMap* map, const void* source, int c0) {
  asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%2}], [%1];"
               :
               : "l"(map), "r"(shared_address(source)), "r"(c0)
               : "memory");
}

__device__ __forceinline__ void store_tile(const TensorMap* map, const void* source, int c0, int c1) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
               :
               : "l"(map), "r"(shared_address(source)), "r"(c0), "r"(c1)
               : "memory");
}

__device__ __forceinline__ void store_tile(const TensorMap* map, const void* source, int c0, int c1, int c2) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];"
               :
               : "l"(map), "r"(shared_address(source)), "r"(c0), "r"(c1), "r"(c2)
               : "memory");
}

__device__ __forceinline__ void store_tile(const TensorMap* map, const void* source, int c0, int c1, int c2, int c3) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];"
               :
               : "l"(map), "r"(shared_address(source)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
               : "memory");
}

__device__ __forceinline__ void store_tile(const TensorMap* map, const void* source, int c0, int c1, int c2, int c3,
                                           int c4) {
  asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];"
               :
               : "l"(map), "r"(shared_address(source)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
               : "memory");
}

#endif

}  // namespace atrous::prims
