// Kernels that use the copy engine wrongly, one mistake a name, and a ring of boxes that uses it well.
#include <iterator>

#include "atrous/prims/cluster.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/probes/tensor_tile.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

// Loads the box of x at size[0], size[1] as a correct kernel does but for one thing; size[6]: bytes to expect.
enum class Mistake {
  kNone,
  kRank,               // three coordinates for a map of rank 2
  kKind,               // load_im2col by a tiled map, or the other way
  kSharedMap,          // the map copied to shared memory
  kOddMap,             // the map at a multiple of 8
  kOverwrittenMap,     // a bit of it changed
  kUninitialised,      // no init_barrier
  kUnpublished,        // no fence_barrier_init
  kGlobalDestination,  // not shared memory
  kMask,               // a multicast to a block that the cluster lacks
  kNoMask,             // a multicast to none
  kNoWait,             // exits with the load in flight
  kUnreadStore,        // exits without a wait for a store's reads
  kSteppedStore,       // stores by a map with element strides
  kGlobalSource,       // stores from global memory
  kOddRun,             // copy_bulk of 24 bytes
  kOddRunSource,       // copy_bulk from a multiple of 8
  kOddRunDestination,  // copy_bulk to a multiple of 8
  kSharedRunSource,    // copy_bulk from shared memory
};

struct MapCopy {
  TensorMap map;
  unsigned long long more[8];
};

template <Mistake kMistake>
__device__ void load_wrongly(const TensorCopyArguments& a, unsigned char* tile, prims::Barrier* barrier) {
  const int* c = a.probe.size;
  MapCopy copy;
  copy.map = a.map;
  const TensorMap* map = &a.map;
  void* target = tile;
  auto* shared_map = reinterpret_cast<TensorMap*>(tile + 4096);
  if constexpr (kMistake == Mistake::kSharedMap) {
    *shared_map = a.map;
    map = shared_map;
  }
  if constexpr (kMistake == Mistake::kOddMap) map = reinterpret_cast<const TensorMap*>(&copy.map.words[1]);
  if constexpr (kMistake == Mistake::kOverwrittenMap) {
    copy.map.words[5] ^= 1;
    map = &copy.map;
  }
  if constexpr (kMistake == Mistake::kGlobalDestination) target = a.probe.y;
  if constexpr (kMistake == Mistake::kRank)
    prims::load_tile(target, map, barrier, c[0], c[1], 0);
  else if constexpr (kMistake == Mistake::kKind)
    prims::load_im2col(target, map, barrier, c[0], c[1], 0, 0, 0, 0);
  else if constexpr (kMistake == Mistake::kMask)
    prims::load_tile_multicast(target, map, barrier, c[0], c[1], 2);
  else if constexpr (kMistake == Mistake::kNoMask)
    prims::load_tile_multicast(target, map, barrier, c[0], c[1], 0);
  else if constexpr (kMistake == Mistake::kUnreadStore || kMistake == Mistake::kSteppedStore)
    prims::store_tile(map, tile, c[0], c[1]);
  else if constexpr (kMistake == Mistake::kGlobalSource)
    prims::store_tile(map, a.probe.x, c[0], c[1]);
  else if constexpr (kMistake == Mistake::kOddRun)
    prims::copy_bulk(tile, a.probe.x, 24, barrier);
  else if constexpr (kMistake == Mistake::kOddRunSource)
    prims::copy_bulk(tile, static_cast<const unsigned char*>(a.probe.x) + 8, 32, barrier);
  else if constexpr (kMistake == Mistake::kOddRunDestination)
    prims::copy_bulk(tile + 8, a.probe.x, 32, barrier);
  else if constexpr (kMistake == Mistake::kSharedRunSource)
    prims::copy_bulk(tile, tile + 1024, 32, barrier);
  else
    prims::load_tile(target, map, barrier, c[0], c[1]);
}

