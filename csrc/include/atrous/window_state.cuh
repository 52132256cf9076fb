// What a thread keeps of one window for its neighbouring channels or planes.
//
// The reductions of reductions.cuh, and maxima as packed words that are never converted.
//
// start: before any cell. add: one cell. merge: what was kept of other cells of the same window. across: what lane
// (lane ^ lane_mask) of the warp keeps. divisor and finish: as in reductions.cuh.
#pragma once

#include "atrous/prims/packed.cuh"
#include "atrous/reductions.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// Whether a reduction may keep a row of the window on its own and merge it, and whether it may take cells one by one.
// Averages do either, as the problem says; the weights of a weighted average belong to cells, not to rows.
template <template <class> class Reduction>
struct RowOrder {
  static constexpr bool kByRows = true, kByCells = false;
};
template <>
struct RowOrder<AverageReduction> {
  static constexpr bool kByRows = true, kByCells = true;
};
template <>
struct RowOrder<WeightedReduction> {
  static constexpr bool kByRows = false, kByCells = true;
};

template <class T, int kOwned, template <class> class Reduction>
struct WindowState {
  using Real = typename Accumulator<T>::type;
  using Reduce = Reduction<Real>;
  using Tap = typename Reduce::Tap;
  struct Cells {
    Real value[kOwned];
  };
  Reduce of[kOwned];

  static __device__ __forceinline__ Cells cells(const Vec<T, kOwned>& x) {
    Cells converted;
#pragma unroll
    for (int i = 0; i < kOwned; ++i) converted.value[i] = to_accumulator(x.value[i]);
    return converted;
  }
  __device__ __forceinline__ void start(const PoolArguments& a) {
#pragma unroll
    for (int i = 0; i < kOwned; ++i) of[i].start(a);
  }
  __device__ __forceinline__ void add(const PoolArguments& a, const Cells& x, const Tap& tap) {
    Reduce::add(a, of, x.value, tap);
  }
  __device__ __forceinline__ void merge(const PoolArguments& a, const WindowState& other) {
#pragma unroll
    for (int i = 0; i < kOwned; ++i) of[i].merge(a, other.of[i]);
  }
  __device__ __forceinline__ WindowState across(int lane_mask) const {
    WindowState other;
#pragma unroll
    for (int i = 0; i < kOwned; ++i) other.of[i] = of[i].across(lane_mask);
    return other;
  }
  static __device__ __forceinline__ Real divisor(const PoolArguments& a, const Window& window) {
    return Reduce::divisor(a, window);
  }
  __device__ __forceinline__ Vec<T, kOwned> finish(const PoolArguments& a, Real divisor) const {
    Vec<T, kOwned> y;
#pragma unroll
    for (int i = 0; i < kOwned; ++i) y.value[i] = Element<T>::from_real(of[i].finish(a, divisor));
    return y;
  }
};

// The bits of what a maximum starts from, one element in all places of a word: -inf or the integer minimum, or, where
// NaN is omitted, NaN.
template <class T>
struct PackedNothing;
template <>
struct PackedNothing<float16> {
  static constexpr unsigned kLowest = 0xfc00fc00u, kOmitted = 0x7fff7fffu;
};
template <>
struct PackedNothing<bfloat16> {
  static constexpr unsigned kLowest = 0xff80ff80u, kOmitted = 0x7fff7fffu;
};
template <>
struct PackedNothing<float32> {
  static constexpr unsigned kLowest = 0xff800000u, kOmitted = 0x7fffffffu;
};
template <>
struct PackedNothing<int8> {
  static constexpr unsigned kLowest = 0x80808080u, kOmitted = kLowest;
};
template <>
struct PackedNothing<uint8> {
  static constexpr unsigned kLowest = 0, kOmitted = kLowest;
};

// Maxima are the same in any order, to the bit.
template <class T, int kOwned>
struct WindowState<T, kOwned, MaxReduction> {
  static constexpr int kWords = (kOwned * static_cast<int>(sizeof(T)) + 3) / 4;  // one may hold fewer elements
  using Real = typename Accumulator<T>::type;
  using Tap = PlainTap;
  struct Cells {
    unsigned word[kWords];
  };
  union Words {
    Vec<T, kOwned> elements;
    Cells cells;
    __device__ __forceinline__ Words() {}
  };
  Cells most;

  static __device__ __forceinline__ Cells cells(const Vec<T, kOwned>& x) {
    Words words;
    if constexpr (sizeof(Vec<T, kOwned>) < sizeof(Cells)) words.cells = {};
    words.elements = x;
    return words.cells;
  }
  __device__ __forceinline__ void start(const PoolArguments& a) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      most.word[i] = a.omit_nan ? PackedNothing<T>::kOmitted : PackedNothing<T>::kLowest;
    }
  }
  __device__ __forceinline__ void add(const PoolArguments& a, const Cells& x, const Tap&) {
    if (a.omit_nan) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        most.word[i] = prims::packed_max_number(Element<T>{}, most.word[i], x.word[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kWords; ++i) most.word[i] = prims::packed_max(Element<T>{}, most.word[i], x.word[i]);
    }
  }
  __device__ __forceinline__ void merge(const PoolArguments& a, const WindowState& other) { add(a, other.most, {}); }
  __device__ __forceinline__ WindowState across(int lane_mask) const {
    WindowState other;
#pragma unroll
    for (int i = 0; i < kWords; ++i) other.most.word[i] = prims::shuffle_xor(most.word[i], lane_mask);
    return other;
  }
  static __device__ __forceinline__ Real divisor(const PoolArguments&, const Window&) { return 1; }
  __device__ __forceinline__ Vec<T, kOwned> finish(const PoolArguments&, Real) const {
    Words words;
    words.cells = most;
    return words.elements;
  }
};

}  // namespace atrous
