// Probes of cp.async: zero fill, and the ring of stages that a pipelined matrix product stands on.
#pragma once

#include "atrous/prims/async_copy.cuh"
#include "atrous/prims/block.cuh"
#include "atrous/probes/probe.hpp"

namespace atrous {

constexpr int kCopyThreads = 128;

template <int kBytes>
struct alignas(16) CopyTarget {
  unsigned char value[kCopyThreads][kBytes];
};

// x: [128, kBytes] uint8; w: [128] int32, from 0 to kBytes; y: [128, kBytes] uint8: of each row of x the first w bytes,
// then zeros. A row of which nothing is valid has no address either.
template <int kBytes>
__global__ void __launch_bounds__(kCopyThreads) probe_copy_async(const __grid_constant__ ProbeArguments a) {
  auto& target = prims::shared<CopyTarget<kBytes>>();
  const int me = static_cast<int>(threadIdx.x);
  const int other = kCopyThreads - 1 - me;
  for (int i = 0; i < kBytes; ++i) target.value[me][i] = 0xa5;
  const int valid_bytes = static_cast<const int*>(a.w)[me];
  const unsigned char* row = static_cast<const unsigned char*>(a.x) + me * kBytes;
  prims::copy_async<kBytes>(target.value[me], valid_bytes == 0 ? nullptr : row, valid_bytes);
  prims::commit_copies();
  prims::wait_copies<0>();
  prims::sync_block();
  for (int i = 0; i < kBytes; ++i) {
    static_cast<unsigned char*>(a.y)[other * kBytes + i] = target.value[other][i];
  }
}

// What a step of the ring may do wrong; the probes do nothing of it.
struct CorrectRing {
  static constexpr int kMoreGroupsPending = 0;          // than may be, at the wait
  static constexpr bool kSyncsBeforeReading = true;     // others' copies
  static constexpr bool kOverwritesWhatIsRead = false;  // one slot too early
  static constexpr bool kCommitsEmptyGroups = true;     // so that counting groups counts steps
};

template <int kStages>
struct alignas(16) CopyRing {
  int x[kStages][4 * kCopyThreads];
  int w[kStages][4 * kCopyThreads];
};

// Copies step `step` of x and w, both [count, 512] int32, into its slot; ends a group even past the last step.
template <int kStages, class Rules>
__device__ __forceinline__ void start_step(CopyRing<kStages>& ring, const ProbeArguments& a, int64 step) {
  const int at = 4 * static_cast<int>(threadIdx.x);
  const int slot = static_cast<int>(step % kStages);
  if (step < a.count) {
    const int64 from = step * 4 * kCopyThreads + at;
    prims::copy_async<16>(&ring.x[slot][at], static_cast<const int*>(a.x) + from);
    prims::copy_async<16>(&ring.w[slot][at], static_cast<const int*>(a.w) + from);
  }
  if (step < a.count || Rules::kCommitsEmptyGroups) prims::commit_copies();
}

// x, w: [count, 128, 4] int32; y: [128] int32; y[i] = sum of x[t, (i + t) % 128, j] * w[t, 127 - i, j] over t and j:
// kStages slots, of which kStages - 1 are under way while one is read.
template <int kStages, class Rules = CorrectRing>
__device__ __forceinline__ void sum_through_ring(const ProbeArguments& a) {
  static_assert(kStages >= 2, "one slot is read while another is filled");
  auto& ring = prims::shared<CopyRing<kStages>>();
  const int me = static_cast<int>(threadIdx.x);
  constexpr int kAhead = kStages - 1;
  for (int step = 0; step < kAhead; ++step) start_step<kStages, Rules>(ring, a, step);
  int sum = 0;
  for (int64 step = 0; step < a.count; ++step) {
    prims::wait_copies<kStages - 2 + Rules::kMoreGroupsPending>();
    if constexpr (Rules::kSyncsBeforeReading) prims::sync_block();
    if constexpr (!Rules::kOverwritesWhatIsRead) start_step<kStages, Rules>(ring, a, step + kAhead);
    const int slot = static_cast<int>(step % kStages);
    const int* x = ring.x[slot] + 4 * static_cast<int>((me + step) % kCopyThreads);
    const int* w = ring.w[slot] + 4 * (kCopyThreads - 1 - me);
    for (int j = 0; j < 4; ++j) sum += x[j] * w[j];
    if constexpr (Rules::kOverwritesWhatIsRead) start_step<kStages, Rules>(ring, a, step + kStages);
  }
  static_cast<int*>(a.y)[me] = sum;
}

template <int kStages>
__global__ void __launch_bounds__(kCopyThreads) probe_copy_ring(const __grid_constant__ ProbeArguments a) {
  sum_through_ring<kStages>(a);
}

}  // namespace atrous
