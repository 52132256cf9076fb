// Probes of the copy engine: boxes and columns of pixels as they lie in shared memory, and boxes stored.
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

// y: [count] uint8 = the box of x at size[0 .. kRank - 1], as it lies in shared memory
template <int kRank>
__global__ void probe_load_tile(const __grid_constant__ TensorCopyArguments a) {
  prims::Barrier* barrier = begin_probe_barrier();
  unsigned char* tile = tile_at(a.probe.size[kTileShift]);
  if (threadIdx.x == 0) {
    prims::prefetch_map(&a.map);
    prims::arrive_expect(barrier, static_cast<int>(a.probe.count));
    load_probe_tile<kRank>(tile, &a.map, barrier, a.probe.size);
  }
  prims::wait(barrier, 0);
  show_tile(a.probe, tile, 0);
}

// y: [count] uint8 = the column of pixels of x from the coordinates size[0 .. kRank - 1], at the offsets behind them
template <int kRank>
__global__ void probe_load_im2col(const __grid_constant__ TensorCopyArguments a) {
  prims::Barrier* barrier = begin_probe_barrier();
  unsigned char* tile = tile_at(0);
  if (threadIdx.x == 0) {
    const int* s = a.probe.size;
    prims::arrive_expect(barrier, static_cast<int>(a.probe.count));
    if constexpr (kRank == 3) prims::load_im2col(tile, &a.map, barrier, s[0], s[1], s[2], s[3]);
    if constexpr (kRank == 4) prims::load_im2col(tile, &a.map, barrier, s[0], s[1], s[2], s[3], s[4], s[5]);
    if constexpr (kRank == 5) prims::load_im2col(tile, &a.map, barrier, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
  }
  prims::wait(barrier, 0);
  show_tile(a.probe, tile, 0);
}

// x: [count] uint8, a box as it lies in shared memory; the box of y at size[0 .. kRank - 1] = x
template <int kRank>
__global__ void probe_store_tile(const __grid_constant__ TensorCopyArguments a) {
  unsigned char* tile = tile_at(a.probe.size[kTileShift]);
  for (int64 i = threadIdx.x; i < a.probe.count; i += blockDim.x)
    tile[i] = static_cast<const unsigned char*>(a.probe.x)[i];
  prims::fence_async_proxy();
  prims::sync_block();
  if (threadIdx.x == 0) {
    store_probe_tile<kRank>(&a.map, tile, a.probe.size);
    prims::commit_stores();
    prims::wait_stores<0>();
  }
}

// y: [2, count] uint8: x: [count] by a plain run of bytes through shared memory, then each byte plus one
inline __global__ void probe_copy_bulk(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = begin_probe_barrier();
  unsigned char* tile = tile_at(a.size[kTileShift]);
  const auto bytes = static_cast<unsigned>(a.count);
  auto* y = static_cast<unsigned char*>(a.y);
  if (threadIdx.x == 0) {
    prims::arrive_expect(barrier, static_cast<int>(bytes));
    prims::copy_bulk(tile, a.x, bytes, barrier);
  }
  prims::wait(barrier, 0);
  if (threadIdx.x == 0) {
    prims::copy_bulk_out(y, tile, bytes);
    prims::commit_stores();
    prims::wait_store_reads<0>();
  }
  prims::sync_block();
  for (unsigned i = threadIdx.x; i < bytes; i += blockDim.x) tile[i] = static_cast<unsigned char>(tile[i] + 1);
  prims::fence_async_proxy();
  prims::sync_block();
  if (threadIdx.x == 0) {
    prims::copy_bulk_out(y + bytes, tile, bytes);
    prims::commit_stores();
    prims::wait_stores<0>();
  }
}

}  // namespace atrous
