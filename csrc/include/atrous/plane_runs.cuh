// Runs of memory that neighbouring planes are, and their way into shared memory.
#pragma once

#include "atrous/prims/async_copy.cuh"
#include "atrous/types.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// Runs of memory that the planes of a block are for an item: one for each, or one for all, which then follow each other
// after `apart` elements. A run begins `phase` elements into an aligned piece of memory, and of shared memory.
struct PlaneRuns {
  bool is_one;
  int apart;           // elements of a plane's run
  int pitch;           // elements of shared memory from run to run
  int piece;           // elements of an aligned piece; 1: nothing is said of alignment
  int64 offset, step;  // in the array, of the first plane's run, and from run to run

  __device__ __forceinline__ int phase(int plane) const {
    return static_cast<int>((offset + plane * step) & (piece - 1));
  }
  // Where in shared memory a plane's elements begin.
  __device__ __forceinline__ int start(int plane) const {
    return is_one ? phase(0) + plane * apart : plane * pitch + phase(plane);
  }
  __device__ __forceinline__ int count(int planes) const { return is_one ? 1 : planes; }
  __device__ __forceinline__ int length(int planes) const { return is_one ? planes * apart : apart; }
};

// Starts to copy the runs of so many planes in pieces of 16 bytes, which `of` counts in too.
// x: the array. slot: [planes][pitch], shared
template <class T>
__device__ __forceinline__ void copy_runs(const T* x, const PlaneRuns& of, int planes, T* slot) {
  constexpr int kPiece = 16 / sizeof(T);
  const int count = of.count(planes), length = of.length(planes);
  const int pieces = length == 0 ? 0 : (length + 2 * (kPiece - 1)) / kPiece;
#pragma unroll 1
  for (int index = threadIdx.x; index < count * pieces; index += blockDim.x) {
    const int run = index / pieces, piece = index - run * pieces;
    const int before = of.phase(run), left = before + length - piece * kPiece;
    if (left <= 0) continue;
    prims::copy_async<16>(slot + run * of.pitch + piece * kPiece,
                          x + of.offset + run * of.step - before + piece * kPiece,
                          min(left, kPiece) * static_cast<int>(sizeof(T)));
  }
}

}  // namespace atrous
