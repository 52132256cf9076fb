// Probes of mbarrier: a ring of stages between one producing and two consuming warps, and one between blocks.
#pragma once

#include "atrous/prims/async_copy.cuh"
#include "atrous/prims/block.cuh"
#include "atrous/prims/cluster.cuh"
#include "atrous/prims/mbarrier.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/probes/probe.hpp"

namespace atrous {

constexpr int kRingThreads = 96;  // warp 0 produces, warps 1 and 2 consume

template <int kStages>
struct alignas(16) BarrierRing {
  int value[kStages][32][4];
  prims::Barrier full[kStages];
  prims::Barrier empty[kStages];
};

// What the two sides may do wrong; the probes do nothing of it.
struct CorrectBarrierRing {
  static constexpr bool kWaitsForEmpty = true;
  static constexpr int kProducerParity = 1;  // at the first round: the phase before the first is complete
  static constexpr bool kArrivesBeforeStoring = false;
  static constexpr bool kConsumerWaits = true;  // for the data
  static constexpr bool kFlipsParity = true;    // of what the consumers wait for
  static constexpr bool kArrivesBeforeReading = false;
  static constexpr bool kSyncsWarp = true;        // before one lane arrives for all
  static constexpr bool kConsumerArrives = true;  // at all steps; else not at the third
};

// x: [count, 32, 4] int32, which lane by lane goes into the slot of its step
template <int kStages, bool kCopies, class Rules>
__device__ __forceinline__ void produce(BarrierRing<kStages>& ring, const ProbeArguments& a) {
  const int lane = prims::lane_id();
  for (int step = 0; step < static_cast<int>(a.count); ++step) {
    const int slot = step % kStages;
    if constexpr (Rules::kWaitsForEmpty) prims::wait(&ring.empty[slot], step / kStages % 2 ^ Rules::kProducerParity);
    const int* from = static_cast<const int*>(a.x) + (static_cast<int64>(step) * 32 + lane) * 4;
    if constexpr (kCopies) {
      prims::copy_async<16>(ring.value[slot][lane], from);
      prims::arrive_after_copies(&ring.full[slot]);
    } else {
      if constexpr (Rules::kArrivesBeforeStoring) prims::arrive(&ring.full[slot]);
      for (int j = 0; j < 4; ++j) ring.value[slot][lane][j] = from[j];
      if constexpr (!Rules::kArrivesBeforeStoring) prims::arrive(&ring.full[slot]);
    }
  }
}

// y: [count, 2, 32] int32: lane l of consumer c takes the sum of the four numbers of lane (l + step) % 32, times c + 1.
// The first consumer sleeps on a barrier; the second asks again and again.
template <int kStages, class Rules>
__device__ __forceinline__ void consume(BarrierRing<kStages>& ring, const ProbeArguments& a, int consumer) {
  const int lane = prims::lane_id();
  for (int step = 0; step < static_cast<int>(a.count); ++step) {
    const int slot = step % kStages;
    const int parity = Rules::kFlipsParity ? step / kStages % 2 : 0;
    if (!Rules::kConsumerWaits) {
    } else if (consumer == 0) {
      prims::wait(&ring.full[slot], parity);
    } else {
      while (!prims::is_complete(&ring.full[slot], parity)) {
      }
    }
    const bool arrives = lane == 0 && (Rules::kConsumerArrives || step != 2);
    if (Rules::kArrivesBeforeReading && arrives) prims::arrive(&ring.empty[slot]);
    const int* value = ring.value[slot][(lane + step) % 32];
    const int sum = value[0] + value[1] + value[2] + value[3];
    static_cast<int*>(a.y)[(static_cast<int64>(step) * 2 + consumer) * 32 + lane] = sum * (consumer + 1);
    if constexpr (Rules::kSyncsWarp) prims::sync_warp();
    if (!Rules::kArrivesBeforeReading && arrives) prims::arrive(&ring.empty[slot]);
  }
}

// A phase of `full` takes an arrival of each producing lane, one of `empty` an arrival of each consuming warp.
template <int kStages, bool kCopies, class Rules = CorrectBarrierRing>
__device__ __forceinline__ void pass_through_ring(const ProbeArguments& a) {
  auto& ring = prims::shared<BarrierRing<kStages>>();
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kStages; ++slot) {
      prims::init_barrier(&ring.full[slot], 32);
      prims::init_barrier(&ring.empty[slot], 2);
    }
    prims::fence_barrier_init();
  }
  prims::sync_block();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp == 0) {
    produce<kStages, kCopies, Rules>(ring, a);
  } else {
    consume<kStages, Rules>(ring, a, warp - 1);
  }
  prims::sync_block();
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kStages; ++slot) {
      prims::invalidate(&ring.full[slot]);
      prims::invalidate(&ring.empty[slot]);
    }
  }
}