template <Mistake kMistake>
__global__ void test_tensor_copy(const __grid_constant__ TensorCopyArguments a) {
  prims::Barrier* barrier = &prims::shared<TensorCopyBarrier>().barrier;
  unsigned char* tile = tile_at(a.probe.size[kTileShift]);
  if (threadIdx.x == 0) {
    if constexpr (kMistake != Mistake::kUninitialised) prims::init_barrier(barrier, 1);
    if constexpr (kMistake != Mistake::kUnpublished) prims::fence_barrier_init();
  }
  prims::sync_block();
  constexpr bool kIsStore =
      kMistake == Mistake::kUnreadStore || kMistake == Mistake::kSteppedStore || kMistake == Mistake::kGlobalSource;
  if (threadIdx.x == 0) {
    if constexpr (!kIsStore && kMistake != Mistake::kUninitialised) prims::arrive_expect(barrier, a.probe.size[6]);
    load_wrongly<kMistake>(a, tile, barrier);
    if constexpr (kIsStore) prims::commit_stores();
  }
  if constexpr (kIsStore || kMistake == Mistake::kNoWait) return;
  prims::wait(barrier, 0);
  show_tile(a.probe, tile, 0);
}

constexpr int kRingStages = 3;

struct RingBarriers {
  prims::Barrier full[kRingStages];
  prims::Barrier empty[kRingStages];
};

// y: [size[1] * rows of a box, row] = x plus one, by boxes of `count` bytes through a ring: a thread loads, a warp adds
// in a second buffer, a thread stores. size[0]: rows of a box, size[1]: boxes, size[2] != 0: without the fence of the
// proxies, size[3] != 0: without the wait for the reads of the store, size[4] != 0: without the wait for empty stages.
struct RingArguments {
  ProbeArguments probe;
  TensorMap x_map;
  TensorMap y_map;
};

__device__ void fill_ring(const RingArguments& a, RingBarriers& b, unsigned char* stages) {
  for (int i = 0; i < a.probe.size[1]; ++i) {
    const int stage = i % kRingStages;
    if (i >= kRingStages && a.probe.size[4] == 0) prims::wait(&b.empty[stage], (i / kRingStages - 1) % 2);
    prims::arrive_expect(&b.full[stage], static_cast<int>(a.probe.count));
    prims::load_tile(stages + stage * a.probe.count, &a.x_map, &b.full[stage], 0, i * a.probe.size[0]);
  }
}

__device__ void drain_ring(const RingArguments& a, RingBarriers& b, const unsigned char* stages, unsigned char* out) {
  const int lane = prims::lane_id();
  for (int i = 0; i < a.probe.size[1]; ++i) {
    const int stage = i % kRingStages;
    if (lane == 0 && a.probe.size[3] == 0) prims::wait_store_reads<0>();
    prims::sync_warp();
    prims::wait(&b.full[stage], i / kRingStages % 2);
    for (int64 j = lane; j < a.probe.count; j += 32)
      out[j] = static_cast<unsigned char>(stages[stage * a.probe.count + j] + 1);
    prims::arrive(&b.empty[stage]);
    if (a.probe.size[2] == 0) prims::fence_async_proxy();
    prims::sync_warp();
    if (lane == 0) {
      prims::store_tile(&a.y_map, out, 0, i * a.probe.size[0]);
      prims::commit_stores();
    }
  }
  if (lane == 0) prims::wait_stores<0>();
}

__global__ void test_tensor_ring(const __grid_constant__ RingArguments a) {
  auto& b = prims::shared<RingBarriers>();
  unsigned char* stages = tile_at(0);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kRingStages; ++i) {
      prims::init_barrier(&b.full[i], 1);
      prims::init_barrier(&b.empty[i], 32);
    }
    prims::fence_barrier_init();
  }
  prims::sync_block();
  if (threadIdx.x == 0) fill_ring(a, b, stages);
  if (threadIdx.x >= 32) drain_ring(a, b, stages, stages + kRingStages * a.probe.count);
}

