// What the copies of atrous/prims/tensor_copy.cuh call on the host model of the CUDA thread machine.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

constexpr int kNoMulticast = -1;

// [rank] coordinates; mask: a bit a block of the cluster, or kNoMulticast. map: TensorMap; barrier: Barrier.
void load_tile(void* destination, const void* map, void* barrier, const int* coordinates, int rank, int mask,
               Site site);
// [rank - 2] offsets
void load_im2col(void* destination, const void* map, void* barrier, const int* coordinates, int rank,
                 const int* offsets, int mask, Site site);
void store_tile(const void* map, const void* source, const int* coordinates, int rank, Site site);

void copy_bulk(void* destination, const void* source, unsigned bytes, void* barrier, Site site);
void copy_bulk_out(void* destination, const void* source, unsigned bytes, Site site);

void commit_stores();
void wait_stores(int pending, bool reads_only);
void fence_async_proxy();
void prefetch_map(const void* map, Site site);

}  // namespace atrous::sim
