// Loads of tiles: the copy engine fills a box of shared memory from a tensor in global memory.
#pragma once

#include "atrous/prims/tensor_copy_groups.cuh"

namespace atrous::prims {

// load_tile(destination, map, barrier, c0, c1 ...): the box that starts at these coordinates, as many as the tensor has
// dimensions, the densest first; a coordinate may be negative, and what lies outside the tensor arrives as zero. The
// box stands row after row at `destination`, a multiple of 128; a swizzle permutes the 16-byte pieces by bits of their
// shared address. One thread issues it. The whole box's bytes, zeros too, complete on `barrier`.
// load_tile_multicast(..., mask): to the same place of every block of the cluster whose bit is set, and completes on
// the barrier at the same place there.

#ifdef ATROUS_SIMULATED

inline void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0};
  sim::load_tile(destination, map, barrier, coordinates, 1, sim::kNoMulticast, {file, line});
}

inline void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1};
  sim::load_tile(destination, map, barrier, coordinates, 2, sim::kNoMulticast, {file, line});
}

inline void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1, int c2,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2};
  sim::load_tile(destination, map, barrier, coordinates, 3, sim::kNoMulticast, {file, line});
}

inline void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1, int c2, int c3,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2, c3};
  sim::load_tile(destination, map, barrier, coordinates, 4, sim::kNoMulticast, {file, line});
}

inline void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1, int c2, int c3, int c4,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2, c3, c4};
  sim::load_tile(destination, map, barrier, coordinates, 5, sim::kNoMulticast, {file, line});
}

inline void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0, unsigned short mask,
                                const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0};
  sim::load_tile(destination, map, barrier, coordinates, 1, mask, {file, line});
}

inline void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1,
                                unsigned short mask, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1};
  sim::load_tile(destination, map, barrier, coordinates, 2, mask, {file, line});
}

inline void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1, int c2,
                                unsigned short mask, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2};
  sim::load_tile(destination, map, barrier, coordinates, 3, mask, {file, line});
}

inline void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1, int c2,
                                int c3, unsigned short mask, const char* file = __builtin_FILE(),
                                int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2, c3};
  sim::load_tile(destination, map, barrier, coordinates, 4, mask, {file, line});
}

inline void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1, int c2,
                                int c3, int c4, unsigned short mask, const char* file = __builtin_FILE(),
                                int line = __builtin_LINE()) {
  const int coordinates[] = {c0, c1, c2, c3, c4};
  sim::load_tile(destination, map, barrier, coordinates, 5, mask, {file, line});
}

#else

__device__ __forceinline__ void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c0)
      : "memory");
}

__device__ __forceinline__ void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1)
      : "memory");
}

__device__ __forceinline__ void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1,
                                          int c2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}

__device__ __forceinline__ void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1,
                                          int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

__device__ __forceinline__ void load_tile(void* destination, const TensorMap* map, Barrier* barrier, int c0, int c1,
                                          int c2, int c3, int c4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
      "%7}], [%2];"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3),
        "r"(c4)
      : "memory");
}

__device__ __forceinline__ void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0,
                                                    unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4}], [%2], %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c0)
      : "memory");
}

__device__ __forceinline__ void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0,
                                                    int c1, unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5}], [%2], %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c0), "r"(c1)
      : "memory");
}

__device__ __forceinline__ void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0,
                                                    int c1, int c2, unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5, %6}], [%2], %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}

__device__ __forceinline__ void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0,
                                                    int c1, int c2, int c3, unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5, %6, %7}], [%2], %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c0), "r"(c1), "r"(c2),
        "r"(c3)
      : "memory");
}

__device__ __forceinline__ void load_tile_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c0,
                                                    int c1, int c2, int c3, int c4, unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5, %6, %7, %8}], [%2], %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c0), "r"(c1), "r"(c2),
        "r"(c3), "r"(c4)
      : "memory");
}

#endif

}  // namespace atrous::prims
