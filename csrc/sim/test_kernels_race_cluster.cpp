// Kernels of clusters that test the race check: right where `count` is 1, and where it is 0 each lacks one barrier.
#include "atrous/prims/block.cuh"
#include "atrous/prims/cluster.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

struct ClusterArguments {
  const void* x;
  void* y;  // [blocks * threads] int32
  long long count;
  int variant;
  int unused;
};

struct ClusterNumbers {
  int value[64];
};

// What every one of them needs: the numbers here and in the other block of a cluster of two.
struct Both {
  int* own;
  int* other;
  unsigned me;
};

__device__ __forceinline__ Both both_numbers() {
  int* own = prims::shared<ClusterNumbers>().value;
  return {own, prims::map_shared(own, 1 - prims::cluster_rank()), threadIdx.x};
}

__device__ __forceinline__ int& result(const ClusterArguments& a) {
  return static_cast<int*>(a.y)[blockIdx.x * blockDim.x + threadIdx.x];
}

// Reads what the other block wrote into its own memory (variant 0), or what it wrote here (1); lacks the cluster's
// barrier in between, for which one of the block is no substitute.
__global__ void race_cluster_reads(const __grid_constant__ ClusterArguments a) {
  const Both numbers = both_numbers();
  prims::sync_cluster();
  numbers.own[numbers.me] = -1;
  prims::sync_cluster();
  (a.variant == 0 ? numbers.own : numbers.other)[numbers.me] = static_cast<int>(numbers.me);
  if (a.count == 1)
    prims::sync_cluster();
  else
    prims::sync_block();
  result(a) = (a.variant == 0 ? numbers.other : numbers.own)[numbers.me ^ 33u];
  prims::sync_cluster();
}

// Overwrites what the other block reads; lacks the cluster's barrier in between.
__global__ void race_cluster_overwrites(const __grid_constant__ ClusterArguments a) {
  const Both numbers = both_numbers();
  numbers.own[numbers.me] = static_cast<int>(numbers.me);
  prims::sync_cluster();
  result(a) = numbers.other[numbers.me];
  if (a.count == 1) prims::sync_cluster();
  numbers.own[numbers.me] = -1;
  prims::sync_cluster();
}

// Between arrival and wait nothing is ordered: the wrong ones write behind their arrival (variant 0) or read ahead of
// their wait (1).
__global__ void race_cluster_between(const __grid_constant__ ClusterArguments a) {
  const Both numbers = both_numbers();
  const bool is_late = a.count == 0 && a.variant == 0, is_early = a.count == 0 && a.variant == 1;
  numbers.own[numbers.me] = -1;
  prims::sync_cluster();
  if (!is_late) numbers.own[numbers.me] = 1;
  prims::arrive_cluster();
  if (is_late) numbers.own[numbers.me] = 1;
  if (is_early) result(a) = numbers.other[numbers.me];
  prims::wait_cluster();
  if (!is_early) result(a) = numbers.other[numbers.me];
  prims::sync_cluster();
}

// Reads from the other block (variant 0) or writes to it (1) at the end; lacks the barrier that keeps that block alive.
__global__ void race_cluster_exits(const __grid_constant__ ClusterArguments a) {
  const Both numbers = both_numbers();
  numbers.own[numbers.me] = 1;
  prims::sync_cluster();
  if (a.variant == 0)
    result(a) = numbers.other[numbers.me];
  else
    numbers.other[numbers.me] = 2;
  if (a.count == 1) prims::sync_cluster();
}

}  // namespace

void add_test_kernels_race_cluster(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(race_cluster_reads),
      ATROUS_KERNEL(race_cluster_overwrites),
      ATROUS_KERNEL(race_cluster_between),
      ATROUS_KERNEL(race_cluster_exits),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