// What a kernel with two boxes on one barrier may do wrong: size[0]. kExpectsLate is right.
enum Slip {
  kNoSlip,
  kExpectsLate,   // the arrival that expects follows the copies
  kExpectsOne,    // the bytes of one box
  kArrivesFirst,  // arrives, and expects then
  kTwoIssue,      // two warps do it all
  kLanesIssue,    // each lane of a warp issues, one arrives
  kFreshSource,   // loads what the block has just written to global memory
  kReusesBarrier  // as data, without invalidate
};

__device__ void load_two(const RingArguments& a, prims::Barrier* barrier, unsigned char* tile, int slip) {
  const int bytes = static_cast<int>(a.probe.count);
  if (slip == kArrivesFirst) {
    prims::arrive(barrier);
    prims::expect_bytes(barrier, 2 * bytes);
  } else if (slip != kExpectsLate && (slip != kLanesIssue || threadIdx.x == 0)) {
    prims::arrive_expect(barrier, slip == kExpectsOne ? bytes : 2 * bytes);
  }
  for (int i = 0; i < 2; ++i) prims::load_tile(tile + i * bytes, &a.x_map, barrier, 0, i * a.probe.size[1]);
  if (slip == kExpectsLate) prims::arrive_expect(barrier, 2 * bytes);
}

// y: [2 * count] uint8 = two boxes of x, size[1] rows each
__global__ void test_tensor_pair(const __grid_constant__ RingArguments a) {
  prims::Barrier* barrier = begin_probe_barrier();
  unsigned char* tile = tile_at(0);
  const int slip = a.probe.size[0];
  const unsigned me = threadIdx.x;
  if (slip == kFreshSource) {
    auto* x = static_cast<unsigned char*>(const_cast<void*>(a.probe.x));
    for (int64 i = me; i < 2 * a.probe.count; i += blockDim.x)
      x[i] = static_cast<unsigned char>(x[i] + a.probe.size[3]);
    prims::fence_async_proxy();
    prims::sync_block();
  }
  if (me == 0 || (slip == kTwoIssue && me == 32) || (slip == kLanesIssue && me < 32)) load_two(a, barrier, tile, slip);
  prims::wait(barrier, 0);
  for (int64 i = me; i < 2 * a.probe.count; i += blockDim.x) static_cast<unsigned char*>(a.probe.y)[i] = tile[i];
  prims::sync_block();
  if (slip == kReusesBarrier && me == 0) barrier->state = 7;
}

// What a kernel that stores a box and then reuses it may do wrong: size[0].
enum StoreSlip { kNoStoreSlip, kNoFence, kNoCommit, kOtherWaits, kNoWaitForReads };

// y: [size[1], row] = 1, 2 ... by a box of `count` bytes
__global__ void test_tensor_out(const __grid_constant__ RingArguments a) {
  unsigned char* tile = tile_at(0);
  const int slip = a.probe.size[0];
  const unsigned me = threadIdx.x;
  for (int64 i = me; i < a.probe.count; i += blockDim.x) tile[i] = static_cast<unsigned char>(i + 1);
  if (slip != kNoFence) prims::fence_async_proxy();
  prims::sync_block();
  if (me == 0) {
    prims::store_tile(&a.y_map, tile, 0, 0);
    if (slip != kNoCommit) prims::commit_stores();
  }
  if (slip != kNoWaitForReads && me == (slip == kOtherWaits ? 32u : 0u)) prims::wait_store_reads<0>();
  prims::sync_block();
  for (int64 i = me; i < a.probe.count; i += blockDim.x) tile[i] = 0;
  if (me == 0) prims::wait_stores<0>();
}

// What a cluster of two may do wrong: size[0].
enum ClusterSlip {
  kNoClusterSlip,
  kNoStart,       // no meeting after the barriers' initialisation
  kOwnOnly,       // the issuer reuses the box when its own block has read it
  kLightArrival,  // what block 1 wrote into block 0 is told by arrive_remote_after_reads
  kLightWait      // and waited for by wait
};

