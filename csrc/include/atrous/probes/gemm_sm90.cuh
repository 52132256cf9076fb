// A whole matrix product as sm_90 is made for it: a warp that copies, a ring of stages, two warpgroups that multiply.
#pragma once

#include "atrous/prims/block.cuh"
#include "atrous/prims/matrix.cuh"
#include "atrous/prims/mbarrier.cuh"
#include "atrous/prims/tensor_copy.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/prims/warpgroup.cuh"
#include "atrous/prims/wgmma.cuh"
#include "atrous/probes/probe.hpp"
#include "atrous/tensor_map.hpp"
#include "atrous/types.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// size: M, N, K in elements. Rows of a and b are multiples of 16 bytes.
struct GemmSm90Arguments {
  ProbeArguments probe;
  TensorMap a;  // x: [M, K], boxes of 64 columns by 128 rows, swizzle of 128 bytes
  TensorMap b;  // w: [N, K], the same
  TensorMap y;  // [M, N], boxes of 64 columns by 64 rows, swizzle of 128 bytes
};

namespace gemm_sm90 {

constexpr int kTile = 128;                        // rows of a and of b of a block
constexpr int kDepth = 64;                        // elements of K of a stage, 128 bytes
constexpr int kStages = 4;                        // 32 KiB each
constexpr int kConsumers = 2;                     // warpgroups of 64 rows each
constexpr int kThreads = (1 + kConsumers) * 128;  // the first warpgroup produces
constexpr int kOperandBytes = kTile * 128;        // of a stage
constexpr int kStageBytes = 2 * kOperandBytes;    // a, then b
constexpr int kSlabBytes = 64 * 128;              // 64 rows by 64 columns of y
constexpr int kOutputBytes = kConsumers * 2 * kSlabBytes;
constexpr int kSharedBytes = kStages * kStageBytes + kOutputBytes + 1024;

// What the two sides may do wrong; the probe does nothing of it.
struct Correct {
  static constexpr bool kWaitsForEmpty = true;
  static constexpr bool kWaitsForFull = true;
  static constexpr bool kReleasesEarly = false;  // a stage whose wgmmas are still in flight
  static constexpr bool kFencesOutput = true;    // fence.proxy.async between stores to shared memory and the copy out
  static constexpr bool kWaitsForOutput = true;  // before the slabs of the last tile are overwritten
  static constexpr int kMissingBytes = 0;        // that are not expected
  static constexpr bool kFencesSums = true;      // wgmma_fence at each step
  static constexpr bool kWaitsForSums = true;    // before they are stored
  static constexpr int kStepBytes = 32;          // from a wgmma to the next, along K
  static constexpr int kStrideBytes = 1024;      // from 8 rows to the next
  static constexpr prims::MatrixSwizzle kSwizzle = prims::MatrixSwizzle::k128Bytes;
};

__device__ __forceinline__ void round_sum(float32 sum, float16& rounded) { rounded = to_float16(sum); }
__device__ __forceinline__ void round_sum(float32 sum, bfloat16& rounded) { rounded = to_bfloat16(sum); }

struct Ring {
  prims::Barrier full[kStages];   // 1 arrival and the bytes of a stage
  prims::Barrier empty[kStages];  // 1 arrival of each consuming warp
};

struct Work {
  int tiles;
  int columns;  // of tiles
  int steps;    // of K
};

__device__ __forceinline__ Work work_of(const ProbeArguments& probe) {
  const int columns = (probe.size[1] + kTile - 1) / kTile;
  return {(probe.size[0] + kTile - 1) / kTile * columns, columns, (probe.size[2] + kDepth - 1) / kDepth};
}

// By one thread.
template <class Rules>
__device__ __forceinline__ void produce(const GemmSm90Arguments& g, Ring& ring, unsigned char* stages) {
  const Work work = work_of(g.probe);
  int turn = 0;
  for (int tile = static_cast<int>(blockIdx.x); tile < work.tiles; tile += static_cast<int>(gridDim.x)) {
    const int row = tile / work.columns * kTile, column = tile % work.columns * kTile;
    for (int step = 0; step < work.steps; ++step, ++turn) {
      const int slot = turn % kStages;
      // The phase before the first counts as complete.
      if (Rules::kWaitsForEmpty) prims::wait(&ring.empty[slot], turn / kStages % 2 ^ 1);
      prims::arrive_expect(&ring.full[slot], kStageBytes - Rules::kMissingBytes);
      unsigned char* stage = stages + slot * kStageBytes;
      prims::load_tile(stage, &g.a, &ring.full[slot], step * kDepth, row);
      prims::load_tile(stage + kOperandBytes, &g.b, &ring.full[slot], step * kDepth, column);
    }
  }
}

// Rounds the sums and copies them out: the warp's 16 rows, swizzled, into the warpgroup's two slabs of 64 columns.
template <class T, class Rules>
__device__ __forceinline__ void store_sums(const GemmSm90Arguments& g, const float (&d)[kTile / 2],
                                           unsigned char* slabs, int consumer, int row, int column) {
  const int thread = static_cast<int>(threadIdx.x) % 128, lane = thread % 32;
  if (Rules::kWaitsForOutput && thread == 0) prims::wait_store_reads<0>();
  prims::sync_named(1 + consumer, 128);
  // Matrix i of four: rows 8 (i % 2), columns 8 (i / 2); lanes 8 i to 8 i + 7 give its rows.
  const int slab_row = thread / 32 * 16 + lane % 16;
#pragma unroll
  for (int pair = 0; pair < kTile / 16; ++pair) {
    unsigned r[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      Vec<T, 2> both;
      for (int j = 0; j < 2; ++j) round_sum(d[pair * 8 + 2 * i + j], both.value[j]);
      memcpy(&r[i], &both, sizeof both);
    }
    const int chunk = 2 * pair + lane / 16;
    prims::store_matrix(slabs + chunk / 8 * kSlabBytes + slab_row * 128 + (chunk % 8 ^ slab_row % 8) * 16, r);
  }
  if (Rules::kFencesOutput) prims::fence_async_proxy();
  prims::sync_named(1 + consumer, 128);
  if (thread != 0) return;
  for (int slab = 0; slab < 2; ++slab)
    prims::store_tile(&g.y, slabs + slab * kSlabBytes, column + 64 * slab, row + 64 * consumer);
  prims::commit_stores();
}

template <class T, class Rules>
__device__ __forceinline__ void consume(const GemmSm90Arguments& g, Ring& ring, unsigned char* stages, int consumer) {
  const Work work = work_of(g.probe);
  const bool arrives = prims::lane_id() == 0;
  unsigned char* slabs = stages + kStages * kStageBytes + consumer * 2 * kSlabBytes;
  int turn = 0;
  for (int tile = static_cast<int>(blockIdx.x); tile < work.tiles; tile += static_cast<int>(gridDim.x)) {
    float d[kTile / 2] = {};
    for (int step = 0; step < work.steps; ++step, ++turn) {
      const int slot = turn % kStages;
      if (Rules::kWaitsForFull) prims::wait(&ring.full[slot], turn / kStages % 2);
      const unsigned char* stage = stages + slot * kStageBytes;
      // 64 rows of a are 8 KiB, a multiple of the swizzle's 1024; groups of 8 rows are 1024 bytes apart.
      const auto a = prims::make_descriptor(stage + consumer * 64 * 128, 16, Rules::kStrideBytes, Rules::kSwizzle);
      const auto b = prims::make_descriptor(stage + kOperandBytes, 16, Rules::kStrideBytes, Rules::kSwizzle);
      prims::pin_registers(d);
      if (Rules::kFencesSums || turn == 0) prims::wgmma_fence();
#pragma unroll
      for (int k = 0; k < 4; ++k)
        prims::wgmma<kTile, T>(d, prims::advance(a, Rules::kStepBytes * k), prims::advance(b, Rules::kStepBytes * k),
                               step > 0 || k > 0);
      prims::wgmma_commit();
      // One group stays in flight; the stage of the one before it is given back.
      prims::wgmma_wait<1>();
      prims::pin_registers(d);
      const int free_slot = Rules::kReleasesEarly ? slot : (turn + kStages - 1) % kStages;
      if (arrives && (step > 0 || Rules::kReleasesEarly)) prims::arrive(&ring.empty[free_slot]);
    }
    if (Rules::kWaitsForSums) prims::wgmma_wait<0>();
    prims::pin_registers(d);
    if (arrives && !Rules::kReleasesEarly) prims::arrive(&ring.empty[(turn + kStages - 1) % kStages]);
    store_sums<T, Rules>(g, d, slabs, consumer, tile / work.columns * kTile, tile % work.columns * kTile);
  }
  if (threadIdx.x % 128 == 0) prims::wait_stores<0>();
}

template <class T, class Rules>
__device__ __forceinline__ void multiply(const GemmSm90Arguments& g) {
  Ring& ring = prims::shared<Ring>();
  unsigned char* start = prims::dynamic_shared();
  unsigned char* stages = start + (1024 - reinterpret_cast<unsigned long long>(start) % 1024) % 1024;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      prims::init_barrier(&ring.full[i], 1);
      prims::init_barrier(&ring.empty[i], kConsumers * 4);
    }
    prims::fence_barrier_init();
  }
  prims::sync_block();
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  // 128 * 40 + 256 * 232 registers are the 65,536 of an SM, less 1,024.
  if (warpgroup == 0) {
    prims::give_registers<40>();
    if (threadIdx.x == 0) produce<Rules>(g, ring, stages);
  } else {
    prims::take_registers<232>();
    consume<T, Rules>(g, ring, stages, warpgroup - 1);
  }
}

}  // namespace gemm_sm90

// y: [M, N] T = x: [M, K] T times the transpose of w: [N, K] T, summed in float. Any grid, kThreads threads.
template <class T>
__global__ void __launch_bounds__(gemm_sm90::kThreads, 1) probe_gemm_sm90(const __grid_constant__ GemmSm90Arguments g) {
  gemm_sm90::multiply<T, gemm_sm90::Correct>(g);
}

}  // namespace atrous
