// What probes of rates share: operands laid out as the copy engine does, and the cycles that a block took.
#pragma once

#include "atrous/prims/clock.cuh"
#include "atrous/probes/probe.hpp"
#include "atrous/vec.cuh"

namespace atrous {

// size[kCycles] says whether y goes on behind what it holds else: with the cycles of each block, [grid] int64. Nobody
// can foretell those, so that what is recorded to be compared asks for none.
constexpr int kCycles = 7;

// By one thread of the block; y holds `bytes` bytes before the cycles.
__device__ __forceinline__ void show_cycles(const ProbeArguments& a, int64 bytes, int64 since) {
  auto* cycles = reinterpret_cast<int64*>(static_cast<unsigned char*>(a.y) + bytes);
  if (a.size[kCycles] != 0) cycles[blockIdx.x] = prims::clock_cycles() - since;
}

// Copies `count` rows of 128 bytes, `pitch` bytes apart, to `tile`, a multiple of 1024, with the swizzle of 128 bytes:
// chunk c of row r lies where c ^ r % 8 would without one. All threads of the block; wgmma may read it past a
// fence_async_proxy of each and a barrier.
__device__ __forceinline__ void lay_rows(unsigned char* tile, const void* rows, int count, int pitch) {
  for (int i = static_cast<int>(threadIdx.x); i < count * 8; i += static_cast<int>(blockDim.x)) {
    const int row = i / 8, chunk = i % 8;
    const unsigned char* from = static_cast<const unsigned char*>(rows) + row * pitch + chunk * 16;
    unsigned char* to = tile + row * 128 + (chunk ^ row % 8) * 16;
    store_vec<4>(reinterpret_cast<unsigned*>(to), load_vec<4>(reinterpret_cast<const unsigned*>(from)));
  }
}

}  // namespace atrous
