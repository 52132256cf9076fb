// Warp-wide primitives over all 32 lanes: shuffles, ballot and the warp barrier.
#pragma once

#ifdef ATROUS_SIMULATED
#include "atrous_sim/primitives.hpp"
#endif

namespace atrous::prims {

constexpr unsigned kFullWarp = 0xffffffffu;

#ifdef ATROUS_SIMULATED

inline int lane_id() { return sim::lane_id(); }

// The value of lane (lane_id() ^ lane_mask).
template <class T>
inline T shuffle_xor(T value, int lane_mask, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::exchange(sim::Collective::kShuffleXor, kFullWarp, value, lane_id() ^ lane_mask, {file, line});
}

// The value of lane (lane_id() + delta), or one's own past the last lane.
template <class T>
inline T shuffle_down(T value, int delta, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::exchange(sim::Collective::kShuffleDown, kFullWarp, value, lane_id() + delta, {file, line});
}

// The value of lane (lane % 32).
template <class T>
inline T shuffle_from(T value, int lane, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::exchange(sim::Collective::kShuffleFrom, kFullWarp, value, lane & 31, {file, line});
}

// Bit i: the predicate of lane i.
inline unsigned ballot(bool predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::ballot(kFullWarp, predicate, {file, line});
}

inline void sync_warp(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::warp_barrier(kFullWarp, {file, line});
}

#else

// Lanes number the threads of a block in warps of 32, x running fastest.
__device__ __forceinline__ int lane_id() {
  int lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

// The value of lane (lane_id() ^ lane_mask).
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int lane_mask) {
  return __shfl_xor_sync(kFullWarp, value, lane_mask);
}

// The value of lane (lane_id() + delta), or one's own past the last lane.
template <class T>
__device__ __forceinline__ T shuffle_down(T value, int delta) {
  return __shfl_down_sync(kFullWarp, value, delta);
}

// The value of lane (lane % 32).
template <class T>
__device__ __forceinline__ T shuffle_from(T value, int lane) {
  return __shfl_sync(kFullWarp, value, lane);
}

// Bit i: the predicate of lane i.
__device__ __forceinline__ unsigned ballot(bool predicate) { return __ballot_sync(kFullWarp, predicate); }

__device__ __forceinline__ void sync_warp() { __syncwarp(kFullWarp); }

#endif

}  // namespace atrous::prims
