// Probes of what a launch and a byte cost: a copy by vectors of 16 bytes, and a kernel that does nothing.
#pragma once

#include "atrous/probes/probe.hpp"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kCopyThreads = 256;

// Computes y: [count, 4] uint32 = x. Mapping: a block moves kCopyThreads * kEach vectors, each thread kEach of them,
// kCopyThreads apart, all loaded before the first is stored. Cost: 32 bytes a vector, read and written.
template <int kEach>
__global__ void __launch_bounds__(kCopyThreads) probe_copy_vectors(const __grid_constant__ ProbeArguments a) {
  const int64 first = static_cast<int64>(blockIdx.x) * (kCopyThreads * kEach) + threadIdx.x;
  Vec<unsigned, 4> values[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int64 at = first + i * kCopyThreads;
    if (at < a.count) values[i] = load_vec<4>(static_cast<const unsigned*>(a.x) + 4 * at);
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int64 at = first + i * kCopyThreads;
    if (at < a.count) store_vec<4>(static_cast<unsigned*>(a.y) + 4 * at, values[i]);
  }
}

// Computes nothing; y stays as it is.
__global__ void __launch_bounds__(384, 1) probe_empty(const __grid_constant__ ProbeArguments) {}

}  // namespace atrous