template <int kStages, bool kCopies>
__global__ void __launch_bounds__(kRingThreads) probe_barrier_ring(const __grid_constant__ ProbeArguments a) {
  pass_through_ring<kStages, kCopies>(a);
}

constexpr int kPostThreads = 64;  // warp 0 sends, warp 1 receives

template <int kSlots>
struct alignas(16) Inbox {
  int value[kSlots][32];
  prims::Barrier full[kSlots];   // of the receiver: an arrival of each sending lane
  prims::Barrier empty[kSlots];  // of the sender: one of the receiving warp
};

// What both sides of the ring of blocks may do wrong; the probe does nothing of it.
struct CorrectPost {
  static constexpr bool kSeesCluster = true;  // the receiver, what another block wrote
  static constexpr bool kWaitsForEmpty = true;
  static constexpr bool kStaysForOthers = true;  // until the last arrival has come
};

// x: [count, blocks, 32] int32; y: [count, blocks, 32] int32: block b of a cluster takes what the block before it (the
// last one before the first) wrote into its shared memory, lanes backwards.
template <int kSlots, class Rules = CorrectPost>
__device__ __forceinline__ void pass_through_cluster(const ProbeArguments& a) {
  auto& inbox = prims::shared<Inbox<kSlots>>();
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kSlots; ++slot) {
      prims::init_barrier(&inbox.full[slot], 32);
      prims::init_barrier(&inbox.empty[slot], 1);
    }
    prims::fence_barrier_init();
  }
  prims::sync_cluster();
  const int lane = prims::lane_id();
  const int rank = prims::cluster_rank();
  const int blocks = prims::cluster_blocks();
  const bool sends = threadIdx.x < 32;
  for (int step = 0; step < static_cast<int>(a.count); ++step) {
    const int slot = step % kSlots;
    const int parity = step / kSlots % 2;
    const int64 row = (static_cast<int64>(step) * gridDim.x + blockIdx.x) * 32;
    if (sends) {
      const int next = (rank + 1) % blocks;
      if constexpr (Rules::kWaitsForEmpty) prims::wait(&inbox.empty[slot], parity ^ 1);
      *prims::map_shared(&inbox.value[slot][lane], next) = static_cast<const int*>(a.x)[row + lane];
      prims::arrive_remote(&inbox.full[slot], next);
    } else {
      if constexpr (Rules::kSeesCluster) {
        prims::wait_remote(&inbox.full[slot], parity);
      } else {
        prims::wait(&inbox.full[slot], parity);
      }
      static_cast<int*>(a.y)[row + lane] = inbox.value[slot][31 - lane];
      prims::sync_warp();
      if (lane == 0) prims::arrive_remote_after_reads(&inbox.empty[slot], (rank + blocks - 1) % blocks);
    }
  }
  if constexpr (Rules::kStaysForOthers) prims::sync_cluster();
}

template <int kSlots>
__global__ void __launch_bounds__(kPostThreads) probe_barrier_cluster(const __grid_constant__ ProbeArguments a) {
  pass_through_cluster<kSlots>(a);
}

}  // namespace atrous
