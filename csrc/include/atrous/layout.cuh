// The two memory orders of activations as policies: how gemm_k is counted, and what neighbouring threads walk along.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// A number in mixed radix, so that counting on costs a few additions where decoding costs divisions.
struct Digits {
  int slow, middle, fast;
};

// sizes.slow bounds nothing: a count past the end shows as slow >= sizes.slow.
__device__ __forceinline__ Digits to_digits(int value, const Digits& sizes) {
  const int rest = value / sizes.fast;
  return {rest / sizes.middle, rest % sizes.middle, value % sizes.fast};
}

__device__ __forceinline__ void advance(Digits& digits, const Digits& step, const Digits& sizes) {
  digits.fast += step.fast;
  digits.middle += step.middle;
  digits.slow += step.slow;
  if (digits.fast >= sizes.fast) {
    digits.fast -= sizes.fast;
    ++digits.middle;
  }
  if (digits.middle >= sizes.middle) {
    digits.middle -= sizes.middle;
    ++digits.slow;
  }
}

// One term of the sum: filter row, filter column, channel within the group.
struct Tap {
  int r, s, c;
};

// Channels are contiguous: gemm_k counts (r, s, c), neighbouring threads take neighbouring channels.
struct Nhwc {
  static constexpr bool kChannelsLast = true;

  __device__ __forceinline__ static Digits tap_sizes(int r, int s, int c) { return {r, s, c}; }
  __device__ __forceinline__ static Tap tap(const Digits& digits) { return {digits.slow, digits.middle, digits.fast}; }
};

// Columns are contiguous: gemm_k counts (c, r, s), neighbouring threads take neighbouring pixels.
struct Nchw {
  static constexpr bool kChannelsLast = false;

  __device__ __forceinline__ static Digits tap_sizes(int r, int s, int c) { return {c, r, s}; }
  __device__ __forceinline__ static Tap tap(const Digits& digits) { return {digits.middle, digits.fast, digits.slow}; }
};

}  // namespace atrous