// y: [2, 2, count] uint8 = two boxes of x, each to both blocks; but the first byte = size[2], by way of block 1
__global__ void test_tensor_cluster(const __grid_constant__ RingArguments a) {
  auto& b = prims::shared<RingBarriers>();
  unsigned char* tile = tile_at(0);
  const int slip = a.probe.size[0], rank = prims::cluster_rank();
  const int64 count = a.probe.count;
  const bool leads = threadIdx.x == 0;
  if (leads) {
    prims::init_barrier(&b.full[0], 1);
    prims::init_barrier(&b.empty[0], 2);
    prims::init_barrier(&b.full[1], 1);
    prims::fence_barrier_init();
  }
  prims::sync_block();
  if (slip != kNoStart) prims::sync_cluster();
  for (int i = 0; i < 2; ++i) {
    if (leads) prims::arrive_expect(&b.full[0], static_cast<int>(count));
    if (leads && rank == 0) {
      if (i > 0 && slip != kOwnOnly) prims::wait(&b.empty[0], 0);
      prims::load_tile_multicast(tile, &a.x_map, &b.full[0], 0, i * a.probe.size[1], 3);
    }
    prims::wait(&b.full[0], i);
    show_tile(a.probe, tile, (2 * i + rank) * count);
    prims::sync_block();
    if (leads && i == 0) prims::arrive_remote_after_reads(&b.empty[0], 0);
  }
  if (leads && rank == 1) {
    *prims::map_shared(tile + count, 0) = static_cast<unsigned char>(a.probe.size[2]);
    slip == kLightArrival ? prims::arrive_remote_after_reads(&b.full[1], 0) : prims::arrive_remote(&b.full[1], 0);
  }
  if (leads && rank == 0) {
    slip == kLightWait ? prims::wait(&b.full[1], 0) : prims::wait_remote(&b.full[1], 0);
    static_cast<unsigned char*>(a.probe.y)[0] = tile[count];
  }
  prims::sync_cluster();
}

// Who fences before a block stores what the other one wrote into its box: size[0].
enum RemoteSlip { kFencesHere, kFencesThere };

// y: [size[1], row] = 1, 2 ... from block 1 by a box of block 0
__global__ void test_tensor_remote(const __grid_constant__ RingArguments a) {
  unsigned char* tile = tile_at(0);
  const int rank = prims::cluster_rank();
  prims::sync_cluster();
  if (rank == 1) {
    unsigned char* there = prims::map_shared(tile, 0);
    for (int64 i = threadIdx.x; i < a.probe.count; i += blockDim.x) there[i] = static_cast<unsigned char>(i + 1);
    if (a.probe.size[0] == kFencesThere) prims::fence_async_proxy();
  }
  prims::sync_cluster();
  if (rank != 0 || threadIdx.x != 0) return;
  if (a.probe.size[0] == kFencesHere) prims::fence_async_proxy();
  prims::store_tile(&a.y_map, tile, 0, 0);
  prims::commit_stores();
  prims::wait_stores<0>();
}

}  // namespace

void add_test_kernels_tensor_copy(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_tensor_copy<Mistake::kNone>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kRank>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kKind>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kSharedMap>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kOddMap>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kOverwrittenMap>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kUninitialised>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kUnpublished>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kGlobalDestination>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kMask>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kNoMask>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kNoWait>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kUnreadStore>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kSteppedStore>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kGlobalSource>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kOddRun>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kOddRunSource>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kOddRunDestination>),
      ATROUS_KERNEL(test_tensor_copy<Mistake::kSharedRunSource>),
      ATROUS_KERNEL(test_tensor_ring),
      ATROUS_KERNEL(test_tensor_pair),
      ATROUS_KERNEL(test_tensor_out),
      ATROUS_KERNEL(test_tensor_cluster),
      ATROUS_KERNEL(test_tensor_remote),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
