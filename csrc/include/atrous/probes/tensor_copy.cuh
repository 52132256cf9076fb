// Probes of the copy engine: boxes and columns of pixels as they lie in shared memory, multicast, and boxes stored.
#pragma once

#include "atrous/prims/cluster.cuh"
#include "atrous/probes/tensor_tile.cuh"

namespace atrous {

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

// y: [blocks of the cluster, count] uint8. Block r loads the rows r * size[1] and up of x, a box of count / blocks
// bytes from column size[0], into part r of every block whose bit is set in size[2]; a block shows what it received.
__global__ void probe_multicast(const __grid_constant__ TensorCopyArguments a) {
  prims::Barrier* barrier = begin_probe_barrier();
  prims::sync_cluster();
  unsigned char* tile = tile_at(0);
  const int rank = prims::cluster_rank();
  const int blocks = prims::cluster_blocks();
  const int part = static_cast<int>(a.probe.count) / blocks;
  const bool is_served = (a.probe.size[2] >> rank & 1) != 0;
  if (threadIdx.x == 0) {
    if (is_served) prims::arrive_expect(barrier, part * blocks);
    prims::load_tile_multicast(tile + part * rank, &a.map, barrier, a.probe.size[0], a.probe.size[1] * rank,
                               static_cast<unsigned short>(a.probe.size[2]));
  }
  if (is_served) {
    prims::wait(barrier, 0);
    show_tile(a.probe, tile, rank * a.probe.count);
  }
  prims::sync_cluster();  // a block stays until what it has issued has landed elsewhere
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
__global__ void probe_copy_bulk(const __grid_constant__ ProbeArguments a) {
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
