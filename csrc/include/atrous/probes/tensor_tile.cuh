// What probes of the copy engine share: the argument, a barrier, a box in shared memory, and copies of any rank.
#pragma once

#include "atrous/prims/block.cuh"
#include "atrous/prims/mbarrier.cuh"
#include "atrous/prims/tensor_copy.cuh"
#include "atrous/probes/probe.hpp"
#include "atrous/tensor_map.hpp"

namespace atrous {

struct TensorCopyArguments {
  ProbeArguments probe;
  TensorMap map;  // of x for loads, of y for stores
};

struct TensorCopyBarrier {
  prims::Barrier barrier;
};

// size[kTileShift] moves the box from the boundary of 1024 bytes on which every swizzle pattern begins.
constexpr int kTileShift = 5;
constexpr int kTileBoundary = 1024;

__device__ __forceinline__ unsigned char* tile_at(int shift) {
  const auto start = reinterpret_cast<unsigned long long>(prims::dynamic_shared());
  return reinterpret_cast<unsigned char*>((start + kTileBoundary - 1) / kTileBoundary * kTileBoundary) + shift;
}

template <int kRank>
__device__ __forceinline__ void load_probe_tile(void* tile, const TensorMap* map, prims::Barrier* barrier,
                                                const int* c) {
  if constexpr (kRank == 1) prims::load_tile(tile, map, barrier, c[0]);
  if constexpr (kRank == 2) prims::load_tile(tile, map, barrier, c[0], c[1]);
  if constexpr (kRank == 3) prims::load_tile(tile, map, barrier, c[0], c[1], c[2]);
  if constexpr (kRank == 4) prims::load_tile(tile, map, barrier, c[0], c[1], c[2], c[3]);
  if constexpr (kRank == 5) prims::load_tile(tile, map, barrier, c[0], c[1], c[2], c[3], c[4]);
}

template <int kRank>
__device__ __forceinline__ void store_probe_tile(const TensorMap* map, const void* tile, const int* c) {
  if constexpr (kRank == 1) prims::store_tile(map, tile, c[0]);
  if constexpr (kRank == 2) prims::store_tile(map, tile, c[0], c[1]);
  if constexpr (kRank == 3) prims::store_tile(map, tile, c[0], c[1], c[2]);
  if constexpr (kRank == 4) prims::store_tile(map, tile, c[0], c[1], c[2], c[3]);
  if constexpr (kRank == 5) prims::store_tile(map, tile, c[0], c[1], c[2], c[3], c[4]);
}

__device__ __forceinline__ prims::Barrier* begin_probe_barrier() {
  prims::Barrier* barrier = &prims::shared<TensorCopyBarrier>().barrier;
  if (threadIdx.x == 0) {
    prims::init_barrier(barrier, 1);
    prims::fence_barrier_init();
  }
  prims::sync_block();
  return barrier;
}

// y: [count] = the bytes at `tile`
__device__ __forceinline__ void show_tile(const ProbeArguments& a, const unsigned char* tile, int64 first) {
  for (int64 i = threadIdx.x; i < a.count; i += blockDim.x) static_cast<unsigned char*>(a.y)[first + i] = tile[i];
}

}  // namespace atrous
